"""The command `sparring export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from sparring.cli.options import Flag, Plugin, RunFolder, option, parsed_by
from sparring.errors import UsageError


@dataclass(frozen=True)
class ExportCommand:
    """Write a trained generator as one file for programs that are not sparring, or its training as a film."""

    path: RunFolder  # The run's folder, a generator's, or that of a checkpoint; of a film, the run's.
    out: Annotated[Path, arg(metavar="PATH")]
    """A .html that draws samples in any browser; a .onnx, which onnxruntime runs (needs the extra `export`); a
    .safetensors: the weights and their config; or a .gif, .webp or .mp4: a film of the training."""
    precision: Annotated[str, option("{float32,float16}")] = "float32"
    """How weights are stored; float16 halves the file."""
    licence: Annotated[str | None, option("TEXT")] = None
    """The licence of the weights, for the file's metadata; by default, what is known of named data."""
    back: Flag = False  # Of a translator of both ways: a .onnx that translates back.
    seconds: Annotated[float | None, parsed_by(float, "S"), option("S")] = None
    """The length of a film; by default, each frame that the run keeps is shown once."""
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Write the file, and print what it holds."""
        from sparring.generator.export import check_export
        from sparring.generator.film import FILMS
        from sparring.generator.generator import load
        from sparring.modalities.output import ending_of
        from sparring.training.run_folder import find_run, licence_of

        if ending_of(self.out) in FILMS:
            from sparring.web.film import film_training

            if self.precision != "float32" or self.licence is not None or self.back:
                raise UsageError(f"{self.out} is a film of the training: leave --precision, --licence and --back away")
            print(f"{self.out}: {film_training(self.path, self.out, self.seconds)} pictures of the training")
            return 0
        if self.seconds is not None:
            raise UsageError("--seconds is the length of a film: give --out a .gif, .webp or .mp4")
        check_export(self.out, self.precision)
        generator = load(self.path)
        licence = self.licence or licence_of(find_run(self.path))
        print(f"{self.out}: {generator.export(self.out, precision=self.precision, licence=licence, back=self.back)}")
        return 0

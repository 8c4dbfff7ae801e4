"""The command `sparring export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from sparring.cli.options import Flag, Plugin, RunFolder, option


@dataclass(frozen=True)
class ExportCommand:
    """Write a trained generator as one file for programs that are not sparring."""

    path: RunFolder  # The run's folder, a generator's, or that of a checkpoint.
    out: Annotated[Path, arg(metavar="PATH")]
    """A .html that draws samples in any browser; a .onnx, which onnxruntime runs (needs the extra `export`); or a
    .safetensors: the weights and their config."""
    precision: Annotated[str, option("{float32,float16}")] = "float32"
    """How weights are stored; float16 halves the file."""
    licence: Annotated[str | None, option("TEXT")] = None
    """The licence of the weights, for the file's metadata; by default, what is known of named data."""
    back: Flag = False  # Of a translator of both ways: a .onnx that translates back.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Write the file, and print what it holds."""
        from sparring.generator.export import check_export
        from sparring.generator.generator import load

        check_export(self.out, self.precision)
        generator = load(self.path)
        licence = self.licence or _licence_of_data(self.path)
        print(f"{self.out}: {generator.export(self.out, precision=self.precision, licence=licence, back=self.back)}")
        return 0


def _licence_of_data(path: Path) -> str:
    """Where a run's data are from, if they are named ones."""
    from sparring.files import read_json
    from sparring.modalities import SOURCES

    for folder in (path, *path.parents[:2]):  # of a run, of its generator, or of a checkpoint
        if (folder / "recipe.json").is_file():
            name = read_json(folder / "recipe.json", dict)["recipe"]["data"]
            return f"not stated; its data: {name}, {SOURCES[name].source}" if name in SOURCES else "not stated"
    return "not stated"

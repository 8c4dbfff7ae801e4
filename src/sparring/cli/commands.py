"""The commands for one run: each is a dataclass of its options, with a `run` that returns the exit code.

Each imports its modules when it runs, so `--help` answers at once.
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from sparring.cli.options import (
    Count,
    Flag,
    Minutes,
    Name,
    Number,
    Plugin,
    Processes,
    Rate,
    RunFolder,
    Seed,
    Track,
    option,
    parsed_by,
)
from sparring.distributed.launch import launch_if_several
from sparring.errors import UsageError

if TYPE_CHECKING:
    from sparring.training.trackers import Tracker


@dataclass(frozen=True)
class TrainCommand:
    """Train a GAN. The recipe supplies every option that you omit (`sparring list recipes`)."""

    data: Annotated[Positional[str], arg(metavar="DATA")] = "digits"
    """A name (`sparring list data`), a folder or archive of images, or a .parquet, .npy or .npz file."""
    source: Annotated[str | None, option("SOURCE")] = None
    """Translate: feed the generator items of SOURCE, another data set like DATA, instead of noise."""
    recipe: Name = None  # A preset: `sparring list recipes`.
    objective: Name = None  # The losses of both networks: `sparring list objectives`.
    penalty: Name = None  # The restraint on the discriminator: `sparring list penalties`.
    network: Name = None  # The family of both networks: `sparring list networks`.
    minutes: Minutes = None  # Stop after this many minutes of training; evaluation and saving don't count.
    steps: Number = None  # Stop after this many iterations.
    images: Number = None  # Stop after this many real samples.
    until: Annotated[str | None, option("plateau|TARGET")] = None
    """Also stop when the samples no longer improve, or at a target such as "coverage>0.9"."""
    batch_size: Number = None  # Real samples per update.
    accumulate: Number = None  # Play each batch in N equal parts one after the other, which takes less memory.
    start_from: Annotated[str | None, option("RUN")] = None
    """Begin with the networks of another run, or of one of its checkpoints; classes are matched by name."""
    size: Annotated[str | None, option("PIXELS")] = None
    """Resize images to a square (64) or to HEIGHTxWIDTH (64x96). By default, a folder's images and --minutes decide."""
    mirror: Flag = False  # Add the mirror image of each image.
    follow_links: Flag = False  # Also read the files outside the folder that links in it lead to.
    width: Number = None  # Features of the generator's last layer; the cost grows with the square.
    conditional: Annotated[bool | None, option("{True,False}")] = None
    """Whether both networks use labels; yes if the data have any."""
    seed: Number = None  # Random seed.
    processes: Processes = 1  # The number of processes on this machine that share each batch, as under `torchrun`.
    device: Name = None  # auto, cpu or cuda.
    out: Annotated[Path | None, option("RUN")] = None  # The run's folder. The default is runs/DATA-N.
    track: Track = None  # Also write to trackers, such as tensorboard or wandb: `sparring list trackers`.
    dry_run: Flag = False  # Read the data, print the recipe, and stop.
    watch: Flag = False  # Open the live page, as `sparring watch` does, until the training has ended.
    plugin: Plugin = None  # A Python file of yours that registers networks, objectives or penalties; it is run first.
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="KEY=VALUE")] = ()
    """Any other field of the recipe, such as learning_rate=2e-4; all are listed below."""

    def run(self, arguments: list[str]) -> int:
        """Train, and show the progress."""
        from sparring.training.recipe import check_setting, make_request

        settings = {}
        for pair in self.set:
            name, equals, text = pair.partition("=")
            if not equals:
                raise UsageError(f"--set takes KEY=VALUE, such as learning_rate=2e-4, not {pair!r}")
            settings[name] = check_setting(name, text, strict=False)
        not_given = (name for name in ("mirror", "follow_links") if not getattr(self, name))
        others = ("data", "recipe", "processes", "out", "track", "dry_run", "watch", "plugin", "set", *not_given)
        options = {name: value for name, value in vars(self).items() if name not in others and value is not None}
        if twice := sorted(options.keys() & settings.keys()):
            raise UsageError(f"{twice[0]} is given twice, as an option and by --set: omit one")
        request, listeners = make_request(self.data, self.recipe, **options, **settings), _open_trackers(self.track)
        if self.watch and not self.dry_run and os.environ.get("RANK", "0") == "0":
            from sparring.web.watch import watching

            with watching(self.out or Path("runs")):
                return replace(self, watch=False).run([each for each in arguments if each != "--watch"])
        if not self.dry_run and (code := launch_if_several(self.processes, arguments)) is not None:
            return code
        from sparring.cli.terminal import show_dry_run
        from sparring.training.progress import Terminal
        from sparring.training.train import start

        if self.dry_run:
            show_dry_run(request)
            return 0
        with Terminal() as terminal:
            _, outcome = start(request, self.out, listeners=[*listeners, terminal], on_progress=terminal.on_progress)
        return outcome.exit_code


@dataclass(frozen=True)
class ResumeCommand:
    """Continue a stopped run to the end of its recipe, or further."""

    path: RunFolder  # The run's folder.
    minutes: Minutes = None  # Stop at this training time in minutes, counted from the start of the run.
    steps: Number = None  # Stop at this iteration.
    images: Number = None  # Stop at this number of real samples.
    data: Annotated[str | None, option("DATA")] = None  # Other data with items of the same shape and the same classes.
    batch_size: Number = None  # Real samples per update from now on.
    learning_rate: Rate = None  # The generator's learning rate from now on.
    processes: Processes = 1  # Processes that share each batch; a different number than before rounds differently.
    exact: Flag = False  # Refuse a different number of processes, so the result equals an uninterrupted run bit by bit.
    track: Track = None  # Also write to trackers; it goes on in theirs where the run was tracked before.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Continue, and show the progress."""
        trackers = _open_trackers(self.track)
        if (code := launch_if_several(self.processes, arguments)) is not None:
            return code
        from sparring.training.progress import Terminal
        from sparring.training.train import go_on

        others = ("path", "processes", "exact", "track", "plugin")
        settings = {name: value for name, value in vars(self).items() if name not in others}
        with Terminal() as show:
            listeners, on_progress = [*trackers, show], show.on_progress
            _, outcome = go_on(self.path, settings, exact=self.exact, listeners=listeners, on_progress=on_progress)
        return outcome.exit_code


@dataclass(frozen=True)
class SampleCommand:
    """Draw samples from a trained generator."""

    path: RunFolder  # The run's folder, a generator's, or that of a checkpoint; or hf://OWNER/NAME.
    out: Annotated[Path, arg(metavar="PATH")]
    """A .png, .jpg or .webp for one picture, a .npz for arrays, a .wav for sounds in a row, a .csv or .parquet for a
    table, or a folder of files."""
    walk: Annotated[str | None, option("SEED,SEED,...")] = None
    """Make a film, a .gif, .webp or .mp4, that goes from the samples of each seed to those of the next, and back."""
    seconds: Annotated[float | None, parsed_by(float, "S"), option("S")] = None
    """The length of a walk; by default two for each seed."""
    num: Count = 64  # The number of samples; of a walk, how many walk at once.
    seed: Seed = 0  # The same seed gives the same samples.
    label: Annotated[str | None, option("NAME")] = None
    """The class of all samples, or attributes such as hair=red,age=30; by default, labels as in the data."""
    where: Annotated[str | None, option("CONDITIONS")] = None
    """Of tables, conditions that all rows meet, such as "sex=female, age>40"."""
    truncation: Annotated[float | None, parsed_by(float, "T"), option("T")] = None
    """The largest latent number: smaller is more typical, less varied."""
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Draw samples, and write them."""
        from sparring.generator.generator import load

        generator = load(self.path)
        if self.walk is not None:
            from sparring.generator.film import film_walk

            count = film_walk(generator, self.walk, self.seconds, self.num, self.label, self.truncation, self.out)
            print(f"{count} frames in {self.out}")
            return 0
        if self.seconds is not None:
            raise UsageError("--seconds is the length of a walk: add --walk 3,7,12")
        generator.modality.check_path(self.out)
        samples = generator.sample(self.num, self.seed, labels=self.label, truncation=self.truncation, where=self.where)
        config, labels = generator.config, generator.random_labels(self.num, self.seed, self.label)
        generator.modality.write(samples, self.out, config.label_arrays(labels), config.label_names(labels))
        print(f"{self.num} samples in {self.out}")
        return 0


@dataclass(frozen=True)
class TranslateCommand:
    """Translate items by a generator that was trained with `--source`."""

    path: RunFolder  # The run's folder, a generator's, or that of a checkpoint.
    input: Annotated[Positional[Path], arg(metavar="INPUT")]
    """A folder of files like those of the source, one such file, or a .npz of items; for words, a text file."""
    out: Annotated[Path, arg(metavar="PATH")]
    """What `sparring sample` writes; files in a folder are named after those of INPUT. For words a .tsv or .txt."""
    back: Flag = False  # Translate items of the target back, if both ways were trained.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Translate the items, and write them."""
        from sparring.generator.generator import load

        generator = load(self.path)
        given, made = generator.domains(back=self.back)
        count = given.translate_files(self.input, self.out, partial(generator.translate, back=self.back), made)
        print(f"{count} items in {self.out}")
        return 0


@dataclass(frozen=True)
class ProjectCommand:
    """Find the latents of given pictures or other items: of what the generator makes that is nearest to them."""

    path: RunFolder  # The run's folder, or a generator's.
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE...", help_behavior_hint="")]
    """Pictures, which are cropped and resized as in training, or .npz files as `sparring sample` writes them."""
    out: Annotated[Path, arg(metavar="PATH.png")] = Path("projection.png")
    """Each item beside what was found; the latents are in a .npz file beside it, with the labels if there are some."""
    num: Count = 16  # The number of starts of the search for each item; the best result counts.
    seed: Seed = 0  # The same seed gives the same latents.
    label: Annotated[str | None, option("K")] = None  # The label of all items, by its name; searched for by default.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Search, write both files, and print the distances."""
        import numpy as np

        from sparring.files import write_atomically
        from sparring.generator.generator import load
        from sparring.modalities.output import ending_of
        from sparring.training.progress import Terminal

        if ending_of(self.out) != ".png":
            raise UsageError(f"the result is a picture, not {self.out}: give --out a .png")
        if not self.files or (missing := [file for file in self.files if not file.is_file()]):
            raise UsageError(f"there is no file {str(missing[0])!r}" if self.files else "give at least one file")
        generator = load(self.path)
        items = np.concatenate([generator.modality.read_file(file) for file in self.files])
        with Terminal() as show:
            found = generator.project(
                items, labels=self.label, num_starts=self.num, seed=self.seed, on_progress=show.on_progress
            )
        pairs = np.stack([items.astype(found.items.dtype), found.items], axis=1)
        picture = generator.modality.picture(pairs.reshape(-1, *items.shape[1:]), columns=2)
        arrays: dict[str, Any] = {"latents": found.latents.numpy(), "distances": found.distances.numpy()}
        arrays[generator.modality.array_name] = found.items
        if found.labels is not None:
            arrays["labels"] = found.labels.numpy()
        write_atomically(self.out, lambda beside: picture.save(beside, format="PNG"))
        write_atomically(self.out.with_suffix(".npz"), lambda beside: np.savez_compressed(beside, **arrays))
        for number, distance in enumerate(found.distances.tolist(), start=1):
            print(f"item {number}: distance {distance:.2g} (0 is the same, 1 the average random sample)")
        print(f"saved as {self.out} and {self.out.with_suffix('.npz')}")
        return 0


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure a trained generator, and show each figure beside that of held-out real samples."""

    path: RunFolder  # A run's folder, best/ or a checkpoint in it, or a generator's folder.
    data: Annotated[str | None, option("DATA")] = None
    """What it was trained on; needed for a generator's folder without its run."""
    num: Count = 10_000  # The number of samples to generate, and the most real samples to compare with.
    seed: Seed = 0  # The same seed gives the same card.
    dictionary: Annotated[Path | None, option("FILE")] = None
    """Of words: print how many of these pairs of a word and its translation, one a line, are found."""
    fid: Flag = False  # Also compute FID; it takes minutes, more than 2,048 images, and torch-fidelity.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Measure the generator, and print the card."""
        from sparring.cli.terminal import show_card, show_precision
        from sparring.generator.hub import find_folder
        from sparring.training.evaluate import evaluate, evaluate_dictionary

        if self.dictionary is not None:
            show_precision(evaluate_dictionary(self.path, self.dictionary))
            return 0
        show_card(evaluate(self.path, self.num, self.seed, data=self.data, fid=self.fid))
        print(f"saved as {find_folder(self.path) / 'card.json'}")
        return 0


@dataclass(frozen=True)
class DiagnoseCommand:
    """Explain a run, finished or not, in one page of words and pictures."""

    path: RunFolder  # A run's folder, which gets the page as report.html.

    def run(self, arguments: list[str]) -> int:
        """Write the page."""
        from sparring.web.report import diagnose

        print(f"saved as {diagnose(self.path)}")
        return 0


@dataclass(frozen=True)
class ListCommand:
    """List the names of objectives, penalties, networks, modalities, data, recipes, figures and trackers."""

    kind: Annotated[Positional[str], arg(metavar="KIND")] = "all"
    """One kind, such as objectives."""
    measure: Flag = False  # Also measure what networks cost on this machine (networks); it takes about a minute.

    def run(self, arguments: list[str]) -> int:
        """Print the list."""
        from sparring.cli.catalogue import print_catalogue

        print_catalogue(self.kind, self.measure)
        return 0


@dataclass(frozen=True)
class DataCommand:
    """List the cache: packed files, and data that Python programs passed from memory."""

    clear: Flag = False  # Delete all of it; running trainings that read it continue.

    def run(self, arguments: list[str]) -> int:
        """List or delete the cache."""
        from sparring.cli.terminal import show_packs
        from sparring.data.memory import clear_memory_files
        from sparring.data.pack import clear_packs
        from sparring.files import cache_folder

        if self.clear:
            print(f"{clear_packs() + clear_memory_files():,} bytes freed in {cache_folder()}")
        else:
            show_packs()
        return 0


def _open_trackers(names: str | None) -> "list[Tracker]":
    """The listeners that `--track` names; none without it, which then costs no import."""
    if not names:
        return []
    from sparring.training.trackers import Tracker

    return [Tracker(name.strip()) for name in names.split(",")]

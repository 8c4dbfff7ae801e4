"""A run's folder: what a training leaves behind.

recipe.json           the whole recipe, with versions
log.jsonl             one JSON object a line: step, images, seconds, losses, ...
samples/              step-NNNNNN.png, from the same latents throughout
checkpoints/          step-NNNNNN/, what `sparring resume` goes on from
generator/            config.json, model.safetensors: what `sparring.load` needs
best/                 the same, of the moment that was measured best
curves.png            losses and probabilities
card.json             what `sparring evaluate` measured
report.html           what `sparring diagnose` made of it all
summary.json          status, steps, images, seconds, metrics, health
"""

import fcntl
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

from sparring.distributed import count
from sparring.errors import RunFolderError, UsageError
from sparring.files import clear_leftovers, parse_json, read_json, write_atomically, write_json
from sparring.health import Alarm
from sparring.recipes import Recipe

LogLine = dict[str, Any]
"""One line of `log.jsonl`: numbers by name, `step` among them; `evaluation`, the figures of a monitor, where it
measured; `alarms`, all that stand, where one came or went."""

COUNTERS = ("step", "images", "seconds", "progress")
"""The numbers that every line of the log begins with."""

NUMBERS = (
    "discriminator_loss", "generator_loss", "penalty", "real_probability", "fake_probability",
    "discriminator_gradient_norm", "generator_gradient_norm",
)  # fmt: skip
"""What follows them: what `Game.step` reports, each the mean since the line before."""

Status = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class RecipeFile:
    """`recipe.json`: the resolved recipe, and what it was played with.

    Args:
        recipe: the recipe, nothing left open.
        versions: of sparring, Python, torch and numpy.
        processes: how many play it together.
        launch: by which start of `torchrun`; nothing where there was none.
    """

    recipe: Recipe
    versions: dict[str, str]
    processes: int = 1
    launch: str = ""


@dataclass(frozen=True)
class Summary:
    """How a run stands, `summary.json`.

    Args:
        status: whether it is running, finished by its recipe, was stopped, or failed.
        steps: iterations played.
        images: real samples shown to the discriminator.
        seconds: training time, evaluation and saving apart.
        reason: why it ended, in words.
        metrics: measured qualities by name.
        health: the alarms that stand.
    """

    status: Status
    steps: int
    images: int
    seconds: float
    reason: str
    metrics: dict[str, float]
    health: list[Alarm]


class Run:
    """A run's folder, opened by the one process that may write to it.

    Args:
        path: the folder; it must exist.

    Attributes:
        played: the recipe that this process plays, once it is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.played: dict[str, Any] = {}
        self._lock: IO[str] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Another process gets it without the lock."""
        return vars(self) | {"_lock": None}

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def generator(self) -> Path:
        """The folder of the trained generator."""
        return self.path / "generator"

    @property
    def best(self) -> Path:
        """The folder of the generator that was measured best."""
        return self.path / "best"

    def write_best(self, line: LogLine) -> None:
        """Write beside the best generator which line of the log measured it."""
        write_json(self.best / "measured.json", line)

    def best_distance(self) -> float | None:
        """The distance of the best generator, or None where none was measured."""
        path = self.best / "measured.json"
        if not path.exists():
            return None
        distance: float | None = _checked(read_json(path, dict), str(path)).get("evaluation", {}).get("distance")
        return distance

    def sample_path(self, step: int) -> Path:
        """The picture of samples at a step."""
        return self.path / "samples" / f"step-{step:06d}.png"

    def sample_paths(self) -> dict[int, Path]:
        """The pictures of samples that there are by their steps, earliest first."""
        matches = ((re.fullmatch(r"step-(\d+)\.png", path.name), path) for path in self.path.glob("samples/*"))
        return dict(sorted((int(match[1]), path) for match, path in matches if match))

    def lock(self) -> None:
        """Keep other processes from writing here, until this one ends or unlocks.

        Raises:
            RunFolderError: if another process has locked it.
        """
        try:
            file = (self.path / ".lock").open("a")
        except OSError as error:
            raise RunFolderError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise RunFolderError(f"another process is training in {self.path}: wait for it, or stop it") from error
        self._lock = file  # the operating system releases it when the process ends, however it ends

    def unlock(self) -> None:
        """Let other processes write here again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def is_locked(self) -> bool:
        """Whether a process is training here now."""
        try:
            self.lock()
        except RunFolderError:
            return True
        self.unlock()
        return False

    def write_recipe(self, recipe: Recipe) -> None:
        """Write `recipe.json`."""
        versions = {"python": sys.version.split()[0]} | {name: version(name) for name in ("sparring", "torch", "numpy")}
        write_json(self.path / "recipe.json", asdict(RecipeFile(recipe, versions, count(), launch())))
        self.played = asdict(recipe)

    def recipe(self) -> Recipe:
        """Read `recipe.json`."""
        return read_json(self.path / "recipe.json", RecipeFile).recipe

    def is_of_this_launch(self, recipe: Recipe) -> bool:
        """Whether the same start of `torchrun` began it."""
        file = read_json(self.path / "recipe.json", RecipeFile)
        named = launch() not in ("", "none")  # without a rendezvous no start has a name: the recipe must do
        return file.launch == launch() and (named or file.recipe == recipe)

    def processes(self) -> int:
        """How many processes played it together."""
        return read_json(self.path / "recipe.json", RecipeFile).processes

    def append(self, line: LogLine) -> None:
        """Add a line to the log; the whole of it or nothing.

        Raises:
            OSError: if it cannot be written.
        """
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        with (self.path / "log.jsonl").open("ab", buffering=0) as file:
            size = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                file.truncate(size)
                raise

    def log(self) -> list[LogLine]:
        """The lines of the log."""
        path = self.path / "log.jsonl"
        data = path.read_bytes() if path.exists() else b""
        whole = data[: max(0, data.rfind(b"\n"))]  # a power cut may have left half a line
        lines = parse_json(b"[" + whole.replace(b"\n", b",\n") + b"]", list, str(path))
        return [_checked(line, f"line {number} of {path}") for number, line in enumerate(lines, start=1)]

    def cut_log(self, step: int) -> None:
        """Drop the lines after a step, so that a resumed run writes each step once."""
        lines = [line for line in self.log() if line["step"] <= step]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_atomically(self.path / "log.jsonl", lambda path: path.write_text(text, encoding="utf-8"))

    def clear_leftovers(self) -> None:
        """Remove what a training that was killed left half written; only who has locked the folder may do so."""
        clear_leftovers(self.path, but_of=("card.json", "report.html"))

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`."""
        write_json(self.path / "summary.json", asdict(summary))

    def summary(self) -> Summary:
        """Read `summary.json`."""
        return read_json(self.path / "summary.json", Summary)


def _checked(line: object, name: str) -> LogLine:
    """A line of the log that has what every line has."""
    if not isinstance(line, dict):
        raise UsageError(f"{name} is no JSON object: it was not written by a training")
    evaluation, alarms = line.get("evaluation", {"seconds": 0.0}), line.get("alarms", [])
    figures = evaluation if isinstance(evaluation, dict) else {}
    numbers = {each: line.get(each) for each in (*COUNTERS, *NUMBERS)} | figures
    for each, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} has no number {each!r}: it was not written by a training")
    if not isinstance(evaluation, dict) or "seconds" not in evaluation:
        raise UsageError(f"the evaluation in {name} holds no figures: it was not written by a training")
    if not isinstance(alarms, list) or not all(isinstance(each, dict) and "name" in each for each in alarms):
        raise UsageError(f"the alarms in {name} have no names: it was not written by a training")
    return line


def launch() -> str:
    """What `torchrun` calls this start of it and its restarts; nothing where it started none."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def create(path: Path | None, name: str) -> Run:
    """Make a new run's folder and lock it.

    Args:
        path: where; `runs/NAME-N` with the first free N if None.
        name: what to call it then.

    Raises:
        RunFolderError: if the folder holds something already, or cannot be made.
    """
    try:
        folder = _first_free(Path("runs"), name) if path is None else path
        if path is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            mend = "go on with it by `sparring resume`, or " if (folder / "recipe.json").exists() else ""
            raise RunFolderError(f"{folder} is not empty: {mend}give another --out")
        for sub in (folder, folder / "samples", folder / "checkpoints"):
            sub.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make the run's folder {path or 'runs/'}: {error.strerror}: give another --out"
        ) from error
    if not os.access(folder, os.W_OK):
        raise RunFolderError(f"cannot write to {folder}: give another --out")
    run = Run(folder)
    run.lock()
    return run


def open_run(path: Path) -> Run:
    """A run that exists.

    Raises:
        RunFolderError: if the folder holds none.
    """
    if not (path / "recipe.json").exists():
        raise RunFolderError(
            f"{str(path)!r} holds no run (no recipe.json): give the folder that `sparring train` named"
        )
    return Run(path)


def _first_free(parent: Path, name: str) -> Path:
    """Make and return the first of NAME-1, NAME-2, ... that isn't there; safe when two trainings start at once."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            folder = parent / f"{name}-{number}"
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1

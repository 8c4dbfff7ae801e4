"""A run's folder.

recipe.json           the complete recipe, and versions
clusters.safetensors  the groups of alike items that stand in for labels, if any do
log.jsonl             a JSON object a line: step, images, seconds, losses, ...
samples/              step-NNNNNN.png, always from the same latents; at most 300 of them, and 50 MB
frames/               step-NNNNNN.json, what the live page shows of the training at a step; data.json, of real points
checkpoints/          step-NNNNNN/, for `sparring resume`: the newest ones
generator/            config.json, model.safetensors: for `sparring.load`
best/                 likewise, of the best evaluation
curves.png            losses and probabilities
card.json             from `sparring evaluate`
report.html           from `sparring diagnose`
summary.json          status, steps, images, seconds, metrics, health
trackers.json         where `--track` writes: the names of the trackers' own runs
"""

import json
import math
import os
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout

from sparring.distributed.collectives import world_size
from sparring.errors import RunFolderError, UsageError
from sparring.evaluation.health import Alarm
from sparring.files import is_locked, parse_json, read_json, write_atomically, write_json
from sparring.modalities import SOURCES
from sparring.training.checkpoint import list_checkpoints
from sparring.training.recipe import Recipe
from sparring.types import LogLine

# The numbers in every line of the log: counters, and means over the steps since the last line.
CLUSTERS = "clusters.safetensors"
COUNTERS = ("step", "images", "seconds", "progress")
NUMBERS = (
    "discriminator_loss", "generator_loss", "penalty", "real_probability", "fake_probability",
    "discriminator_gradient_norm", "generator_gradient_norm",
)  # fmt: skip
REPORTED = (*NUMBERS, "restraint")  # by each step; the last one is in the log of games with restraints
Status = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class RecipeFile:
    """`recipe.json`."""

    recipe: Recipe
    versions: dict[str, str]  # of Python and packages
    processes: int = 1
    threads: int = 0  # of each process; 0 if an older sparring wrote it
    launch: str = ""  # see `name_of_launch`


@dataclass(frozen=True)
class Summary:
    """The state of a run, `summary.json`."""

    status: Status
    steps: int
    images: int  # real samples shown to the discriminator
    seconds: float  # training time, without evaluation and saving
    reason: str  # why it ended
    metrics: dict[str, float]  # figures of the metric card
    health: list[Alarm]  # active ones


class Run:
    """A run's folder. Functions that take a path take a run as well.

    Args:
        path: the folder; it must exist.

    Attributes:
        checkpoints: the folder of checkpoints.
        generator: the folder of the averaged generator.
        frames: the folder of what the live page shows of the training through time.
        best: the folder of the generator with the best evaluation.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path = Path(path)
        self.checkpoints, self.generator, self.best = path / "checkpoints", path / "generator", path / "best"
        self.frames = path / "frames"
        self._lock: FileLock | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        name = f"Run({str(self.path)!r})"
        try:
            summary = self.summary()
        except UsageError:  # it has not begun, or is gone
            return name
        notes = [f"{figure.replace('_', ' ')} {value:.3g}" for figure, value in summary.metrics.items()]
        notes += [alarm.name.replace("_", " ") for alarm in summary.health]
        return f"{name}: {summary.status} after {summary.steps:,} steps, {summary.seconds:,.0f} s" + (
            f"; {', '.join(notes)}" if notes else ""
        )

    def _repr_html_(self) -> str:
        """The page on the run, for notebooks. Only they import it: trainings know nothing of pages."""
        page: str = import_module("sparring.web.report").show_in_notebook(self)
        return page

    def __getstate__(self) -> dict[str, object]:
        """Leave the lock out: it belongs to one process."""
        return vars(self) | {"_lock": None}

    def lock(self) -> "Run":
        """Keep other processes from writing here until this one ends or unlocks, and return the run.

        Raises:
            RunFolderError: if another process has locked it.
        """
        lock = FileLock(self.path / ".lock", thread_local=False)  # the operating system releases it after a crash
        try:
            lock.acquire(timeout=2.0)  # not 0: `is_locked` elsewhere may be looking at it
        except Timeout as error:
            raise RunFolderError(f"another process is training in {self.path}: wait for it, or stop it") from error
        except OSError as error:
            raise RunFolderError(f"cannot write to {self.path}: {error.strerror}") from error
        self._lock = lock
        return self

    def unlock(self) -> None:
        """Let other processes write here again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def is_locked(self) -> bool:
        """Whether a process is training here now."""
        return is_locked(self.path / ".lock")

    def write_recipe(self, recipe: Recipe) -> None:
        """Write `recipe.json`."""
        versions = {"python": sys.version.split()[0]} | {name: version(name) for name in ("sparring", "torch", "numpy")}
        file = RecipeFile(recipe, versions, world_size(), torch.get_num_threads(), name_of_launch())
        write_json(self.path / "recipe.json", asdict(file))

    def recipe_file(self) -> RecipeFile:
        """Read `recipe.json`."""
        return read_json(self.path / "recipe.json", RecipeFile)

    def recipe(self) -> Recipe:
        """Read the recipe from `recipe.json`."""
        return self.recipe_file().recipe

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`."""
        write_json(self.path / "summary.json", asdict(summary))

    def summary(self) -> Summary:
        """Read `summary.json`."""
        return read_json(self.path / "summary.json", Summary)

    def sample_path(self, step: int) -> Path:
        """The picture of samples at a step."""
        return self.path / "samples" / f"step-{step:06d}.png"

    def sample_paths(self) -> dict[int, Path]:
        """The pictures of samples by their steps, earliest first."""
        matches = ((re.fullmatch(r"step-(\d+)\.png", path.name), path) for path in self.path.glob("samples/*"))
        return dict(sorted((int(match[1]), path) for match, path in matches if match))

    def frame_path(self, step: int) -> Path:
        """What the live page shows at a step."""
        return self.frames / f"step-{step:06d}.json"

    def frame_steps(self) -> list[int]:
        """The steps of the live page's frames, earliest first."""
        matches = (re.fullmatch(r"step-(\d+)\.json", path.name) for path in self.frames.glob("*"))
        return sorted(int(match[1]) for match in matches if match)

    def write_best(self, line: LogLine) -> None:
        """Write the best generator's line of the log beside it."""
        write_json(self.best / "measured.json", line)

    def best_line(self) -> LogLine:
        """The best generator's line of the log; empty if there is none."""
        path = self.best / "measured.json"
        return check_line(read_json(path, dict), str(path)) if path.exists() else {}

    def best_distance(self) -> float:
        """The distance of the best generator; infinite if there is none."""
        return float(self.best_line().get("evaluation", {}).get("distance", math.inf))

    def append(self, line: LogLine) -> None:
        """Add a complete line to the log, or nothing if it fails with an OSError."""
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
        return [check_line(line, f"line {number} of {path}") for number, line in enumerate(lines, start=1)]

    def frame(self) -> Any:
        """The log as a table of pandas: a row a line, and flat columns such as `evaluation.distance`."""
        try:
            import pandas
        except ImportError as error:
            raise UsageError(f"frame needs pandas ({error}): pip install pandas") from error
        return pandas.json_normalize(self.log())

    def cut_log(self, step: int) -> None:
        """Delete the lines after a step: a resumed run writes them again."""
        lines = [line for line in self.log() if line["step"] <= step]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_atomically(self.path / "log.jsonl", lambda path: path.write_text(text, encoding="utf-8"))


def check_line(line: object, name: str) -> LogLine:
    """Refuse a line of the log without the fields that every line has."""
    if not isinstance(line, dict):
        raise UsageError(f"{name} is no JSON object: no training wrote it")
    evaluation, alarms = line.get("evaluation", {"seconds": 0.0}), line.get("alarms", [])
    if not isinstance(evaluation, dict) or "seconds" not in evaluation:
        raise UsageError(f"the evaluation in {name} holds no figures: no training wrote it")
    for each, value in ({each: line.get(each) for each in (*COUNTERS, *NUMBERS)} | evaluation).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} has no number {each!r}: no training wrote it")
    shares = line.get("class_shares", [])
    if not isinstance(shares, list) or not all(isinstance(each, int | float) for each in shares):
        raise UsageError(f"the class_shares in {name} are no numbers: no training wrote it")
    faults = line.get("faults", {})
    evidence = [*faults.values()] if isinstance(faults, dict) else [faults]
    if not all(isinstance(each, dict) and all(isinstance(n, int | float) for n in each.values()) for each in evidence):
        raise UsageError(f"the faults in {name} have no numbers: no training wrote it")
    if not isinstance(alarms, list) or not all(isinstance(each, dict) and "name" in each for each in alarms):
        raise UsageError(f"the alarms in {name} have no names: no training wrote it")
    return line


def name_of_launch() -> str:
    """The name of this launch by `torchrun`, the same after a restart; empty without `torchrun`."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def create_run(path: Path | None, name: str) -> Run:
    """Make and lock a new run's folder: at the path, or the first free `runs/NAME-N`."""
    if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        advice = "go on with it by `sparring resume`, or " if (path / "recipe.json").exists() else ""
        raise RunFolderError(f"{path} is not empty: {advice}give another --out")
    try:
        for number in count(1):
            folder = path or Path("runs") / f"{name}-{number}"
            try:
                folder.mkdir(parents=True, exist_ok=folder == path)
                break
            except FileExistsError:
                continue  # safe when two trainings start at once
        for sub in ("samples", "checkpoints"):
            (folder / sub).mkdir(exist_ok=True)
    except OSError as error:
        message = f"cannot make the run's folder {path or 'runs/'}: {error.strerror}: give another --out"
        raise RunFolderError(message) from error
    if not os.access(folder, os.W_OK):
        raise RunFolderError(f"cannot write to {folder}: give another --out")
    return Run(folder).lock()


def open_run(path: Path) -> Run:
    """The run in a folder; a RunFolderError if there is none."""
    if not (path / "recipe.json").exists():
        raise RunFolderError(f"{str(path)!r} holds no run (no recipe.json): give the folder of `sparring train`")
    return Run(path)


def find_run(folder: Path) -> Run | None:
    """The run that a folder is, or is part of: of a run, of its generator or `best/`, or of a checkpoint."""
    homes = (folder, *folder.resolve().parents[:2])
    return next((Run(home) for home in homes if (home / "recipe.json").exists()), None)


def licence_of(run: Run | None) -> str:
    """What is known of the licence of a generator: where the data are from, if they are named ones."""
    name = "" if run is None else read_json(run.path / "recipe.json", dict)["recipe"]["data"]
    return f"not stated; its data: {name}, {SOURCES[name].source}" if name in SOURCES else "not stated"


def delete_if_never_saved(run: Run) -> bool:
    """Delete a run that was killed before its first checkpoint, and return whether it is gone.

    A run with a generator but no checkpoint stays: somebody moved its checkpoints.
    """
    if list_checkpoints(run.checkpoints) or run.generator.exists():
        return False
    shutil.rmtree(run.path.resolve(), ignore_errors=True)
    return True

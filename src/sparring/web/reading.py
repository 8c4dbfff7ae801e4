"""What the live page reads of runs' folders: which runs there are, logs by bytes, frames, pictures. It writes nothing.

Files are read as they are: half-written, of another version, or copied from another machine while a training writes
them. What cannot be read is left out, or a `NotFoundError` says so. No file outside the runs' folders is opened.
"""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from sparring.files import is_locked
from sparring.web.found import FoundRun, NotFoundError, open_file, search
from sparring.web.log_lines import LogLines

T = TypeVar("T")

MAX_CACHED = 20_000  # parts of files
MOST_BYTES = 2**26  # of a file that is read whole
SETTLED_SECONDS = 2.0  # a folder that was changed before that is read again when its time changes
THUMBNAIL_PIXELS = 160
MAX_PIXELS = 2**26  # of a picture that is made smaller
STATUSES = ("running", "finished", "stopped", "failed")


class Runs:
    """The runs in some folders; new ones appear by themselves.

    Args:
        roots: runs, folders of runs, or studies. They need not exist yet.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(roots)
        self._found: dict[str, FoundRun] = {}
        self._cache: dict[tuple[str, str], tuple[object, Any]] = {}
        self._frames: dict[str, tuple[float, dict[str, Any]]] = {}
        self._log_lines = LogLines()
        self._lock = Lock()

    def find(self) -> dict[str, FoundRun]:
        """All runs by their ids, found anew."""
        found = {run.id: run for root in self.roots for run in search(root)}
        self._found = found
        return found

    def get(self, run_id: str) -> FoundRun:
        """The run with an id; a NotFoundError if there is none, or none any more."""
        run = self._found.get(run_id) or self.find().get(run_id)
        if run is None:
            raise NotFoundError("there is no such run, or its folder was moved")
        if os.path.realpath(run.path) != str(run.path) or not (run.path / "recipe.json").is_file():
            raise NotFoundError(f"the run {run.shown} was deleted or moved")
        return run

    # What the page lists

    def list_runs(self) -> list[dict[str, Any]]:
        """A line on each run, newest first."""
        lines, found = [], self.find().values()
        studies = {run.study: [each for each in found if each.study == run.study] for run in found if run.study}
        differ = {study: self._settings_that_differ(trials) for study, trials in studies.items()}
        for run in found:
            with suppress(NotFoundError, OSError):  # it was deleted just now
                lines.append(self._line(run, differ[run.study] if run.study else ()))
        return sorted(lines, key=lambda line: (line["started"], line["path"]), reverse=True)

    def _settings_that_differ(self, runs: Sequence[FoundRun]) -> list[str]:
        """The settings in which some runs are not alike."""
        recipes = [self.recipe(run) for run in runs]
        return [name for name in recipes[0] if len({str(recipe.get(name)) for recipe in recipes}) > 1]

    def _line(self, run: FoundRun, differ: Sequence[str]) -> dict[str, Any]:
        recipe, summary = self.recipe(run), self.summary(run)
        last, evaluation = self._last_lines(run)
        is_training = self.is_training(run)
        counters = {name: _number(last.get(name)) for name in ("images", "seconds", "progress")}
        counters["steps"] = _number(last.get("step"))
        if self.status(run) != "running":  # at its end, the summary knows more than the last line; before, less
            counters |= {name: _number(summary[name]) for name in ("steps", "images", "seconds") if name in summary}
        if summary.get("status") == "finished":
            counters["progress"] = 1
        health = summary.get("health")
        metrics = summary.get("metrics")
        times = [_modified(run.path / name) for name in ("recipe.json", "samples/step-000000.png")]
        updates = [_modified(run.path / name) for name in ("log.jsonl", "summary.json", "recipe.json")]
        return {
            "id": run.id,
            "name": ", ".join([run.name, *(f"{each.replace('_', ' ')} {_short(recipe.get(each))}" for each in differ)]),
            "path": run.shown,
            "status": self.status(run),
            "is_training": is_training,
            **counters,
            "data": str(recipe.get("data", "")),
            "started": min(each for each in times if each),
            "updated": max(updates),
            "alarms": [
                each["name"]
                for each in (health if isinstance(health, list) else [])
                if isinstance(each, dict) and isinstance(each.get("name"), str)
            ],
            "metrics": _numbers(evaluation) | _numbers(metrics),
            "study": run.study,
            "samples_step": max(_numbered(run, "samples", "png"), default=None),
        }

    def recipe(self, run: FoundRun) -> dict[str, Any]:
        """The settings in `recipe.json`, empty if it cannot be read."""
        recipe = self.read_object(run, "recipe.json").get("recipe")
        return recipe if isinstance(recipe, dict) else {}

    def summary(self, run: FoundRun) -> dict[str, Any]:
        """`summary.json`, empty if it cannot be read."""
        return self.read_object(run, "summary.json")

    def status(self, run: FoundRun) -> str:
        """What the summary says; "running" before it is written."""
        status = self.summary(run).get("status")
        return status if status in STATUSES else "running"

    def is_training(self, run: FoundRun) -> bool:
        """Whether a process of this machine is training there now."""
        return self.status(run) == "running" and is_locked(run.path / ".lock")

    def _last_lines(self, run: FoundRun) -> tuple[dict[str, Any], dict[str, Any]]:
        """The last line of the log, and its last evaluation."""

        def read(descriptor: int) -> tuple[dict[str, Any], dict[str, Any]]:
            return self._log_lines.last(descriptor, "evaluation")

        try:
            return self._cached(run, "log.jsonl", "last", read)
        except NotFoundError:
            return {}, {}

    # Parts of a run

    def log(self, run: FoundRun, after: str) -> bytes:
        """The lines of the log after a place in it, and when the rest changed, as JSON; see `LogLines.read`."""
        is_training = self.is_training(run)  # before the lines: when it is false, none can follow
        try:
            with open_file(run, "log.jsonl") as descriptor:
                lines, place, reset = self._log_lines.read(descriptor, after)
        except NotFoundError:
            self.get(run.id)
            lines, place, reset = [], "0", after not in ("", "0")
        changed = [_modified(run.path / name) for name in ("recipe.json", "summary.json", "generator", "frames")]
        rest = json.dumps({"after": place, "is_training": is_training, "reset": reset, "changed": changed})
        return b'{"lines": [' + b",".join(lines) + b"], " + rest[1:].encode()

    def frames(self, run: FoundRun) -> dict[str, Any]:
        """The steps of the frames, the seconds of training at each, and the data of all."""
        modified = _modified(run.path / "frames")
        kept = self._frames.get(run.id)
        if kept is not None and kept[0] == modified:
            return kept[1]
        steps = sorted(_numbered(run, "frames", "json"))
        seconds = []
        for step in steps:
            with suppress(NotFoundError):  # thinned out just now
                seconds.append((step, self._cached(run, _frame_name(step), "seconds", _seconds)))
        found = {
            "steps": [step for step, _ in seconds],
            "seconds": [second for _, second in seconds],
            "data": self.read_object(run, "frames/data.json") or None,
        }
        if modified < time.time() - SETTLED_SECONDS:  # else the next file may get the same time
            self._frames[run.id] = modified, found
        return found

    def frame(self, run: FoundRun, step: int) -> dict[str, Any]:
        """A frame without its thumbnails; a NotFoundError if it was thinned out."""
        frame = self.whole_frame(run, step)
        return {name: value for name, value in frame.items() if name != "thumbnails"}

    def whole_frame(self, run: FoundRun, step: int) -> dict[str, Any]:
        """A frame; a NotFoundError if there is none, or it cannot be read."""
        with open_file(run, _frame_name(step)) as descriptor:
            frame = parse_object(_read_all(descriptor))
        if not frame:
            raise NotFoundError(f"the frame of step {step} is damaged")
        return frame

    def thumbnail(self, run: FoundRun) -> bytes:
        """The newest picture of samples, made small, as a WebP file."""
        steps = _numbered(run, "samples", "png")
        if not steps:
            raise NotFoundError(f"the run {run.shown} has no pictures of samples yet")
        return self._cached(run, f"samples/step-{max(steps):06d}.png", "thumbnail", _shrink)

    def read_object(self, run: FoundRun, name: str) -> dict[str, Any]:
        """A file with a JSON object; empty if it is missing or damaged."""
        try:
            return self._cached(run, name, "object", lambda descriptor: parse_object(_read_all(descriptor)))
        except NotFoundError:
            return {}

    def changed_ns(self, run: FoundRun, name: str) -> int | None:
        """When a file in a run's own folder changed; None if there is none."""
        try:
            with open_file(run, name) as descriptor:
                return os.fstat(descriptor).st_mtime_ns
        except NotFoundError:
            return None

    def _cached(self, run: FoundRun, name: str, what: str, read: Callable[[int], T]) -> T:
        """What `read` makes of a file, remembered until the file changes."""
        key = str(run.path / name), what
        with open_file(run, name) as descriptor:
            state = os.fstat(descriptor)
            version = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
            kept = self._cache.get(key)
            if kept is not None and kept[0] == version:
                value: T = kept[1]
                return value
            value = read(descriptor)
        with self._lock:
            while len(self._cache) >= MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = version, value
        return value


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0) if size <= MOST_BYTES else b""


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object, or an empty one if the bytes are none or hold numbers that are not finite."""
    try:
        value = json.loads(data.decode(), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError("JSON has no such number")
    return value


def _number(value: Any) -> float:
    """A finite number, or 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return value if is_number else 0


def _short(value: object) -> str:
    """A setting; of a path, its end."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).rstrip("/").rpartition("/")[2]


def _numbers(values: object) -> dict[str, float]:
    """The finite numbers among some figures."""
    each = values.items() if isinstance(values, dict) else ()
    return {name: value for name, value in each if isinstance(value, int | float) and abs(value) < 1e300}


def _modified(path: Path) -> float:
    try:
        return path.stat(follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _numbered(run: FoundRun, folder: str, ending: str) -> list[int]:
    """The steps in the names of files, such as frames/step-000020.json."""
    try:
        names = os.listdir(run.path / folder) if os.path.realpath(run.path / folder) == str(run.path / folder) else []
    except OSError:
        names = []
    return [int(match[1]) for name in names if (match := re.fullmatch(rf"step-(\d{{6,15}})\.{ending}", name, re.ASCII))]


def _frame_name(step: int) -> str:
    return f"frames/step-{step:06d}.json"


def _seconds(descriptor: int) -> float:
    """The seconds of a frame; they stand among its first fields."""
    match = re.search(rb'"seconds":\s*([-+.\deE]+)', os.pread(descriptor, 300, 0))
    with suppress(ValueError):
        return _number(float(match[1])) if match else _number(parse_object(_read_all(descriptor)).get("seconds"))
    return 0.0


def _shrink(descriptor: int) -> bytes:
    from PIL import Image

    small = BytesIO()
    try:
        with Image.open(BytesIO(_read_all(descriptor)), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise NotFoundError("the picture of samples is too large")
            picture = image.convert("RGB")
        picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        picture.save(small, "WEBP", quality=80)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NotFoundError("the picture of samples is damaged") from error
    return small.getvalue()

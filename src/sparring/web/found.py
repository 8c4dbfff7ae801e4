"""Which runs there are in some folders, and opening their files and no others."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 5  # folders between a given one and a run: a study's runs are in STUDY/trials/NUMBER/run
MAX_FOLDERS = 20_000  # that one search looks into


class NotFoundError(Exception):
    """What is asked for is not there; the message is a sentence for the user."""


@dataclass(frozen=True)
class FoundRun:
    """A run's folder."""

    id: str  # a name without slashes, the same each time
    path: Path  # absolute, without links
    shown: str  # as the user would write it
    study: str | None  # the name of the study that it belongs to

    @property
    def name(self) -> str:
        """The folder's name; of a study's run, the trial's."""
        return self.path.parent.name if self.study and self.path.name == "run" else self.path.name


def search(root: Path) -> Iterator[FoundRun]:
    """The runs in a folder that the user named; links in it are not followed."""
    top = Path(os.path.realpath(root))
    waiting, looked = [(top, 0, _study_name(top))], 0
    while waiting and looked < MAX_FOLDERS:
        folder, depth, study = waiting.pop()
        looked += 1
        if (folder / "recipe.json").is_file():
            shown = os.path.normpath(root / folder.relative_to(top))
            yield FoundRun(hashlib.sha256(os.fsencode(folder)).hexdigest()[:16], folder, shown, study)
            continue
        try:
            with os.scandir(folder) as entries:
                below = [each for each in entries if each.name[0] != "." and each.is_dir(follow_symlinks=False)]
                names = [each.name for each in below]
        except OSError:
            continue
        inner = folder.name if (folder / "study.json").is_file() else study
        if depth < MAX_DEPTH:
            waiting += [(folder / name, depth + 1, inner) for name in names]


def _study_name(folder: Path) -> str | None:
    """The study that a folder is in, if it is a study's run itself."""
    return next((each.name for each in folder.parents[:3] if (each / "study.json").is_file()), None)


@contextmanager
def open_file(run: FoundRun, name: str) -> Iterator[int]:
    """Open a file of a run; a NotFoundError for anything else: a link that leads out of it, a pipe, a folder."""
    path = run.path / name
    if not Path(os.path.realpath(path)).is_relative_to(run.path):
        raise NotFoundError(f"{name} in {run.shown} is a link that leads out of it, so it is not shown")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise NotFoundError(f"there is no {name} in {run.shown}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotFoundError(f"{name} in {run.shown} is no file")
        yield descriptor
    except OSError as error:
        raise NotFoundError(f"{name} in {run.shown} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)

"""Files of one kind in a folder, or in a zip or tar archive."""

import hashlib
import io
import os
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from sparring.errors import DataError
from sparring.files import check_unpacked, check_within
from sparring.types import OnProgress

T = TypeVar("T")
File = io.BytesIO | io.BufferedReader
Member = tuple[str, int, Callable[[], File]]  # the path within a container, the size in bytes, and what opens it

TRAINING, HELD_OUT = {"train", "training"}, {"test", "testing", "val", "valid", "validation"}  # names of folders
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
AT_ONCE = 128  # files that are read in parallel, and from an archive are in memory
MAX_FAULTS = 0.1  # fail if a larger share of the files cannot be read
NUM_LISTED = 10


@dataclass(frozen=True)
class Reading:
    """How the user's files are read: fields of `Recipe` with the same names."""

    column: str | None = None  # of a table with the items; None for one with a usual name
    labels: str | None = None  # a file of them, COLUMN,... or FILE:COLUMN,...; None for those that come with the data
    frames: Literal["first", "all"] = "first"  # of animations and stacks of images
    follow_links: bool = False  # also read files outside the folder that links lead to


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # of the items in such files
    endings: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()  # usual names of a table's column with such files


@dataclass(frozen=True)
class Entry:
    """A file in a container."""

    name: str  # its path
    label: str  # the name of its class, or ""
    open: Callable[[], File]
    is_heldout: bool | None = None


@dataclass(frozen=True)
class Container:
    """Files of one kind in one place."""

    path: Path
    kind: Kind
    fingerprint: str  # changes if any file is added, removed, or changed
    num_files: int
    num_others: int  # files of other kinds
    entries: Callable[[], Iterator[Entry]]  # of all files, always in the same order
    class_names: tuple[str, ...] = ()  # in the order of the classes' numbers, unless that is alphabetical
    classes_are: str = "sub-folders"
    column: str = ""  # of a table

    def read(
        self, read: Callable[[File, Entry, int], T], faults: list[str], doing: str, on_progress: OnProgress
    ) -> Iterator[tuple[Entry, T]]:
        """Read the files in order, with threads on all cores, and add those that cannot be read to `faults`."""

        def attempt(number: int, entry: Entry) -> T | DataError:
            try:
                with entry.open() as file:
                    return read(file, entry, number)
            except DataError as error:
                return error
            except Exception as error:  # on damaged files, decoders raise anything
                return DataError(f"{entry.name}: {getattr(error, 'strerror', None) or error}")

        entries, number = self.entries(), 0
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("ignore")  # about odd files that can be read
            while part := list(islice(entries, AT_ONCE)):
                results = pool.map(attempt, range(number, number + len(part)), part)
                for entry, result in zip(part, results, strict=True):
                    if isinstance(result, DataError):
                        faults.append(str(result))
                    else:
                        yield entry, result
                number += len(part)
                on_progress(f"{doing} {self.path}", number / self.num_files)
        if len(faults) > MAX_FAULTS * self.num_files:
            raise DataError(f"{self.list_faults(faults)}\nRepair or remove them")

    def list_faults(self, faults: Sequence[str]) -> str:
        """The first ten faults as lines of text."""
        if not faults:
            return ""
        more = [f"and {len(faults) - NUM_LISTED} more"] if len(faults) > NUM_LISTED else []
        first = f"{len(faults)} of the {self.num_files} {self.kind.name} in {str(self.path)!r} cannot be read:"
        return "\n  ".join([first, *faults[:NUM_LISTED], *more])


def open_folder(path: Path, kind: Kind) -> Container:
    """The files in a folder and below it, in the order of their paths, without linked folders."""

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error

    found: list[str] = []  # paths within the folder
    stamps, num_others = hashlib.sha256(), 0
    for parent, names, files in os.walk(path, onerror=refuse):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names + files:
            at = os.path.join(parent, name)
            if os.path.islink(at):
                check_within(Path(at), path)
        for name in sorted(files):
            at = os.path.join(parent, name)
            mark = stamp(at) if _is_of(kind, name) else b""
            if mark:
                found.append(os.path.relpath(at, path))
                stamps.update(os.fsencode(found[-1]) + mark)
            else:
                num_others += 1

    def read(inside: str) -> File:
        return (path / inside).open("rb")

    def members() -> Iterator[Member]:
        return ((inside, 0, partial(read, inside)) for inside in found)

    entries = _as_entries(members, found, lambda inside: str(path / inside))
    return Container(path, kind, stamps.hexdigest(), len(found), num_others, entries)


def open_archive(path: Path, kind: Kind) -> Container:
    """The files in a zip or tar archive in its order; nothing is unpacked to disk."""

    def members(kind: Kind | None = kind) -> Iterator[Member]:
        try:
            if path.suffix.lower() == ".zip":
                archive = zipfile.ZipFile(path)  # stays open while the members are used
                for info in archive.infolist():
                    if not info.is_dir() and (kind is None or _is_of(kind, info.filename)):
                        unpack = partial(lambda info: io.BytesIO(archive.read(info)), info)
                        yield info.filename, info.file_size, unpack
                return
            with tarfile.open(path) as file:
                for member in file:  # one after the other: a compressed file has no random access
                    is_wanted = member.isfile() and (kind is None or _is_of(kind, member.name))  # links are not files
                    reader = file.extractfile(member) if is_wanted and kind is not None else None
                    if is_wanted:
                        yield member.name, member.size, partial(io.BytesIO, reader.read() if reader else b"")
        except Exception as error:  # on damaged files, decoders raise anything
            raise DataError(f"cannot read {str(path)!r}: {error}") from error

    everything = list(members(None))
    check_unpacked(path, sum(size for _, size, _ in everything))
    files = [name for name, _, _ in everything if _is_of(kind, name)]
    entries = _as_entries(members, files, lambda inside: f"{path}: {inside}", is_archive=True)
    fingerprint = hashlib.sha256(stamp(str(path))).hexdigest()
    return Container(path, kind, fingerprint, len(files), len(everything) - len(files), entries)


def _is_of(kind: Kind, name: str) -> bool:
    return os.path.splitext(name)[1].lower() in kind.endings and not os.path.basename(name).startswith("._")


def _as_entries(
    members: Callable[[], Iterator[Member]],
    insides: Sequence[str],
    name: Callable[[str], str],
    is_archive: bool = False,
) -> Callable[[], Iterator[Entry]]:
    """Members as entries.

    The class is the first folder of the path, after the folders around a whole archive, and after `train`, `test` and
    the like if all files are in such folders.
    """
    folders = [PurePosixPath(inside).parts[:-1] for inside in insides]
    levels = zip(*folders, strict=False) if is_archive else ()
    around = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
    first = {(parts[around].lower() if parts[around:] else "") for parts in folders}
    in_parts = bool(first & TRAINING and first & HELD_OUT) and first <= TRAINING | HELD_OUT

    def entries() -> Iterator[Entry]:
        for inside, _, opener in members():
            parts = PurePosixPath(inside).parts[around:-1]
            label = next(iter(parts[1:] if in_parts else parts), "")
            is_heldout = parts[0].lower() in HELD_OUT if in_parts else None
            yield Entry(one_line(name(inside)), one_line(label), opener, is_heldout)

    return entries


def one_line(name: str | Path) -> str:
    """A name on one line in UTF-8: file names may contain any bytes."""
    return str(name).encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def stamp(at: str) -> bytes:
    """Bytes that change with a file (or its link's target) or its permissions; none for a pipe and the like."""
    try:
        status = os.stat(at)
    except OSError:  # a broken link: reading it will fail
        return b"\0gone"
    times = f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0"
    return times.encode() if stat.S_ISREG(status.st_mode) else b""

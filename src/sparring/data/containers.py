"""Files of one kind in a folder, or in a zip or tar archive."""

import hashlib
import io
import os
import re
import stat
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np

from sparring.data.labels import Attribute
from sparring.data.layout import arrange, find_outputs, is_hidden, say_count
from sparring.errors import DataError
from sparring.files import check_unpacked, check_within
from sparring.types import OnProgress

T = TypeVar("T")
File = io.BytesIO | io.BufferedReader
Member = tuple[str, Callable[[], File]]  # the path within a container, and what opens it

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
AT_ONCE = 128  # files that are read in parallel, and from an archive are in memory
HEAD = 32  # bytes by which a file is known
NEVER = {".txt", ".json", ".xml", ".csv"}  # endings of files that are not opened to know them
MAX_FAULTS = 0.1  # fail if a larger share of the files cannot be read
NUM_LISTED = 10


@dataclass(frozen=True)
class Reading:
    """How the user's files are read: fields of `Recipe` with the same names."""

    column: str | None = None  # of a table with the items; None for one with a usual name
    columns: str | None = None  # a .toml file that says what columns of a table are; None for what they look like
    labels: str | None = None  # a file of them, COLUMN,... or FILE:COLUMN,...; None for those that come with the data
    frames: Literal["first", "all"] = "first"  # of animations and stacks; pieces of long sounds
    follow_links: bool = False  # also read files outside the folder that links lead to
    sample_rate_hz: int | None = None  # of sounds; None for the one that suits them
    seconds: float | None = None  # the length of sounds; None for one that 95 % of them fit into


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # of the items in such files
    endings: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()  # usual names of a table's column or a folder with such files
    signature: re.Pattern[bytes] | None = None  # of the first bytes of such files, whatever their endings

    def holds(self, name: str, head: Callable[[], bytes]) -> bool:
        """Whether a file is of this kind, by its ending, or else by its first bytes."""
        ending = ending_of(name)
        if ending in self.endings or self.signature is None or ending in NEVER:
            return ending in self.endings
        try:
            return self.signature.match(head()) is not None
        except Exception:  # on damaged archives, decoders raise anything
            return False


@dataclass(frozen=True)
class Entry:
    """A file in a container."""

    name: str  # its path
    label: str  # the name of its class, or ""
    open: Callable[[], File]
    is_heldout: bool | None = None
    vector: np.ndarray | None = None  # of attributes, float32 [d]
    inside: str = ""  # the path within the container; none for the rows of a table


@dataclass(frozen=True)
class Container:
    """Files of one kind in one place."""

    path: Path
    kind: Kind
    fingerprint: str  # changes if any file is added, removed, or changed
    num_files: int
    others: Mapping[str, int]  # how many files of other kinds, by their endings
    entries: Callable[[], Iterator[Entry]]  # of all files, always in the same order
    class_names: tuple[str, ...] = ()  # in the order of the classes' numbers, unless that is alphabetical
    classes_are: str = "sub-folders"
    insides: Sequence[str] = ()  # paths within it, in the order of the entries
    attributes: tuple[Attribute, ...] = ()  # in the entries' vectors
    notes: tuple[str, ...] = ()  # lines of text for the user, about labels, what is held out and what is left out

    def list_others(self) -> str:
        """How many files of other kinds there are, and their endings."""
        kinds = list_counts(self.others, NUM_LISTED)
        return say_count(sum(self.others.values()), "other files") + (f" ({kinds})" if kinds else "")

    def describe_rest(self) -> list[str]:
        """Lines of text on the files that are not opened or left out."""
        return [*([f"not opened: {self.list_others()}"] if self.others else []), *self.notes]

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
        which = f"{len(faults):,} of the {say_count(self.num_files, self.kind.name)}"
        first = f"{which} in {str(self.path)!r} cannot be read:"
        return "\n  ".join([first, *faults[:NUM_LISTED], *more])


def list_counts(values: Mapping[str, int] | Iterable[str], most: int | None = None) -> str:
    """The different values with their numbers, the most frequent first."""
    return ", ".join(f"{name} {number:,}" for name, number in Counter(values).most_common(most))


def list_folder(path: Path, reading: Reading = Reading()) -> Iterator[str]:
    """The paths of what is in a folder and below it, in order, those of folders with a slash at the end.

    Hidden ones are left out. A linked folder is read only if links are followed and it lies outside, and only once.
    """
    root, seen = os.path.realpath(path), set[tuple[int, int]]()

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error

    def is_new(at: str) -> bool:
        status, known = os.stat(at), len(seen)
        leads_within = os.path.islink(at) and Path(os.path.realpath(at)).is_relative_to(root)
        if not leads_within:
            seen.add((status.st_dev, status.st_ino))
        return len(seen) > known

    is_new(root)
    for parent, names, files in os.walk(path, onerror=refuse, followlinks=reading.follow_links):
        names[:] = sorted(name for name in names if not is_hidden(name))
        shown = sorted(name for name in files if not is_hidden(name))
        if reading.follow_links:
            names[:] = [name for name in names if is_new(os.path.join(parent, name))]
        else:
            for name in names + shown:
                if os.path.islink(at := os.path.join(parent, name)):
                    check_within(Path(at), path)
        inside = os.path.relpath(parent, path) + "/" if parent != str(path) else ""
        yield from (inside + name for name in shown)
        yield from (inside + name + "/" for name in names)


def open_folder(path: Path, kind: Kind, reading: Reading = Reading()) -> Container:
    """The files in a folder and below it, in the order of their paths; hidden ones are left out."""

    def read(inside: str) -> File:
        return (path / inside).open("rb")

    listed, stamps = list[tuple[str, bool]](), dict[str, bytes]()
    for inside in list_folder(path, reading):
        at = os.path.join(path, inside)
        stamps[inside] = b"" if inside.endswith("/") else stamp(at)
        listed.append((inside, stamps[inside] != b"" and kind.holds(inside, partial(read_head, at))))

    def members(chosen: Collection[str]) -> Iterator[Member]:
        return ((inside, partial(read, inside)) for inside in chosen)

    return _contain(path, kind, listed, stamps, members, lambda inside: str(path / inside))


def open_archive(path: Path, kind: Kind) -> Container:
    """The files in a zip or tar archive in its order, without hidden ones; nothing is unpacked to disk."""
    listed, unpacked = list[tuple[str, bool]](), 0
    for inside, size, read in _unpack(path):
        listed.append((inside, inside[-1] != "/" and kind.holds(inside, partial(read, HEAD))))
        unpacked += size
    check_unpacked(path, unpacked)

    def members(chosen: Collection[str]) -> Iterator[Member]:
        for inside, _, read in _unpack(path):
            if inside in chosen:  # a compressed tar file has no random access
                data = None if _is_zip(path) else read(-1)
                yield inside, partial(lambda data, read: io.BytesIO(read(-1) if data is None else data), data, read)

    stamps = {"": stamp(str(path))}
    return _contain(path, kind, listed, stamps, members, lambda inside: f"{path}: {inside}")


def read_members(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The contents of those files that an archive has."""
    return {inside: read(-1) for inside, _, read in _unpack(path) if inside in wanted}


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _unpack(path: Path) -> Iterator[tuple[str, int, Callable[[int], bytes]]]:
    """The members of an archive: the path within it, the size, and what reads the first bytes, or all for -1."""

    def within(name: str, is_folder: bool) -> str:
        return str(PurePosixPath(name.replace("\\", "/"))) + ("/" if is_folder else "")  # some zips are from Windows

    try:
        if _is_zip(path):
            archive = zipfile.ZipFile(path)  # stays open while its members are used
            for info in archive.infolist():
                yield within(info.filename, info.is_dir()), info.file_size, partial(_read_zipped, archive, info)
            return
        with tarfile.open(path) as file:
            for member in file:  # one after the other: a compressed file has no random access
                if member.isdir() or member.isfile() or member.islnk() or member.issym():
                    yield within(member.name, member.isdir()), member.size, _open_member(file, member)
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def _open_member(file: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[int], bytes]:
    """What reads a member, or the member that a link leads to; there is nothing to read outside the archive."""
    try:
        reader = file.extractfile(member)
    except (KeyError, RecursionError):  # such a link, or links in a circle
        reader = None
    return reader.read if reader else lambda count: b""


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> bytes:
    with archive.open(info) as file:
        return file.read(count)


def _contain(
    path: Path,
    kind: Kind,
    listed: Sequence[tuple[str, bool]],
    stamps: Mapping[str, bytes],
    members: Callable[[Collection[str]], Iterator[Member]],
    name: Callable[[str], str],
) -> Container:
    """A container of the listed paths, of which some are of the kind."""
    outputs = tuple(f"{folder}/" for folder in find_outputs(path, [inside for inside, _ in listed]))
    parts_of = {inside: tuple(inside.split("/")) for inside, _ in listed if not inside.startswith(outputs)}
    shown = [each for each in listed if each[0] in parts_of and not any(map(is_hidden, parts_of[each[0]]))]
    found = [inside for inside, is_of_kind in shown if is_of_kind]
    others = Counter(ending_of(inside) or "no ending" for inside, is_of in shown if not is_of and inside[-1] != "/")
    places, notes = arrange(path, (kind.name, *kind.columns), [parts_of[inside][:-1] for inside in found])
    place_of = {inside: place for inside, place in zip(found, places, strict=True) if place is not None}
    insides = [inside for inside in found if inside in place_of]
    if outputs:
        notes.append(f"left out, since sparring wrote them: {', '.join(outputs)}")

    def entries() -> Iterator[Entry]:
        for inside, opener in members(place_of):
            place = place_of[inside]
            yield Entry(one_line(name(inside)), one_line(place.label), opener, place.is_heldout, None, inside)

    marks = b"".join(os.fsencode(inside) + stamps.get(inside, b"") for inside in insides)
    fingerprint = hashlib.sha256(stamps.get("", b"") + marks).hexdigest()
    return Container(path, kind, fingerprint, len(insides), others, entries, insides=insides, notes=tuple(notes))


def ending_of(name: str) -> str:
    """The ending of a file's name in lower case."""
    return os.path.splitext(name)[1].lower()


def one_line(name: str | Path) -> str:
    """A name on one line in UTF-8: file names may contain any bytes."""
    return str(name).encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def read_head(path: str | Path) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(HEAD)


def stamp(at: str) -> bytes:
    """Bytes that change with a file (or its link's target) or its permissions; none for a pipe and the like."""
    try:
        status = os.stat(at)
    except OSError:  # a broken link: reading it will fail
        return b"\0gone"
    times = f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0"
    return times.encode() if stat.S_ISREG(status.st_mode) else b""

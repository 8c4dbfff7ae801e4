"""Image files, wherever they lie: in a folder, or in a zip or tar archive."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

from sparring.errors import DataError
from sparring.files import check_unpacked, check_within

File = io.BytesIO | io.BufferedReader
"""Bytes that can be read."""

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
TRAINING = {"train", "training"}
HELD_OUT = {"test", "testing", "val", "valid", "validation"}
"""Folders by which a set that comes in two or three parts says which of it is to be learnt from."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Picture:
    """An image file.

    Args:
        name: its path, so that a person finds it.
        label: the name of its class, or nothing.
        open: gives its bytes.
        is_heldout: whether it is held out, where the collection says so.
    """

    name: str
    label: str
    open: Callable[[], File]
    is_heldout: bool | None = None


@dataclass(frozen=True)
class Collection:
    """Image files of one place.

    Args:
        path: where they lie.
        fingerprint: another one where any file was added, removed, or changed.
        num_pictures: how many image files there are.
        num_others: how many other files, which are not looked at.
        pictures: goes through the image files, always in the same order.
        class_names: the classes in the order of their numbers; in that of their names if empty.
        classes_are: what tells the classes, in words.
        part: which of several collections at this path: a table's column.
    """

    path: Path
    fingerprint: str
    num_pictures: int
    num_others: int
    pictures: Callable[[], Iterator[Picture]]
    class_names: tuple[str, ...] = ()
    classes_are: str = "sub-folders"
    part: str = ""


def is_archive(path: Path) -> bool:
    """Whether a file is called like an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def folder(path: Path) -> Collection:
    """The images in a folder and below it, in the order of their paths.

    Folders that are links are not gone into.

    Raises:
        DataError: if a folder cannot be read, or a link leads out.
    """
    found: list[tuple[str, str]] = []  # where it lies, and where within the folder
    marks, num_others = hashlib.sha256(), 0
    for parent, names, files in os.walk(path, onerror=_unreadable):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names + files:
            at = os.path.join(parent, name)
            if os.path.islink(at):
                check_within(Path(at), path)
        for name in sorted(files):
            at = os.path.join(parent, name)
            if _is_image(name) and not _is_special(at):
                inside = os.path.relpath(at, path)
                found.append((at, inside))
                marks.update(os.fsencode(inside) + mark(at))
            else:
                num_others += 1

    place = _places([inside for _, inside in found])

    def pictures() -> Iterator[Picture]:
        for at, inside in found:
            label, is_heldout = place(inside)
            yield Picture(shown(at), label, partial(_file, at), is_heldout)

    return Collection(path, marks.hexdigest(), len(found), num_others, pictures)


def _file(at: str) -> File:
    return open(at, "rb")


def archive(path: Path) -> Collection:
    """The images in a zip or tar archive, in its order. Nothing is unpacked into files.

    Raises:
        DataError: if it cannot be read, or would unpack to far more than it takes.
    """
    try:
        names, sizes, members = _zip_members(path) if path.suffix.lower() == ".zip" else _tar_members(path)
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    check_unpacked(path, sum(sizes))
    images = [name for name in names if _is_image(name)]
    levels = zip(*(PurePosixPath(name).parts[:-1] for name in images), strict=False)
    around = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))  # folders that all lie in
    place = _places(images, around)

    def pictures() -> Iterator[Picture]:
        try:
            for name, read in members():
                if _is_image(name):
                    label, is_heldout = place(name)
                    yield Picture(shown(f"{path}: {name}"), label, read, is_heldout)
        except Exception as error:
            raise DataError(f"cannot read {str(path)!r}: {error}") from error

    fingerprint = hashlib.sha256(mark(str(path))).hexdigest()
    return Collection(path, fingerprint, len(images), len(names) - len(images), pictures)


Members = Callable[[], Iterator[tuple[str, Callable[[], File]]]]


def _zip_members(path: Path) -> tuple[list[str], list[int], Members]:
    file = zipfile.ZipFile(path)  # open as long as the pictures are of use
    infos = [info for info in file.infolist() if not info.is_dir()]

    def members() -> Iterator[tuple[str, Callable[[], File]]]:
        return ((info.filename, partial(_member, file, info)) for info in infos)

    return [info.filename for info in infos], [info.file_size for info in infos], members


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> File:
    try:
        return io.BytesIO(file.read(info))
    except Exception as error:  # on damaged members, decoders raise anything
        raise DataError(f"{shown(f'{file.filename}: {info.filename}')}: {error}") from error


def _tar_members(path: Path) -> tuple[list[str], list[int], Members]:
    with tarfile.open(path) as file:
        infos = [info for info in file if info.isfile()]  # links are no files

    def members() -> Iterator[tuple[str, Callable[[], File]]]:
        with tarfile.open(path) as file:
            for info in file:  # one after the other: what is compressed cannot be jumped around in
                if info.isfile() and (member := file.extractfile(info)):
                    yield info.name, partial(io.BytesIO, member.read() if _is_image(info.name) else b"")

    return [info.name for info in infos], [info.size for info in infos], members


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS and not os.path.basename(name).startswith("._")


def _is_special(at: str) -> bool:
    """Whether it is a pipe or the like, which would be waited for; links to nowhere are told of later."""
    try:
        return not stat.S_ISREG(os.stat(at).st_mode)
    except OSError:
        return False


def _places(insides: Sequence[str], around: int = 0) -> Callable[[str], tuple[str, bool | None]]:
    """What folders say of a file by its path: its class, and whether it is held out.

    The class is the first folder on the way to it, within those that are around all files, and within those of the
    parts of the set, where all files lie in such.
    """

    def parts(inside: str) -> tuple[str, ...]:
        return PurePosixPath(inside).parts[around:]

    first = {parts(inside)[0].lower() if len(parts(inside)) > 1 else "" for inside in insides}
    in_parts = bool(first & TRAINING and first & HELD_OUT) and first <= TRAINING | HELD_OUT

    def place(inside: str) -> tuple[str, bool | None]:
        top, *way = parts(inside)
        is_heldout = top.lower() in HELD_OUT if in_parts else None
        way = way if in_parts else [top, *way]
        return (shown(way[0]) if len(way) > 1 else ""), is_heldout

    return place


def shown(name: str | Path) -> str:
    """A name on one line, as UTF-8 can tell it: names of files may hold any bytes."""
    return str(name).encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def mark(at: str) -> bytes:
    """What changes where a file or its permissions do: size and times; of links, of their targets."""
    try:
        status = os.stat(at)
    except OSError:  # a link to nowhere: it will be listed among what cannot be read
        return b"\0gone"
    return f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0".encode()


def _unreadable(error: OSError) -> None:
    raise DataError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error

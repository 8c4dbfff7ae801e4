"""Writing files so that nothing half-made is ever seen, and reading JSON strictly."""

import json
import os
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import is_dataclass
from pathlib import Path
from typing import TypeVar

from sparring.errors import DataError, UsageError

T = TypeVar("T")


def cache_folder() -> Path:
    """Where downloads and packed images are kept: `$SPARRING_CACHE`, or `sparring` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring"
    return Path(os.environ.get("SPARRING_CACHE") or default)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file or a folder beside its place, bring it to the disk, and rename it into its place.

    Args:
        path: where it shall be; a file there is replaced by a file, a folder by a folder.
        write: makes it at the path that it is given.

    Raises:
        OSError: if it cannot be written, or a folder is where a file shall be.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomically(folder / "a.txt", lambda path: path.write_text("whole"))
        >>> [path.name for path in folder.iterdir()]
        ['a.txt']
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    aside = beside.with_suffix(".old")
    try:
        write(beside)
        for file in [beside, *beside.rglob("*")]:
            _flush(file)
        if path.is_dir() and beside.is_dir():
            os.replace(path, aside)  # a folder cannot be replaced by a rename
        os.replace(beside, path)
        _flush(path.parent)
    finally:
        if aside.exists() and not path.exists():
            os.replace(aside, path)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
        beside.unlink(missing_ok=True)


def clear_leftovers(folder: Path, but_of: Collection[str] = ()) -> None:
    """Remove what writers that were killed left in a folder and below it.

    A folder that was set aside goes back to its place where nothing took it.

    Args:
        folder: that nobody else writes to now.
        but_of: the names of files that others may write to all the same.
    """
    for path in folder.rglob(".*"):
        match = re.fullmatch(r"\.(.+)\.\d+\.(tmp.*|old)", path.name)
        if match is None or match[1] in but_of:
            continue
        if match[2] == "old" and not (path.parent / match[1]).exists():
            os.replace(path, path.parent / match[1])
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a dataclass, strictly: no missing, unknown, or mistyped field; or as a plain dict.

    Raises:
        UsageError: if it cannot be read, or is not what it should be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_json(data, kind, str(path))


def parse_json(data: bytes, kind: type[T], name: str) -> T:
    """The same of bytes, which go by a name in messages.

    Raises:
        UsageError: if they are not what they should be.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    try:
        adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind) if is_dataclass(kind) else kind)
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UsageError(f"{name} is not a valid {kind.__name__}: {field}: {first['msg']}") from error


MAX_UNPACKED, MAX_RATIO = 2**30, 100


def check_unpacked(path: Path, unpacked: int) -> None:
    """Refuse an archive that would unpack to far more than it takes: over a gigabyte, and a hundred times its size.

    Args:
        path: the archive.
        unpacked: what it says it holds, in bytes.

    Raises:
        DataError: naming the sizes.
    """
    packed = path.stat().st_size
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * packed):
        raise DataError(
            f"{path} takes {packed:,} bytes and would unpack to {unpacked:,}: unpack it yourself if you trust it"
        )


def check_within(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of a folder.

    Raises:
        DataError: naming both ends.
    """
    target = os.path.realpath(path)  # which, unlike resolve(), bears with links in a loop
    if not Path(target).is_relative_to(os.path.realpath(folder)):
        raise DataError(
            f"{str(path)!r} is a link to {target!r}, outside of the folder: copy the file into it, or "
            "give the folder that holds it"
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

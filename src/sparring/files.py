"""Atomic writing of files, and strict reading of JSON."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import TypeVar

from sparring.errors import DataError, UsageError

T = TypeVar("T")


def cache_folder() -> Path:
    """The folder of downloads and packed images: `$SPARRING_CACHE`, or `sparring` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring"
    return Path(os.environ.get("SPARRING_CACHE") or default)


def write_atomically(path: Path, write: Callable[[Path], object], *, flush: bool = True) -> None:
    """Write a file or folder under a temporary name, flush it to the disk, and rename it over an older one.

    Without `flush` it is faster, and a power cut may leave an empty file.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    aside = beside.with_suffix(".old")
    try:
        write(beside)
        for file in (beside, *beside.rglob("*")) if flush else ():
            _flush(file)
        if path.is_dir() and beside.is_dir():
            os.replace(path, aside)  # a folder cannot be replaced by a rename
        os.replace(beside, path)
        if flush:
            _flush(path.parent)
    finally:
        if aside.exists() and not path.exists():
            os.replace(aside, path)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
        beside.unlink(missing_ok=True)


def clear_leftovers(folder: Path, names_in_use: Collection[str] = ()) -> None:
    """Remove the temporary files of killed writers, except those of `names_in_use`; restore what was moved aside."""
    for path in folder.rglob(".*"):
        match = re.fullmatch(r"\.(.+)\.\d+\.(tmp.*|old)", path.name)
        if match is None or match[1] in names_in_use:
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
    data = text.encode("utf-8", "replace")  # a file's name that it tells of may be no text
    write_atomically(path, lambda beside: beside.write_bytes(data))


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a dataclass or a dict; a missing, unknown or mistyped field is a UsageError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_json(data, kind, str(path))


def parse_json(data: bytes, kind: type[T], name: str) -> T:
    """Like `read_json`, from bytes; errors call them `name`."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    try:
        adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind) if is_dataclass(kind) else kind)
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}." for part in first["loc"]).rstrip(".")
        reason = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name} is not a valid {kind.__name__}: {reason}") from error


def join_modules(paths: Iterable[Path]) -> str:
    """JavaScript's modules as one script: without the words `import` and `export`, comments, and indentation.

    A module comes after those that it needs; an import takes one line.
    """
    texts = [path.read_text(encoding="utf-8") for path in paths]
    joined = "\n".join(line for text in texts for line in map(str.strip, text.splitlines()) if line[:2] != "//")
    joined = re.sub(r"^import .*;$\n", "", joined, flags=re.MULTILINE)
    return re.sub(r"^export ", "", joined, flags=re.MULTILINE)


def check_unpacked(path: Path, unpacked: int) -> None:
    """Raise a DataError for an archive that would unpack to over a gigabyte and over a hundred times its size."""
    packed = path.stat().st_size
    if unpacked > max(2**30, 100 * packed):
        raise DataError(f"{path} ({packed:,} bytes) would unpack to {unpacked:,}: unpack it yourself if you trust it")


def check_within(path: Path, folder: Path) -> None:
    """Raise a DataError for a link that leads out of a folder."""
    target = os.path.realpath(path)  # unlike resolve(), it accepts links in a loop
    if not Path(target).is_relative_to(os.path.realpath(folder)):
        advice = "copy the file into it, or add --follow-links (in Python follow_links=True)"
        raise DataError(f"{str(path)!r} is a link to {target!r}, outside the folder: {advice}")


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds a lock on a file, without taking it or making the file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # released when the file is closed
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

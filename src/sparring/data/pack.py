"""Packing: the files of a container become one file of items, from which batches are read.

A pack is a folder in the cache: `items.npy` [n, ...], `labels.npy` if there are any, `heldout.npy` if the container
says what is held out, `files.npy` if some files hold several items, and `pack.json` with its origin and checksums. The
items are in the order of their paths, whatever the order of an archive. One process makes it while others wait. It is
complete or does not exist, and it is made again if the files change.
"""

import hashlib
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from sparring.data.containers import Container, Entry, File, Reading, one_line
from sparring.data.layout import path_order
from sparring.data.packed import Packed
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.files import cache_folder, clear_leftovers, read_json, write_atomically, write_json
from sparring.types import OnProgress

T = TypeVar("T")

VERSION = 5  # of the way that files are read and described; packs of other versions are not used
ITEMS = "items.npy"
OTHERS = ("labels.npy", "heldout.npy", "files.npy")  # arrays [n, ...], if there are any
BLOCK = 2**26
MAX_CHECKED = 16  # blocks of a large pack that are checked before it is used


class Contents(NamedTuple):
    """The items of a container."""

    items: Tensor | Packed
    labels: Tensor | None  # int64 [n], or float32 [n, d]
    is_heldout: Tensor | None  # bool [n], if the container says it
    files: Tensor | None  # the number of each item's file, int64 [n], if some hold several items


@dataclass(frozen=True)
class Format:
    """How files become items."""

    item_shape: tuple[int, ...]
    description: str  # of the shape, in words
    read: Callable[[File, str], np.ndarray]  # uint8 [k, *item_shape] from a file and its name


@dataclass(frozen=True)
class PackInfo:
    """`pack.json`."""

    path: str
    fingerprint: str
    description: str
    num_items: int
    faults: str
    checksums: tuple[int, ...]  # CRC-32 of each block of the arrays


def packs_folder() -> Path:
    """The folder of all packs."""
    return cache_folder() / "packs"


def remember(container: Container, reading: Reading, look: Callable[[], T], kind: type[T]) -> T:
    """The result of `look`, of `sparring.data.survey.Findings`; saved while the container is unchanged."""
    place = _place(container, reading)
    with _lock(place):
        before: Any = _read(place / "survey.json", kind)
        is_same = before is not None and before.fingerprint == container.fingerprint
        if is_same and before.rest == container.describe_rest():
            return before  # type: ignore[no-any-return]
        found: Any = look()
        if before is not None and not is_same:
            change = f"{before.num_items} {container.kind.name} then, {found.num_items} now"
            _warn(f"{container.path} has changed since it was packed ({change}): it is packed again")
            _clear(place)
        write_json(place / "survey.json", asdict(found))
        return found  # type: ignore[no-any-return]


def pack(
    container: Container, reading: Reading, class_names: Sequence[str], form: Format, on_progress: OnProgress
) -> Contents:
    """The items of a container, from an earlier pack or a new one."""
    place = _place(container, reading)
    folder = place / "x".join(map(str, form.item_shape))
    with _lock(place):
        info = _make_once(
            folder,
            container.fingerprint,
            lambda beside: _make(beside, container, class_names, form, on_progress),
        )
        labels, is_heldout, files = (
            torch.from_numpy(np.load(folder / name)) if (folder / name).exists() else None for name in OTHERS
        )
        items = Packed(np.load(folder / ITEMS, mmap_mode="r"))
    warn_of(info.faults)
    return Contents(items, labels, is_heldout, files)


def pack_rows(path: Path, fingerprint: str, description: str, num_columns: int, parts: Iterable[np.ndarray]) -> Packed:
    """Rows of numbers that are made of a file, from an earlier pack or a new one.

    Args:
        path: of the file.
        fingerprint: of the file and of how the rows are made.
        description: of a row, in words.
        num_columns: numbers in a row.
        parts: the rows in their order, float32 [k, num_columns] each; taken only if there is no such pack.
    """

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        count = 0
        with _write_items(folder, "<f4", (num_columns,), lambda: count) as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, "<f4").tobytes())
                count += len(part)
        _seal(folder, path, fingerprint, description, count, "")

    place = _place_of(path, "rows")
    with _lock(place):
        _make_once(place / "rows", fingerprint, make)
        return Packed(np.load(place / "rows" / ITEMS, mmap_mode="r"))


def warn_of(faults: str) -> None:
    """Say which files cannot be read."""
    if faults:
        _warn(f"{faults}\nThey were left out")


def find_packs() -> list[tuple[Path, PackInfo]]:
    """All packs, with their folders."""
    found = ((path.parent, _read(path, PackInfo)) for path in sorted(packs_folder().glob("*/*/pack.json")))
    return [(folder, info) for folder, info in found if info is not None]


def clear_packs() -> int:
    """Delete all packs, and return the bytes that were freed; trainings that read one go on."""
    size = sum(path.stat().st_size for path in packs_folder().rglob("*") if path.is_file())
    for place in packs_folder().glob("*"):
        with _lock(place):
            _clear(place)
    return size


def _make(
    folder: Path, container: Container, class_names: Sequence[str], form: Format, on_progress: OnProgress
) -> None:
    number_of = {name: number for number, name in enumerate(class_names)}
    faults: list[str] = []
    labels: list[int | np.ndarray] = []
    is_heldout: list[bool | None] = []
    files: list[int] = []
    paths: list[str] = []
    different: set[int] = set()  # checksums of items, until there are two

    def read(file: File, entry: Entry, number: int) -> tuple[int, list[bytes]]:
        items = [item.tobytes() for item in form.read(file, entry.name)]
        if class_names and entry.label not in number_of:
            raise DataError(f"{entry.name}: no file of its class could be read before")
        return number, items

    folder.mkdir(parents=True)
    with _write_items(folder, "|u1", form.item_shape, lambda: len(labels)) as file:
        for entry, (number, items) in container.read(read, faults, f"packing as {form.description}", on_progress):
            for data in items:
                file.write(data)
                labels.append(number_of.get(entry.label, 0) if entry.vector is None else entry.vector)  # 0 without
                is_heldout.append(entry.is_heldout)
                files.append(number)
                paths.append(entry.inside)
                if len(different) < 2:
                    different.add(zlib.crc32(data))
    if len(different) < 2 <= len(labels):
        what = f"all {len(labels)} {container.kind.name} in {str(container.path)!r}"
        raise DataError(f"{what} are the same: there is nothing to learn")
    order = sorted(range(len(paths)), key=lambda place: path_order(paths[place]))
    if order != [*range(len(order))]:
        _reorder(folder / ITEMS, order)
    found = (
        (class_names or container.attributes, labels, np.float32 if container.attributes else np.int64),
        (None not in is_heldout, is_heldout, np.bool_),
        (len(set(files)) < len(files), files, np.int64),
    )
    for name, (is_there, values, kind) in zip(OTHERS, found, strict=True):
        if is_there:
            np.save(folder / name, np.array(values, kind)[order])
    origin = container.path, container.fingerprint, form.description, len(labels)
    _seal(folder, *origin, container.list_faults(faults))


@contextmanager
def _write_items(folder: Path, dtype: str, item_shape: tuple[int, ...], count: Callable[[], int]) -> Iterator[BinaryIO]:
    """A new file of items, to which their bytes are written; its header says how many there are in the end."""
    with (folder / ITEMS).open("wb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": (0, *item_shape)}
        np.lib.format.write_array_header_1_0(file, header)
        yield file
        file.seek(0)
        header["shape"] = (count(), *item_shape)  # numpy pads headers: it takes no more room
        np.lib.format.write_array_header_1_0(file, header)


def _seal(folder: Path, path: Path, fingerprint: str, description: str, num_items: int, faults: str) -> None:
    """Write down what a pack is made of, and its checksums."""
    checksums = tuple(_checksum(*block) for block in _blocks(folder))
    info = PackInfo(one_line(path), fingerprint, description, num_items, faults, checksums)
    write_json(folder / "pack.json", asdict(info))


def _make_once(folder: Path, fingerprint: str, make: Callable[[Path], object]) -> PackInfo:
    """What is in a pack, which is made first if there is none of this fingerprint, or a damaged one."""
    info = _read(folder / "pack.json", PackInfo)
    if info is None or not _is_whole(folder, info, fingerprint):
        write_atomically(folder, make)
        info = read_json(folder / "pack.json", PackInfo)
    return info


def _reorder(path: Path, order: Sequence[int]) -> None:
    """Put the items of a file [n, ...] into another order."""
    items, beside = np.load(path, mmap_mode="r"), path.with_suffix(".sorted")
    ordered = np.lib.format.open_memmap(beside, "w+", items.dtype, items.shape)
    for place, number in enumerate(order):
        ordered[place] = items[number]
    ordered.flush()
    beside.replace(path)


def _place(container: Container, reading: Reading) -> Path:
    return _place_of(container.path, str(reading))


def _place_of(path: Path, how: str) -> Path:
    key = os.fsencode(os.path.realpath(path)) + f"\0{how}\0{VERSION}".encode()
    return packs_folder() / hashlib.sha256(key).hexdigest()[:16]


@contextmanager
def _lock(place: Path) -> Iterator[None]:
    """Lock a place against other processes, which wait."""
    from filelock import FileLock

    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):  # the operating system releases it after a crash
            clear_leftovers(place)
            yield
    except OSError as error:
        advice = "free some space, or set SPARRING_CACHE to another folder"
        raise DataError(
            f"cannot write into {place}, where files are packed: {error.strerror or error}: {advice}"
        ) from error


def _clear(place: Path) -> None:
    """Delete everything but the lock: other processes may be waiting for it."""
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _read(path: Path, kind: type[T]) -> T | None:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return read_json(path, kind)
    except UsageError:
        return None


def _is_whole(folder: Path, info: PackInfo, fingerprint: str) -> bool:
    """Whether a pack is of what it is made of now, and the checked blocks are undamaged."""
    if info.fingerprint != fingerprint or not (folder / ITEMS).exists():
        return False
    blocks, n = _blocks(folder), len(info.checksums)
    chosen = {*range(0, n, max(1, n // MAX_CHECKED)), max(0, n - 2), n - 1}  # the last blocks are the other arrays
    if len(blocks) == n and all(_checksum(*blocks[number]) == info.checksums[number] for number in chosen):
        return True
    _warn(f"the pack {folder} was damaged: it is made again")
    return False


def _blocks(folder: Path) -> list[tuple[Path, int]]:
    """The parts with a checksum each: blocks of the items, then the other arrays."""
    items = folder / ITEMS
    others = [(folder / name, 0) for name in OTHERS if (folder / name).exists()]
    return [(items, start) for start in range(0, items.stat().st_size, BLOCK)] + others


def _checksum(path: Path, start: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(BLOCK))


def _warn(message: str) -> None:
    warnings.warn(SparringWarning(message), stacklevel=3)

"""Images packed once into one file, from which batches are read: a set may be larger than memory.

A pack is a folder in the cache: `images.npy` (uint8 [n, channels, side, side]), `labels.npy` where there are classes,
`heldout.npy` where folders say what is held out, and `pack.json`, which says what it was made of, and with what
checksums. It is made whole or not at all, by one process while others wait, and made anew where what it was made of has
changed.
"""

import fcntl
import hashlib
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sparring.data.collection import Collection, Picture, shown
from sparring.data.images import read_image, side_by_side
from sparring.data.packed import Packed
from sparring.data.survey import AT_ONCE, OnProgress, Survey, check_faults, fault_list, survey
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.files import cache_folder, clear_leftovers, read_json, write_atomically, write_json

T = TypeVar("T")

VERSION = 2
"""Of how images are read; packs of another are made anew."""

LABELS, HELD_OUT = "labels.npy", "heldout.npy"
BLOCK = 2**26
MAX_CHECKED = 16
"""Of a pack larger than so many blocks, so many blocks spread over it are checked before it is used."""


@dataclass(frozen=True)
class Manifest:
    """What a pack was made of, `pack.json`.

    Args:
        version: of how images are read.
        path: where the images lay.
        fingerprint: of the collection.
        size: the side, in pixels.
        channels: of each image.
        num_images: in the pack.
        class_names: the classes in the order of their numbers; empty where there are none.
        faults: of files that could not be read: the first few.
        num_faults: how many there were.
        checksums: CRC-32 of each 64 MiB of `images.npy`, and of the other arrays.
    """

    version: int
    path: str
    fingerprint: str
    size: int
    channels: int
    num_images: int
    class_names: tuple[str, ...]
    faults: tuple[str, ...]
    num_faults: int
    checksums: tuple[int, ...]


@dataclass(frozen=True)
class Pack:
    """A pack that is open.

    Args:
        images: uint8 [n, channels, side, side].
        labels: int64 [n], or None.
        is_heldout: bool [n], or None.
        manifest: what it was made of.
    """

    images: Packed
    labels: Tensor | None
    is_heldout: Tensor | None
    manifest: Manifest


def packs_folder() -> Path:
    """Where packs are kept."""
    return cache_folder() / "packs"


def surveyed(collection: Collection, on_progress: OnProgress) -> Survey:
    """The survey of a collection: the one that was made before, if nothing has changed since.

    Raises:
        DataError: if it holds no images, or more than a tenth of them cannot be read.
    """
    place = _place(collection)
    with _alone(place):
        kept = _read(place / "survey.json", Survey)
        if kept is not None and kept.fingerprint == collection.fingerprint:
            return kept
        found = survey(collection, on_progress)
        if kept is not None:
            change = f"{kept.num_images} images then, {found.num_images} now"
            warnings.warn(
                SparringWarning(f"{collection.path} has changed since it was packed ({change}): it is packed anew"),
                stacklevel=2,
            )
            _remove(place)
        write_json(place / "survey.json", asdict(found))
        return found


def packed(collection: Collection, found: Survey, size: int, on_progress: OnProgress) -> Pack:
    """The pack of a collection at a size: the one that was made before, or else made now.

    Args:
        collection: the images.
        found: its survey.
        size: the side, in pixels.
        on_progress: is told how far it is.

    Raises:
        DataError: if too many images cannot be read, or all are the same.
    """
    place = _place(collection)
    folder = place / f"{size}px-{found.channels}"
    with _alone(place):
        manifest = _read(folder / "pack.json", Manifest)
        if manifest is None or not _is_whole(folder, manifest, collection):
            write_atomically(folder, lambda beside: _make(beside, collection, found, size, on_progress))
            manifest = read_json(folder / "pack.json", Manifest)
        labels, is_heldout = _array(folder / LABELS), _array(folder / HELD_OUT)
        images = Packed(folder / "images.npy")
    if manifest.num_faults:
        warnings.warn(
            SparringWarning(f"{fault_list(collection, manifest.faults, manifest.num_faults)}\nThey were left out"),
            stacklevel=2,
        )
    return Pack(images, labels, is_heldout, manifest)


def packs() -> list[tuple[Path, Manifest]]:
    """All packs, with their folders."""
    found = ((path.parent, _read(path, Manifest)) for path in sorted(packs_folder().glob("*/*/pack.json")))
    return [(folder, manifest) for folder, manifest in found if manifest is not None]


def clear_packs() -> int:
    """Remove all packs; trainings that read one go on. How many bytes that frees."""
    size = sum(path.stat().st_size for path in packs_folder().rglob("*") if path.is_file())
    for place in packs_folder().glob("*"):
        with _alone(place):
            _remove(place)  # but for the lock, which others may be waiting for
    return size


def _make(folder: Path, collection: Collection, found: Survey, size: int, on_progress: OnProgress) -> None:
    number_of = {name: number for number, name in enumerate(found.class_names)}
    shape = (found.channels, size, size)
    faults: list[str] = []
    labels: list[int] = []
    is_heldout: list[bool | None] = []
    seen: set[int] = set()  # checksums of images, until there are two of them

    def read(picture: Picture) -> np.ndarray | str:
        if found.class_names and picture.label not in number_of:
            return f"{picture.name}: no image of its class could be read before"
        try:
            with picture.open() as file:
                return read_image(file, size, found.channels, picture.name)
        except DataError as error:
            return str(error)
        except OSError as error:
            return f"{picture.name}: {error.strerror or error}"

    folder.mkdir(parents=True)
    with side_by_side() as pool, _Writer(folder / "images.npy", shape) as writer:
        pictures = collection.pictures()
        while part := list(islice(pictures, AT_ONCE)):
            for picture, pixels in zip(part, pool.map(read, part), strict=True):
                if isinstance(pixels, str):
                    faults.append(pixels)
                    continue
                writer.append(pixels)
                labels.append(number_of.get(picture.label, 0))  # 0 where there are no classes
                is_heldout.append(picture.is_heldout)
                if len(seen) < 2:
                    seen.add(zlib.crc32(pixels.tobytes()))
            done = len(labels) + len(faults)
            on_progress(f"packing {collection.path} at {size} px", done / collection.num_pictures)
    check_faults(collection, faults)
    if len(seen) < 2 <= len(labels):
        raise DataError(f"all {len(labels)} images in {str(collection.path)!r} are the same: there is nothing to learn")
    if found.class_names:
        np.save(folder / LABELS, np.array(labels, np.int64))
    if found.num_heldout is not None:
        np.save(folder / HELD_OUT, np.array(is_heldout, np.bool_))
    manifest = Manifest(
        version=VERSION,
        path=shown(collection.path),
        fingerprint=collection.fingerprint,
        size=size,
        channels=found.channels,
        num_images=len(labels),
        class_names=found.class_names,
        faults=tuple(faults[:10]),
        num_faults=len(faults),
        checksums=tuple(_checksum(*block) for block in _blocks(folder)),
    )
    write_json(folder / "pack.json", asdict(manifest))


class _Writer:
    """A .npy file of images whose number is known when it is closed."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._shape = shape
        self._count = 0
        self._write_header()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def append(self, image: np.ndarray) -> None:
        """Add one."""
        self._file.write(image.tobytes())
        self._count += 1

    def _write_header(self) -> None:
        # numpy pads headers, so that a larger count takes no more room.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _place(collection: Collection) -> Path:
    path = os.fsencode(os.path.realpath(collection.path)) + f"\0{collection.part}".encode()
    return packs_folder() / hashlib.sha256(path).hexdigest()[:16]


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """While it lasts, other processes wait that want the same."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the operating system releases it when the process ends, however it ends
            clear_leftovers(place)
            yield
    except OSError as error:
        raise DataError(
            f"cannot write into {place}, where images are packed: {error.strerror or error}: free some space, or set "
            "SPARRING_CACHE to another folder"
        ) from error


def _remove(place: Path) -> None:
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _read(path: Path, kind: type[T]) -> T | None:
    """What a file says; nothing where there is none, or one that makes no sense."""
    try:
        return read_json(path, kind)
    except UsageError:
        return None


def _is_whole(folder: Path, manifest: Manifest, collection: Collection) -> bool:
    """Whether a pack is of this collection as it is now, and undamaged as far as is looked."""
    if manifest.version != VERSION or manifest.fingerprint != collection.fingerprint:
        return False
    if (manifest.class_names and not (folder / LABELS).exists()) or not (folder / "images.npy").exists():
        return False
    blocks = _blocks(folder)
    stride = max(1, len(blocks) // MAX_CHECKED)
    chosen = {*range(0, len(blocks), stride), max(0, len(blocks) - 2), len(blocks) - 1}  # the last are other arrays
    are_all = len(blocks) == len(manifest.checksums)
    if are_all and all(_checksum(*blocks[number]) == manifest.checksums[number] for number in chosen):
        return True
    warnings.warn(SparringWarning(f"the pack {folder} was damaged: it is made anew"), stacklevel=2)
    return False


def _blocks(folder: Path) -> list[tuple[Path, int]]:
    """What checksums are of: each block of the images, then the other arrays."""
    images = folder / "images.npy"
    others = [(folder / name, 0) for name in (LABELS, HELD_OUT) if (folder / name).exists()]
    return [(images, start) for start in range(0, images.stat().st_size, BLOCK)] + others


def _array(path: Path) -> Tensor | None:
    return torch.from_numpy(np.load(path)) if path.exists() else None


def _checksum(path: Path, start: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(BLOCK))

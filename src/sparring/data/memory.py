"""Data in memory: arrays, and anything with a length and items by number.

They are saved in a file of the cache, named by its contents. So a run with them can be resumed, evaluated, and trained
by several processes like any other.
"""

import hashlib
import operator
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor

from sparring.data.images import GREY, IMAGES, convert
from sparring.data.tables import LABEL_COLUMNS
from sparring.errors import DataError
from sparring.files import cache_folder, write_atomically

NAME = "the data given"  # in messages


@runtime_checkable
class Indexable(Protocol):
    """Anything with a length and items by number, such as a list or a data set of torch or of Hugging Face."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


def kept_folder() -> Path:
    """The cache's folder of data from memory."""
    return cache_folder() / "arrays"


def kept_files() -> list[Path]:
    """The files in this folder."""
    return sorted(kept_folder().glob("*/data.npz"))


def clear_memory_files() -> int:
    """Delete this folder, and return the bytes that were freed; a training with the same data restores it."""
    size = sum(path.stat().st_size for path in kept_files())
    shutil.rmtree(kept_folder(), ignore_errors=True)
    return size


def write_memory_file(arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays into a .npz file of the cache, named by their contents, unless it exists already."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = kept_folder() / digest.hexdigest()[:16] / "data.npz"

    def save(beside: Path) -> None:
        with beside.open("wb") as file:  # by a name alone, numpy would add an ending
            np.savez(file, **dict[str, Any](arrays))

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save)
    return path


def gather(data: Indexable) -> tuple[np.ndarray, np.ndarray | None]:
    """All items as one array, and their labels if they have any: see `sparring.train`."""
    if isinstance(data, np.ndarray | Tensor):
        return _as_array(data), None
    items, labels = [], []
    for number in range(len(data)):
        try:
            item, label = _item_and_label(data[number])
        except (KeyError, TypeError) as error:
            what = f"{NAME} have no item {number} ({type(data).__name__})"
            raise DataError(f"{what}: give an array or a list of images, and labels=") from error
        items.append(_as_array(item))
        if items[-1].shape != items[0].shape:
            raise DataError(
                f"item {number} of {NAME} is {list(items[-1].shape)} and the first one {list(items[0].shape)}: give "
                "them one shape, or give a folder of image files"
            )
        try:
            labels += [] if label is None else [operator.index(label)]
        except TypeError as error:
            raise DataError(f"the label of item {number} of {NAME} is {label!r}, and no whole number") from error
    if labels and len(labels) != len(items):
        raise DataError(f"{len(labels)} of the {len(items)} items of {NAME} have a label: give one to each, or none")
    return np.stack(items) if items else np.zeros((0, 1, 1), np.uint8), np.array(labels) if labels else None


def _item_and_label(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, Mapping):
        return given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    item, label = (
        next((given[name] for name in names if name in given), None) for names in (IMAGES.columns, LABEL_COLUMNS)
    )
    if item is None:
        raise DataError(f"the items of {NAME} have no {IMAGES.columns[0]!r}, but {', '.join(map(str, given))}")
    return item, label


def _as_array(item: Any) -> np.ndarray:
    if isinstance(item, Image.Image) and item.mode not in {"L", "RGB", "RGBA"}:
        try:
            item = convert(item, 4 if item.has_transparency_data else 1 if item.mode in GREY else 3)
        except ValueError as error:
            raise DataError(f"an image of {NAME} cannot be converted: {error}") from error
    return item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)

"""Data in memory: arrays, and anything whose items can be counted and asked for.

They are kept in a file of the cache, named by what they hold: so that a training can be resumed, evaluated and
started by several processes as one of files can, and nothing else needs to know of data in memory.
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

from sparring.data.arrays import check_labels, items_of
from sparring.data.images import converted
from sparring.data.survey import GREY
from sparring.data.tables import IMAGE_COLUMNS, LABEL_COLUMNS
from sparring.errors import DataError
from sparring.files import cache_folder, write_atomically

NAME = "the data given"
"""In messages."""


@runtime_checkable
class Indexable(Protocol):
    """Anything with a length and items by number, such as a list or a data set of torch or of Hugging Face."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, number: int, /) -> Any:
        """One item."""


def kept_folder() -> Path:
    """Where data that were in memory are kept."""
    return cache_folder() / "arrays"


def kept() -> list[Path]:
    """The files that there are."""
    return sorted(kept_folder().glob("*/data.npz"))


def clear_kept() -> int:
    """Remove them; a run can be resumed after a training with the same data. How many bytes that frees."""
    size = sum(path.stat().st_size for path in kept())
    shutil.rmtree(kept_folder(), ignore_errors=True)
    return size


def keep(data: Indexable, labels: Indexable | None = None) -> Path:
    """Write data into a file of the cache, unless they are there already.

    Args:
        data: images [n, ...] or points [n, d], as `read_arrays` takes them; or items: images as arrays, tensors or
            Pillow's, or pairs (image, label), or mappings with an "image" and perhaps a "label".
        labels: whole numbers, one to each item.

    Returns:
        A .npz file.

    Raises:
        DataError: if they are not all of one shape, or no images or points.

    Example:
        >>> path = keep([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)], labels=[0, 1])
        >>> np.load(path)["images"].shape
        (2, 8, 8, 1)
    """
    found, own = _gathered(data)
    given = own if labels is None else np.asarray(labels)
    items = items_of(found, NAME)
    whole = items.permute(0, 2, 3, 1) if items.ndim == 4 else items
    arrays = {"images" if items.ndim == 4 else "points": np.ascontiguousarray(whole.numpy())}
    if (checked := check_labels(given, found, NAME)) is not None:
        arrays["labels"] = checked.numpy()
    marks = hashlib.sha256()
    for name, array in arrays.items():
        marks.update(f"{name} {array.dtype} {array.shape}".encode())
        marks.update(array.data)
    path = kept_folder() / marks.hexdigest()[:16] / "data.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda at: _save(at, arrays))
    return path


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # by a name alone, numpy would add an ending
        np.savez(file, **arrays)


def _gathered(data: Indexable) -> tuple[np.ndarray, np.ndarray | None]:
    """All items as one array, and their labels if they bring some."""
    if isinstance(data, np.ndarray | Tensor):
        return _array(data), None
    images, labels = [], []
    for number in range(len(data)):
        try:
            item = data[number]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{NAME} have no item {number} ({type(data).__name__}): give an array or a list of images, and labels="
            ) from error
        image, label = _parted(item)
        images.append(_array(image))
        try:
            labels += [] if label is None else [operator.index(label)]
        except TypeError as error:
            raise DataError(f"the label of item {number} of {NAME} is {label!r}, and no whole number") from error
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"item {number} of {NAME} is {list(images[-1].shape)} and the first one {list(images[0].shape)}: bring "
                "them to one shape, or save them as image files in a folder and give that"
            )
    if labels and len(labels) != len(images):
        raise DataError(f"{len(labels)} of the {len(images)} items of {NAME} have a label: give one to each, or none")
    return np.stack(images) if images else np.zeros((0, 1, 1), np.uint8), np.array(labels) if labels else None


def _parted(item: Any) -> tuple[Any, Any]:
    """The image of an item, and its label or None."""
    if isinstance(item, Mapping):
        image = next((item[name] for name in IMAGE_COLUMNS if name in item), None)
        if image is None:
            raise DataError(f"the items of {NAME} have no {IMAGE_COLUMNS[0]!r}, but {', '.join(map(str, item))}")
        return image, next((item[name] for name in LABEL_COLUMNS if name in item), None)
    return item if isinstance(item, tuple) and len(item) == 2 else (item, None)


def _array(image: Any) -> np.ndarray:
    if isinstance(image, Image.Image) and image.mode not in {"L", "RGB", "RGBA"}:
        try:
            image = converted(image, 4 if image.has_transparency_data else 1 if image.mode in GREY else 3)
        except ValueError as error:
            raise DataError(f"an image of {NAME} cannot be taken: {error}") from error
    return image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)

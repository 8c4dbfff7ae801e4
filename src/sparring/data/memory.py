"""Data in memory: arrays, and anything with a length and items by number.

They are saved in a file of the cache, named by its contents: as arrays, or as an archive if images have several sizes.
So a run with them can be resumed, evaluated, and trained by several processes like any other.
"""

import csv
import hashlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from sparring.data.arrays import arrange, find_levels
from sparring.data.images import GREY, IMAGES, convert, count_frames, depth
from sparring.data.labels import LABEL_COLUMNS, NPZ
from sparring.data.layout import say_count
from sparring.data.pixels import to_bytes
from sparring.errors import DataError, SparringWarning
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
    return sorted(kept_folder().glob("*/data.*"))


def clear_memory_files() -> int:
    """Delete this folder, and return the bytes that were freed; a training with the same data restores it."""
    size = sum(path.stat().st_size for path in kept_files())
    shutil.rmtree(kept_folder(), ignore_errors=True)
    return size


def write_memory_file(arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays into a .npz file of the cache, named by their contents, unless it exists already."""
    return _write(arrays, "data.npz", lambda beside: np.savez(beside, **dict[str, Any](arrays)))


def write_memory_images(images: Sequence[np.ndarray], labels: Mapping[str, np.ndarray]) -> Path:
    """Write images of several sizes into an archive of the cache, like `write_memory_file`.

    Args:
        images: all of one type, in one of the layouts of `sparring.data.arrays.as_images`.
        labels: arrays as `sparring.data.labels.npz_labels` gives them.
    """
    kinds = [f"{image.dtype} {list(image.shape)}" for image in images]
    for number, image in enumerate(images):
        if image.ndim not in (2, 3) or image.dtype.kind not in "biuf" or image.dtype != images[0].dtype:
            other = next(number for number, kind in enumerate(kinds) if kind != kinds[0])
            raise DataError(
                f"item {other} of {NAME} is {kinds[other]} and the first one {kinds[0]}: give all one type and, unless "
                "they are images, one shape"
            )
        if not np.isfinite(image).all():
            raise DataError(f"item {number} of {NAME} is not finite")
    arranged = [arrange(image[None], NAME)[0] for image in images]
    levels = find_levels(images, NAME)
    columns = {name.removeprefix(NPZ).replace("labels", "label"): values.tolist() for name, values in labels.items()}
    rows = zip(map(_file_name, range(len(images))), *columns.values(), strict=True)
    text = io.StringIO()
    csv.writer(text).writerows([("file_name", *columns), *rows])

    def save(beside: Path) -> None:
        with zipfile.ZipFile(beside, "w") as archive:
            for number, image in enumerate(arranged):
                data = io.BytesIO()
                Image.fromarray(to_bytes(image, levels)).save(data, format="PNG", compress_level=1)
                archive.writestr(zipfile.ZipInfo(_file_name(number)), data.getvalue())
            if columns:
                archive.writestr(zipfile.ZipInfo("labels.csv"), text.getvalue())

    contents = {_file_name(number): image for number, image in enumerate(images)}
    return _write(contents | {"labels": np.frombuffer(text.getvalue().encode(), np.uint8)}, "data.zip", save)


def _file_name(number: int) -> str:
    return f"{number:08d}.png"


def _write(arrays: Mapping[str, np.ndarray], name: str, save: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256()
    for key, array in arrays.items():
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return _save_once(digest.hexdigest(), name, save)


def keep_bytes(content: bytes, name: str) -> Path:
    """Write a file's bytes into the cache, named by them, unless they are there already."""
    return _save_once(hashlib.sha256(content).hexdigest(), name, lambda beside: beside.write_bytes(content))


def _save_once(digest: str, name: str, save: Callable[[Path], object]) -> Path:
    path = kept_folder() / digest[:16] / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save)
    return path


def gather(data: object) -> tuple[np.ndarray | list[np.ndarray], list[Any] | None]:
    """All items, as one array unless their shapes differ, and their labels if they have any: see `sparring.train`."""
    if isinstance(data, np.ndarray | Tensor) or hasattr(data, "__array__"):
        array = _as_array(data, NAME)
        if array.ndim == 0:
            raise DataError(f"{NAME} hold a single number, {array}: give an array [n, ...]")
        if isinstance(data, np.ndarray | Tensor) or array.dtype != object:  # no table's column of arrays
            return array, None
    if not isinstance(data, Indexable):
        mend = "list(...)" if isinstance(data, Iterable) else "an array, or a list of images"
        mend = "its .dataset" if hasattr(data, "dataset") else mend
        raise DataError(f"{NAME} have no length or no items by number ({type(data).__name__}): give {mend}")
    items, labels, unused, num_stacks = list[np.ndarray](), list[Any](), dict[str, None](), 0
    for number in range(len(data)):
        try:
            item, label, others = _item_and_label(data[number])
        except (KeyError, TypeError, NotImplementedError) as error:
            what = f"{NAME} have no item {number} ({type(data).__name__})"
            raise DataError(f"{what}: give an array or a list of images, and labels=") from error
        unused |= dict.fromkeys(others)
        num_stacks += isinstance(item, Image.Image) and count_frames(item) > 1
        items.append(_as_array(item, f"item {number} of {NAME}"))
        if label is not None:
            labels.append(label.tolist() if isinstance(label, np.ndarray | Tensor) else label)
    if not items:
        raise DataError(f"{NAME} hold 0 items, but a training needs at least a few hundred")
    if labels and len(labels) != len(items):
        raise DataError(f"{len(labels)} of the {len(items)} items of {NAME} have a label: give one to each, or none")
    if unused:
        message = f"not used of the items of {NAME}: {', '.join(unused)} (for other labels, give labels=)"
        warnings.warn(SparringWarning(message), stacklevel=2)
    if num_stacks:
        message = f"several frames in {say_count(num_stacks, 'images')} of {NAME}: the first of each is taken"
        warnings.warn(SparringWarning(message), stacklevel=2)
    are_alike = len({(item.shape, item.dtype) for item in items}) <= 1
    return (np.array(items) if are_alike else items), labels or None


def _item_and_label(given: Any) -> tuple[Any, Any, list[str]]:
    """An item, its label or None, and the names of what else there is."""
    if isinstance(given, Mapping):
        used = [next((name for name in names if name in given), None) for names in (IMAGES.columns, LABEL_COLUMNS)]
        item, label = (None if name is None else given[name] for name in used)
        if item is None:
            raise DataError(f"the items of {NAME} have no {IMAGES.columns[0]!r}, but {', '.join(map(str, given))}")
        return item, label, [str(name) for name in given if name not in used]
    kinds = np.ndarray, Tensor, Image.Image
    if not isinstance(given, tuple | list) or not given or not isinstance(given[0], (*kinds, list)):
        return given, None, []
    first, second = given[0], given[1] if len(given) > 1 else None
    has_rows = isinstance(first, list) or (hasattr(first, "shape") and first.shape == getattr(second, "shape", None))
    if isinstance(given, list) and has_rows:
        return given, None, []
    return first, second, []  # with a name or the like behind them


def _as_array(item: Any, name: str) -> np.ndarray:
    if isinstance(item, str | bytes | PathLike):
        raise DataError(f"{name} is no image, but {type(item).__name__}: give the folder's path, or open the images")
    try:
        if isinstance(item, Image.Image):
            item = ImageOps.exif_transpose(item)
            if item.mode not in {"L", "RGB"} and not depth(item):
                item = convert(item, 4 if item.has_transparency_data else 1 if item.mode in GREY else 3)
        if isinstance(item, Tensor):
            item = item.detach().cpu()
            item = (item.float() if item.dtype == torch.bfloat16 else item).numpy()
        return np.asarray(item)
    except Exception as error:  # on damaged images, decoders raise anything
        mend = "" if name == NAME else ": give an image, or a pair (image, label)"
        raise DataError(f"{name} cannot be read: {error}{mend}") from error

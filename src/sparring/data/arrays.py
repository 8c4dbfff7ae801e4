"""Array files: images or points, with labels if there are any."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.data.packed import Packed
from sparring.errors import DataError, SparringWarning
from sparring.files import check_unpacked

LARGE = 2**28
"""Arrays of images that take more bytes stay in their file."""

CHANNELS = (1, 3, 4)

CLEARLY_BELOW_0 = 0.5
"""Floats that fall below 0 by less may be of a range from 0 to 1 that was overshot."""


def read_arrays(path: Path) -> tuple[Tensor | Packed, Tensor | None]:
    """The items of a .npy or .npz file, and their labels.

    Images are uint8 [n, height, width], [n, height, width, channels] or [n, channels, height, width], or floats of
    these shapes between 0 and 1 or between −1 and 1; points are floats [n, 2 or more dimensions].

    Raises:
        DataError: if it holds nothing of the kind, naming the array and what is wrong with it.
    """
    if path.suffix == ".npy" and path.stat().st_size > LARGE:
        return _large(path), None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                check_unpacked(path, sum(member.file_size for member in file.infolist()))
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"images": loaded}
        else:
            with loaded:
                arrays = dict(loaded.items())
    except DataError:
        raise
    except Exception as error:  # on damaged files, numpy raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    named = next((arrays[name] for name in ("images", "points") if name in arrays), None)
    if named is None:
        raise DataError(f"{str(path)!r} has no array 'images' or 'points', but {', '.join(sorted(arrays))}")
    return items_of(named, str(path)), check_labels(arrays.get("labels"), named, str(path))


def items_of(array: np.ndarray, name: str) -> Tensor:
    """Images as uint8 [n, channels, height, width], or points as float32, from an array of any accepted layout.

    Raises:
        DataError: if it is none, by its name.
    """
    is_float = np.issubdtype(array.dtype, np.floating)
    if array.ndim in (3, 4) and (is_float or array.dtype == np.uint8):
        images = _pixels(array, name) if is_float else array
        if images.ndim == 3:
            return torch.from_numpy(images)[:, None]
        return torch.from_numpy(images.transpose(0, 3, 1, 2) if _is_channels_last(array, name) else images).contiguous()
    if is_float and array.ndim == 2 and array.shape[1] >= 2:
        _check_finite(array, name, "row")
        return torch.from_numpy(array.astype(np.float32))
    raise DataError(
        f"{name!r} holds {array.dtype} {list(array.shape)}: images are uint8 [n, height, width] or "
        "[n, height, width, 1, 3 or 4], points are floats [n, 2 or more dimensions]"
    )


def _large(path: Path) -> Packed:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # on damaged files, numpy raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not array.flags.c_contiguous:
        raise DataError(
            f"{str(path)!r} holds {array.dtype} {list(array.shape)}: so large an array must be uint8 images "
            "[n, height, width] or [n, height, width, 1, 3 or 4], in C order"
        )
    return Packed(path, channels_last=array.ndim == 4 and _is_channels_last(array, str(path)))


def _is_channels_last(array: np.ndarray, name: str) -> bool:
    """Whether [n, a, b, c] are heights, widths and channels; else they are channels, heights and widths."""
    if array.shape[3] in CHANNELS:
        return True
    if array.shape[1] in CHANNELS:
        return False
    raise DataError(
        f"{name!r} holds images {list(array.shape)}, of {array.shape[3]} channels: give 1 (grey), 3 (RGB) or 4 (RGBA)"
    )


def _pixels(array: np.ndarray, name: str) -> np.ndarray:
    """Floats as 0 to 255, by a range that leaves no doubt."""
    _check_finite(array, name, "image")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < -1 or high > 1 or low == high or -CLEARLY_BELOW_0 < low < 0:
        raise DataError(
            f"{name!r} holds {array.dtype} images from {low:g} to {high:g}, and it is not clear what is black and what "
            "white: give uint8 from 0 to 255, or floats from 0 to 1 or from -1 to 1"
        )
    unit = array if low >= 0 else (array + 1) / 2
    return (unit * 255).round().astype(np.uint8)


def _check_finite(array: np.ndarray, name: str, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if len(bad):
        raise DataError(f"{what} {bad[0]} of {name!r} is not finite ({len(bad)} such {what}s)")


def check_labels(found: np.ndarray | None, items: np.ndarray, name: str) -> Tensor | None:
    """Labels as int64 [n]; None where there are none, or all are alike.

    Raises:
        DataError: if they are no whole numbers, or not one to each item.
    """
    if found is None:
        return None
    if not np.issubdtype(found.dtype, np.integer) or found.shape != items.shape[:1]:
        raise DataError(
            f"{name!r} has {len(items)} items and labels {found.dtype} {list(found.shape)}: "
            "labels are whole numbers, one to each item"
        )
    if len(found) and (found == found[0]).all():
        warnings.warn(
            SparringWarning(f"all labels in {name!r} are {found[0]}: they tell nothing, and are left out"), stacklevel=2
        )
        return None
    return torch.from_numpy(found.astype(np.int64))

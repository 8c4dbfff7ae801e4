"""Files of arrays, and arrays of images and labels."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from sparring.errors import DataError, SparringWarning
from sparring.files import check_unpacked
from sparring.types import Labels

LARGE = 2**28  # a .npy file of more bytes stays on the disk
CHANNELS = (1, 3, 4)
CLEARLY_BELOW_0 = 0.5  # floats that are less below 0 may be a little outside a range from 0 to 1


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file by their names, or the array of a .npy file, without a name."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                check_unpacked(path, sum(member.file_size for member in file.infolist()))
        is_large = path.suffix == ".npy" and path.stat().st_size > LARGE
        loaded = np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return dict(loaded.items())
    except DataError:
        raise
    except Exception as error:  # on damaged files, numpy raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def as_images(array: np.ndarray, name: str) -> np.ndarray | None:
    """Images uint8 [n, height, width] or [n, height, width, 3 or 4] from bytes or floats; None for other arrays."""
    is_float = np.issubdtype(array.dtype, np.floating)
    if array.ndim not in (3, 4) or not (is_float or array.dtype == np.uint8):
        return None
    images = _to_bytes(array, name) if is_float else array
    if images.ndim == 4 and images.shape[3] not in CHANNELS:
        if images.shape[1] not in CHANNELS:
            channels = f"{list(images.shape)}, of {images.shape[3]} channels"
            raise DataError(f"{name!r} holds images {channels}: give 1 (grey), 3 (RGB) or 4 (RGBA)")
        images = images.transpose(0, 2, 3, 1)
    return images[..., 0] if images.shape[3:] == (1,) else images


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    if isinstance(array, np.memmap):
        raise DataError(f"{name!r} holds {array.dtype} images: a file of this size must hold uint8")
    check_finite(array, name, "image")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < -1 or high > 1 or low == high or -CLEARLY_BELOW_0 < low < 0:
        raise DataError(
            f"{name!r} holds {array.dtype} images from {low:g} to {high:g}, and it is not clear what is black and what "
            "is white: give uint8 from 0 to 255, or floats from 0 to 1 or from -1 to 1"
        )
    unit = array if low >= 0 else (array + 1) / 2
    return (unit * 255).round().astype(np.uint8)


def check_finite(array: np.ndarray, name: str, what: str) -> None:
    """Refuse an array [n, ...] with items that are not finite."""
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if len(bad):
        raise DataError(f"{what} {bad[0]} of {name!r} is not finite ({len(bad)} such {what}s)")


def check_labels(labels: np.ndarray | None, num_items: int, name: str) -> Labels | None:
    """Labels as int64 [n]; None if there are none, or all are equal."""
    if labels is None:
        return None
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (num_items,):
        raise DataError(
            f"{name!r} has {num_items} items and labels {labels.dtype} {list(labels.shape)}: "
            "labels are whole numbers, one for each item"
        )
    if len(labels) and (labels == labels[0]).all():
        message = f"all labels in {name!r} are {labels[0]}: they carry no information, and are left out"
        warnings.warn(SparringWarning(message), stacklevel=2)
        return None
    return torch.from_numpy(labels.astype(np.int64))

"""Data of one's own: an array file, a folder of idx files, a folder of images."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.data.idx import FILES, holds_idx, open_idx
from sparring.data.images import read_folder
from sparring.data.source import Dataset, Items
from sparring.errors import DataError
from sparring.files import check_unpacked, check_within

HELDOUT_SHARE = 0.1


def open_path(path: Path, size: int | None) -> Dataset:
    """What lies at a path, one item in ten held out.

    Args:
        path: a .npy or .npz file, a folder of idx files, or a folder of images.
        size: the side that images of a folder are brought to, in pixels; 28 where none is given.

    Raises:
        DataError: if there is nothing there that can be read.
    """
    if not path.exists():
        raise DataError(
            f"there is no file or folder {str(path)!r}, and no data set of that name (see `sparring list data`)"
        )
    if path.is_dir() and holds_idx(path):
        for name in FILES:
            check_within(path / name, path)
            check_within(path / f"{name}.gz", path)
        return open_idx(path, str(path))
    if path.is_dir():
        return _split(str(path), read_folder(path, size or 28), None)
    if path.suffix in {".npy", ".npz"}:
        return _split(str(path), *_read_arrays(path))
    raise DataError(f"{str(path)!r} is no data that can be read: give a .npy or .npz file, or a folder of images")


def _split(name: str, items: Tensor, labels: Tensor | None) -> Dataset:
    if len(items) < 2:
        raise DataError(f"{name!r} holds {len(items)} items, and a training needs at least a few hundred")
    heldout = torch.arange(len(items)) % round(1 / HELDOUT_SHARE) == round(1 / HELDOUT_SHARE) - 1
    heldout[-1] = True  # never empty
    try:
        Items(items, labels)  # all of them, so that an error names the item's number in the file
    except DataError as error:
        raise DataError(f"{name!r}: {error}") from error
    train, held = (Items(items[part], None if labels is None else labels[part]) for part in (~heldout, heldout))
    scale = items.square().mean().sqrt().item() if items.is_floating_point() else 1.0
    return Dataset(name, train, held, scale or 1.0)


def _read_arrays(path: Path) -> tuple[Tensor, Tensor | None]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                check_unpacked(path, sum(member.file_size for member in file.infolist()))
        loaded = np.load(path, allow_pickle=False)
        arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded.items())
    except DataError:
        raise
    except Exception as error:  # on damaged files, numpy raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    named = next((arrays[name] for name in ("images", "points") if name in arrays), None)
    if named is None:
        raise DataError(f"{str(path)!r} has no array 'images' or 'points', but {', '.join(sorted(arrays))}")
    labels = None
    if "labels" in arrays:
        found = arrays["labels"]
        if not np.issubdtype(found.dtype, np.integer) or found.shape != named.shape[:1]:
            raise DataError(
                f"{str(path)!r} has {len(named)} items and labels {found.dtype} {list(found.shape)}: "
                "labels are whole numbers, one to each item"
            )
        labels = torch.from_numpy(found.astype(np.int64))
    return _items(named, str(path)), labels


def _items(array: np.ndarray, name: str) -> Tensor:
    """An array as items: uint8 [n, H, W] or [n, H, W, C] as images, floats [n, d] as points."""
    if array.dtype == np.uint8 and array.ndim == 3:
        return torch.from_numpy(array)[:, None]
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
    if np.issubdtype(array.dtype, np.floating) and array.ndim == 2 and array.shape[1] >= 2:
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad):
            raise DataError(f"row {bad[0]} of {name!r} is not finite ({len(bad)} such rows)")
        return torch.from_numpy(array.astype(np.float32))
    raise DataError(
        f"{name!r} holds {array.dtype} {list(array.shape)}: images are uint8 [n, height, width] or "
        "[n, height, width, 1, 3 or 4], points are floats [n, 2 or more dimensions]"
    )

"""Data of one's own: what lies at a path, and how it is split."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sparring.data.arrays import read_arrays
from sparring.data.collection import ARCHIVES, ENDINGS, Collection, archive, folder, is_archive, shown
from sparring.data.idx import FILES, holds_idx, open_idx
from sparring.data.memory import kept_folder
from sparring.data.pack import packed, surveyed
from sparring.data.packed import Packed
from sparring.data.source import Dataset, Items
from sparring.data.survey import OnProgress, Survey
from sparring.data.tables import table, table_files
from sparring.errors import DataError, SparringWarning
from sparring.files import check_within

HELDOUT_EVERY = 10
"""Every so many-th item is held out."""


def collection_at(path: Path, column: str | None = None) -> Collection | None:
    """The collection of images at a path: a folder, an archive or a table; None where it is something else.

    Raises:
        DataError: if there is nothing, or it cannot be read.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{shown(path)!r} is not written in UTF-8: rename it") from error
    if not path.exists() and path.is_relative_to(kept_folder()):
        raise DataError(
            f"the data that were given in memory are no longer kept in {str(path)!r}: a training with the same puts "
            "them back"
        )
    if not path.exists():
        raise DataError(
            f"there is no file or folder {str(path)!r}, and no data set of that name (see `sparring list data`)"
        )
    if path.is_dir() and holds_idx(path):
        return None
    if path.is_dir():
        found = folder(path)
        files = [] if found.num_pictures else table_files(path)
        return table(path, files, column) if files else found
    if is_archive(path):
        return archive(path)
    if path.suffix == ".parquet":
        return table(path, [path], column)
    if path.suffix.lower() in ENDINGS:
        raise DataError(f"{str(path)!r} is a single image: give the folder of many that it lies in")
    return None


def look_at(path: Path, column: str | None, on_progress: OnProgress) -> Survey | None:
    """What a collection of images holds, before it is packed; None where a path holds something else.

    Raises:
        DataError: if it cannot be read, or holds no images.
    """
    collection = collection_at(path, column)
    return None if collection is None else surveyed(collection, on_progress)


def open_path(
    path: Path, size: int | None, column: str | None, on_progress: OnProgress, *, dry: bool = False
) -> Dataset:
    """What lies at a path; one item in ten is held out, where it does not say itself which are.

    Args:
        path: an array file, a folder of idx files, or a collection of images.
        size: the side that images of a collection are brought to, in pixels; the largest that they fill if None.
        column: of a table, that holds the images.
        on_progress: is told how far it is.
        dry: whether collections are not packed: their images are black then.

    Raises:
        DataError: if there is nothing there that can be read.
    """
    collection = collection_at(path, column)
    if collection is not None:
        return _open_collection(collection, size, on_progress, dry)
    if path.is_dir():
        for name in FILES:
            check_within(path / name, path)
            check_within(path / f"{name}.gz", path)
        return open_idx(path, str(path))
    if path.suffix in {".npy", ".npz"}:
        return _split(str(path), *read_arrays(path))
    raise DataError(
        f"{str(path)!r} is no data that can be read: give a folder of images, an archive of them "
        f"({', '.join(ARCHIVES)}), or a .parquet, .npy or .npz file"
    )


def _open_collection(collection: Collection, size: int | None, on_progress: OnProgress, dry: bool) -> Dataset:
    found = surveyed(collection, on_progress)
    size = size or found.sizes[-1]
    images: Tensor | Packed
    if dry:
        images = torch.zeros(1, found.channels, size, size, dtype=torch.uint8).expand(found.num_images, -1, -1, -1)
        counts = torch.tensor(list(found.class_counts.values()), dtype=torch.int64)
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts) if len(counts) else None
        is_heldout = None if found.num_heldout is None else _spread(found.num_heldout, found.num_images)
    else:
        pack = packed(collection, found, size, on_progress)
        images, labels, is_heldout = pack.images, pack.labels, pack.is_heldout
    if single := [name for name, count in found.class_counts.items() if count == 1]:
        warnings.warn(
            SparringWarning(
                f"these classes in {str(collection.path)!r} have a single image, which will be learned by heart: "
                f"{_listed(single)}. Add some, or train with --conditional False"
            ),
            stacklevel=2,
        )
    dataset = _split(str(collection.path), images, labels, len(found.class_names), is_heldout)
    untrained = [name for name, share in zip(found.class_names, dataset.train.class_shares, strict=True) if not share]
    if untrained and found.num_heldout is not None and not dry:
        warnings.warn(
            SparringWarning(
                f"these classes in {str(collection.path)!r} have no images to train on, but what is held out: "
                f"{_listed(untrained)}"
            ),
            stacklevel=2,
        )
    return replace(dataset, class_names=found.class_names, survey=found)


def _listed(names: list[str]) -> str:
    """The first ten."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _split(
    name: str, items: Tensor | Packed, labels: Tensor | None, num_classes: int = 0, is_heldout: Tensor | None = None
) -> Dataset:
    if len(items) < 2:
        raise DataError(f"{name!r} holds {len(items)} items, and a training needs at least a few hundred")
    try:
        Items(items, labels)  # all of them, so that an error names the item's number in the file
    except DataError as error:
        raise DataError(f"{name!r}: {error}") from error
    if is_heldout is None or is_heldout.all() or not is_heldout.any():
        is_heldout = _is_heldout(labels, len(items))
    train, heldout = (
        Items(items, labels, part.nonzero().flatten(), num_classes=num_classes) for part in (~is_heldout, is_heldout)
    )
    scale = items.square().mean().sqrt().item() if isinstance(items, Tensor) and items.is_floating_point() else 1.0
    return Dataset(name, train, heldout, scale or 1.0)


def _spread(number: int, count: int) -> Tensor:
    """So many of them, evenly: where nothing is read that would tell which."""
    shares = torch.arange(count + 1) * number // count
    return shares[1:] > shares[:-1]


def _is_heldout(labels: Tensor | None, count: int) -> Tensor:
    """Every tenth item, of items sorted by class; but none that is alone in its class."""
    places = torch.arange(count)
    if labels is not None:
        places[torch.argsort(labels, stable=True)] = torch.arange(count)
    is_heldout = places % HELDOUT_EVERY == HELDOUT_EVERY - 1
    if labels is not None:
        is_heldout &= torch.bincount(labels)[labels] > 1
    if not is_heldout.any():
        is_heldout[-1] = True
    return is_heldout

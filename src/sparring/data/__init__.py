"""Where samples come from: a file a kind of source."""

from dataclasses import replace
from pathlib import Path

import torch

from sparring.data.clusters import clustered
from sparring.data.digits import DIGITS
from sparring.data.files import open_path
from sparring.data.idx import FASHION_MNIST, MNIST
from sparring.data.mixtures import GRID, RING, Mixture, grid, ring
from sparring.data.priors import PRIORS, Gaussian, Uniform
from sparring.data.source import MAX_CLASSES, Dataset, Items, NamedSource, Scaled, Source, to_float
from sparring.data.stacked_digits import STACKED_DIGITS, Stacked
from sparring.errors import UnknownNameError, UsageError

SOURCES: dict[str, NamedSource] = {
    source.name: source for source in (DIGITS, FASHION_MNIST, MNIST, RING, GRID, STACKED_DIGITS)
}
"""Every data set that has a name."""


def open_dataset(data: str, size: int | None = None) -> Dataset:
    """A data set by its name in `SOURCES` or by its path.

    Args:
        data: the name or the path.
        size: the side that square images are resized to, in pixels; None leaves them as they are.

    Raises:
        DataError: if it cannot be read.
        UnknownNameError: if it is neither a name nor looks like a path.
        UsageError: if a size is given for what is not images.

    Example:
        >>> open_dataset("digits", size=32).train.item_shape
        (1, 32, 32)
    """
    if data in SOURCES:
        dataset = SOURCES[data].open()
    elif "/" in data or "." in data or Path(data).exists():
        dataset = open_path(Path(data).expanduser(), size)
    else:
        raise UnknownNameError("data set (and no such file or folder)", data, SOURCES)
    if size is None or dataset.train.item_shape[1:] == (size, size):
        return dataset
    return resized(dataset, size)


def resized(dataset: Dataset, size: int) -> Dataset:
    """A data set of images brought to size × size pixels (bilinear, antialiased).

    Raises:
        UsageError: if the items are not images.
    """
    if len(dataset.train.item_shape) != 3:
        raise UsageError(f"{dataset.name} holds no images and has no size in pixels: leave --size away")
    return replace(dataset, train=_resized(dataset.train, size), heldout=_resized(dataset.heldout, size))


def _resized(source: Source, size: int) -> Source:
    if isinstance(source, Stacked):
        return Stacked(_resized_items(source.images, size), num_channels=source.item_shape[0])
    assert isinstance(source, Items)
    return _resized_items(source, size)


def _resized_items(items: Items, size: int) -> Items:
    chunks = [
        torch.nn.functional.interpolate(chunk.float(), size=(size, size), mode="bilinear", antialias=True)
        for chunk in torch.split(items.items, 1000)
    ]
    return Items(torch.cat(chunks).round().clamp(0, 255).to(torch.uint8), items.item_labels)


__all__ = [
    "MAX_CLASSES",
    "PRIORS",
    "SOURCES",
    "Dataset",
    "Gaussian",
    "Items",
    "Mixture",
    "NamedSource",
    "Scaled",
    "Source",
    "Stacked",
    "Uniform",
    "clustered",
    "grid",
    "open_dataset",
    "resized",
    "ring",
    "to_float",
]

"""Where samples come from: a file a kind of source."""

from dataclasses import replace
from pathlib import Path

from sparring.data.clusters import clustered
from sparring.data.digits import DIGITS
from sparring.data.files import look_at, open_path
from sparring.data.idx import FASHION_MNIST, MNIST
from sparring.data.memory import Indexable, keep
from sparring.data.mixtures import GRID, RING, Mixture, grid, ring
from sparring.data.priors import PRIORS, Gaussian, Uniform
from sparring.data.source import Dataset, Items, NamedSource, Scaled, Source, to_float
from sparring.data.stacked_digits import STACKED_DIGITS, Stacked
from sparring.data.survey import MAX_CLASSES, OnProgress, Survey
from sparring.errors import UnknownNameError, UsageError

SOURCES: dict[str, NamedSource] = {
    source.name: source for source in (DIGITS, FASHION_MNIST, MNIST, RING, GRID, STACKED_DIGITS)
}
"""Every data set that has a name."""


def open_dataset(
    data: str,
    size: int | None = None,
    *,
    column: str | None = None,
    mirror: bool = False,
    on_progress: OnProgress = lambda what, share: None,
    dry: bool = False,
) -> Dataset:
    """A data set by its name in `SOURCES` or by its path.

    Args:
        data: the name or the path.
        size: the side that square images are brought to, in pixels; None for their own, or, where they are files, for
            the largest of 28, 32, 64, 128 and 256 that they fill.
        column: of a table, that holds the images; None for the one that is called so.
        mirror: whether each image comes a second time, with left and right exchanged.
        on_progress: is told what is being done, where it may take long.
        dry: whether files of images are only looked at: they are black then.

    Raises:
        DataError: if it cannot be read.
        UnknownNameError: if it is neither a name nor looks like a path.
        UsageError: if a size or mirroring is asked for what is not images.

    Example:
        >>> open_dataset("digits", size=32).train.item_shape
        (1, 32, 32)
    """
    if data in SOURCES:
        dataset = SOURCES[data].open()
    elif path := _path(data):
        dataset = open_path(path, size, column, on_progress, dry=dry)
    else:
        raise UnknownNameError("data set (and no such file or folder)", data, SOURCES)
    if mirror:
        dataset = replace(dataset, train=_mirrored(dataset.train), heldout=_mirrored(dataset.heldout))
    if mirror and not (isinstance(dataset.train, Items) and dataset.train.mirrored):
        raise UsageError(f"{dataset.name} holds no finite set of images to mirror: leave --mirror away")
    if size is None or dataset.train.item_shape[1:] == (size, size):
        return dataset
    return resized(dataset, size)


def survey_of(
    data: str, column: str | None = None, on_progress: OnProgress = lambda what, share: None
) -> Survey | None:
    """What a look at image files finds, before anything is made of them; None where data are something else.

    Raises:
        DataError: if they cannot be read, or there are none.
    """
    path = None if data in SOURCES else _path(data)
    return None if path is None else look_at(path, column, on_progress)


def _path(data: str) -> Path | None:
    return Path(data).expanduser() if "/" in data or "." in data or Path(data).exists() else None


def _mirrored(source: Source) -> Source:
    return source.with_mirror_images() if isinstance(source, Items) and len(source.item_shape) == 3 else source


def resized(dataset: Dataset, size: int) -> Dataset:
    """A data set of images brought to size × size pixels (the middle square; bilinear, antialiased).

    Raises:
        UsageError: if the items are not images.
    """
    if len(dataset.train.item_shape) != 3:
        raise UsageError(f"{dataset.name} holds no images and has no size in pixels: leave --size away")
    return replace(dataset, train=_resized(dataset.train, size), heldout=_resized(dataset.heldout, size))


def _resized(source: Source, size: int) -> Source:
    if isinstance(source, Stacked):
        return Stacked(source.images.resized(size), num_channels=source.item_shape[0])
    assert isinstance(source, Items)
    return source.resized(size)


__all__ = [
    "MAX_CLASSES",
    "PRIORS",
    "SOURCES",
    "Dataset",
    "Gaussian",
    "Indexable",
    "Items",
    "Mixture",
    "NamedSource",
    "OnProgress",
    "Scaled",
    "Source",
    "Stacked",
    "Survey",
    "Uniform",
    "clustered",
    "grid",
    "keep",
    "open_dataset",
    "resized",
    "ring",
    "survey_of",
    "to_float",
]

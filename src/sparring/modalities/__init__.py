"""Modalities: kinds of items. A modality is one file and one entry in `MODALITIES`."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparring.data.arrays import find_arrays, read_arrays
from sparring.data.containers import ARCHIVES, Kind, Reading
from sparring.data.files import check_exists, find_container
from sparring.data.images import IMAGES
from sparring.data.items import split
from sparring.data.labels import check_labels, choose_labels, labels_of, npz_labels
from sparring.data.memory import NAME, Indexable, gather, write_memory_file, write_memory_images
from sparring.errors import DataError, SparringWarning, UnknownNameError, UsageError
from sparring.modalities.images import Images
from sparring.modalities.modality import Dataset, Modality, NamedSource, Survey
from sparring.modalities.points import Points
from sparring.modalities.preset import Preset
from sparring.modalities.sounds import Sounds
from sparring.modalities.tables import Tables
from sparring.modalities.words import Words
from sparring.types import OnProgress

MODALITIES: dict[str, type[Modality]] = {
    "tables": Tables,  # before images, which take every other .parquet file
    "images": Images,
    "points": Points,
    "sounds": Sounds,
    "words": Words,
}
"""Every modality by its name; the first one that accepts a path or an array opens it."""

RECIPES: dict[str, Preset] = {preset.name: preset for each in MODALITIES.values() for preset in each.presets}
"""Every preset by its name."""

SOURCES: dict[str, NamedSource] = {source.name: source for each in MODALITIES.values() for source in each.sources}
"""Every data set with a name."""


def open_dataset(
    data: str,
    size: tuple[int, ...] | int | None = None,
    *,
    mirror: bool = False,
    on_progress: OnProgress = lambda what, share: None,
    dry: bool = False,
    **reading: Any,
) -> Dataset:
    """A data set by its name in `SOURCES` or by its path.

    Args:
        data: the name or the path.
        size: height and width to resize images to, in pixels, or one number for both; None for their own size, or
            for the largest size that image files fill.
        mirror: add a mirrored copy of each image.
        on_progress: called with what is being done.
        dry: only count files; no batch can be drawn.
        reading: fields of `sparring.data.containers.Reading`, such as `column="image"`.

    Raises:
        DataError: if it cannot be read.
        UnknownNameError: if it is neither a name nor looks like a path.
        UsageError: if the items cannot be resized or mirrored.

    Example:
        >>> open_dataset("digits", size=32).train.item_shape
        (1, 32, 32)
    """
    size = (size, size) if isinstance(size, int) else size
    found = look_at(data, Reading(**reading), on_progress)
    return prepare(found, size, mirror, on_progress, dry)


def prepare(
    found: Dataset | Survey, size: tuple[int, ...] | None, mirror: bool, on_progress: OnProgress, dry: bool = False
) -> Dataset:
    """The data that `look_at` found, with items of a size, and with mirrored ones if asked for."""
    dataset = found.read(size, on_progress, dry) if isinstance(found, Survey) else found
    if size is not None and dataset.modality.item_shape[1:] != size:
        dataset = dataset.modality.resize(dataset, size)
    return dataset.modality.mirror(dataset) if mirror else dataset


def look_at(
    data: str, reading: Reading = Reading(), on_progress: OnProgress = lambda what, share: None
) -> Dataset | Survey:
    """Open data by a name or a path; files whose items can have one of several shapes are only looked at."""
    if data in SOURCES:
        if Path(data).exists() and not Path(data, "recipe.json").exists():  # no run that is called by its data
            message = f"{data!r} is the data set of `sparring list`; for what lies here by that name, give ./{data}"
            warnings.warn(SparringWarning(message), stacklevel=2)
        if reading.labels:
            raise UsageError(f"{data} brings its own labels: leave labels={reading.labels} away")
        return SOURCES[data].open()
    if not ("/" in data or "." in data or Path(data).exists()):
        raise UnknownNameError("data set (and no such file or folder)", data, SOURCES)
    path = Path(data).expanduser()
    check_exists(path)
    opened = (each.open_path(path, reading, on_progress) for each in MODALITIES.values())
    return next((each for each in opened if each is not None), None) or _open_arrays(path, reading)


def keep(
    data: object, labels: Indexable | Mapping[str, Indexable] | None = None, sample_rate_hz: int | None = None
) -> Path:
    """Write data from memory into a .npz file in the cache, unless it is there already.

    Example:
        >>> path = keep([np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)], labels=[0, 1])
        >>> np.load(path)["images"].shape
        (2, 8, 8)
    """
    for each in MODALITIES.values():
        if labels is None and (path := each.keep(data)) is not None:
            return path
    gathered, own_labels = gather(data)
    columns = npz_labels(own_labels if labels is None else labels, len(gathered), NAME)
    if isinstance(gathered, list):
        return write_memory_images(gathered, columns)
    modality, items = _accept({"": gathered}, NAME, Reading(sample_rate_hz=sample_rate_hz))
    rate = {} if sample_rate_hz is None else {"sample_rate_hz": np.array(sample_rate_hz)}
    return write_memory_file({modality.array_name: items} | rate | columns)


def _open_arrays(path: Path, reading: Reading) -> Dataset:
    if path.suffix.lower() in {".npy", ".npz"}:
        names = [modality.array_name for modality in MODALITIES.values()]
        raw = read_arrays(path)
        if (rate := raw.pop("sample_rate_hz", None)) is not None:
            reading = replace(reading, sample_rate_hz=int(rate))
        arrays = find_arrays(choose_labels(raw, reading.labels, str(path)), names, str(path))
        modality, items = _accept(arrays, str(path), reading)
        found = check_labels(labels_of(arrays), len(items), str(path))
        heldout = torch.from_numpy(arrays["heldout"]) if "heldout" in arrays else None
        parts = split(str(path), modality.store(items), found.labels, heldout, found.class_names)
        return Dataset(str(path), modality, *parts, found.class_names, found.attributes)
    if (container := find_container(path, Kind(""))) is not None:
        others = f", but {container.list_others()}" if container.others else ", and no other files"
        seen = "; ".join([f"{str(path)!r} holds no {' and no '.join(sorted(MODALITIES))}{others}", *container.notes])
        endings = ", ".join(sorted(IMAGES.endings))
        raise DataError(f"{seen}; images are read from {endings} files, and from a column of .parquet files")
    raise DataError(
        f"{str(path)!r} is no data that can be read: give a folder of images, an archive of them "
        f"({', '.join(ARCHIVES)}), a table (.csv, .parquet, .feather), or a .npy or .npz file"
    )


def _accept(arrays: Mapping[str, np.ndarray], name: str, reading: Reading) -> tuple[Modality, np.ndarray]:
    """The modality of an array and its items; the modality with the array's name comes first."""
    names = {modality.array_name: modality for modality in MODALITIES.values()}
    found = next(each for each in ("", *names) if each in arrays)
    array = arrays[found]
    has_rate = reading.sample_rate_hz is not None
    if found and names[found].has_sample_rate and not has_rate:
        raise DataError(f"{name!r} does not say the sample rate of its {found}: add a number sample_rate_hz to it")
    by_rate = sorted(MODALITIES.values(), key=lambda modality: modality.has_sample_rate != has_rate)
    for modality in sorted(by_rate, key=lambda modality: modality.array_name != found):
        if (accepted := modality.accept(array, name, reading)) is not None:
            return accepted
    layouts = ", or ".join(modality.layouts for modality in MODALITIES.values())
    raise DataError(f"{name!r} holds {array.dtype} {list(array.shape)}: give {layouts}")


__all__ = [
    "MODALITIES", "RECIPES", "SOURCES", "Dataset", "Modality", "NamedSource", "Preset", "Survey", "keep",
    "look_at", "open_dataset", "prepare",
]  # fmt: skip

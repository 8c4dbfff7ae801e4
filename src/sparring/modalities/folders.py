"""What modalities of files share: find a container of their kind of file, and pack it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sparring.data.containers import Container, File, Kind, Reading
from sparring.data.files import find_container
from sparring.data.items import split
from sparring.data.layout import say_count
from sparring.data.pack import Format, pack, warn_of
from sparring.data.survey import Findings
from sparring.errors import DataError
from sparring.modalities.modality import Dataset, Modality
from sparring.types import OnProgress


def find_files(path: Path, kind: Kind, reading: Reading) -> Container | None:
    """The container at a path, if it holds files of a kind, and no other modality's kind of file is more frequent."""
    from sparring.modalities import MODALITIES

    container = find_container(path, kind, reading)
    if container is None:
        return None
    counts = [
        sum(container.others.get(ending, 0) for ending in modality.kind.endings)
        for modality in MODALITIES.values()
        if modality.kind is not None
    ]
    return container if container.num_files > max(counts) else None


def load_container(
    container: Container,
    reading: Reading,
    found: Findings,
    modality: Modality,
    read: Callable[[File, str], np.ndarray],
    on_progress: OnProgress,
    dry: bool,
) -> Dataset:
    """The data set of a container: packed, or only counted if dry.

    `read` gives the items in a file of a name, as uint8 [items, *item_shape].
    """
    name, class_names = str(container.path), tuple(found.class_counts)
    form = Format(modality.item_shape, modality.describe(), read)
    if found.num_items < 2:
        seen = "; ".join(map(str.strip, found.description))
        raise DataError(f"{name!r} holds {say_count(found.num_items, 'items')}, but a training needs hundreds: {seen}")
    if dry:
        warn_of(found.faults)
    items, labels, is_heldout, files = (
        found.count(form.item_shape, sum(attribute.size for attribute in container.attributes))
        if dry
        else pack(container, reading, class_names, form, on_progress)
    )
    train, heldout = split(name, items, labels, is_heldout, class_names, files)
    return Dataset(name, modality, train, heldout, class_names, container.attributes)

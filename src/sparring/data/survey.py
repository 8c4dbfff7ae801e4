"""A look at a collection of images before anything is made of it: what there is, and what follows from it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import final

import numpy as np
from PIL import Image

from sparring.data.collection import Collection, Picture, shown
from sparring.data.images import converted, opened, side_by_side
from sparring.errors import DataError

SIZES = (28, 32, 64, 128, 256)
"""The sides that images are brought to, in pixels."""

FILLING_SHARE = 0.9
"""Images fill a size where so many of them are at least as large."""

NUM_LOOKED_INTO = 200
"""Whether images are grey or transparent is told from so many of them; the others are asked for their headers alone."""

GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"}
"""Pillow's modes without colours."""

MAX_CLASSES = 1000

MAX_FAULTS = 0.1
"""If more of the files cannot be read, something is wrong with the collection."""
NUM_LISTED = 10
AT_ONCE = 128
"""Files that are read side by side before the next are, and whose bytes archives hold in memory meanwhile."""

OnProgress = Callable[[str, float], None]
"""Told what is being done, and the share of it that is done."""


@final
@dataclass(frozen=True)
class Survey:
    """What a collection of images holds.

    Args:
        path: where it lies.
        fingerprint: of the collection when it was looked at.
        num_images: files that can be read, as far as their headers tell.
        num_others: files that are no images.
        formats: how many images there are of each.
        modes: likewise of each of Pillow's modes.
        smallest: the least shorter side, in pixels.
        median: of the shorter sides.
        largest: the largest shorter side.
        filled: for each of `SIZES`, how many images are at least as large.
        channels: 1 where all images are grey, 4 where most are transparent somewhere, else 3.
        class_counts: how many images each class has; empty where there are no classes.
        without_classes: why there are none.
        num_heldout: how many lie in folders of what is held out; None where there are no such.
        faults: what is wrong with the files that cannot be read: the first few.
        num_faults: how many cannot be read.
    """

    path: str
    fingerprint: str
    num_images: int
    num_others: int
    formats: dict[str, int]
    modes: dict[str, int]
    smallest: int
    median: int
    largest: int
    filled: dict[int, int]
    channels: int
    class_counts: dict[str, int]
    without_classes: str
    num_heldout: int | None
    faults: list[str]
    num_faults: int

    @property
    def sizes(self) -> list[int]:
        """The sizes that the images fill; the least one at any rate."""
        return [size for size in SIZES if size == SIZES[0] or self.filled[size] >= FILLING_SHARE * self.num_images]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their numbers."""
        return tuple(self.class_counts)


def survey(collection: Collection, on_progress: OnProgress) -> Survey:
    """Look at every header of a collection, and into some of its images.

    Raises:
        DataError: if it holds no images, or more than a tenth of them cannot be read.
    """
    if collection.num_pictures == 0:
        raise DataError(f"{str(collection.path)!r} holds no images, but {collection.num_others} other files")
    stride = math.ceil(collection.num_pictures / NUM_LOOKED_INTO)
    looks: list[_Look] = []
    with side_by_side() as pool:
        pictures = enumerate(collection.pictures())
        while part := list(islice(pictures, AT_ONCE)):
            looks += pool.map(lambda each: _look(each[1], inside=each[0] % stride == 0), part)
            on_progress(f"looking at {collection.path}", len(looks) / collection.num_pictures)
    faults = [look.fault for look in looks if look.fault]
    check_faults(collection, faults)
    good = [look for look in looks if not look.fault]
    sides = sorted(look.side for look in good)
    counts, without = _classes(collection, [look.label for look in good])
    return Survey(
        path=shown(collection.path),
        fingerprint=collection.fingerprint,
        num_images=len(good),
        num_others=collection.num_others,
        formats=dict(Counter(look.format for look in good).most_common()),
        modes=dict(Counter(look.mode for look in good).most_common()),
        smallest=sides[0],
        median=sides[len(sides) // 2],
        largest=sides[-1],
        filled={size: sum(side >= size for side in sides) for size in SIZES},
        channels=_channels(good),
        class_counts=counts,
        without_classes=without,
        num_heldout=None if good[0].is_heldout is None else sum(bool(look.is_heldout) for look in good),
        faults=faults[:NUM_LISTED],
        num_faults=len(faults),
    )


def check_faults(collection: Collection, faults: Sequence[str]) -> None:
    """Refuse a collection of which too much cannot be read.

    Raises:
        DataError: listing what is wrong.
    """
    if len(faults) > MAX_FAULTS * collection.num_pictures:
        raise DataError(f"{fault_list(collection, faults, len(faults))}\nMend or remove them")


def fault_list(collection: Collection, faults: Sequence[str], num_faults: int) -> str:
    """What cannot be read, as lines of text."""
    more = [f"and {num_faults - NUM_LISTED} more"] if num_faults > NUM_LISTED else []
    first = f"{num_faults} of the {collection.num_pictures} images in {str(collection.path)!r} cannot be read:"
    return "\n  ".join([first, *faults[:NUM_LISTED], *more])


@dataclass(frozen=True)
class _Look:
    """What one file is: its shorter side; whether it has colours and transparent parts, where that was looked into."""

    label: str
    is_heldout: bool | None = None
    format: str = ""
    mode: str = ""
    side: int = 0
    colourful: bool | None = None
    transparent: bool | None = None
    fault: str = ""


def _look(picture: Picture, inside: bool) -> _Look:
    try:
        with picture.open() as file, opened(file, picture.name) as image:
            colourful = transparent = None
            side = min(image.size)  # of the whole: what is looked into may be smaller
            if inside:
                pixels = np.asarray(converted(_small(image), 4))
                colourful = bool((pixels[..., :3] != pixels[..., :1]).any())
                transparent = bool((pixels[..., 3] < 255).any())
            known = image.format or "?", image.mode, side, colourful, transparent
            return _Look(picture.label, picture.is_heldout, *known)
    except DataError as error:
        return _Look(picture.label, fault=str(error))
    except OSError as error:
        return _Look(picture.label, fault=f"{picture.name}: {error.strerror or error}")


def _small(image: Image.Image) -> Image.Image:
    """Whether there is colour is seen in a smaller image too, which a JPEG gives faster."""
    image.draft(None, (256, 256))
    return image


def _channels(looks: Sequence[_Look]) -> int:
    inside = [look for look in looks if look.transparent is not None]
    if sum(bool(look.transparent) for look in inside) > len(inside) / 2:
        return 4
    modes = {look.mode for look in looks}
    return 3 if any(look.colourful for look in inside) or (not inside and not modes <= GREY) else 1


def _classes(collection: Collection, labels: Sequence[str]) -> tuple[dict[str, int], str]:
    """How many images each class has, in the order of the classes' numbers; or why there are no classes."""
    counts = Counter(labels)
    if set(counts) == {""}:
        return {}, f"no {collection.classes_are}"
    if "" in counts:
        return {}, f"{counts['']} images lie outside of the {collection.classes_are}"
    if len(counts) == 1:
        return {}, f"a single one of the {collection.classes_are}, {next(iter(counts))!r}"
    if len(counts) > MAX_CLASSES:
        return {}, f"{len(counts)} {collection.classes_are}, more than {MAX_CLASSES}"
    are_numbers = all(name.isdecimal() for name in counts)
    in_order = collection.class_names or sorted(counts, key=lambda name: (int(name) if are_numbers else 0, name))
    names = [name for name in in_order if name in counts]
    return {name: counts[name] for name in names}, ""

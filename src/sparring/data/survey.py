"""Survey image files before they are read: how many, and which shapes suit them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparring.data.containers import Container, Entry, File, one_line
from sparring.data.images import GREY, convert, open_image
from sparring.data.items import MAX_CLASSES
from sparring.types import OnProgress

SIDES, MAX_SIDE = (28, 32, 64, 128, 256), 1024  # pixels: choices for the shorter side, and the limit of the longer one
ENOUGH = 0.9  # a shape suits if this share of the images is at least as large
SQUARE = 1.25  # crop to a square if the median ratio of sides is below this, ...
ALIKE, MOST = 1.15, 0.75  # ... or less than this share of the images is within this factor of it
MUCH = 0.1  # count images that lose a larger share of their pixels
NUM_OPENED = 200  # images that are checked for colour and transparency; of the others only headers are read
TURNED = {5, 6, 7, 8}  # EXIF orientations that exchange height and width


@final
@dataclass(frozen=True)
class Findings:
    """What a container of images holds."""

    fingerprint: str  # of the container
    num_items: int  # files whose headers can be read
    channels: int  # 1 if all images are grey, 4 if most have transparent parts, else 3
    sizes: list[tuple[int, int]]  # heights and widths that the images fill, and always the smallest choice
    class_counts: dict[str, int]  # images of each class, in the order of the classes' numbers
    num_heldout: int | None  # images in folders of held-out images; None without such folders
    description: list[str]  # lines of text for the user

    def count(self, item_shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Like `pack`, but items without content."""
        counts = torch.tensor(list(self.class_counts.values()), dtype=torch.int64)
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts) if len(counts) else None
        spread = torch.arange(self.num_items + 1) * (self.num_heldout or 0) // self.num_items  # spread evenly
        return torch.empty(self.num_items, *item_shape, device="meta"), labels, spread[1:] > spread[:-1]


class _Look(NamedTuple):
    format: str
    mode: str
    size: tuple[int, int]  # height and width
    is_colourful: bool | None = None  # None if only the header was read; likewise the next one
    is_transparent: bool | None = None


def find_out(container: Container, on_progress: OnProgress) -> Findings:
    """Read every header in a container of images, and open some of the images."""
    stride, faults = math.ceil(container.num_files / NUM_OPENED), list[str]()

    def look(file: File, entry: Entry, number: int) -> _Look:
        with open_image(file, entry.name) as image:
            known = image.format or "?", image.mode, _upright_size(image)
            if number % stride:
                return _Look(*known)
            image.draft(None, (256, 256))  # a JPEG gives a smaller image faster
            pixels = np.asarray(convert(image, 4))
            is_colourful = bool((pixels[..., :3] != pixels[..., :1]).any())
            return _Look(*known, is_colourful, bool((pixels[..., 3] < 255).any()))

    found = list(container.read(look, faults, "looking at", on_progress))
    looks, heldout = [look for _, look in found], [entry.is_heldout for entry, _ in found]
    sizes = np.array([look.size for look in looks])
    ratio, num_cropped = _usual_ratio(sizes[:, 0] / sizes[:, 1])
    candidates = [_size(side, ratio) for side in SIDES]
    filled = [size for size in candidates if (sizes >= size).all(axis=1).mean() >= ENOUGH]
    classes, about_classes = _count_classes(container, [entry.label for entry, _ in found])
    formats, modes = (
        ", ".join(f"{name} {count:,}" for name, count in Counter(each).most_common())
        for each in ([look.format for look in looks], [look.mode for look in looks])
    )
    sides, shape = np.sort(sizes.min(axis=1)), "the middle square"
    if ratio != 1:
        longer, shorter = ("high", "wide") if ratio > 1 else ("wide", "high")
        shape = f"their usual shape, {max(ratio, 1 / ratio):.2f} times as {longer} as {shorter}"
    description = [
        f"{one_line(container.path)}: {len(looks):,} images ({formats}; {modes}), shorter side {sides[0]} to "
        f"{sides[-1]} px, median {sides[len(sides) // 2]}",
        f"cropped to {shape}; {num_cropped:,} images lose more than a tenth of their pixels",
        *([f"{container.num_others:,} other files were not opened"] if container.num_others else []),
        *container.list_faults(faults).splitlines(),
        about_classes,
    ]
    return Findings(
        fingerprint=container.fingerprint,
        num_items=len(looks),
        channels=_channels(looks),
        sizes=[size for size in candidates if size in (candidates[0], *filled)],
        class_counts=classes,
        num_heldout=None if None in heldout else sum(map(bool, heldout)),
        description=[description[0], *(f"  {line}" for line in description[1:])],
    )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of the image turned upright, by its header alone."""
    has_exif = "exif" in image.info or image.format == "TIFF"  # else a PNG would be unpacked to its end
    is_turned = has_exif and image.getexif().get(0x0112) in TURNED
    return (image.width, image.height) if is_turned else (image.height, image.width)


def _usual_ratio(ratios: np.ndarray) -> tuple[float, int]:
    """The ratio of height to width to crop images to, and how many of them lose many pixels."""
    ratio = float(np.sort(ratios)[len(ratios) // 2])
    if max(ratio, 1 / ratio) <= SQUARE or (np.maximum(ratios / ratio, ratio / ratios) <= ALIKE).mean() < MOST:
        ratio = 1.0
    return ratio, int((np.minimum(ratios / ratio, ratio / ratios) < 1 - MUCH).sum())


def _size(side: int, ratio: float) -> tuple[int, int]:
    """A height and a width that networks take, with this shorter side and about this ratio."""
    step = 2 ** (side.bit_length() - 3)
    longer = min(MAX_SIDE, step * round(side * max(ratio, 1 / ratio) / step))
    return (longer, side) if ratio > 1 else (side, longer)


def _channels(looks: Sequence[_Look]) -> int:
    opened = [look for look in looks if look.is_transparent is not None]
    if sum(bool(look.is_transparent) for look in opened) > len(opened) / 2:
        return 4
    is_grey = not any(look.is_colourful for look in opened) if opened else {look.mode for look in looks} <= GREY
    return 1 if is_grey else 3


def _count_classes(container: Container, labels: Sequence[str]) -> tuple[dict[str, int], str]:
    """The number of images of each class, and a line of text about them."""
    counts, are = Counter(labels), container.classes_are
    if set(counts) == {""}:
        return {}, f"no classes: no {are}"
    if "" in counts:
        return {}, f"no classes: {counts['']} images are outside the {are}"
    if len(counts) == 1:
        return {}, f"no classes: only one of the {are}, {next(iter(counts))!r}"
    if len(counts) > MAX_CLASSES:
        return {}, f"no classes: {len(counts)} {are}, more than {MAX_CLASSES}"
    are_numbers = all(name.isdecimal() for name in counts)
    in_order = container.class_names or sorted(counts, key=lambda name: (int(name) if are_numbers else 0, name))
    least = min(in_order, key=lambda name: counts[name] or math.inf)
    text = f"{len(counts)} classes from {are}; the smallest, {least}, has {counts[least]:,} images"
    return {name: counts[name] for name in in_order if name in counts}, text

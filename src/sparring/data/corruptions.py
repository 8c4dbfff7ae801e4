"""Items made worse, to see which figures notice it: images and sounds."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from sparring.data.sounds import prepare
from sparring.seeding import Stream


@dataclass(frozen=True)
class Corruption:
    """A way to make items worse."""

    name: str
    strengths: tuple[float, ...]  # the mildest first
    unit: str  # what a strength is
    spoil: Callable[[np.ndarray, float, Stream], np.ndarray]  # items as a modality's `decode` gives them


def add_specks(images: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Images of which so many pixels are black or white, opaque if there is transparency.

    Args:
        images: uint8 [n, height, width] or [n, height, width, 1, 3 or 4 channels], as in all functions of images here.
        share: of the pixels, half of them black.
        stream: of the places.

    Example:
        >>> grey = np.full((1, 100, 100), 128, np.uint8)
        >>> specked = add_specks(grey, 0.6, Stream(0, "specks"))
        >>> [round(float((specked == level).mean()), 1) for level in (0, 128, 255)]
        [0.3, 0.4, 0.3]
    """
    chance, specked = stream.uniform(*images.shape[:3]).numpy(), _with_channels(images).copy()
    specked[chance < share] = 255
    specked[chance < share / 2] = np.array([0, 0, 0, 255])[: specked.shape[3]]
    return specked.reshape(images.shape)


def add_grain(images: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Images with white noise in their colours, whose standard deviation is a share of the range."""
    noisy = _with_channels(images).copy()
    noise = 255 * share * stream.normal(*noisy[..., :3].shape).numpy()
    noisy[..., :3] = (noisy[..., :3] + noise).round().clip(0, 255)
    return noisy.reshape(images.shape)


def blur(images: np.ndarray, factor: float) -> np.ndarray:
    """Images made smaller by a factor, and as large as before again."""
    pixels = torch.from_numpy(_with_channels(images)).permute(0, 3, 1, 2).float()
    small = [max(1, round(side / factor)) for side in pixels.shape[2:]]
    reduced = interpolate(pixels, small, mode="bilinear", antialias=True)
    blurred = interpolate(reduced, pixels.shape[2:], mode="bilinear").round().clamp(0, 255).to(torch.uint8)
    return blurred.permute(0, 2, 3, 1).numpy().reshape(images.shape)


def compress(images: np.ndarray, quality: float) -> np.ndarray:
    """Images whose colours were a JPEG file of some quality, from 1 to 95."""
    from PIL import Image

    compressed = _with_channels(images).copy()
    for colours in compressed[..., :3]:
        file = io.BytesIO()
        Image.fromarray(colours.squeeze()).save(file, "JPEG", quality=round(quality))
        colours[:] = np.asarray(Image.open(file)).reshape(colours.shape)
    return compressed.reshape(images.shape)


def swap_quarters(images: np.ndarray, count: float) -> np.ndarray:
    """Images with so many of their quarters, from 1 to 3, from other images: each takes them from its neighbours."""
    swapped, (middle, center) = images.copy(), (side // 2 for side in images.shape[1:3])
    upper, lower, left, right = slice(middle), slice(middle, None), slice(center), slice(center, None)
    quarters = (upper, left), (upper, right), (lower, left)
    for number, (rows, columns) in enumerate(quarters[: round(count)], start=1):
        swapped[:, rows, columns] = np.roll(images, number, axis=0)[:, rows, columns]
    return swapped


def exchange_colours(images: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Coloured images; of a share of them, red is blue, green is red, and blue is green."""
    chosen, exchanged = stream.uniform(len(images)).numpy() < share, images.copy()
    exchanged[chosen, ..., :3] = images[chosen][..., [1, 2, 0]]
    return exchanged


def _with_channels(images: np.ndarray) -> np.ndarray:
    """Images [n, height, width, channels]."""
    return images.reshape(*images.shape[:3], -1)


def add_noise(waves: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Sounds [n, samples] with white noise of so much of each one's root mean square.

    Example:
        >>> waves = np.ones((1, 10_000), np.float32)
        >>> round(float(add_noise(waves, 0.5, Stream(0, "noise")).std()), 1)
        0.5
    """
    size = share * np.sqrt(np.square(waves).mean(axis=1, keepdims=True))
    noisy: np.ndarray = (waves + size * stream.normal(*waves.shape).numpy()).astype(np.float32)
    return noisy


def cut_band(waves: np.ndarray, divisor: float) -> np.ndarray:
    """Sounds [n, samples] without what lies above the highest frequency, divided by a number."""
    spectrum = torch.fft.rfft(torch.from_numpy(waves))
    spectrum[:, int(spectrum.shape[1] / divisor) :] = 0
    cut: np.ndarray = torch.fft.irfft(spectrum, waves.shape[1]).numpy()
    return cut


def play_faster(waves: np.ndarray, factor: float) -> np.ndarray:
    """Sounds [n, samples] at a rate that is too high by a factor, with silence after their ends."""
    num_samples = waves.shape[1]
    return np.stack([prepare(wave, round(num_samples * factor), num_samples, num_samples) for wave in waves])


def overdrive(waves: np.ndarray, gain: float) -> np.ndarray:
    """Sounds [n, samples] that are amplified and clipped at their old peaks."""
    peaks = np.abs(waves).max(axis=1, keepdims=True)
    return np.clip(gain * waves, -peaks, peaks)


def mix_cells(rows: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Rows of a table [n], of which so many cells come from other rows: columns keep their distributions.

    Args:
        rows: an array with named fields.
        share: of the cells.
        stream: of the cells and the rows.

    Example:
        >>> rows = np.array([(1, 1), (2, 2)] * 50, [("a", "i8"), ("b", "i8")])
        >>> mixed = mix_cells(rows, 1.0, Stream(0, "mix"))
        >>> bool((mixed["a"] == mixed["b"]).all())
        False
    """
    mixed = rows.copy()
    for name in rows.dtype.names or ():
        own = stream.part(name)
        others = own.permutation(len(rows)).numpy()
        mixed[name] = np.where(own.part("chance").uniform(len(rows)).numpy() < share, rows[name][others], rows[name])
    return mixed

"""An image file as pixels: what is read, and how it is converted."""

import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sparring.data.collection import File
from sparring.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is opened, whatever a file is called; other formats of Pillow's are not."""

MAX_PIXELS = 100_000_000
"""Files that claim more are left out before they are unpacked: a small file may hold a huge image."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name of images with so many channels."""


@contextmanager
def side_by_side() -> Iterator[Executor]:
    """Threads on all cores; what Pillow finds odd and reads all the same is not warned of."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # not in the threads: filters are the process's
        warnings.simplefilter("ignore")
        yield pool


@contextmanager
def opened(file: Path | File, name: str) -> Iterator[Image.Image]:
    """An image file with its header read.

    Args:
        file: the file.
        name: that errors give.

    Raises:
        DataError: if it cannot be read, there or within the block, naming it and why.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width}×{image.height} pixels, more than {MAX_PIXELS:,}")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow opens twice as many at most, and does not say what it saw
        raise DataError(f"{name}: more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: it is none of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"{name}: {error or type(error).__name__}") from error


def read_image(file: Path | File, size: int, channels: int = 3, name: str | None = None) -> np.ndarray:
    """One image, uint8 [channels, size, size].

    It is turned upright as its EXIF data say, cropped to the middle square, and resized (bilinear, antialiased, as
    `resized` does). 16 bits a channel become 8; of an animation, the first frame counts. What is transparent is laid
    on white, or, of four channels, stays transparent, with its hidden colour made black.

    Args:
        file: the file.
        size: the side, in pixels.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.
        name: that errors give; its path if None.

    Raises:
        DataError: if it cannot be read, naming it and why.
    """
    with opened(file, name or str(file)) as image:
        image = converted(ImageOps.exif_transpose(image), channels)
        pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1).copy()


def converted(image: Image.Image, channels: int) -> Image.Image:
    """An image of any mode as 8 bits of so many channels."""
    if image.mode in ("F", "I"):
        raise ValueError("its pixels have 32 bits, and their range is unknown")
    if image.mode.startswith("I;16"):  # which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels == 4:
            return image.convert("RGBa").convert("RGBA")  # by way of colours times opacity: hidden ones become black
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert(MODES[channels])

"""Read, convert and resize images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sparring.data.containers import File, Kind
from sparring.errors import DataError

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
IMAGES = Kind("images", frozenset(ENDINGS), columns=("image", "img", "images", "picture"))
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # the only ones that are opened, whatever a file's name
MAX_PIXELS = 100_000_000  # a small file may unpack to a huge image
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's modes by the number of channels
GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"}  # Pillow's modes without colours


@contextmanager
def open_image(file: Path | File, name: str) -> Iterator[Image.Image]:
    """Open an image file and read its header."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width}×{image.height} pixels, more than {MAX_PIXELS:,}")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, which does not say the size
        raise DataError(f"{name}: more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: it is none of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"{name}: {error or type(error).__name__}") from error


def read_image(file: Path | File, size: tuple[int, int], channels: int = 3, name: str | None = None) -> np.ndarray:
    """Read an image as uint8 [channels, height, width]: turned upright by its EXIF data, cropped and resized.

    16 bits per channel become 8. An animation gives its first frame. Transparent parts become white, or, with four
    channels, transparent black.
    """
    height, width = size
    with open_image(file, name or str(file)) as image:
        image = convert(ImageOps.exif_transpose(image), channels)
        pixels = np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1).copy()


def convert(image: Image.Image, channels: int) -> Image.Image:
    """Convert an image of any mode to 8 bits and this number of channels."""
    if image.mode in ("F", "I"):
        raise ValueError("its pixels have 32 bits, and their range is unknown")
    if image.mode.startswith("I;16"):  # which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels == 4:
            return image.convert("RGBa").convert("RGBA")  # colours times opacity: hidden ones become black
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert(MODES[channels])


def fit(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 images [n, channels, height, width], cropped around the middle and resized (bilinear, antialiased)."""
    height, width = images.shape[2:]
    rows, columns = min(height, round(width * size[0] / size[1])), min(width, round(height * size[1] / size[0]))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = images[:, :, top : top + max(1, rows), left : left + max(1, columns)].float()
    resized = torch.nn.functional.interpolate(middle, size=size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)

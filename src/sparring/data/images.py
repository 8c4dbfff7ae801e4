"""Read, convert and resize images."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sparring.data.containers import File, Kind
from sparring.data.pixels import BYTES, Levels, is_usable, to_bytes
from sparring.errors import DataError

ENDINGS = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")  # only these are opened, whatever a file's name
SIGNATURE = re.compile(  # without TIFF's, with which raw photographs begin as well
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF.{4}WEBP|BM.{4}\0{4}|GIF8[79]a|.{4}ftypavi[fs]|P[1-6]\s+(\d+\s+\d+\s|#)",
    re.DOTALL,
)
COLUMNS = ("image", "img", "images", "imgs", "picture", "pictures", "pixel_values")
IMAGES = Kind("images", frozenset(ENDINGS), COLUMNS, SIGNATURE)
MAX_PIXELS = 100_000_000  # a small file may unpack to a huge image
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's modes by the number of channels
FULL: Mapping[str, Levels] = {"": BYTES, "I": (0.0, 65535.0), "F": (0.0, 1.0)}  # what each depth can hold
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
        raise DataError(f"{name}: it is damaged, or none of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"{name}: {error or type(error).__name__}") from error


def read_image(
    file: Path | File,
    size: tuple[int, int],
    channels: int = 3,
    name: str | None = None,
    levels: Mapping[str, Levels] = FULL,
    all_frames: bool = False,
) -> np.ndarray:
    """Read the images of a file as uint8 [frames, channels, height, width].

    They are turned upright by their EXIF data, cropped and resized. Transparent parts become white, or, with four
    channels, transparent black.

    Args:
        file: the file.
        size: height and width.
        channels: 1, 3 or 4.
        name: of the file, for messages.
        levels: what is black and what is white in images of each `depth`; by default all that it can hold.
        all_frames: read every frame of an animation or a stack, not only the first.

    Raises:
        DataError: if it cannot be read.
    """
    (height, width), frames = size, []
    with open_image(file, name or str(file)) as image:
        for number in range(count_frames(image) if all_frames else 1):
            if number:
                image.seek(number)
            frame = convert(ImageOps.exif_transpose(image), channels, levels)
            pixels = np.asarray(ImageOps.fit(frame, (width, height), Image.Resampling.BILINEAR))
            frames.append(pixels.reshape(height, width, channels).transpose(2, 0, 1))
    return np.stack(frames)


def count_frames(image: Image.Image) -> int:
    """The frames of an animation or a stack; the second image in a camera's file is a preview."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def depth(image: Image.Image) -> str:
    """What its values are: "F" for floats, "I" for whole numbers of more than 8 bits, otherwise empty."""
    return image.mode[0] if image.mode[0] in "FI" else ""


def read_deep(image: Image.Image) -> np.ndarray:
    """The values of an image with more than 8 bits.

    Raises:
        ValueError: if they lie outside of every range that can be used.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not is_usable(low, high, depth(image) == "F"):
        raise ValueError(
            f"its values go from {low:g} to {high:g}, and it is not clear what is black and what is white: save it "
            "with 8 or 16 bits, or as floats from 0 to 1"
        )
    return values


def convert(image: Image.Image, channels: int, levels: Mapping[str, Levels] = FULL) -> Image.Image:
    """Convert an image of any mode to 8 bits and this number of channels; for the levels see `read_image`."""
    is_deep, chosen = bool(depth(image)), levels[depth(image)]
    if is_deep:  # convert() would clip it at 255
        image = Image.fromarray(to_bytes(read_deep(image), chosen))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels == 4:
            return image.convert("RGBa").convert("RGBA")  # colours times opacity: hidden ones become black
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = image.convert(MODES[channels])
    if is_deep or chosen == BYTES:
        return image
    table = to_bytes(np.arange(256), chosen).tolist()
    return image.point(table * channels)  # an opacity of 255 stays


def middle_of(shape: Sequence[int], size: tuple[int, int]) -> tuple[int, int]:
    """The height and width of the largest part of an image that has the shape of a size."""
    (height, width), (rows, columns) = shape, size
    return max(1, min(height, round(width * rows / columns))), max(1, min(width, round(height * columns / rows)))


def fit(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 images [n, channels, height, width], cropped around the middle and resized (bilinear, antialiased)."""
    height, width = images.shape[2:]
    rows, columns = middle_of((height, width), size)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = images[:, :, top : top + rows, left : left + columns].float()
    resized = torch.nn.functional.interpolate(middle, size=size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)

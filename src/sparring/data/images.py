"""A folder of image files: what is read, how it is converted, and what is left out."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sparring.errors import DataError, SparringWarning
from sparring.files import check_within

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is opened, whatever a file is called; other formats of Pillow's are not."""
ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

MAX_PIXELS = 100_000_000
"""Files that claim more are left out before they are unpacked: a small file may hold a huge image."""
MAX_SHARE = 0.1
"""If more of the files cannot be read, something is wrong with the folder."""
NUM_LISTED = 10


def read_folder(folder: Path, size: int) -> Tensor:
    """All images in a folder and below it, uint8 [n, 3, size, size], in the order of their paths.

    Each is turned upright as its EXIF data say and cropped to the middle square; 16 bits a channel become 8, other
    colours RGB, what is transparent white; of an animation, the first frame counts. Files that cannot be read are
    left out, and a warning lists them.

    Args:
        folder: the folder.
        size: the side to resize to, in pixels.

    Raises:
        DataError: if there are no images, if more than a tenth of them cannot be read, or if a link leads out of the
            folder.
    """
    everything = sorted(folder.rglob("*"))
    paths = [path for path in everything if path.suffix.lower() in ENDINGS and not path.is_dir()]
    if not paths:
        raise DataError(f"the folder {str(folder)!r} holds no images ({', '.join(sorted(ENDINGS))})")
    for path in everything:
        check_within(path, folder)
    images, faults = [], []
    for path in paths:
        try:
            images.append(read_image(path, size))
        except DataError as error:
            faults.append(str(error))
    if faults:
        message = "\n  ".join(
            [
                f"{len(faults)} of the {len(paths)} images in {str(folder)!r} cannot be read:",
                *faults[:NUM_LISTED],
                *([f"and {len(faults) - NUM_LISTED} more"] if len(faults) > NUM_LISTED else []),
            ]
        )
        if len(faults) > MAX_SHARE * len(paths):
            raise DataError(f"{message}\nMend or remove them")
        warnings.warn(SparringWarning(f"{message}\nThey were left out"), stacklevel=2)
    return torch.stack(images)


def read_image(path: Path, size: int) -> Tensor:
    """One image, likewise: uint8 [3, size, size].

    Raises:
        DataError: if it cannot be read, naming it and why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd and reads all the same
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height > MAX_PIXELS:
                    raise DataError(f"{path}: {file.width}×{file.height} pixels, more than {MAX_PIXELS:,}")
                image = ImageOps.fit(_rgb(ImageOps.exif_transpose(file)), (size, size))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: it is none of {', '.join(FORMATS)}") from error
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError(f"{path}: {error or type(error).__name__}") from error
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I"):
        raise ValueError("its pixels have 32 bits, and their range is unknown")
    if image.mode.startswith("I;16"):  # which convert() would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")

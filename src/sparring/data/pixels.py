"""Which values of a set of images are black and which are white.

Floats go from 0 to 1 or from −1 to 1; if all are darker than 32 of 255, they are treated as the bytes that they would
become. Of whole numbers 0 is black, and 255 is white if the largest one lies from 32 to
255; otherwise the smallest of 1, 3, 7, ..., 4095, ..., 65535 that is not below the largest one. So masks of zeros and
ones, and scans with 12 bits, use all levels of grey.
"""

from collections.abc import Iterable

import numpy as np

from sparring.errors import DataError

Levels = tuple[float, float]
"""The values that become 0 and 255."""

BYTES: Levels = (0.0, 255.0)
DARK = 32  # bytes that are all below this are no photographs
MOST = 65535
TOLERANCE = 1e-3  # floats may be rounded
CLEARLY_BELOW_0 = 0.5  # floats that are less below 0 may be a little outside a range from 0 to 1


def is_usable(low: float, high: float, is_float: bool) -> bool:
    """Whether an image with values from low to high can belong to any set."""
    return -1 - TOLERANCE <= low <= high <= 1 + TOLERANCE if is_float else 0 <= low <= high <= MOST


def choose_levels(low: float, high: float, is_float: bool, what: str) -> Levels:
    """What is black and what is white in a set of images with values from low to high.

    Raises:
        DataError: if it is not clear; the message begins with `what`.

    Example:
        >>> choose_levels(0, 4000, False, "12 bits"), choose_levels(0, 1, False, "masks")
        ((0.0, 4095.0), (0.0, 1.0))
        >>> choose_levels(0, 1 / 255, True, "masks")
        (0.0, 0.00392156862745098)
    """
    if not is_usable(low, high, is_float) or (is_float and -CLEARLY_BELOW_0 < low < -TOLERANCE):
        raise DataError(
            f"{what} from {low:g} to {high:g}, and it is not clear what is black and what is white: give uint8 from 0 "
            f"to 255, uint16 from 0 to {MOST}, or floats from 0 to 1 or from -1 to 1"
        )
    if is_float:
        black = -1.0 if low < -TOLERANCE else 0.0
        byte = round((high - black) / (1 - black) * 255)
        largest = BYTES[1] if byte >= DARK else 2 ** max(1, byte.bit_length()) - 1
        return black, black + (1 - black) * largest / BYTES[1]
    return BYTES if DARK <= high <= 255 else (0.0, 2.0 ** max(1, int(high).bit_length()) - 1)


def describe_levels(levels: Levels, high: float, is_float: bool) -> str:
    """What is drawn as white, in words, if that is not the largest number of 8 or 16 bits, or 1 of floats."""
    is_usual = levels[1] in ((1.0,) if is_float else (BYTES[1], MOST))
    return "" if is_usual else f"the largest value is {high:g}, so {levels[1]:g} is taken as white"


def is_dark(images: Iterable[np.ndarray]) -> bool:
    """Whether all bytes are so small that a person would see black."""
    return not any((image >= DARK).any() for image in images)


def to_bytes(values: np.ndarray, levels: Levels) -> np.ndarray:
    """Values as uint8; those outside of the levels become black or white."""
    black, white = levels
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    return ((values - black) / (white - black) * 255).round().clip(0, 255).astype(np.uint8)

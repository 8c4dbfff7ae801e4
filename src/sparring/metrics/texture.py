"""Measurements of single images: how much fine detail they have, and how many specks."""

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

SPECK = 0.2  # by so much of the range a speck differs from all pixels around it


def measure_detail(images: Tensor) -> Tensor:
    """The high-frequency energy of each image: the mean of (pixel − mean of the 3×3 pixels around it)².

    Noise, specks and checkerboards raise it, and blur lowers it.

    Args:
        images: floats [n, channels, height, width] from 0 to 1, of at least 3×3 pixels.

    Returns:
        Numbers [n].

    Example: a checkerboard, with 5 pixels of 9 like each
        >>> board = (torch.arange(6)[:, None] + torch.arange(6)).remainder(2).float()
        >>> round(measure_detail(board[None, None]).item(), 3)  # (4 / 9)²
        0.198
    """
    return (images[:, :, 1:-1, 1:-1] - avg_pool2d(images, 3, 1)).square().mean((1, 2, 3))


def measure_specks(images: Tensor) -> Tensor:
    """The share of pixels that differ by a fifth of the range from all eight around them, upwards or downwards.

    Args:
        images: floats [n, channels, height, width] from 0 to 1; a speck in any channel counts.

    Returns:
        Shares [n] from 0 to 1.

    Example:
        >>> image = torch.zeros(1, 1, 10, 10)
        >>> image[..., 5, 5], image[..., 2, 2:4] = 1.0, 1.0  # the second one is a line
        >>> round(measure_specks(image).item(), 3)
        0.01
    """
    height, width = images.shape[2:]
    padded = pad(images, (1, 1, 1, 1), mode="replicate")
    places = [place for place in product(range(3), range(3)) if place != (1, 1)]
    around = [padded[:, :, down : down + height, right : right + width] for down, right in places]
    most, least = around[0].clone(), around[0].clone()
    for each in around[1:]:
        torch.maximum(most, each, out=most)
        torch.minimum(least, each, out=least)
    return ((images > most + SPECK) | (images < least - SPECK)).any(1).double().mean((1, 2))

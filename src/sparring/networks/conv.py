"""Small convolutional networks at the images' own size, which a CPU trains quickly.

Digits of 28×28 grow 7 → 14 → 28, without padding to 32: the classic four stages cost 2.5 times more.
"""

import math
from functools import partial

from torch import nn

from sparring.networks.network import (
    Discriminator,
    Network,
    discriminator_block,
    fit_images,
    generator_block,
    generator_of,
)


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """A linear layer to the smallest image, then stages that double it; batch normalisation, ReLU, tanh.

    Each stage but the last ends with a convolution that keeps the size.
    """
    channels, *sides = item_shape
    stages = num_stages(min(sides))
    features, (rows, columns) = width * 2 ** (stages - 1), (side // 2**stages for side in sides)
    stack: list[nn.Module] = [
        nn.Linear(num_inputs, features * rows * columns, bias=False),
        *generator_block(nn.Unflatten(1, (features, rows, columns)), features, num_classes),
    ]
    for _ in range(stages - 1):
        half = features // 2
        larger = nn.ConvTranspose2d(features, half, 4, stride=2, padding=1, bias=False)
        stack += generator_block(larger, half, num_classes)
        stack += generator_block(nn.Conv2d(half, half, 3, padding=1, bias=False), half, num_classes)
        features = half
    return nn.Sequential(*stack, nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), nn.Tanh())


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Convolutions of stride 2, one more than the generator has stages, then a linear layer to the logit.

    The last convolution covers most of the image: without it, strokes look right but digits don't. It needs only three
    quarters of the generator's features.
    """
    channels, *sides = item_shape
    stages = num_stages(min(sides))
    features = max(1, 3 * width // 4)
    stack: list[nn.Module] = [nn.Conv2d(channels, features, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range(stages):
        smaller = nn.Conv2d(features, 2 * features, 4, stride=2, padding=1, bias=normalization == "none")
        features *= 2
        stack += discriminator_block(smaller, features, normalization)
    num_features = features * math.prod(side // 2 ** (stages + 1) for side in sides)
    return Discriminator(nn.Sequential(*stack, nn.Flatten()), nn.Linear(num_features, 1), num_features, num_classes)


def num_stages(side: int) -> int:
    """The number of halvings until the shorter side is at most 8."""
    return max(1, (max(side, 8) - 1).bit_length() - 3)


CONV = Network(
    name="conv",
    summary="small stages native to the image's size (28 px: 7 → 14 → 28); the default for images",
    source="this project; after Radford et al. 2015, arXiv:1511.06434",
    width=32,
    usual_shapes=((1, 28, 28), (3, 64, 64)),
    fit=partial(fit_images, "conv", num_halvings=num_stages),
    generator=generator_of(layers),
    discriminator=discriminator,
)

"""The classic DCGAN.

At 64×64 the discriminator is five 4×4 convolutions, 1 → 64 → 128 → 256 → 512 → 1: four of stride 2 and one without
padding at the end. The generator is its mirror image. Other sizes add or drop a stage of stride 2.
"""

import math

from torch import nn

from sparring.networks.network import (
    Discriminator,
    Network,
    discriminator_block,
    fit_images,
    generator_block,
    generator_of,
)


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shorter side becomes a power of two, at least 16; the other can be halved as often, down to 4."""
    power_of_two = 1 << (min(item_shape[-2:]) - 1).bit_length()
    return fit_images("dcgan", item_shape, _num_stages, least=max(16, power_of_two))


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Transposed convolutions from latents to an image in [−1, 1], batch normalisation and ReLU between them."""
    channels, *sides = item_shape
    stages = _num_stages(min(sides))
    features = width * 2 ** (stages - 1)
    stack: list[nn.Module] = [
        nn.Unflatten(1, (num_inputs, 1, 1)),
        *generator_block(nn.ConvTranspose2d(num_inputs, features, _smallest(sides), bias=False), features, num_classes),
    ]
    for _ in range(stages - 1):
        larger = nn.ConvTranspose2d(features, features // 2, 4, stride=2, padding=1, bias=False)
        features //= 2
        stack += generator_block(larger, features, num_classes)
    stack += [nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
    return _initialize(nn.Sequential(*stack))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Convolutions of stride 2 to 4×4, then one without padding to the logit; the middle ones are normalised."""
    channels, *sides = item_shape
    stack = discriminator_block(nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False), width, "none")
    features = width
    for _ in range(_num_stages(min(sides)) - 1):
        smaller = nn.Conv2d(features, 2 * features, 4, stride=2, padding=1, bias=False)
        features *= 2
        stack += discriminator_block(smaller, features, normalization)
    kernel = _smallest(sides)
    layers, head = nn.Sequential(*stack), nn.Sequential(nn.Conv2d(features, 1, kernel, bias=False))
    return Discriminator(_initialize(layers), _initialize(head), features * math.prod(kernel), num_classes)


def _num_stages(side: int) -> int:
    """The number of halvings until the side is at most 4."""
    return (side - 1).bit_length() - 2


def _smallest(sides: list[int]) -> tuple[int, int]:
    """The size of the smallest image: 4×4 for a square one."""
    height, width = (side // 2 ** _num_stages(min(sides)) for side in sides)
    return height, width


def _initialize(stack: nn.Sequential) -> nn.Sequential:
    """Weights from N(0, 0.02), normalisation scales from N(1, 0.02)."""
    for module in stack.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return stack


DCGAN = Network(
    name="dcgan",
    summary="the classic of 4×4 convolutions, for images of 16, 32, 64, ... pixels",
    source="Radford et al. 2015, arXiv:1511.06434, and PyTorch's example of it",
    width=64,
    usual_shapes=((3, 64, 64),),
    fit=fit,
    generator=generator_of(layers),
    discriminator=discriminator,
)

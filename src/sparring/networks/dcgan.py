"""The classic DCGAN, layer by layer.

At 64×64 the discriminator is five 4×4 convolutions, 1 → 64 → 128 → 256 → 512 → 1, four of stride 2 and a valid
one at the end; the generator is its mirror image. Other sizes add or drop a stage of stride 2.
"""

import math

from torch import nn

from sparring.networks.network import Discriminator, Network, modulation, normalization_layer, require_images


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Images whose side is a power of two, at least 16: the smallest that holds the item."""
    require_images("dcgan", item_shape)
    side = max(16, 2 ** math.ceil(math.log2(max(item_shape[1:]))))
    return (item_shape[0], side, side)


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Transposed convolutions from latents to an image in [−1, 1], batch normalisation and ReLU between them."""
    channels, side, _ = item_shape
    stages = int(math.log2(side)) - 2  # from 4×4 to the full side
    features = width * 2 ** (stages - 1)
    stack: list[nn.Module] = [
        nn.Unflatten(1, (num_inputs, 1, 1)),
        nn.ConvTranspose2d(num_inputs, features, 4, bias=False),
        nn.BatchNorm2d(features),
        *modulation(features, num_classes),
        nn.ReLU(inplace=True),
    ]
    for _ in range(stages - 1):
        stack += [
            nn.ConvTranspose2d(features, features // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(features // 2),
            *modulation(features // 2, num_classes),
            nn.ReLU(inplace=True),
        ]
        features //= 2
    stack += [nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
    return _initialize(nn.Sequential(*stack))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Convolutions of stride 2 to 4×4 and a valid one to the logit; normalisation on the middle ones."""
    channels, side, _ = item_shape
    stack: list[nn.Module] = [
        nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    features = width
    for _ in range(int(math.log2(side)) - 3):
        stack += [
            nn.Conv2d(features, 2 * features, 4, stride=2, padding=1, bias=False),
            *normalization_layer(normalization, 2 * features),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        features *= 2
    head = nn.Sequential(nn.Conv2d(features, 1, 4, bias=False))
    return Discriminator(_initialize(nn.Sequential(*stack)), _initialize(head), features * 16, num_classes)


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
    layers=layers,
    discriminator=discriminator,
)

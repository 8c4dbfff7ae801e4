"""Residual networks without normalisation, for images from 32 to 256 pixels.

Arithmetic keeps the size of signals: weights start with He's variance, and each block adds its branch times a fixed
1/√(number of blocks), so the whole stack at most about doubles its input. Samples of a batch don't influence each
other, so per-sample penalties hold exactly.

Images are halved (the mean of 2×2) before the features are doubled, and doubled (bilinear interpolation) after the
features are halved, so the costly convolutions work on the smaller image.
"""

import math
from functools import partial

from torch import Tensor, nn

from sparring.networks.network import Discriminator, Network, fit_images, generator_of, modulation

MAX_FACTOR = 32
"""Features double when the side is halved, up to this multiple of the width."""
SLOPE = 0.2
"""The slope of LeakyReLU below 0."""


class Residual(nn.Module):
    """x + scale · branch(x); the branch is two 3×3 convolutions, each after a LeakyReLU, and the scale is fixed.

    Source: after Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, section 4, whose blocks
        also have no normalisation; the fixed scale after Brock et al. 2021, arXiv:2102.06171, section 3.
    """

    def __init__(self, features: int, scale: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(features, features, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """The sum."""
        total: Tensor = images + self.scale * self.branch(images)
        return total


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """A linear layer to the smallest image, then a residual block at each size; tanh."""
    channels, *sides = item_shape
    halvings = _num_halvings(min(sides))
    features, (rows, columns) = _features(width, halvings), (side // 2**halvings for side in sides)
    scale = 1 / math.sqrt(halvings + 1)
    stack: list[nn.Module] = [
        nn.Linear(num_inputs, features * rows * columns),
        nn.Unflatten(1, (features, rows, columns)),
        Residual(features, scale),
        *modulation(features, num_classes),
    ]
    for halving in reversed(range(halvings)):
        fewer = _features(width, halving)
        stack += [
            nn.Conv2d(features, fewer, 1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            Residual(fewer, scale),
            *modulation(fewer, num_classes),
        ]
        features = fewer
    stack += [nn.LeakyReLU(SLOPE), nn.Conv2d(features, channels, 3, padding=1), nn.Tanh()]
    return _initialize(nn.Sequential(*stack))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """The generator's mirror image: a residual block at each size, then a linear layer to the logit."""
    channels, *sides = item_shape
    halvings = _num_halvings(min(sides))
    scale = 1 / math.sqrt(halvings + 1)
    stack: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), Residual(width, scale)]
    for halving in range(halvings):
        more = _features(width, halving + 1)
        stack += [nn.AvgPool2d(2), nn.Conv2d(_features(width, halving), more, 1), Residual(more, scale)]
    features = _features(width, halvings) * math.prod(side // 2**halvings for side in sides)
    stack += [nn.LeakyReLU(SLOPE), nn.Flatten()]
    return Discriminator(_initialize(nn.Sequential(*stack)), nn.Linear(features, 1), features, num_classes)


def _features(width: int, halvings: int) -> int:
    """The number of features after a number of halvings."""
    return width * min(1 << halvings, MAX_FACTOR)


def _num_halvings(side: int) -> int:
    """The number of halvings until the shorter side is less than 8."""
    return max(1, side.bit_length() - 3)


def _initialize(stack: nn.Sequential) -> nn.Sequential:
    """Weights that keep the size of signals; the 3×3 convolutions of a branch come after a LeakyReLU."""
    for module in stack.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            in_branch = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
            nn.init.kaiming_normal_(module.weight, a=SLOPE if in_branch else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return stack


RESNET = Network(
    name="resnet",
    summary="residual and without normalisation, for 32 to 256 pixels; the default above 64",
    source="this project; after Huang et al. 2024, arXiv:2501.05441",
    width=8,
    usual_shapes=((3, 64, 64), (3, 128, 128), (3, 256, 256)),
    fit=partial(fit_images, "resnet", num_halvings=_num_halvings, least=8),
    generator=generator_of(layers),
    discriminator=discriminator,
    normalizations=("none",),
)

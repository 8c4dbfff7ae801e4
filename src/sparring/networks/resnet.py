"""Residual networks without normalisation, for images from 32 to 256 pixels.

What keeps the signal's size is arithmetic: weights start with He's variance, and each block adds its branch times a
fixed 1/√(number of blocks), so that the whole stack at most doubles or so what goes in. No sample sees another one, so
penalties about single samples and updates of both players from one pass hold exactly.

Sizes change by bilinear interpolation, down (the mean of 2×2) before the features are doubled and up after they are
halved, so that the costly convolutions see the smaller image.
"""

import math

from torch import Tensor, nn

from sparring.networks.network import Discriminator, Network, modulation, require_images

MAX_FACTOR = 32
"""Features are doubled where the side is halved, up to so many times the width."""
SLOPE = 0.2
"""Of LeakyReLU below 0."""


class Residual(nn.Module):
    """x + scale · branch(x), where the branch is two 3×3 convolutions, each after a LeakyReLU.

    Args:
        features: of the input and of the output, [batch, features, height, width].
        scale: fixed, and not learned.

    Source: after Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, section 4, whose blocks
        have no normalisation either; the fixed scale after Brock et al. 2021, arXiv:2102.06171, section 3.

    Example:
        >>> import torch
        >>> Residual(4, 0.5)(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
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


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Images whose side can be halved down to between 4 and 7 pixels."""
    require_images("resnet", item_shape)
    side = max(8, *item_shape[1:])
    step = 2 ** _num_halvings(side)
    side = -(-side // step) * step
    return (item_shape[0], side, side)


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """A linear layer to the smallest image, then a residual block a size, doubled between them; tanh."""
    channels, side, _ = item_shape
    halvings = _num_halvings(side)
    features, start = _features(width, halvings), side // 2**halvings
    scale = 1 / math.sqrt(halvings + 1)
    stack: list[nn.Module] = [
        nn.Linear(num_inputs, features * start**2),
        nn.Unflatten(1, (features, start, start)),
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
    """The generator's mirror image: a residual block a size, halved between them, then a linear layer to the logit."""
    channels, side, _ = item_shape
    halvings = _num_halvings(side)
    scale = 1 / math.sqrt(halvings + 1)
    stack: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), Residual(width, scale)]
    for halving in range(halvings):
        more = _features(width, halving + 1)
        stack += [
            nn.AvgPool2d(2),
            nn.Conv2d(_features(width, halving), more, 1),
            Residual(more, scale),
        ]
    features = _features(width, halvings) * (side // 2**halvings) ** 2
    stack += [nn.LeakyReLU(SLOPE), nn.Flatten()]
    return Discriminator(_initialize(nn.Sequential(*stack)), nn.Linear(features, 1), features, num_classes)


def _features(width: int, halvings: int) -> int:
    """At a side that was halved so often."""
    return width * min(1 << halvings, MAX_FACTOR)


def _num_halvings(side: int) -> int:
    """How often to halve an image until its side is less than 8."""
    return max(1, side.bit_length() - 3)


def _initialize(stack: nn.Sequential) -> nn.Sequential:
    """Weights that keep the size of what goes through them, where it comes from a LeakyReLU or as it is; no offsets."""
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
    fit=fit,
    layers=layers,
    discriminator=discriminator,
    normalizations=("none",),
)

"""Translators of images that keep places: what an image shows stays where it is, and its look changes."""

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from sparring.networks.conv import discriminator
from sparring.networks.network import Network, fit_images
from sparring.networks.resnet import SLOPE, Residual
from sparring.types import Samples

DEEP, NUM_BLOCKS = 3, 2  # features at a quarter of the size, over those at half of it; residual blocks there
NUM_PATCH_FEATURES = 64
SLOPE_OUTSIDE = 0.1  # of the output beyond ±1, while it trains
FIRST_CHANGE = 0.1
"""The scale of the last layer's first weights: at first a translator hardly changes an image."""


@final
class Translator(nn.Module):
    """x + f(x) of images x, cut to ±1; f is a U-net: half the size, a quarter with residual blocks, and back up.

    While it trains, it is not cut there, but has a slope of .1. With tanh instead, which has nearly no slope at black
    and at white, a translator that had to invert images ended all white.

    Args:
        channels: of the images.
        width: the features at half the size.

    Example:
        >>> Translator(1, width=8)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        more = DEEP * width
        self.down = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.quarter = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Conv2d(width, more, 4, stride=2, padding=1))
        blocks = [Residual(more, NUM_BLOCKS**-0.5) for _ in range(NUM_BLOCKS)]
        self.blocks = nn.Sequential(*blocks, nn.LeakyReLU(SLOPE))
        self.larger = nn.ConvTranspose2d(more, width, 4, stride=2, padding=1)
        self.last = nn.ConvTranspose2d(2 * width, channels, 4, stride=2, padding=1)
        self.patches = nn.Sequential(
            nn.Linear(more, NUM_PATCH_FEATURES), nn.ReLU(), nn.Linear(NUM_PATCH_FEATURES, NUM_PATCH_FEATURES)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.last.weight.mul_(FIRST_CHANGE)

    def forward(self, images: Samples) -> Samples:
        """The translated images."""
        half = self.down(images)
        deep = self.blocks(self.quarter(half))
        change: Tensor = self.last(nn.functional.leaky_relu(torch.cat([half, self.larger(deep)], 1), SLOPE))
        made = images + change
        clamped = made.clamp(-1, 1)
        return torch.lerp(clamped, made, SLOPE_OUTSIDE) if self.training else clamped

    def features(self, images: Samples) -> list[Tensor]:
        """Features of the patches of images, [batch, patches, features], for `sparring.game.restraints.Contrastive`.

        A perceptron on the features at a quarter of the size, as in Park et al. 2020, arXiv:2007.15651, section 3.
        """
        deep: Tensor = self.blocks(self.quarter(self.down(images)))
        return [self.patches(deep.flatten(2).transpose(1, 2))]


TRANSLATE = Network(
    name="translate",
    summary="translates images and keeps places: a small U-net that begins as the identity",
    source="this project; after Ronneberger et al. 2015, arXiv:1505.04597, and Zhu et al. 2017, arXiv:1703.10593",
    width=16,
    usual_shapes=((1, 28, 28), (3, 64, 64)),
    fit=partial(fit_images, "translate", num_halvings=lambda side: 2, least=8),
    generator=lambda item_shape, latent_dim, width, num_classes: Translator(item_shape[0], width),
    discriminator=discriminator,
    takes_labels=False,
    translates=True,
    has_features=True,
)

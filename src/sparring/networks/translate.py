"""Translators: small encoder-decoders whose output has the size of their input, for images of two domains.

A translator begins as nearly the identity, so it keeps what an image shows from the first step on; the last layer,
which begins at zero, learns the change.
"""

from functools import partial

import torch
from torch import Tensor, nn

from sparring.networks.conv import discriminator
from sparring.networks.network import Network, fit_images
from sparring.networks.resnet import SLOPE, Residual
from sparring.types import Samples


class Translator(nn.Module):
    """tanh(2 x + f(x)) of images x; f is a U-net: half the size, a quarter with residual blocks, and back up.

    Args:
        channels: of the images.
        width: the features at half the size; a quarter of the size has `deep` times as many.
        blocks: the number of residual blocks at a quarter of the size.
    """

    def __init__(self, channels: int, width: int, deep: int = 3, blocks: int = 2) -> None:
        super().__init__()
        more = deep * width
        self.down = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.quarter = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Conv2d(width, more, 4, stride=2, padding=1))
        self.blocks = nn.Sequential(*[Residual(more, blocks**-0.5) for _ in range(blocks)], nn.LeakyReLU(SLOPE))
        self.larger = nn.Sequential(nn.ConvTranspose2d(more, width, 4, stride=2, padding=1))
        last = nn.ConvTranspose2d(2 * width, channels, 4, stride=2, padding=1)
        self.last = nn.Sequential(nn.LeakyReLU(SLOPE), last)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(last.weight)

    def forward(self, images: Samples) -> Samples:
        """The translated images."""
        half = self.down(images)
        deep = self.blocks(self.quarter(half))
        change: Tensor = self.last(torch.cat([half, self.larger(deep)], 1))
        return torch.tanh(2 * images + change)


TRANSLATE = Network(
    name="translate",
    summary="translates images: a small U-net that begins as the identity",
    source="this project; after Ronneberger et al. 2015, arXiv:1505.04597, and Zhu et al. 2017, arXiv:1703.10593",
    width=16,
    usual_shapes=((1, 28, 28), (3, 64, 64)),
    fit=partial(fit_images, "translate", num_halvings=lambda side: 2, least=8),
    generator=lambda item_shape, latent_dim, width, num_classes: Translator(item_shape[0], width),
    discriminator=discriminator,
    takes_labels=False,
    translates=True,
)

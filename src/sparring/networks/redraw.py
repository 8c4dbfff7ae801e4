"""Translators of images that draw each item anew.

Between their two halves is one short vector. A code that keeps places, as that of `translate`, lets a small network
copy strokes and edit their edges; a vector makes it draw the item anew, in the manner of the other domain.
"""

from functools import partial
from typing import final

from torch import Tensor, nn

from sparring.networks.conv import discriminator, layers, num_stages
from sparring.networks.network import Network, discriminator_block, fit_images
from sparring.types import Labels, Samples

CODE = 64
"""The length of the vector."""


@final
class Redrawer(nn.Module):
    """Convolutions of stride 2 to a vector, then the generator of `conv`.

    Args:
        item_shape: of the images, (channels, height, width), as `conv` fits it.
        width: the features before the last layer.

    Example:
        >>> import torch
        >>> Redrawer((1, 28, 28), width=8)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, item_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels, *sides = item_shape
        first = max(1, 3 * width // 4)
        stack: list[nn.Module] = []
        for stage in range(num_stages(min(sides)) + 1):
            features = first * (stage + 1)
            smaller = nn.Conv2d(channels, features, 4, stride=2, padding=1, bias=False)
            stack += discriminator_block(smaller, features, "batch")
            channels, sides = features, [side // 2 for side in sides]
        code = nn.Linear(channels * sides[0] * sides[1], CODE, bias=False)
        self.encoder = nn.Sequential(*stack, nn.Flatten(), code, nn.BatchNorm1d(CODE))
        self.decoder = layers(item_shape, CODE, width, 0)

    def forward(self, images: Samples, labels: Labels | None = None) -> Samples:
        """The translated images; labels change nothing."""
        translated: Tensor = self.decoder(self.encoder(images))
        return translated


REDRAW = Network(
    name="redraw",
    summary="translates images and draws them anew: a code of 64 numbers between convolutions",
    source="this project; after Radford et al. 2015, arXiv:1511.06434",
    width=32,
    usual_shapes=((1, 28, 28), (3, 64, 64)),
    fit=partial(fit_images, "redraw", num_halvings=num_stages),
    generator=lambda item_shape, latent_dim, width, num_classes: Redrawer(item_shape, width),
    discriminator=discriminator,
    translates=True,
)

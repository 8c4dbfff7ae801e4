"""The networks of `conv`, and beside its discriminator small ones that see pictures as a pretrained network does.

A small data set teaches a discriminator little about pictures. EfficientNet-Lite0 has learned about them from ImageNet,
so its features tell more of a picture than pixels do: each head judges those of one size, by a logit of its own.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn

from sparring.networks import conv
from sparring.networks.efficientnet import as_seen, load, network_size
from sparring.networks.network import Discriminator, Network, discriminator_block, fit_images, generator_of
from sparring.seeding import Stream
from sparring.types import Labels, Logits, Samples

STRIDES = 4, 8, 16, 32  # pixels of an image, as the network sees it, to a place of the features
ENDS = 6, 8, 14, 19  # the first so many layers of the network make them
NUM_FEATURES = 24, 40, 112, 320
DEVIATIONS = 10.0, 10.0, 8.0, 3.0  # of mixtures of them, about, for pictures
NUM_MIXTURES = 64
SLOPE = 0.1  # the heads' logits are 12 to 31 times as steep as that of `conv`, and the generator is to heed both
LEAST_SIDE = 4  # a head halves its features until the shorter side is so long


@final
class Pyramid(nn.Module):
    """Fixed random mixtures of EfficientNet-Lite0's features of images, at four sizes.

    Nobody trains, restrains or saves its weights, which come from a package and from a seed. So they are no parameters
    of this module, and no buffers. Gradients with respect to the images are multiplied by `SLOPE`.

    Source: Sauer et al. 2021, "Projected GANs converge faster", arXiv:2111.01007, section 3.2: its mixing of channels,
        without the one of sizes.

    Example:
        >>> pyramid = Pyramid()
        >>> [list(features.shape) for features in pyramid(torch.zeros(2, 3, 64, 96))]
        [[2, 64, 16, 24], [2, 64, 8, 12], [2, 64, 4, 6], [2, 64, 2, 3]]
        >>> list(pyramid.parameters()), list(pyramid.state_dict())
        ([], [])
    """

    def __init__(self) -> None:
        super().__init__()
        network = load()
        self._stages = [network[start:end] for start, end in pairwise((0, *ENDS))]  # a list hides them from torch
        self._mixings = list[nn.Conv2d]()
        for number, (features, deviation) in enumerate(zip(NUM_FEATURES, DEVIATIONS, strict=True)):
            mixing = nn.Conv2d(features, NUM_MIXTURES, 1, bias=False).requires_grad_(False)
            drawn = Stream(0, f"pyramid/{number}").normal(NUM_MIXTURES, features, 1, 1)
            mixing.weight.copy_(drawn / (features**0.5 * deviation))
            self._mixings.append(mixing)

    def forward(self, samples: Samples) -> list[Tensor]:
        """The mixtures, each [batch, 64, height / stride, width / stride], for the strides 4, 8, 16 and 32."""
        images, mixtures = as_seen(SLOPE * samples + ((1 - SLOPE) * samples).detach()), []
        for stage, mixing in zip(self._stages, self._mixings, strict=True):
            images = stage(images)
            mixtures.append(mixing(images))
        return mixtures

    def _apply(self, *change: Any) -> Any:
        """What `to` and the like do with every tensor, with the hidden ones as well."""
        for each in (*self._stages, *self._mixings):
            each._apply(*change)  # type: ignore[no-untyped-call]
        return super()._apply(*change)  # type: ignore[no-untyped-call]


@final
class HybridDiscriminator(nn.Module):
    """The discriminator of `conv`, and a head on each size of a `Pyramid`: five logits for each sample, [batch, 5].

    Each has a loss of its own. If their sum had one, the heads would win so early that the other learned nothing.
    """

    def __init__(self, item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> None:
        super().__init__()
        self.pixels = conv.discriminator(item_shape, width, normalization, num_classes)
        self.pyramid = Pyramid()
        sides = network_size(item_shape[1:])
        places = [[side // stride for side in sides] for stride in STRIDES]
        self.heads = nn.ModuleList(_head(each, normalization, num_classes) for each in places)

    def forward(self, samples: Samples, labels: Labels | None = None) -> Logits:
        """The logits: positive if a sample looks real."""
        logits = [self.pixels(samples, labels)]
        logits += [head(features, labels) for head, features in zip(self.heads, self.pyramid(samples), strict=True)]
        return torch.stack(logits, 1)


def _head(places: Sequence[int], normalization: str, num_classes: int) -> Discriminator:
    """A discriminator of mixtures with so many places in height and width."""
    layer: Callable[..., nn.Conv2d] = partial(
        nn.Conv2d, NUM_MIXTURES, NUM_MIXTURES, padding=1, bias=normalization == "none"
    )
    stack = discriminator_block(layer(3), NUM_MIXTURES, normalization)
    while min(places) > LEAST_SIDE:
        stack += discriminator_block(layer(4, stride=2), NUM_MIXTURES, normalization)
        places = [each // 2 for each in places]
    num_features = NUM_MIXTURES * math.prod(places)
    return Discriminator(nn.Sequential(*stack, nn.Flatten()), nn.Linear(num_features, 1), num_features, num_classes)


HYBRID = Network(
    name="hybrid",
    summary="conv, and heads that see pictures as a pretrained network does; needs the extra pictures",
    source="this project; after Sauer et al. 2021, arXiv:2111.01007",
    width=32,
    usual_shapes=((3, 64, 64),),
    fit=partial(fit_images, "hybrid", num_halvings=conv.num_stages),
    generator=generator_of(conv.layers),
    discriminator=HybridDiscriminator,
)

"""Augmentation of what the discriminator sees, for games with few samples.

Real and generated samples are altered at random alike, in a way that gradients pass, so that the generator learns
through it and still draws unaltered samples. The discriminator never sees the same real sample twice, and cannot learn
the few that there are by heart.

    real, fake = differentiable(real, Stream(seed, "augment/real", step)), differentiable(generator(latents), ...)

With what probability each alteration comes can follow the discriminator: `Adaptive`.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparring import distributed
from sparring.errors import UsageError
from sparring.seeding import Stream
from sparring.types import Logits, Samples

MAX_BRIGHTNESS = 0.5
MAX_SHIFT, HOLE = 1 / 8, 1 / 2
"""Shares of an image's side."""


def differentiable(images: Samples, stream: Stream, probability: float = 1.0) -> Samples:
    """Alter each image's colour, shift it, and cut a hole into it.

    In this order, each for each image with the given probability:

    - brightness: x + u, u in [−.5, .5];
    - saturation: m + s (x − m), m the mean over a pixel's channels, s in [0, 2];
    - contrast: m + c (x − m), m the mean over the image, c in [.5, 1.5];
    - a shift by up to an eighth of each side; what comes in is 0;
    - a hole of half of each side, its centre anywhere in the image; it is 0.

    Args:
        images: [batch, channels, height, width] in [−1, 1]; altered ones may lie outside of it.
        stream: what is drawn. Real and generated images take streams of their own.
        probability: of each alteration, 0 to 1.

    Returns:
        [batch, channels, height, width].

    Raises:
        UsageError: for samples that are no images, or a probability out of range.

    Source: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", arXiv:2006.10738, figure 4,
    with the ranges of the authors' code; the probability as Karras et al. 2020, arXiv:2006.06676, have it.

    Example:
        >>> images = torch.zeros(2, 1, 8, 8)
        >>> differentiable(images, Stream(0, "augment")).shape
        torch.Size([2, 1, 8, 8])
        >>> bool((differentiable(images, Stream(0, "augment"), probability=0.0) == images).all())
        True
    """
    if images.ndim != 4:
        raise UsageError(f"only images [batch, channels, height, width] can be augmented, not {list(images.shape)}")
    if not 0 <= probability <= 1:
        raise UsageError(f"the probability of an augmentation must be from 0 to 1, and is {probability}")
    if probability == 0:
        return images
    drawn = stream.uniform(len(images), 12).to(images)
    occurs = (drawn[:, :5] < probability).to(images)
    brightness, saturation, contrast, *place = drawn[:, 5:12].T
    images = images + _for_each(occurs[:, 0] * MAX_BRIGHTNESS * (2 * brightness - 1))
    images = images + _for_each(occurs[:, 1] * (2 * saturation - 1)) * (images - images.mean(1, keepdim=True))
    images = images + _for_each(occurs[:, 2] * (contrast - 0.5)) * (images - images.mean((1, 2, 3), keepdim=True))
    for dim, shift in ((2, place[0]), (3, place[1])):
        images = _shifted(images, occurs[:, 3] * (2 * shift - 1), dim)
    return images * (1 - _for_each(occurs[:, 4]) * _hole(images, place[2], place[3]))


def _for_each(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]


def _shifted(images: Samples, share: Tensor, dim: int) -> Samples:
    """By so much of the largest shift, [batch], along a dimension; what comes in is 0."""
    side = images.shape[dim]
    sources = torch.arange(side, device=images.device) - (share * side * MAX_SHIFT).round().long()[:, None]
    inside = (sources >= 0) & (sources < side)
    shape = [len(images), 1, 1, 1]
    shape[dim] = side
    taken = images.gather(dim, sources.clamp(0, side - 1).view(shape).expand_as(images))
    return taken * inside.view(shape)


def _hole(images: Samples, row: Tensor, column: Tensor) -> Tensor:
    """1 where an image has its hole, 0 elsewhere, [batch, 1, height, width]; its centre in shares of the sides."""
    is_in = []
    for side, share in ((images.shape[2], row), (images.shape[3], column)):
        first = (share * (side + 1)).floor()[:, None] - round(side * HOLE) // 2
        places = torch.arange(side, device=images.device)
        is_in.append((places >= first) & (places < first + round(side * HOLE)))
    return (is_in[0][:, None, :, None] & is_in[1][:, None, None, :]).to(images)


@final
@dataclass(frozen=True)
class Adaptive:
    """A probability of augmentation that follows how well the discriminator knows its training samples.

    The share of training samples with positive logits over those with negative ones, r = E[sign D(x)], is 1 where it
    knows them all. Where r is above the target the probability rises, else it falls, at a pace that takes it from 0 to
    1 in `num_images`.

    Args:
        probability: now, 0 to 1.
        target: of r, −1 to 1.
        num_images: that it takes from 0 to 1.

    Source: Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv:2006.06676: their
    r_t, with its target of 0.6 and half a million images.

    Example:
        >>> adaptive = Adaptive(num_images=1000)
        >>> adaptive.after(torch.ones(100)).probability  # all known
        0.1
        >>> adaptive.after(torch.tensor([1.0, -1.0])).probability
        0.0
    """

    probability: float = 0.0
    target: float = 0.6
    num_images: int = 500_000

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and -1 <= self.target <= 1 and self.num_images >= 1):
            raise UsageError(f"a probability lies from 0 to 1, a target from -1 to 1, images are at least 1: {self}")

    def __call__(self, images: Samples, stream: Stream) -> Samples:
        """Images altered by `differentiable` with the present probability."""
        return differentiable(images, stream, self.probability)

    def after(self, real_logits: Logits) -> "Adaptive":
        """That after a batch of training samples, by their logits as it sees them, [batch].

        Of several processes each gives its part of the batch.
        """
        (known,) = distributed.mean([real_logits.detach().sign().mean()])
        num_images = len(real_logits) * distributed.count()
        step = math.copysign(num_images / self.num_images, known.item() - self.target)
        return Adaptive(min(1.0, max(0.0, self.probability + step)), self.target, self.num_images)

"""Augmentation of the discriminator's input, for small data sets.

Real and generated samples are altered at random in the same ways, so the discriminator never sees the same real sample
twice and cannot memorise the few that there are. Gradients pass through the alterations, so the generator still learns
to draw unaltered samples. `Adaptive` adjusts the probability of the alterations to the discriminator.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, max_pool2d

from sparring.distributed import collectives
from sparring.errors import UsageError
from sparring.seeding import Stream
from sparring.types import Logits, Samples

MAX_BRIGHTNESS = 0.5
MAX_SHIFT, HOLE = 1 / 8, 1 / 2
"""The largest shift, and the side of a hole, as shares of an image's side."""


def differentiable(images: Samples, stream: Stream, probability: float = 1.0) -> Samples:
    """Alter the colours of images [batch, channels, height, width] in [−1, 1], shift them, and cut holes into them.

    Each image gets each alteration with the given probability, in this order; results may leave [−1, 1]:

    - brightness: x + u, u in [−.5, .5];
    - saturation: m + s (x − m), m the mean over a pixel's channels, s in [0, 2];
    - contrast: m + c (x − m), m the mean over the image, c in [.5, 1.5];
    - a shift by up to an eighth of each side, filled with 0;
    - a hole of half of each side, filled with 0, its centre anywhere in the image.

    Source: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", arXiv:2006.10738, figure 4,
        with the ranges of the authors' code; the probability: Karras et al. 2020, arXiv:2006.06676.
    """
    if images.ndim != 4:
        raise UsageError(f"only images [batch, channels, height, width] can be augmented, not {list(images.shape)}")
    if not 0 <= probability <= 1:
        raise UsageError(f"the probability of an augmentation must be from 0 to 1, not {probability}")
    if probability == 0:
        return images
    drawn = stream.uniform(len(images), 12).to(images)[:, :, None, None, None]
    occurs = (drawn[:, :5] < probability).to(images)
    brightness, saturation, contrast, *place = drawn[:, 5:].unbind(1)
    images = images + occurs[:, 0] * MAX_BRIGHTNESS * (2 * brightness - 1)
    images = images + occurs[:, 1] * (2 * saturation - 1) * (images - images.mean(1, keepdim=True))
    images = images + occurs[:, 2] * (contrast - 0.5) * (images - images.mean((1, 2, 3), keepdim=True))
    for dim, shift in ((2, place[0]), (3, place[1])):
        images = _shift(images, occurs[:, 3] * (2 * shift - 1), dim)
    return images * (1 - occurs[:, 4] * _hole(images, place[2], place[3]))


def _shift(images: Samples, share: Tensor, dim: int) -> Samples:
    """Shift images along a dimension by shares [batch, 1, 1, 1] of the largest shift, and fill with 0."""
    places, side = _places(images, dim), images.shape[dim]
    sources = places - (share * side * MAX_SHIFT).round().long()
    inside = (sources >= 0) & (sources < side)
    return images.gather(dim, sources.clamp(0, side - 1).expand_as(images)) * inside


def _hole(images: Samples, row: Tensor, column: Tensor) -> Tensor:
    """1 inside each image's hole, 0 elsewhere, [batch, 1, height, width]; the centre is in shares of the sides."""
    is_in = torch.ones((), dtype=torch.bool, device=images.device)
    for dim, share in ((2, row), (3, column)):
        places, side = _places(images, dim), images.shape[dim]
        first = (share * (side + 1)).floor() - round(side * HOLE) // 2
        is_in = is_in & (places >= first) & (places < first + round(side * HOLE))
    return is_in.to(images)


def _places(images: Samples, dim: int) -> Tensor:
    """0, 1, 2, ... along a dimension of images, in a shape that broadcasts."""
    return torch.arange(images.shape[dim], device=images.device).view([-1 if dim == each else 1 for each in range(4)])


def warp(images: Samples, stream: Stream, strength: float = 1.0) -> Samples:
    """Views of images [batch, channels, height, width] in [−1, 1]; −1 is the background.

    In this order: turned by up to .25 radians, sheared by up to .35, stretched by up to e^±.3 each way, shifted by up
    to 6 % of the side, bent by a smooth field, and made thicker or thinner by up to a pixel; all times `strength`.
    """
    drawn = strength * (2 * stream.part("affine").uniform(len(images), 7) - 1).to(images)
    angle, shear, wide, high, right, down, thick = drawn.unbind(1)
    turn, wide, high = 0.25 * angle, (0.3 * wide).exp(), (0.3 * high).exp()
    cos, sin = turn.cos(), turn.sin()
    rows = [cos * wide, (0.35 * shear - sin) * high, 0.12 * right, sin * wide, cos * high, 0.12 * down]
    grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    bend = strength * 0.06 * stream.part("bend").normal(len(images), 2, 5, 5).to(images)
    bend = interpolate(bend, size=images.shape[2:], mode="bicubic", align_corners=True)
    images = grid_sample(images + 1, grid + bend.permute(0, 2, 3, 1), align_corners=False) - 1
    thick = thick[:, None, None, None]
    thicker, thinner = max_pool2d(images, 3, 1, 1), -max_pool2d(-images, 3, 1, 1)
    return torch.where(thick > 0, images + thick * (thicker - images), images + 0.6 * thick * (images - thinner))


@final
@dataclass(frozen=True)
class Adaptive:
    """Augmentation whose probability rises when the discriminator begins to memorise the training samples.

    r = E[sign D(x)] over training samples is 1 if it recognises all of them. The probability rises while r is above the
    target and falls otherwise; it takes `num_images` images to go from 0 to 1.

    Source: Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv:2006.06676;
        their r_t, with its target of 0.6 and half a million images.
    """

    probability: float = 0.0
    target: float = 0.6
    num_images: int = 500_000

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and -1 <= self.target <= 1 and self.num_images >= 1):
            raise UsageError(f"the probability must be from 0 to 1, target from -1 to 1, num_images at least 1: {self}")

    def __call__(self, images: Samples, stream: Stream) -> Samples:
        """Alter images by `differentiable` with the current probability."""
        return differentiable(images, stream, self.probability)

    def after(self, real_logits: Logits) -> "Adaptive":
        """The augmentation to use after this process's share of a batch of real samples, by their logits [batch]."""
        (mean_sign,) = collectives.mean([real_logits.detach().sign().mean()])
        num_images = len(real_logits) * collectives.world_size()
        step = math.copysign(num_images / self.num_images, mean_sign.item() - self.target)
        return replace(self, probability=min(1.0, max(0.0, self.probability + step)))

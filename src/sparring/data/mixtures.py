"""Mixtures of Gaussians in the plane, whose densities are known exactly."""

import math
from typing import final

import torch
from torch import Tensor

from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.types import Samples


@final
class Mixture(Source):
    """Equal parts of Gaussians N(μ_k, σ² I) in the plane; every draw is new.

    Args:
        means: the means μ_k, float32 [num_modes, 2].
        sigma: the standard deviation σ of each.

    Attributes:
        scale: the root mean square of the coordinates.

    Example:
        >>> mixture = Mixture(torch.zeros(1, 2), sigma=1.0)
        >>> round(mixture.log_density(torch.zeros(1, 2)).exp().item() * 2 * math.pi, 4)
        1.0
    """

    def __init__(self, means: Tensor, sigma: float) -> None:
        self.means = means
        self.sigma = sigma
        self.scale = (means.square().mean().item() + sigma**2) ** 0.5
        self.item_shape = (2,)
        self.num_items = None

    def batch(self, size: int, stream: Stream) -> Samples:
        """Points [size, 2]."""
        modes = stream.part("modes").integers(len(self.means), size)
        return self.means[modes] + self.sigma * stream.part("points").normal(size, 2)

    def log_density(self, points: Tensor) -> Tensor:
        """Log p(x) at points [n, 2], in nats, [n]."""
        squared = (points[:, None] - self.means.to(points)).square().sum(2)
        log_modes = -squared / (2 * self.sigma**2) - math.log(2 * math.pi * self.sigma**2)
        return log_modes.logsumexp(1) - math.log(len(self.means))


def ring() -> Mixture:
    """Eight Gaussians of σ = 0.01 on the unit circle."""
    angles = torch.arange(8) * (2 * math.pi / 8)  # linspace(0, 2π, 8) would give seven modes, one of them double
    return Mixture(torch.stack([angles.cos(), angles.sin()], dim=1), sigma=0.01)


def grid() -> Mixture:
    """Twenty-five Gaussians of σ = 0.05 on {−4, −2, 0, 2, 4}²."""
    axis = torch.arange(-4.0, 5.0, 2.0)
    return Mixture(torch.cartesian_prod(axis, axis), sigma=0.05)

"""How many of the data's modes a generator finds, and how evenly.

For mixtures of Gaussians, a sample within three standard deviations of its nearest mode is of high quality, and one
such sample finds the mode. The reverse KL compares the histogram of all samples over their nearest modes with the
uniform one (Lin et al. 2018, "PacGAN", arXiv:1712.04086, and its code).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.data.mixtures import Mixture
from sparring.metrics.digit_classifier import classify
from sparring.types import Samples


@dataclass(frozen=True)
class ModeCount:
    """How many modes were found, and how well."""

    found: int  # the number of modes with at least one (high-quality) sample
    total: int  # the number of all modes
    high_quality: float  # the share of samples within three standard deviations of a mode; 1 for digits
    reverse_kl: float  # KL(generated histogram over modes ‖ uniform), in nats, at least 0


def count_modes(points: Samples, mixture: Mixture) -> ModeCount:
    """Modes, quality and reverse KL of points from a mixture of Gaussians.

    Args:
        points: [n, 2].
        mixture: the distribution of the data.

    Example:
        >>> from sparring.data import ring
        >>> count = count_modes(ring().means[:4].repeat(5, 1), ring())
        >>> count.found, count.total, count.high_quality, round(count.reverse_kl, 4)  # half of the modes: log 2
        (4, 8, 1.0, 0.6931)
    """
    distances, nearest = torch.cdist(points, mixture.means.to(points)).min(dim=1)
    good = distances <= 3 * mixture.sigma
    found, total = len(set(nearest[good].tolist())), len(mixture.means)
    return ModeCount(found, total, good.double().mean().item(), _reverse_kl(nearest, total))


def count_digit_modes(images: Samples) -> ModeCount:
    """Modes and reverse KL of stacked digits: one digit in each channel, read by the built-in classifier.

    Args:
        images: float32 [n, channels, 28, 28] in [−1, 1]; the modes are the 10 ** channels combinations.

    Source: Metz et al. 2016, "Unrolled generative adversarial networks", arXiv:1611.02163, section 3.3.1, by the
        protocol of Lin et al. 2018, arXiv:1712.04086.

    Example:
        >>> count_digit_modes(torch.full((5, 2, 28, 28), -1.0)).found
        1
    """
    channels = images.shape[1]
    digits = torch.stack([classify(images[:, channel : channel + 1]) for channel in range(channels)])
    modes = (digits * 10 ** torch.arange(channels)[:, None]).sum(0)
    return ModeCount(len(set(modes.tolist())), 10**channels, 1.0, _reverse_kl(modes, 10**channels))


def _reverse_kl(modes: Tensor, total: int) -> float:
    shares = torch.bincount(modes, minlength=total).double() / len(modes)
    return float(torch.special.xlogy(shares, shares).sum()) + math.log(total)

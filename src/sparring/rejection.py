"""Rejection sampling: keep generated samples in proportion to how real they are.

With the density ratio p/q and its largest value M, accepting a sample x of q with probability p(x) / (M q(x)) gives
samples of p. M is huge in practice, so the probability is softened by a shift that trades samples for exactness.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.types import Logits, Samples

EPSILON = 1e-6
PERCENTILE = 0.8
"""The shift γ puts this share of the samples below an acceptance of one half."""


@dataclass(frozen=True)
class Acceptance:
    """The probability with which each sample is accepted.

    F(x) = t(x) − t_M − log(1 − exp(t(x) − t_M − ε)) − γ, and the probability is σ(F(x)).

    Args:
        log_ratio: t, an estimate of log p − log q: samples [batch, ...] to [batch].
        maximum: t_M, the largest value of t.
        shift: γ.

    Source: Azadi et al. 2018, "Discriminator rejection sampling", arXiv:1810.06758, equation 8.

    Example:
        >>> acceptance = Acceptance(lambda samples: samples.flatten(), maximum=2.0, shift=0.0)
        >>> acceptance.probability(torch.tensor([[2.0], [0.0]]))  # with γ = 0 it is the exact p / (M q)
        tensor([1.0000, 0.1353])
    """

    log_ratio: Callable[[Samples], Logits]
    maximum: float
    shift: float

    def probability(self, samples: Samples) -> Tensor:
        """σ(F) of samples, float32 [batch]."""
        return torch.sigmoid(_unshifted(_log_ratios(self.log_ratio, samples), self.maximum) - self.shift).float()


def calibrate(log_ratio: Callable[[Samples], Logits], samples: Samples) -> Acceptance:
    """The acceptance whose maximum and shift are those of a first set of samples.

    Args:
        log_ratio: an estimate of log p − log q, such as `sparring.metrics.density_ratio` gives.
        samples: generated ones, thousands.

    Raises:
        UsageError: if the estimate is not one finite number to a sample.
    """
    ratios = _log_ratios(log_ratio, samples)
    maximum = ratios.max().item()
    shift = _unshifted(ratios, maximum).quantile(PERCENTILE).item()
    return Acceptance(log_ratio, maximum, shift)


def _log_ratios(log_ratio: Callable[[Samples], Logits], samples: Samples) -> Tensor:
    ratios = log_ratio(samples).double()
    if ratios.shape != (len(samples),) or not torch.isfinite(ratios).all():
        raise UsageError("rejection must give one finite number to each sample, the log of how real it is")
    return ratios


def _unshifted(ratios: Tensor, maximum: float) -> Tensor:
    below = (ratios - maximum).clamp(max=0)  # a ratio above all of the first set counts as the largest
    return below - torch.log(-torch.expm1(below - EPSILON))

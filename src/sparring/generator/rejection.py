"""Rejection sampling: accept generated samples with a probability that grows with their density ratio.

With the density ratio p/q and its largest value M, accepting a sample x of q with probability p(x) / (M q(x)) gives
samples of p. M is huge in practice, so a shift γ raises the probability: more samples, but less exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.seeding import Stream
from sparring.types import Logits, Samples

NUM_CALIBRATION = 10_000
"""The number of samples that calibrate rejection."""

NUM_CANDIDATES = 1000  # samples of each round
LEAST_TRIED, MOST_TRIED = 20_000, 1_000  # candidates for conditions: at least, and for each item that is wanted
EPSILON = 1e-6
PERCENTILE = 0.8
"""The shift γ is such that this share of the samples has an acceptance below one half."""


@dataclass(frozen=True)
class Acceptance:
    """The acceptance probability σ(F(x)), F(x) = t(x) − t_M − log(1 − exp(t(x) − t_M − ε)) − γ.

    `log_ratio` is t, an estimate of log p − log q; `maximum` is t_M, the largest value of t; `shift` is γ.

    Source: Azadi et al. 2018, "Discriminator rejection sampling", arXiv:1810.06758, equation 8.
    """

    log_ratio: Callable[[Samples], Logits]
    maximum: float
    shift: float

    def probability(self, samples: Samples) -> Tensor:
        """σ(F) of samples, float32 [batch]."""
        return torch.sigmoid(_score(_log_ratios(self.log_ratio, samples), self.maximum) - self.shift).float()


def calibrate(log_ratio: Callable[[Samples], Logits], samples: Samples) -> Acceptance:
    """The acceptance whose maximum and shift come from thousands of generated samples."""
    ratios = _log_ratios(log_ratio, samples)
    maximum = ratios.max().item()
    return Acceptance(log_ratio, maximum, _score(ratios, maximum).quantile(PERCENTILE).item())


def sample_with_rejection(
    candidates: Callable[[int, Stream], np.ndarray],
    encode: Callable[[np.ndarray], Samples],
    log_ratio: Callable[[Samples], Logits],
    n: int,
    seed: int,
) -> np.ndarray:
    """The first n accepted items among candidates, which are drawn by their number and a stream."""
    stream = Stream(seed, "sample/candidates")
    acceptance = calibrate(log_ratio, encode(candidates(NUM_CALIBRATION, stream)))
    batches: list[np.ndarray] = []
    for step in count(1):
        batch = candidates(NUM_CANDIDATES, stream.at(step))
        uniform = Stream(seed, "sample/acceptance", step).uniform(len(batch))
        batches.append(batch[(uniform < acceptance.probability(encode(batch))).numpy()])
        if sum(map(len, batches)) >= n:
            break
    return np.concatenate(batches)[:n]


def sample_where(
    candidates: Callable[[int, Stream], np.ndarray],
    choose: Callable[[np.ndarray, str], np.ndarray],
    where: str,
    n: int,
    seed: int,
) -> np.ndarray:
    """The first n items among candidates that meet conditions.

    Raises:
        UsageError: if fewer than one in a thousand does.
    """
    stream, batches, count = Stream(seed, "sample/where"), list[np.ndarray](), 0
    choose(candidates(1, stream), where)  # what is no condition is told before thousands are drawn
    most = max(LEAST_TRIED, MOST_TRIED * n)
    for tried in range(0, most, NUM_CANDIDATES):
        batch = candidates(NUM_CANDIDATES, stream.at(tried // NUM_CANDIDATES))
        batches.append(batch[choose(batch, where)])
        count += len(batches[-1])
        if count >= n:
            return np.concatenate(batches)[:n]
    raise UsageError(f"of {most:,} items that this generator made, {count:,} have {where}: ask for fewer, or for less")


def _log_ratios(log_ratio: Callable[[Samples], Logits], samples: Samples) -> Tensor:
    ratios = log_ratio(samples).double()
    if ratios.shape != (len(samples),) or not torch.isfinite(ratios).all():
        raise UsageError("rejection must return one finite number for each sample, its log density ratio")
    return ratios


def _score(ratios: Tensor, maximum: float) -> Tensor:
    below = (ratios - maximum).clamp(max=0)  # a ratio above the maximum counts as the maximum
    return below - torch.log(-torch.expm1(below - EPSILON))

"""Measures of classes: what kinds of samples there are, and how many of each."""

from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.errors import DataError
from sparring.metrics.estimate import Estimate, bootstrap, mean_with_interval

Classes = Int[Tensor, "_"]
"""The class of each sample, int64, from 0."""


def class_entropy(labels: Classes, num_classes: int, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The entropy of the histogram of classes, −Σ s log s, in nats: 0 for one class, log num_classes for all alike.

    Args:
        labels: the class of each sample, as a classifier sees it, int64 [n].
        num_classes: how many there are.
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Raises:
        DataError: for no labels, or some out of range.

    Example:
        >>> round(class_entropy(torch.tensor([0, 1, 2, 3] * 25), num_classes=10).value, 4)  # log 4
        1.3863
    """
    _check(labels, num_classes)
    return bootstrap(partial(_entropy, num_classes), [labels], num_resamples, seed, least=0.0)


def class_distance(
    real: Classes, fake: Classes, num_classes: int, *, num_resamples: int = 100, seed: int = 0
) -> Estimate:
    """The total variation between two histograms of classes, ½ Σ |s_real − s_fake|: the share in the wrong class.

    Args:
        real: the classes of real samples, int64 [n].
        fake: the classes of generated samples, int64 [m].
        num_classes: how many there are.
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Returns:
        From 0 to 1. Finite samples put it above 0 where the distributions are one: compare with held-out real ones.

    Raises:
        DataError: for no labels, or some out of range.

    Example:
        >>> class_distance(torch.tensor([0, 1] * 50), torch.tensor([0] * 100), num_classes=2).value
        0.5
    """
    _check(real, num_classes)
    _check(fake, num_classes)
    estimate = bootstrap(partial(_total_variation, num_classes), [real, fake], num_resamples, seed, least=0.0)
    return Estimate(estimate.value, estimate.low, min(1.0, estimate.high))


def class_agreement(asked: Classes, seen: Classes) -> Estimate:
    """The share of samples that are seen as the class that was asked for.

    Args:
        asked: the class that each sample should be of, int64 [n].
        seen: the class that it is taken for, by a classifier or by its nearest real neighbour, int64 [n].

    Returns:
        From 0 to 1. Classifiers err, so compare with held-out real samples.

    Raises:
        DataError: for no labels, or as many of one as not of the other.

    Example:
        >>> class_agreement(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2])).value
        0.75
    """
    if len(asked) == 0 or len(asked) != len(seen):
        raise DataError(f"give as many labels asked for as seen, at least one, and not {len(asked)} and {len(seen)}")
    return mean_with_interval(asked == seen, 0.0, 1.0)


def _check(labels: Tensor, num_classes: int) -> None:
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"give labels from 0 to {num_classes - 1}, at least one")


def _shares(labels: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def _entropy(num_classes: int, groups: list[Tensor]) -> float:
    shares = _shares(groups[0], num_classes)
    return max(0.0, -float(torch.special.xlogy(shares, shares).sum()))


def _total_variation(num_classes: int, groups: list[Tensor]) -> float:
    real, fake = (_shares(labels, num_classes) for labels in groups)
    return float((real - fake).abs().sum()) / 2

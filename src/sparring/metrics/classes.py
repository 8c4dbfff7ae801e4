"""Measures of classes: the share of each class, and whether samples have the requested class."""

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.errors import DataError
from sparring.metrics.estimate import bootstrap, mean_with_interval
from sparring.types import Estimate

Classes = Int[Tensor, "_"]
"""The class of each sample, int64, from 0."""


def class_entropy(labels: Classes, num_classes: int, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The entropy of the histogram of classes, −Σ s log s, in nats: 0 for one class, log num_classes for equal shares.

    Args:
        labels: the predicted class of each sample, int64 [n].
        num_classes: the number of classes.
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Raises:
        DataError: for no labels, or labels out of range.

    Example:
        >>> round(class_entropy(torch.tensor([0, 1, 2, 3] * 25), num_classes=10).value, 4)  # log 4
        1.3863
    """

    def entropy(groups: list[Tensor]) -> float:
        shares = _shares(groups[0], num_classes)
        return max(0.0, -float(torch.special.xlogy(shares, shares).sum()))

    _check(labels, num_classes)
    return bootstrap(entropy, [labels], num_resamples, seed, least=0.0)


def class_distance(
    real: Classes, fake: Classes, num_classes: int, *, num_resamples: int = 100, seed: int = 0
) -> Estimate:
    """The total variation between two histograms of classes, ½ Σ |s_real − s_fake|: the share in the wrong class.

    Args:
        real: the classes of real samples, int64 [n].
        fake: the classes of generated samples, int64 [m].
        num_classes: the number of classes.
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Returns:
        From 0 to 1. Finite samples of equal distributions give more than 0: compare with held-out real ones.

    Raises:
        DataError: for no labels, or labels out of range.

    Example:
        >>> class_distance(torch.tensor([0, 1] * 50), torch.tensor([0] * 100), num_classes=2).value
        0.5
    """

    def total_variation(groups: list[Tensor]) -> float:
        shares = [_shares(labels, num_classes) for labels in groups]
        return float((shares[0] - shares[1]).abs().sum()) / 2

    _check(real, num_classes)
    _check(fake, num_classes)
    return bootstrap(total_variation, [real, fake], num_resamples, seed, least=0.0, most=1.0)


def class_agreement(requested: Classes, predicted: Classes) -> Estimate:
    """The share of samples whose predicted class is the requested one.

    Args:
        requested: the class that each sample should have, int64 [n].
        predicted: the class by a classifier or by the nearest real neighbour, int64 [n].

    Returns:
        From 0 to 1. Classifiers make errors too: compare with held-out real samples.

    Raises:
        DataError: for no labels, or different numbers of both.

    Example:
        >>> class_agreement(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2])).value
        0.75
    """
    if len(requested) == 0 or len(requested) != len(predicted):
        counts = f"{len(requested)} requested and {len(predicted)} predicted"
        raise DataError(f"there are {counts} labels: give equally many of both, at least one")
    return mean_with_interval(requested == predicted, 0.0, 1.0)


def _check(labels: Tensor, num_classes: int) -> None:
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"give labels from 0 to {num_classes - 1}, at least one")


def _shares(labels: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)

"""Measures by nearest neighbours: do samples lie among the data, do they cover them, do they copy them?"""

import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.metrics.classes import Classes
from sparring.metrics.estimate import Estimate, check_features, mean_with_interval
from sparring.types import Features


def precision_recall(real: Features, fake: Features, k: int = 3) -> tuple[Estimate, Estimate]:
    """The share of generated samples among the real ones, and of real samples among the generated ones.

    A set is stood for by balls around its members, each reaching to the member's k-th nearest neighbour in the set.
    Precision is the share of generated samples in a ball of the real ones; recall, the other way round.

    Args:
        real: features [n, d].
        fake: features [m, d].
        k: which neighbour.

    Returns:
        Precision and recall, each from 0 to 1. The intervals are of means over samples, the balls taken as given.

    Raises:
        DataError: for features that are constant or not finite.
        UsageError: for k out of range.

    Source: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
        arXiv:1904.06991, section 2.

    Example:
        >>> real = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> precision, recall = precision_recall(real, real[:250] / 1000)  # good samples, all of one kind
        >>> precision.value > 0.95, recall.value < 0.01
        (True, True)
    """
    _check(real, fake, k)
    precision = _count_balls(real, _radii(real, k), fake) > 0
    recall = _count_balls(fake, _radii(fake, k), real) > 0
    return mean_with_interval(precision, 0.0, 1.0), mean_with_interval(recall, 0.0, 1.0)


def density_coverage(real: Features, fake: Features, k: int = 5) -> tuple[Estimate, Estimate]:
    """In how many balls of the real samples the generated ones lie, and how many of these balls hold any.

    Density is that number over its expectation k, averaged over the generated samples: about 1 where the two
    distributions are one, and more where samples crowd at the dense places. Coverage is the share of real samples
    with a generated one nearer than their k-th real neighbour. An odd sample spoils neither, as it does recall.

    Args:
        real: features [n, d].
        fake: features [m, d].
        k: which neighbour.

    Returns:
        Density, at least 0, and coverage, from 0 to 1. The intervals are of means over samples, the rest as given.

    Raises:
        DataError: for features that are constant or not finite.
        UsageError: for k out of range.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", arXiv:2002.09797,
        section 3.

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> density, coverage = density_coverage(real, torch.tensor([[0.5], [0.6]]), k=1)
        >>> density.value, coverage.value  # each lies in two balls; two of the four balls hold one
        (2.0, 0.5)
    """
    _check(real, fake, k)
    radii = _radii(real, k)
    density = _count_balls(real, radii, fake) / k
    coverage = _nearest(real, fake) <= radii
    return mean_with_interval(density, 0.0), mean_with_interval(coverage, 0.0, 1.0)


def memorization(train: Features, heldout: Features, fake: Features) -> Estimate:
    """How much rarer than by chance a generated sample's nearest real neighbour is a held-out one.

    1 − share / expected, where the share is of the generated samples that lie nearer to a held-out sample than to any
    training sample, and n_heldout / (n_train + n_heldout) is expected of a generator to which the two are alike,
    whatever it draws. 0: it knows the training samples no better than others. 1: every sample is nearest to one of
    them. Below 0 is chance.

    The held-out samples must be of the same kinds in the same shares: where a class is missing among them, samples of
    that class look like copies. And the extractor must not have been trained on the training samples: it tells them
    apart better than others, so that poor samples lie nearer to held-out ones (−0.39 was seen). Random features do.

    Args:
        train: features [n_train, d] of what the generator was trained on.
        heldout: features [n_heldout, d] of samples of the same kind that it never saw.
        fake: features [m, d].

    Returns:
        At most 1; the interval is of a mean over generated samples, the real ones taken as given.

    Raises:
        DataError: for features that are constant or not finite.

    Source: this project; the idea of comparing distances is that of Meehan et al. 2020, "A non-parametric test to
        detect data-copying in generative models", arXiv:2004.05675.

    Example:
        >>> train, heldout = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
        >>> memorization(train, heldout, train + 1e-6).value
        1.0
    """
    check_features(train=train, heldout=heldout, fake=fake)
    to_train, to_heldout = _nearest(fake, train), _nearest(fake, heldout)
    nearer = (to_heldout < to_train).double() + 0.5 * (to_heldout == to_train)
    expected = len(heldout) / (len(train) + len(heldout))
    return mean_with_interval(1 - nearer / expected, most=1.0)


def nearest_labels(real: Features, labels: Classes, fake: Features) -> Classes:
    """The label of each sample's nearest real neighbour, int64 [m]: a classifier that needs no training.

    Args:
        real: features [n, d].
        labels: of the real samples, int64 [n].
        fake: features [m, d].

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [10.0]])
        >>> nearest_labels(real, torch.tensor([5, 6, 7]), torch.tensor([[0.9], [30.0]]))
        tensor([6, 7])
    """
    check_features(real=real, fake=fake)
    return torch.cat([labels[torch.cdist(part, real.double()).argmin(1)] for _, part in _parts(fake)])


def _check(real: Tensor, fake: Tensor, k: int) -> None:
    check_features(real=real, fake=fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise UsageError(f"k must be at least 1 and less than the number of samples, and is {k}")


def _radii(features: Tensor, k: int) -> Tensor:
    """The distance of each sample to its k-th nearest neighbour in the same set, float64 [n]."""
    distances = []
    for start, part in _parts(features):
        to_others = torch.cdist(part, features.double())
        to_others[torch.arange(len(part)), start + torch.arange(len(part))] = torch.inf  # not to itself
        distances.append(to_others.kthvalue(k, dim=1).values)
    return torch.cat(distances)


def _count_balls(centers: Tensor, radii: Tensor, samples: Tensor) -> Tensor:
    """In how many balls each sample lies, int64 [len(samples)]."""
    return torch.cat([(torch.cdist(part, centers.double()) <= radii).sum(1) for _, part in _parts(samples)])


def _nearest(samples: Tensor, others: Tensor) -> Tensor:
    """The distance of each sample to the nearest of the others, float64 [len(samples)]."""
    return torch.cat([torch.cdist(part, others.double()).amin(1) for _, part in _parts(samples)])


def _parts(features: Tensor) -> list[tuple[int, Tensor]]:
    """Rows in parts whose distances to all fit into memory, each with its first row's number."""
    starts = range(0, len(features), 500)
    return [(start, features[start : start + 500].double()) for start in starts]

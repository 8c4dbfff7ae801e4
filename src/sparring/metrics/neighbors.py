"""Measures by nearest neighbours: whether samples look like the data, cover the data, or are copies of it."""

import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.metrics.classes import Classes
from sparring.metrics.estimate import check_features, mean_with_interval
from sparring.types import Estimate, Features


def precision_recall(real: Features, fake: Features, k: int = 3) -> tuple[Estimate, Estimate]:
    """The share of generated samples that look real, and the share of real samples that could be generated.

    Each sample of a set has a ball that reaches to its k-th nearest neighbour in the set. Precision is the share of
    generated samples in a ball of the real ones; recall, the other way round.

    Args:
        real: features [n, d].
        fake: features [m, d].
        k: which neighbour.

    Returns:
        Precision and recall, each from 0 to 1. The intervals are of means over samples, with fixed balls.

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
    precision, recall = (_count_balls(a, _radii(a, k), b) > 0 for a, b in ((real, fake), (fake, real)))
    return mean_with_interval(precision, 0.0, 1.0), mean_with_interval(recall, 0.0, 1.0)


def density_coverage(real: Features, fake: Features, k: int = 5) -> tuple[Estimate, Estimate]:
    """How densely generated samples lie among the real ones, and the share of real samples that have one near.

    Density is the number of real samples' balls around a generated sample, divided by its expectation k: about 1 for
    equal distributions, and more if samples crowd in dense places. Coverage is the share of real samples with a
    generated one nearer than their k-th real neighbour. Unlike precision and recall, both are robust to outliers.

    Args:
        real: features [n, d].
        fake: features [m, d].
        k: which neighbour.

    Returns:
        Density, at least 0, and coverage, from 0 to 1. The intervals are of means over samples, with fixed balls.

    Raises:
        DataError: for features that are constant or not finite.
        UsageError: for k out of range.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", arXiv:2002.09797, § 3.

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
    """How much more often than by chance generated samples are nearest to a training sample: 1 − share / expected.

    `share` is the share of generated samples nearer to a held-out sample than to any training sample; a generator that
    copies nothing has the expected share n_heldout / (n_train + n_heldout). So 0 means no copies, 1 means that every
    sample is nearest to a training sample, and values below 0 are chance.

    The held-out samples must have the same classes in the same shares: samples of a class that is missing there look
    like copies. The extractor must not have seen the training samples, because it then separates them better than
    others, and poor samples lie nearer to held-out ones (−0.39 was measured). Random features are safe.

    Args:
        train: features [n_train, d] of the training samples.
        heldout: features [n_heldout, d] of samples of the same kind that the generator was not trained on.
        fake: features [m, d].

    Returns:
        At most 1; the interval is of a mean over generated samples, with fixed real ones.

    Raises:
        DataError: for features that are constant or not finite.

    Source: this project; after Meehan et al. 2020, "A non-parametric test to detect data-copying in generative
        models", arXiv:2004.05675, who compare distances.

    Example:
        >>> train, heldout = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
        >>> memorization(train, heldout, train + 1e-6).value
        1.0
    """
    one_is_enough = heldout.repeat(2, 1) if len(heldout) == 1 else heldout
    check_features(train=train, heldout=one_is_enough, fake=fake)
    to_train, to_heldout = _nearest(fake, train), _nearest(fake, heldout)
    nearer = (to_heldout < to_train).double() + 0.5 * (to_heldout == to_train)
    expected = len(heldout) / (len(train) + len(heldout))
    return mean_with_interval(1 - nearer / expected, most=1.0)


def neighbor_distance(real: Features, fake: Features) -> Estimate:
    """How much more rarely than by chance a sample's nearest neighbour is of the other set: 1 − share / expected.

    It is 0 for equal distributions (chance may make it negative) and 1 for sets that lie apart. For large sets of equal
    size it is 1 − 2 ∫ p q / (p + q), a divergence that sees the points between modes, modes that are too narrow, and
    lost modes, as long as each mode has a few samples.

    Args:
        real: features [n, d].
        fake: features [m, d].

    Returns:
        At most 1; the interval is of a mean over the samples of both sets, as if neighbours were not mutual.

    Raises:
        DataError: for features that are constant or not finite.

    Source: Henze 1988, "A multivariate two-sample test based on the number of nearest neighbor type coincidences",
        Annals of Statistics 16; for generators Xu et al. 2018, "An empirical study on evaluation metrics of generative
        adversarial networks", arXiv:1806.07755, who use its accuracy.

    Example:
        >>> real = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> neighbor_distance(real, real + 100.0).value, neighbor_distance(real, real / 2).value > 0.2
        (1.0, True)
    """
    check_features(real=real, fake=fake)
    own = torch.cat([_radii(real, 1), _radii(fake, 1)])
    other = torch.cat([_nearest(real, fake), _nearest(fake, real)])
    is_other = (other < own).double() + 0.5 * (other == own)
    n, m = len(real), len(fake)
    expected = 2 * n * m / ((n + m) * (n + m - 1))
    return mean_with_interval(1 - is_other / expected, most=1.0)


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
        raise UsageError(f"k must be at least 1 and less than the number of samples, not {k}")


def _radii(features: Tensor, k: int) -> Tensor:
    """The distance of each sample to its k-th nearest neighbour in the same set, [n]."""
    distances = []
    for start, part in _parts(features):
        to_others = torch.cdist(part, features.double())
        to_others[torch.arange(len(part)), start + torch.arange(len(part))] = torch.inf  # not to itself
        distances.append(to_others.kthvalue(k, dim=1).values)
    return torch.cat(distances)


def _count_balls(centers: Tensor, radii: Tensor, samples: Tensor) -> Tensor:
    """The number of balls that each sample lies in."""
    return torch.cat([(torch.cdist(part, centers.double()) <= radii).sum(1) for _, part in _parts(samples)])


def _nearest(samples: Tensor, others: Tensor) -> Tensor:
    """The distance of each sample to the nearest of the others."""
    return torch.cat([torch.cdist(part, others.double()).amin(1) for _, part in _parts(samples)])


def _parts(features: Tensor) -> list[tuple[int, Tensor]]:
    """Parts whose distances to all other samples fit into memory, each with the index of its first row."""
    return [(start, features[start : start + 500].double()) for start in range(0, len(features), 500)]

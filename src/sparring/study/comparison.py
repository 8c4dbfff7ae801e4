"""What differences between settings are worth, where each was played with the same seeds.

Trainings with one seed share what the seed decides, such as the order of the data, so settings are compared seed by
seed: d_i = a_i − b_i. The differences are taken as normal around their mean; few seeds are no reason to doubt it, but
none to trust in it either: a training that collapsed now and then is better told by its values than by any test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from sparring.errors import UsageError
from sparring.metrics import Estimate

ROUNDING = 1e-6
"""Figures are of single precision in part: so little of them says nothing."""


@dataclass(frozen=True)
class Comparison:
    """Two settings, seed by seed.

    Args:
        first: the name of one, A.
        second: the name of the other, B.
        num_seeds: played with both.
        difference: the mean of A − B with its 95 % interval.
        probability: that A is better in the mean, given these differences.
        effect: the mean difference in standard deviations of the differences (Cohen's d for pairs); below 0 where
            A has less.
        p_value: of the paired t-test, two-sided, after Holm's correction for all pairs compared.
    """

    first: str
    second: str
    num_seeds: int
    difference: Estimate
    probability: float
    effect: float
    p_value: float


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """The mean with its 95 % interval by Student's t; without one (infinite) of a single value.

    Example:
        >>> print(mean_over_seeds([1.0, 2.0, 3.0]))
        2.0 ± 2.5
    """
    from scipy.stats import t

    if len(values) < 2:
        return Estimate(fmean(values), -math.inf, math.inf)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return Estimate(mean, mean - half, mean + half)


def compare(values: dict[str, dict[int, float]], *, less_is_better: bool) -> list[Comparison]:
    """Compare each pair of settings.

    With n differences of mean d and standard deviation s, t = d / (s/√n) has Student's distribution with n − 1
    degrees of freedom where both are equally good. Read the other way round, under a flat prior for the mean and one
    ∝ 1/σ for the deviation, it is the distribution of the true mean around d. Where s is 0 up to rounding, as that of
    shares such as 17/20 can be, the sign test takes its place: p = 2 / 2ⁿ.

    Args:
        values: of each setting by its name, by seed; pairs with fewer than two seeds in common are left out.
        less_is_better: which way is better.

    Source: Student 1908, "The probable error of a mean", whose own example compares pairs; Holm 1979, "A simple
        sequentially rejective multiple test procedure".

    Example:
        >>> [pair] = compare({"A": {0: 1.0, 1: 2.0, 2: 3.0}, "B": {0: 2.0, 1: 3.5, 2: 4.0}}, less_is_better=True)
        >>> print(pair.difference, round(pair.probability, 3), round(pair.p_value, 3))
        -1.17 ± 0.72 0.99 0.02
    """
    found = []
    for first, second in combinations(values, 2):
        seeds = sorted(values[first].keys() & values[second].keys())
        if len(seeds) >= 2:
            pairs = [(values[first][seed], values[second][seed]) for seed in seeds]
            found.append(_compared(first, second, pairs, less_is_better))
    corrected = holm([pair.p_value for pair in found])
    return [Comparison(**(vars(pair) | {"p_value": p_value})) for pair, p_value in zip(found, corrected, strict=True)]


def _compared(first: str, second: str, pairs: list[tuple[float, float]], less_is_better: bool) -> Comparison:
    from scipy.stats import t

    differences = [one - other for one, other in pairs]
    n, mean, deviation = len(differences), fmean(differences), stdev(differences)
    rounding = ROUNDING * max(abs(value) for pair in pairs for value in pair)
    if deviation <= rounding:  # the same on every seed: by their signs alone
        mean = mean if abs(mean) > rounding else 0.0
        chance = 0.5**n
        better = 0.5 if mean == 0 else 1 - chance if (mean < 0) == less_is_better else chance
        effect = math.copysign(math.inf, mean) if mean else 0.0
        return Comparison(first, second, n, Estimate(mean, mean, mean), better, effect, 2 * chance if mean else 1.0)
    statistic = mean / (deviation / math.sqrt(n))
    less = float(t.cdf(-statistic, n - 1))
    return Comparison(
        first, second, n,
        difference=mean_over_seeds(differences),
        probability=less if less_is_better else 1 - less,
        effect=mean / deviation,
        p_value=2 * float(t.sf(abs(statistic), n - 1)),
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the smallest of m is multiplied by m, the next by m − 1, ..., none below the one before.

    Raises:
        UsageError: for a number outside of [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    if not all(0 <= p_value <= 1 for p_value in p_values):
        raise UsageError(f"p-values lie in [0, 1], and these are {list(p_values)}")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected

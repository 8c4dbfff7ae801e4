"""Compare settings that were trained with the same seeds.

Trainings with the same seed share what the seed decides, such as the order of the data, so settings are compared seed
by seed: d_i = a_i − b_i, or, for a positive figure that spreads in proportion to its size, d_i = log a_i − log b_i.
The d_i are assumed to be normally distributed. A few seeds can neither support nor refute that; where a training
collapses now and then, its values say more than any test. `benchmarks/paired_tests.py` has the error rates of both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, combinations
from statistics import fmean, stdev

from sparring.errors import UsageError
from sparring.metrics import Estimate

Values = dict[str, dict[int, float]]
"""A figure by setting and seed."""

ROUNDING = 1e-6
"""Relative differences below this are rounding errors, since figures are partly computed in single precision."""


@dataclass(frozen=True)
class PairedComparison:
    """Two settings, A and B, compared seed by seed."""

    first: str  # the name of A
    second: str  # the name of B
    num_seeds: int  # that both were trained with
    difference: Estimate  # the mean of A − B, or the geometric mean of A/B, with its 95 % interval
    probability: float  # that A is better on average, given these differences
    effect: float  # the mean of the d_i in their standard deviations (Cohen's d for pairs)
    p_value: float  # of the two-sided paired t-test, after Holm's correction for all pairs compared


def mean_over_seeds(values: Sequence[float], *, by_ratio: bool = False) -> Estimate:
    """The mean (by ratio, the geometric mean) with its 95 % interval by Student's t, infinite for a single value."""
    from scipy.stats import t

    if by_ratio:
        return _exponential(mean_over_seeds([math.log(value) for value in values]))
    n, mean = len(values), fmean(values)
    half = float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n) if n > 1 else math.inf
    return Estimate(mean, mean - half, mean + half)


def _exponential(estimate: Estimate) -> Estimate:
    ends = (math.exp(min(end, 700.0)) for end in (estimate.value, estimate.low, estimate.high))
    return Estimate(*ends)


def compare(values: Values, *, less_is_better: bool, by_ratio: bool = False) -> list[PairedComparison]:
    """Compare each pair of settings, by differences or by ratios; ratios need values above 0.

    If A and B are equally good, then n differences with mean d and standard deviation s have a t = d / (s/√n) that
    follows Student's distribution with n − 1 degrees of freedom. With a flat prior for the mean and one ∝ 1/σ for the
    deviation, the same distribution around d is that of the true mean. Where s is 0 up to rounding, as it can be for
    shares such as 17/20, the sign test replaces it: p = 2 / 2ⁿ.

    Pairs with fewer than two seeds in common are left out.

    Source: Student 1908, "The probable error of a mean", whose own example compares pairs; Holm 1979, "A simple
        sequentially rejective multiple test procedure".

    Example:
        >>> [pair] = compare({"A": {0: 1.0, 1: 2.0, 2: 3.0}, "B": {0: 2.0, 1: 3.5, 2: 4.0}}, less_is_better=True)
        >>> print(pair.difference, round(pair.probability, 3), round(pair.p_value, 3))
        -1.17 ± 0.72 0.99 0.02
    """
    from scipy.stats import t

    found = []
    for first, second in combinations(values, 2):
        pairs = [(values[first][seed], values[second][seed]) for seed in values[first] if seed in values[second]]
        if (n := len(pairs)) < 2:
            continue
        differences = [math.log(one / other) if by_ratio else one - other for one, other in pairs]
        mean, deviation = fmean(differences), stdev(differences)
        rounding = ROUNDING * (1 if by_ratio else max(abs(value) for pair in pairs for value in pair))
        if deviation > rounding:
            statistic = mean / (deviation / math.sqrt(n))
            difference, effect = mean_over_seeds(differences), mean / deviation
            less, p_value = float(t.cdf(-statistic, n - 1)), 2 * float(t.sf(abs(statistic), n - 1))
        elif abs(mean) > rounding:
            difference, effect = Estimate(mean, mean, mean), math.copysign(math.inf, mean)
            less, p_value = 1 - 0.5**n if mean < 0 else 0.5**n, 2 * 0.5**n
        else:
            difference, effect, less, p_value = Estimate(0.0, 0.0, 0.0), 0.0, 0.5, 1.0
        difference = _exponential(difference) if by_ratio else difference
        probability = less if less_is_better else 1 - less
        found.append(PairedComparison(first, second, n, difference, probability, effect, p_value))
    corrected = holm([pair.p_value for pair in found])
    return [replace(pair, p_value=p_value) for pair, p_value in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the smallest of m is multiplied by m, the next by m − 1, ..., none below the one before."""
    if not all(0 <= p_value <= 1 for p_value in p_values):
        raise UsageError(f"p-values lie in [0, 1], and these are {list(p_values)}")
    places = sorted(range(len(p_values)), key=p_values.__getitem__)
    factors = range(len(p_values), 0, -1)
    multiplied = (min(1.0, factor * p_values[place]) for factor, place in zip(factors, places, strict=True))
    return [p_value for _, p_value in sorted(zip(places, accumulate(multiplied, max), strict=True))]

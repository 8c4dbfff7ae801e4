"""A figure with its 95 % interval, and where intervals come from."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.errors import DataError, UsageError
from sparring.seeding import Stream

Z_95 = 1.959964
"""Half the width of a normal 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A figure that was estimated from samples.

    Args:
        value: the figure.
        low: the lower end of its 95 % interval.
        high: the upper end.

    Example:
        >>> print(Estimate(0.4301, 0.4102, 0.4500))
        0.430 ± 0.020
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The value ± half the interval, to two digits of the latter."""
        half = max(self.high - self.value, self.value - self.low)
        decimals = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
        return f"{self.value:.{decimals}f} ± {half:.{decimals}f}"


def around(value: float, error: float, least: float = -torch.inf, most: float = torch.inf) -> Estimate:
    """A normal 95 % interval around a value, cut to the range that the figure can have.

    Example:
        >>> around(0.99, error=0.01, least=0.0, most=1.0)
        Estimate(value=0.99, low=0.97040036, high=1.0)
    """
    return Estimate(value, max(least, value - Z_95 * error), min(most, value + Z_95 * error))


def mean_with_interval(values: Tensor, least: float = -torch.inf, most: float = torch.inf) -> Estimate:
    """The mean of one number a sample; the bootstrap's standard error of a mean is known without resampling.

    Example:
        >>> mean_with_interval(torch.tensor([0.0, 1.0, 0.0, 1.0])).value
        0.5
    """
    values = values.double()
    error = (values.var(correction=0) / len(values)).sqrt().item()
    return around(values.mean().item(), error, least, most)


def bootstrap(
    statistic: Callable[[list[Tensor]], float], groups: list[Tensor], num_resamples: int, seed: int, least: float
) -> Estimate:
    """A statistic of groups of samples, its standard error by drawing each group anew from itself.

    The interval is value ± 1.96 standard errors of the resampled statistic. (Its percentiles would not do: a
    distance between resampled groups is too large, because a group drawn from itself has repetitions.)

    Args:
        statistic: of all groups.
        groups: each [n, ...].
        num_resamples: at least 2.
        seed: of the drawing.
        least: the smallest value that the statistic can have.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 12.

    Example:
        >>> estimate = bootstrap(lambda groups: groups[0].mean().item(), [torch.arange(100.0)], 200, 0, least=0.0)
        >>> estimate.value, 5.0 < estimate.high - estimate.value < 6.5  # 1.96 × 28.9 / √100 = 5.7
        (49.5, True)
    """
    check_num_resamples(num_resamples)
    resampled = []
    for number in range(num_resamples):
        stream = Stream(seed, "bootstrap", number)
        drawn = [group[stream.part(str(place)).integers(len(group), len(group))] for place, group in enumerate(groups)]
        resampled.append(statistic(drawn))
    error = torch.tensor(resampled, dtype=torch.float64).std().item()
    return around(statistic(groups), error, least)


def check_num_resamples(num_resamples: int) -> None:
    """Refuse too few to have a standard error.

    Raises:
        UsageError: for fewer than 2.
    """
    if num_resamples < 2:
        raise UsageError(f"num_resamples must be at least 2, and is {num_resamples}")


def check_features(**groups: Tensor) -> None:
    """Refuse features that no metric can use.

    Raises:
        DataError: naming the group and what is wrong with it.
    """
    dimensions = {features.shape[1] for features in groups.values()}
    if len(dimensions) > 1:
        given = ", ".join(f"{name} {features.shape[1]}" for name, features in groups.items())
        raise DataError(f"the features have different dimensions: {given}: extract all with one extractor")
    for name, features in groups.items():
        if len(features) < 2:
            raise DataError(f"there are {len(features)} {name} samples: give at least 2, better thousands")
        if not torch.isfinite(features).all():
            row = int((~torch.isfinite(features)).any(1).nonzero()[0])
            raise DataError(f"the {name} features hold numbers that are not finite, the first in row {row}")
    if all((features == features[:1]).all() for features in groups.values()):
        raise DataError("all features are constant: the extractor tells nothing apart")

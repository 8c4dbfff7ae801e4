"""The 95 % intervals of estimates."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparring.errors import DataError, UsageError
from sparring.seeding import Stream
from sparring.types import Z_95, Estimate

ROUNDING = 16 * torch.finfo(torch.float32).eps
"""Features of equal samples differ by a quarter of this share where one batch is larger than another."""


def around(value: float, error: float, least: float = -torch.inf, most: float = torch.inf) -> Estimate:
    """A normal 95 % interval around a value, cut to the figure's range."""
    return Estimate(value, max(least, value - Z_95 * error), min(most, value + Z_95 * error))


def mean_with_interval(values: Tensor, least: float = -torch.inf, most: float = torch.inf) -> Estimate:
    """The mean of one number a sample; its standard error is the bootstrap's, in closed form."""
    values = values.double()
    error = (values.var(correction=0) / len(values)).sqrt().item()
    return around(values.mean().item(), error, least, most)


def bootstrap(
    statistic: Callable[[list[Tensor]], float],
    groups: list[Tensor],
    num_resamples: int,
    seed: int,
    least: float,
    most: float = torch.inf,
) -> Estimate:
    """A statistic of groups [n, ...] of samples ± 1.96 times the standard deviation of its resampled values.

    Their percentiles would be wrong: a distance between resampled groups is too large, because they repeat samples.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 12.
    """
    check_num_resamples(num_resamples)
    resampled = []
    for number in range(num_resamples):
        stream = Stream(seed, "bootstrap", number)
        drawn = [group[stream.part(str(place)).integers(len(group), len(group))] for place, group in enumerate(groups)]
        resampled.append(statistic(drawn))
    error = torch.tensor(resampled, dtype=torch.float64).std().item()
    return around(statistic(groups), error, least, most)


def check_num_resamples(num_resamples: int) -> None:
    """Raise a UsageError for fewer than 2 resamples, which have no standard error."""
    if num_resamples < 2:
        raise UsageError(f"num_resamples must be at least 2, not {num_resamples}")


def are_constant(features: Tensor) -> bool:
    """Whether the features [n, d] of all samples are the same, up to rounding."""
    return bool((features - features[:1]).abs().max() <= ROUNDING * features.abs().max())


def check_features(**groups: Tensor) -> None:
    """Raise a DataError for features that no metric can use; it names the group and the fault."""
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
    if all(are_constant(features) for features in groups.values()):
        raise DataError("all features are constant, so all samples look the same")

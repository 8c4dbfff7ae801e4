"""Intervals that hold what they promise, and features that no metric can use."""

import pytest
import torch

from sparring import DataError, UsageError
from sparring.metrics import frechet_distance, kernel_distance
from sparring.metrics.estimate import bootstrap, check_features, mean_with_interval


def test_a_mean_has_the_bootstraps_interval() -> None:
    """The two ways to the same standard error, σ/√n, agree; 8 % is five errors of 2,000 resamples."""
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).exp()
    known = mean_with_interval(values)
    drawn = bootstrap(lambda groups: groups[0].double().mean().item(), [values], 2000, 0, least=0.0)
    assert drawn.value == pytest.approx(known.value)
    assert drawn.high - drawn.low == pytest.approx(known.high - known.low, rel=0.08)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance])
def test_intervals_hold_the_truth(metric) -> None:  # type: ignore[no-untyped-def]
    """Of 40 intervals on new samples, at most 6 may miss the truth: 95 % intervals do so with probability 0.3 %.

    The samples are fixed by their seed, so this is decided once; a standard error that is half of what it should be
    misses about a third of the time.
    """
    generator = torch.Generator().manual_seed(0)
    truth = {
        frechet_distance: 1.0,  # N(0, 1) and N(1, 1)
        kernel_distance: _polynomial((0, 1, 0), (0, 1, 0))
        + _polynomial((1, 2, 4), (1, 2, 4))
        - 2 * _polynomial((0, 1, 0), (1, 2, 4)),
    }[metric]
    missed = 0
    for _ in range(40):
        real = torch.randn(600, 1, generator=generator)
        fake = torch.randn(600, 1, generator=generator) + 1.0
        estimate = metric(real, fake, num_resamples=60)
        missed += not estimate.low <= truth <= estimate.high
    assert missed <= 6


def _polynomial(moments: tuple[int, int, int], others: tuple[int, int, int]) -> float:
    """E (xy + 1)³ for independent x and y of the given first three moments."""
    return 1 + sum(times * a * b for times, a, b in zip((3, 3, 1), moments, others, strict=True))


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    real, fake = torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0))
    first, again, other = (kernel_distance(real, fake, num_resamples=20, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.value == other.value
    assert first.low != other.low


def test_features_that_tell_nothing() -> None:
    good = torch.randn(10, 2)
    broken = good.clone()
    broken[4, 1] = torch.nan
    with pytest.raises(DataError, match="fake features hold numbers that are not finite, the first in row 4"):
        check_features(real=good, fake=broken)
    with pytest.raises(DataError, match="different dimensions: real 2, fake 3"):
        check_features(real=good, fake=torch.randn(10, 3))
    with pytest.raises(DataError, match="there are 1 fake samples"):
        check_features(real=good, fake=good[:1])
    with pytest.raises(DataError, match="constant"):
        check_features(real=torch.ones(10, 2), fake=torch.zeros(10, 2))
    with pytest.raises(DataError, match="constant"):  # up to rounding
        check_features(real=7 + 1e-6 * good, fake=7 + 1e-6 * good)
    check_features(real=7 + 1e-4 * good, fake=7 + 1e-4 * good)
    with pytest.raises(UsageError, match="num_resamples"):
        kernel_distance(good, good + 1, num_resamples=1)

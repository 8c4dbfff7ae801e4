"""When to stop."""

import pytest

from sparring.stopping import Limits, Plateau


def test_the_nearest_limit_counts() -> None:
    limits = Limits(steps=100, images=1000, minutes=1.0)
    assert limits.progress(steps=10, images=500, seconds=6.0) == 0.5
    assert limits.progress(steps=10, images=500, seconds=61.0) == 1.0
    assert Limits().progress(steps=10**9, images=10**9, seconds=1e9) == 0.0


@pytest.mark.parametrize("slope", [0.0, 0.01, -0.01, 1.0])
def test_plateau_is_a_small_difference_of_two_means(slope: float) -> None:
    plateau = Plateau(window=5, tolerance=0.1)
    reached = [plateau.reached(slope * step) for step in range(20)]
    assert not any(reached[:9])
    assert all(reached[9:]) is (abs(slope) * 5 < 0.1)  # the means of two neighbouring windows lie 5 slopes apart

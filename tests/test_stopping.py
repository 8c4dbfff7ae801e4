"""When to stop."""

import pytest

from sparring.errors import UsageError
from sparring.stopping import Goal, Limits, Plateau


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


def evaluated(**figures: float) -> dict[str, object]:
    return {"step": 1, "generator_loss": 2.0, "evaluation": figures}


def test_a_target_is_of_any_number_in_the_log() -> None:
    assert Goal("distance < 0.5").reached(evaluated(distance=0.4)) == "distance is 0.4 (distance < 0.5)"
    assert Goal("distance<0.5").reached(evaluated(distance=0.6)) == ""
    assert Goal("generator_loss>1").reached(evaluated()) != ""
    assert Goal("coverage>0.9").reached({"step": 1, "generator_loss": 2.0}) == ""


def test_a_plateau_of_the_distance_needs_sixteen_evaluations() -> None:
    goal = Goal("plateau")
    assert goal.reached(evaluated(distance=9.0)) == ""
    flat = [goal.reached(evaluated(distance=0.1 + 0.01 * (step % 2))) for step in range(16)]
    assert flat[:15] == [""] * 15
    assert flat[15] == "the distance to the data reached a plateau"


def test_a_falling_distance_is_no_plateau_however_slowly_it_falls() -> None:
    goal = Goal("plateau")
    assert not any(goal.reached(evaluated(distance=1 - 0.001 * step)) for step in range(100))


def test_a_training_that_has_not_begun_to_learn_is_on_no_plateau() -> None:
    """Of points the distance is exactly 1 until the first mode is found."""
    goal = Goal("plateau")
    assert not any(goal.reached(evaluated(distance=1.0)) for _ in range(50))


@pytest.mark.parametrize("text", ["", "soon", "distance", "distance<", "distance=3", "distance<low", "<3"])
def test_what_is_no_goal(text: str) -> None:
    with pytest.raises(UsageError, match="until must be plateau, or a target"):
        Goal(text)

"""When to stop."""

import pytest

from sparring.errors import UsageError
from sparring.training.stopping import Goal, Limits


def test_the_nearest_limit_counts() -> None:
    limits = Limits(steps=100, images=1000, minutes=1.0)
    assert limits.progress(steps=10, images=500, seconds=6.0) == 0.5
    assert limits.progress(steps=10, images=500, seconds=61.0) == 1.0
    assert Limits().progress(steps=10**9, images=10**9, seconds=1e9) == 0.0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(steps=10), "reached --steps 10"),
        (Limits(images=320), "reached --images 320"),
        (Limits(minutes=2.0), "reached --minutes 2"),
        (Limits(steps=11, images=321, minutes=2.1), ""),
    ],
)
def test_the_reason_names_the_limit(limits: Limits, reason: str) -> None:
    assert limits.stop_reason(steps=10, images=320, seconds=120.0) == reason
    assert (limits.progress(steps=10, images=320, seconds=120.0) == 1.0) is bool(reason)


def evaluated(**figures: float) -> dict[str, object]:
    return {"step": 1, "generator_loss": 2.0, "evaluation": figures}


def test_a_target_is_of_any_number_in_the_log() -> None:
    assert Goal("distance < 0.5").stop_reason(evaluated(distance=0.4)) == "distance is 0.4 (distance < 0.5)"
    assert Goal("distance<0.5").stop_reason(evaluated(distance=0.6)) == ""
    assert Goal("generator_loss>1").stop_reason(evaluated()) != ""
    assert Goal("coverage>0.9").stop_reason({"step": 1, "generator_loss": 2.0}) == ""


def test_a_plateau_of_the_distance_needs_sixteen_evaluations() -> None:
    goal = Goal("plateau")
    assert goal.stop_reason(evaluated(distance=9.0)) == ""
    flat = [goal.stop_reason(evaluated(distance=0.1 + 0.01 * (step % 2))) for step in range(16)]
    assert flat[:15] == [""] * 15
    assert flat[15] == "the distance to the data reached a plateau"


def test_a_falling_distance_is_no_plateau_however_slowly_it_falls() -> None:
    goal = Goal("plateau")
    assert not any(goal.stop_reason(evaluated(distance=1 - 0.001 * step)) for step in range(100))


def test_a_training_that_has_not_begun_to_learn_is_on_no_plateau() -> None:
    """Of points the distance is exactly 1 until the first mode is found."""
    goal = Goal("plateau")
    assert not any(goal.stop_reason(evaluated(distance=1.0)) for _ in range(50))


@pytest.mark.parametrize("text", ["", "soon", "distance", "distance<", "distance=3", "distance<low", "<3"])
def test_what_is_no_goal(text: str) -> None:
    with pytest.raises(UsageError, match="until must be plateau, or a target"):
        Goal(text)

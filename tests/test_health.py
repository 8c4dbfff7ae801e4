"""The doctor: each rule against a log written by hand, and when its alarms come and go."""

from typing import Any

import pytest

from sparring.evaluation.health import RULES, Alarm, Doctor

HEALTHY: dict[str, float] = {
    "distance": 0.05,
    "distance_error": 0.02,
    "precision": 0.8,
    "recall": 0.7,
    "coverage": 0.9,
    "diversity": 1.0,
    "missing": 0.0,
    "memorization": 0.0,
    "detail_distance": 0.1,
    "speck_distance": 0.05,
    "separation": 0.9,
    "overfitting": 0.1,
    "overfitting_error": 0.05,
    "generator_growth": 1.2,
    "discriminator_growth": 1.5,
}


def line(step: int, **changes: float) -> dict[str, Any]:
    game = {"discriminator_loss": 1.0, "generator_loss": 1.0, "penalty": 0.0}
    game |= {"real_probability": 0.8, "fake_probability": 0.2, "generator_gradient_norm": 1.0}
    evaluation = {name: value for name, value in (HEALTHY | changes).items() if name not in game}
    return (
        {"step": step, "progress": step / 500}
        | {name: changes.get(name, value) for name, value in game.items()}
        | {"evaluation": evaluation}
    )


def read(lines: list[dict[str, Any]]) -> list[Alarm]:
    doctor, alarms = Doctor(), []
    for each in lines:
        alarms = doctor.see(each)
    return alarms


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("collapse", {"diversity": 0.02, "distance": 9.0, "missing": 0.9, "detail_distance": 1.0}),
        ("partial_collapse", {"missing": 0.9, "distance": 9.0}),
        ("swapped_classes", {"swapped": 0.8, "distance": 9.0}),
        ("memorization", {"memorization": 1.0}),
        ("artefacts", {"detail_distance": 1.0}),
        ("artefacts", {"speck_distance": 1.0}),
        ("overfitting", {"overfitting": 1.2}),
        ("strong_discriminator", {"real_probability": 0.999, "fake_probability": 0.001, "coverage": 0.1}),
        ("weak_discriminator", {"separation": 0.1, "coverage": 0.0, "distance": 9.0}),
        ("divergence", {"discriminator_loss": -5000.0}),
        ("divergence", {"generator_growth": 25.0}),
    ],
)
def test_each_sickness_raises_its_alarm_alone(name: str, changes: dict[str, float]) -> None:
    """With the numbers of a healthy training but for those of one sickness."""
    alarms = read([line(step, **changes) for step in (100, 200, 300, 400)])
    assert [alarm.name for alarm in alarms] == [name]
    assert alarms[0].severity == "problem"
    assert alarms[0].since in (100, 200)
    assert all(isinstance(value, float) for value in alarms[0].evidence.values())


def test_scores_without_a_scale_are_no_confidence() -> None:
    """Wasserstein's logits may lie as far apart as they like; its loss is below zero, which others never reach."""
    sure = {"real_probability": 1.0, "fake_probability": 0.0, "coverage": 0.1}
    assert read([line(step, discriminator_loss=-9.0, **sure) for step in (100, 200, 300, 400)]) == []
    assert [alarm.name for alarm in read([line(step, **sure) for step in (100, 200)])] == ["strong_discriminator"]


def test_a_healthy_training_raises_none() -> None:
    distances = [9.0, 4.0, 2.0, 1.0, 0.5, 0.3, 0.2, *(0.1 - 0.001 * step for step in range(30))]
    assert all(not read([line(100 * step, distance=d) for step, d in enumerate(distances[:n])]) for n in range(38))


def test_samples_that_still_become_better_raise_none() -> None:
    """At first all samples are alike and lack most of the data; that is no sickness while it passes."""
    lines = [line(step, distance=9.0 * 0.8**step, diversity=0.05, missing=0.9, coverage=0.0) for step in range(10)]
    assert read(lines) == []


def test_artefacts_are_told_while_samples_become_better_but_not_at_the_beginning() -> None:
    """A generator that leaves specks may improve for hours."""
    doctor = Doctor()
    for step in range(100, 1000, 100):
        alarms = doctor.see(line(step, distance=9.0 * 0.8 ** (step / 100), speck_distance=0.9))
        assert [alarm.name for alarm in alarms] == ([] if step < 300 else ["artefacts"])


def test_artefacts_that_pass_are_no_sickness() -> None:
    """At first all samples are noise; a score that falls by a fifth in the second half of the steps is on its way."""
    assert read([line(step, detail_distance=30 / step**0.6) for step in range(300, 700, 50)]) == []


def test_a_fault_must_have_lasted_since_half_of_the_steps() -> None:
    """As rare categories come and go while a generator learns; the least score since then counts, of each name."""

    def read_faults(*found: dict[str, float]) -> list[dict[str, float]]:
        steps = (300, 500, 600, 700, 900)
        lines = [line(step) | {"faults": {"lost_category": each}} for step, each in zip(steps, found, strict=True)]
        return [alarm.evidence for alarm in read(lines)]

    a, b = {"town=a": 0.2}, {"town=b": 0.1, "town=c": 0.01}
    assert read_faults(b, a | b, b, a | b, a | b) == [{"town=b": 0.1}]
    assert read_faults(a, b, a, b, a) == []
    assert read_faults({}, a | b, a | b, a | b, a | {"town=b": 0.08}) == [{"town=a": 0.2, "town=b": 0.08}]


def test_slow_progress_is_progress() -> None:
    """By a hundredth from one evaluation to the next in the end, and by a fifth since half of the steps."""
    assert read([line(100 * step, distance=20 * step**-0.3, diversity=0.2) for step in range(1, 40)]) == []


@pytest.mark.parametrize(("steps", "first"), [(50, 300), (5_000, 500), (50_000, 1000)])
def test_most_alarms_wait_for_a_tenth_of_the_training(steps: int, first: int) -> None:
    """But at least three hundred iterations, at most a thousand; overfitting is sure enough at once."""
    doctor = Doctor()
    for step in range(20, 1200, 20):
        alarms = doctor.see(line(step, diversity=0.0, overfitting=1.5) | {"progress": min(1.0, step / steps)})
        expected = ([] if step < first else ["collapse"]) + ([] if step < 40 else ["overfitting"])
        assert [alarm.name for alarm in alarms] == expected


def test_an_alarm_comes_with_the_second_evaluation_and_goes_with_the_first_good_one() -> None:
    doctor = Doctor()
    bad, good = {"overfitting": 1.0}, {"overfitting": 0.0}
    states = [
        bool(doctor.see(line(step, **(bad if is_bad else good)))) for step, is_bad in enumerate([1, 0, 1, 1, 1, 0])
    ]
    assert states == [False, False, False, True, True, False]
    assert doctor.see({"step": 9, "discriminator_loss": 1.0}) == []  # a line without an evaluation changes nothing


def test_an_alarm_that_stands_outlasts_a_little_progress() -> None:
    """It came where the samples were stuck; it goes when its own score is good, not when they move."""
    doctor = Doctor()
    lines = [
        line(100 * step, diversity=0.1, distance=distance) for step, distance in enumerate([9.0, 9.0, 5.0, 2.0], 4)
    ]
    states = [[alarm.name for alarm in doctor.see(each)] for each in lines]
    assert states == [[], ["collapse"], ["collapse"], ["collapse"]]


def test_samples_like_no_data_lack_no_part_of_it() -> None:
    """Points that have not yet come near any mode."""
    assert read([line(100 * step, missing=0.9, precision=0.01, distance=1.0) for step in range(9)]) == []


@pytest.mark.parametrize(
    ("num_heldout", "score", "is_raised"),
    [(1, 0.9, False), (1, 1.0, True), (2, 0.9, False), (3, 0.9, True), (None, 0.9, True)],
)
def test_copies_must_be_clear_by_few_held_out_items(num_heldout: int | None, score: float, is_raised: bool) -> None:
    doctor = Doctor(num_heldout)
    for step in (100, 200, 300, 400):
        alarms = doctor.see(line(step, memorization=score))
    assert bool(alarms) == is_raised


def test_overfitting_must_be_sure() -> None:
    """A discriminator that hardly tells real from generated has a wild ratio with a large error."""
    assert read([line(step, overfitting=2.0, overfitting_error=1.5) for step in range(4)]) == []


def test_oscillation_and_stalling_are_notices() -> None:
    swinging = [line(100 * step, distance=0.1 if step % 2 else 1.0) for step in range(12)]
    assert [(alarm.name, alarm.severity) for alarm in read(swinging)] == [("oscillation", "notice")]
    flat = [line(100 * step, distance=0.05 if step == 3 else 0.06) for step in range(30)]
    assert [(alarm.name, alarm.severity) for alarm in read(flat)] == [("stalled", "notice")]


def test_advice_names_options_that_exist() -> None:
    import dataclasses
    import re

    from sparring.game.objectives import OBJECTIVES
    from sparring.game.penalties import PENALTIES
    from sparring.training.recipe import Recipe, make_request

    fields = {each.name for each in dataclasses.fields(Recipe)}
    for rule in RULES.values():
        for name, value in re.findall(r"(\w+)=([\d.]+)", rule.advice):
            make_request(
                "digits", None, **{name: int(value) if value.isdigit() and name.endswith("steps") else float(value)}
            )
        assert all(name in PENALTIES for name in re.findall(r"--penalty (\w+)", rule.advice)), rule.name
        assert all(name in OBJECTIVES for name in re.findall(r"--objective (\w+)", rule.advice)), rule.name
        for name in re.findall(r"--(?:set )?(\w[\w-]*)", rule.advice):
            assert name == "set" or name.replace("-", "_") in fields, (rule.name, name)

"""The doctor: alarms from the lines of a training's log, each with the numbers that raised it.

A rule reads the evaluations so far and gives a score. Its alarm comes where two scores in a row lie above the rule's
threshold, and stands until the first score below. Most rules wait for a tenth of the training (300 iterations at
least, a thousand at most), and while the samples are better by a tenth than they were half of the steps ago: at first
all are alike, and that passes. The thresholds lie between what healthy trainings reach and what sabotaged ones do:
`benchmarks/health.py` trains both and prints the table of docs/health.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal, final

Line = Mapping[str, Any]
"""A line of the log with an evaluation: its numbers and those of the evaluation, by name."""

Severity = Literal["notice", "problem"]

PATIENCE = 2
"""An alarm comes where so many evaluations in a row agree."""
WARM_UP, MIN_WARM_UP_STEPS, MAX_WARM_UP_STEPS = 0.1, 300, 1000
"""Most alarms wait for that share of the training, within these bounds."""
WINDOW = 10
"""Evaluations that `oscillation` and `stalled` look back on, at least."""
GOOD_COVERAGE = 0.5
"""Where samples cover more of the data than this, how the discriminator stands is no sickness."""
SOME_PRECISION = 0.25
LARGEST_LOSS = 60.0
LARGEST_GROWTH, GROWTH_STEPS = 6.0, 1000
"""Weights may grow so far in so many steps."""


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with a training.

    Args:
        name: of the rule in `RULES`.
        severity: "problem" where what comes of it is poor, "notice" where it may be.
        since: the step at which it was first seen.
        meaning: what it says, in words.
        evidence: the numbers that raised it.
        advice: what to try.
    """

    name: str
    severity: Severity
    since: int
    meaning: str
    evidence: dict[str, float]
    advice: str


@dataclass(frozen=True)
class Rule:
    """When to raise an alarm.

    Args:
        name: of the alarm.
        severity: of the alarm.
        meaning: what it says, in words.
        advice: what to try: options that exist.
        evidence: from the evaluations so far, oldest first, to numbers by name, the score first; nothing where there
            is nothing to judge.
        threshold: what the score exceeds where something is wrong.
        at_once: whether it may come at the beginning, and while the samples still become better.
    """

    name: str
    severity: Severity
    meaning: str
    advice: str
    evidence: Callable[[Sequence[Line]], dict[str, float]]
    threshold: float
    at_once: bool = False


def _collapse(lines: Sequence[Line]) -> dict[str, float]:
    if "diversity" not in lines[-1]:
        return {}
    return {"alikeness": 1 - lines[-1]["diversity"]} | _numbers(lines[-1], "diversity", "recall")


def _partial_collapse(lines: Sequence[Line]) -> dict[str, float]:
    if lines[-1].get("diversity", 0.0) < 0.3 or lines[-1]["precision"] < SOME_PRECISION:
        return {}  # where samples are alike, that is the alarm; where they are like no data, they have no parts
    return _numbers(lines[-1], "missing", "recall", "coverage")


def _memorization(lines: Sequence[Line]) -> dict[str, float]:
    if lines[-1].get("diversity", 0.0) < 0.5:
        return {}  # where samples are alike, all are nearest to the same few items
    return _numbers(lines[-1], "memorization", "precision")


def _overfitting(lines: Sequence[Line]) -> dict[str, float]:
    if "overfitting" not in lines[-1]:
        return {}
    sure = lines[-1]["overfitting"] - 2 * lines[-1]["overfitting_error"]
    return {"surely": sure} | _numbers(lines[-1], "overfitting", "overfitting_error")


def _strong_discriminator(lines: Sequence[Line]) -> dict[str, float]:
    """The digits of its confidence: 2 where it errs in one of a hundred, on real and on generated samples."""
    line = lines[-1]
    if line.get("coverage", 1.0) > GOOD_COVERAGE:
        return {}
    if line["discriminator_loss"] < 0:  # a game without a least loss (Wasserstein's): its logits are no confidence
        return {}
    error = max(1 - line["real_probability"], line["fake_probability"], 1e-9)
    numbers = _numbers(line, "real_probability", "fake_probability", "generator_gradient_norm", "coverage")
    return {"confidence": -math.log10(error)} | numbers


def _weak_discriminator(lines: Sequence[Line]) -> dict[str, float]:
    line = lines[-1]
    if "separation" not in line or line.get("coverage", 1.0) > GOOD_COVERAGE:
        return {}
    return {"confusion": 1 - line["separation"]} | _numbers(line, "separation", "coverage")


def _divergence(lines: Sequence[Line]) -> dict[str, float]:
    line = lines[-1]
    loss = max(abs(line[name]) for name in ("discriminator_loss", "generator_loss", "penalty"))
    growth = max(line.get("generator_growth", 1.0), line.get("discriminator_growth", 1.0))
    # Steps in random directions lengthen weights as √step; before a batch normalisation nothing else holds them.
    largest = LARGEST_GROWTH * max(1.0, line["step"] / GROWTH_STEPS) ** 0.5
    return {"excess": max(loss / LARGEST_LOSS, growth / largest), "loss": loss, "growth": growth}


def _oscillation(lines: Sequence[Line]) -> dict[str, float]:
    """How far the distance went up and down, over how far it came, or over its noise where it came nowhere."""
    lines = _measured(lines[-WINDOW:])
    if len(lines) < WINDOW:
        return {}
    way = sum(abs(after["distance"] - before["distance"]) for before, after in pairwise(lines))
    came = abs(lines[-1]["distance"] - lines[0]["distance"])
    noise = 2 * (WINDOW - 1) * median(line["distance_error"] for line in lines)
    return {"turning": way / max(came, noise), "way": way, "came": came, "noise": noise}


def _stalled(lines: Sequence[Line]) -> dict[str, float]:
    """The share of the steps that have passed since the best samples, once they have become better at all."""
    measured = _measured(lines)
    if len(measured) < 2 * WINDOW:
        return {}
    first, best, last = measured[0], min(measured, key=lambda line: float(line["distance"])), measured[-1]
    if best["distance"] > 0.9 * first["distance"]:
        return {}
    return {"since_best": 1 - best["step"] / last["step"], "best": best["distance"], "now": last["distance"]}


def _warming_up(line: Line) -> bool:
    step = line["step"]
    return bool(step < MIN_WARM_UP_STEPS or (line["progress"] < WARM_UP and step < MAX_WARM_UP_STEPS))


def _improving(lines: Sequence[Line]) -> bool:
    """Whether the samples are better by a tenth, and by more than chance, than when half of the steps were played."""
    measured = _measured(lines)
    if len(measured) < PATIENCE:
        return True
    last = measured[-1]
    before = next((line for line in reversed(measured) if line["step"] <= last["step"] / 2), measured[0])
    least = max(0.1 * abs(before["distance"]), 2 * last["distance_error"])
    return bool(before["distance"] - last["distance"] > least)


def _measured(lines: Sequence[Line]) -> list[Line]:
    """Those whose samples could be measured."""
    return [line for line in lines if "distance" in line]


def _numbers(line: Line, *names: str) -> dict[str, float]:
    """These numbers, if the first is there."""
    return {name: line[name] for name in names if name in line} if names[0] in line else {}


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            name="collapse",
            severity="problem",
            meaning="all samples are nearly alike",
            advice="restrain the discriminator (--penalty r1r2 --objective relativistic), or lower its rate "
            "(--set learning_rate_ratio=0.25)",
            evidence=_collapse,
            threshold=0.7,
        ),
        Rule(
            name="partial_collapse",
            severity="problem",
            meaning="the samples lack parts of the data",
            advice="--objective relativistic --penalty r1r2, a larger --batch-size, or labels (--conditional True)",
            evidence=_partial_collapse,
            threshold=0.5,
        ),
        Rule(
            name="memorization",
            severity="problem",
            meaning="the samples lie nearer to training items than held-out items do",
            advice="train on more data, or for fewer steps; a smaller --width",
            evidence=_memorization,
            threshold=0.7,
        ),
        Rule(
            name="overfitting",
            severity="problem",
            meaning="the discriminator knows its training items from held-out ones",
            advice="train on more data, or stop at the best generator (best/); a smaller --width or --penalty r1",
            evidence=_overfitting,
            threshold=0.5,
            at_once=True,
        ),
        Rule(
            name="strong_discriminator",
            severity="problem",
            meaning="the discriminator wins so clearly that the generator learns nothing",
            advice="lower the discriminator's rate (--set learning_rate_ratio=0.25), one update of it an iteration, "
            "--objective non_saturating, or --penalty r1",
            evidence=_strong_discriminator,
            threshold=1.2,
            at_once=True,
        ),
        Rule(
            name="weak_discriminator",
            severity="problem",
            meaning="the discriminator cannot tell poor samples from real ones",
            advice="raise the discriminator's rate (--set learning_rate_ratio=1) or its updates "
            "(--set discriminator_steps=2), or lower --set penalty_weight",
            evidence=_weak_discriminator,
            threshold=0.8,
            at_once=True,
        ),
        Rule(
            name="divergence",
            severity="problem",
            meaning="losses or weights grow without bound",
            advice="lower --set learning_rate, add a penalty (--penalty gradient_penalty with wasserstein, r1 else), "
            "or --set clip_gradients=1",
            evidence=_divergence,
            threshold=1.0,
            at_once=True,
        ),
        Rule(
            name="oscillation",
            severity="notice",
            meaning="the samples become better and worse in turns",
            advice="lower --set learning_rate, raise --set average_decay, or add --penalty r1",
            evidence=_oscillation,
            threshold=3.0,
        ),
        Rule(
            name="stalled",
            severity="notice",
            meaning="the samples have not become better for half of the training",
            advice="stop, and use the best generator (best/); --until plateau does so by itself",
            evidence=_stalled,
            threshold=0.5,
        ),
    )
}
"""Every rule by its name."""


def not_finite(step: int, meaning: str) -> Alarm:
    """The alarm of a training that ended with a number that is not finite."""
    rule = RULES["divergence"]
    return Alarm(rule.name, rule.severity, step, meaning, {}, rule.advice)


@final
class Doctor:
    """Reads a log line by line, and tells what alarms stand.

    Example:
        >>> doctor, game = Doctor(), {"discriminator_loss": 0.7, "generator_loss": 0.7, "penalty": 0.0}
        >>> figures = {"distance": 9.0, "distance_error": 0.1, "diversity": 0.01}
        >>> for step in (100, 200, 300):
        ...     alarms = doctor.see({"step": step, "progress": step / 400, "evaluation": figures} | game)
        >>> [(alarm.name, alarm.since) for alarm in alarms]
        [('collapse', 100)]
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._steps: dict[str, list[int]] = {name: [] for name in RULES}  # whose scores in a row were too high
        self._standing: list[Alarm] = []

    def see(self, line: Line) -> list[Alarm]:
        """Take in the next line of the log; the alarms that stand after it."""
        if "evaluation" not in line:
            return self._standing
        self._lines.append({**line, **line["evaluation"]})
        alarms, early = [], _warming_up(line) or _improving(self._lines)
        standing = {alarm.name for alarm in self._standing}
        for rule in RULES.values():
            evidence = rule.evidence(self._lines)
            steps = self._steps[rule.name]
            if not evidence or next(iter(evidence.values())) <= rule.threshold:
                steps.clear()
                continue
            steps.append(line["step"])
            if len(steps) >= PATIENCE and (rule.at_once or not early or rule.name in standing):
                alarms.append(Alarm(rule.name, rule.severity, steps[0], rule.meaning, evidence, rule.advice))
        self._standing = alarms
        return alarms

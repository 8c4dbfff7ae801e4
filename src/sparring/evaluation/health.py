"""The doctor: alarms from the lines of a training's log, each with the numbers that raised it.

A rule turns the evaluations so far into a score. Its alarm is raised when two scores in a row exceed the rule's
threshold, and cleared by the first score that does not. At first all samples are alike, and that passes; so most rules
wait for a tenth of the training (at least 300 iterations, at most 1,000), and as long as the samples are better by a
tenth than they were half of the steps ago. The thresholds separate healthy trainings from sabotaged ones:
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

PATIENCE = 2  # an alarm is raised when this many evaluations in a row agree
WARM_UP, MIN_WARM_UP_STEPS, MAX_WARM_UP_STEPS = 0.1, 300, 1000
"""Most alarms wait for this share of the training, within these bounds."""
WINDOW = 10  # `oscillation` and `stalled` look back on at least this many evaluations
GOOD_COVERAGE = 0.5  # samples that cover more of the data than this are no sign of a sick discriminator
SOME_PRECISION = 0.25
ENOUGH_HELDOUT, CLEAR_COPIES = 3, 0.95
"""By fewer held-out items, other samples look like copies by chance: only a clearer score than usual counts."""
LARGEST_LOSS = 60.0
LARGEST_GROWTH, GROWTH_STEPS = 6.0, 1000  # weights may grow by this factor in this many steps


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with a training."""

    name: str  # of the rule in `RULES`
    severity: Severity  # "problem" where the samples are poor because of it, "notice" where they may be
    since: int  # the step at which it was first seen
    meaning: str  # what is wrong, in words
    evidence: dict[str, float]  # the numbers that raised it
    advice: str  # what to try


@dataclass(frozen=True)
class Rule:
    """When to raise an alarm.

    `evidence` gives numbers by name, the score first, from the evaluations so far, oldest first; none where there is
    nothing to judge.
    """

    name: str  # of the alarm; so are severity, meaning and advice
    severity: Severity
    meaning: str
    advice: str
    evidence: Callable[[Sequence[Line]], dict[str, float]]
    threshold: float  # what the score exceeds where something is wrong
    at_once: bool = False  # whether the alarm may come at the beginning, and while the samples still improve
    while_improving: bool = False  # whether it may come while the samples still improve, but not at the beginning


def _collapse(lines: Sequence[Line]) -> dict[str, float]:
    if "diversity" not in lines[-1]:
        return {}
    return {"alikeness": 1 - lines[-1]["diversity"]} | _numbers(lines[-1], "diversity", "recall")


def _partial_collapse(lines: Sequence[Line]) -> dict[str, float]:
    if lines[-1].get("diversity", 0.0) < 0.3 or lines[-1]["precision"] < SOME_PRECISION:
        return {}  # samples that are alike have an alarm of their own; samples unlike any data have no parts
    return _numbers(lines[-1], "missing", "recall", "coverage")


def _memorization(lines: Sequence[Line]) -> dict[str, float]:
    if lines[-1].get("diversity", 0.0) < 0.5:
        return {}  # samples that are alike are all nearest to the same few items
    if (
        lines[-1].get("num_heldout", ENOUGH_HELDOUT) < ENOUGH_HELDOUT
        and lines[-1].get("memorization", 0.0) <= CLEAR_COPIES
    ):
        return {}
    return _numbers(lines[-1], "memorization", "precision")


def _artefacts(lines: Sequence[Line]) -> dict[str, float]:
    """How far the samples' fine detail or specks are from the data's: 1 where all have more, or all have less.

    Nothing where it has become less by a fifth since half of the steps: at first all samples are noise; that passes.
    """
    if lines[-1].get("diversity", 0.0) < 0.3 or "detail_distance" not in lines[-1]:
        return {}  # samples that are alike have an alarm of their own
    measured = [line for line in lines if "detail_distance" in line]
    before = next(line for line in reversed(measured) if line["step"] <= lines[-1]["step"] / 2 or line is measured[0])
    then, now = (max(line["detail_distance"], line["speck_distance"]) for line in (before, lines[-1]))
    numbers = _numbers(lines[-1], "detail_distance", "speck_distance", "precision")
    return {} if now < 0.8 * then else {"unlike": now} | numbers


def _swapped(lines: Sequence[Line]) -> dict[str, float]:
    return _numbers(lines[-1], "swapped", "precision")


def _overfitting(lines: Sequence[Line]) -> dict[str, float]:
    if "overfitting" not in lines[-1]:
        return {}
    at_least = lines[-1]["overfitting"] - 2 * lines[-1]["overfitting_error"]
    return {"at_least": at_least} | _numbers(lines[-1], "overfitting", "overfitting_error")


def _strong_discriminator(lines: Sequence[Line]) -> dict[str, float]:
    """The digits of its confidence: 2 where it errs on one of a hundred, of real and of generated samples."""
    line = lines[-1]
    if line.get("coverage", 1.0) > GOOD_COVERAGE or line["discriminator_loss"] < 0:
        return {}  # only a loss without a minimum (Wasserstein's) is negative: its logits are no confidence
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
    lines = _with_distance(lines[-WINDOW:])
    if len(lines) < WINDOW:
        return {}
    way = sum(abs(after["distance"] - before["distance"]) for before, after in pairwise(lines))
    came = abs(lines[-1]["distance"] - lines[0]["distance"])
    noise = 2 * (WINDOW - 1) * median(line["distance_error"] for line in lines)
    return {"turning": way / max(came, noise), "way": way, "came": came, "noise": noise}


def _stalled(lines: Sequence[Line]) -> dict[str, float]:
    """The share of the steps since the best samples, once the samples have improved at all."""
    measured = _with_distance(lines)
    if len(measured) < 2 * WINDOW:
        return {}
    first, best, last = measured[0], min(measured, key=lambda line: float(line["distance"])), measured[-1]
    if best["distance"] > 0.9 * first["distance"]:
        return {}
    return {"since_best": 1 - best["step"] / last["step"], "best": best["distance"], "now": last["distance"]}


def _rule_of_fault(name: str, meaning: str, advice: str, threshold: float) -> Rule:
    """The rule of a fault that the modality looks for: what is worst of it, and what else exceeds the threshold.

    It counts as little as it did in the best evaluation since half of the steps, since faults come and pass at first.
    """

    def evidence(lines: Sequence[Line]) -> dict[str, float]:
        if lines[-1].get("diversity", 0.0) < 0.3:
            return {}  # samples that are alike have an alarm of their own
        since = [line.get("faults", {}).get(name, {}) for line in lines if line["step"] >= lines[-1]["step"] / 2]
        lasting = ((each, min(found.get(each, 0.0) for found in since)) for each in since[-1])
        worst = sorted(lasting, key=lambda each: -each[1])
        return dict(worst[:1] + [each for each in worst[1:] if each[1] > threshold])

    return Rule(name, "problem", meaning, advice, evidence, threshold)


def _is_improving(lines: Sequence[Line]) -> bool:
    """Whether the samples are better than half of the steps ago, by a tenth and by more than chance."""
    measured = _with_distance(lines)
    if len(measured) < PATIENCE:
        return True
    last = measured[-1]
    before = next((line for line in reversed(measured) if line["step"] <= last["step"] / 2), measured[0])
    least = max(0.1 * abs(before["distance"]), 2 * last["distance_error"])
    return bool(before["distance"] - last["distance"] > least)


def _with_distance(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if "distance" in line]


def _numbers(line: Line, *names: str) -> dict[str, float]:
    """The numbers of these names, if the first is there."""
    return {name: line[name] for name in names if name in line} if names[0] in line else {}


RULES = {
    rule.name: rule
    for rule in (
        Rule("collapse", "problem", "all samples are nearly alike",
            "restrain the discriminator (--penalty r1r2 --objective relativistic), or lower its learning rate "
            "(--set learning_rate_ratio=0.25)",
            _collapse, threshold=0.7),
        Rule("partial_collapse", "problem", "the samples lack parts of the data",
            "--objective relativistic --penalty r1r2, a larger --batch-size, or labels (--conditional True)",
            _partial_collapse, threshold=0.5),
        Rule("memorization", "problem", "the samples are closer to training items than held-out items are",
            "train on more data, or for fewer steps; a smaller --width",
            _memorization, threshold=0.7),
        Rule("artefacts", "problem", "the samples have noise, specks or blur that the data do not have",
            "train longer, or lower --set learning_rate; --penalty r1r2 --objective relativistic",
            _artefacts, threshold=0.6, while_improving=True),
        Rule("swapped_classes", "problem", "most items of a class are translated into items of another one",
            "more weight on what binds them to what went in (--set restraints=cycle:20,identity:10), or another --seed",
            _swapped, threshold=0.5),
        _rule_of_fault("collapsed_column", "nearly all rows have the same value in a column",
            "--objective relativistic --penalty r1r2 or a larger --batch-size; say what the column is: --set columns",
            threshold=0.7),
        _rule_of_fault("lost_category", "a category of the data is in no row",
            "train longer, or with a larger --batch-size; --objective relativistic --penalty r1r2", threshold=0.05),
        _rule_of_fault("broken_rule", "rows break a rule that all data keep",
            "train longer; for a ≤ b, give the table a column b − a instead of b", threshold=0.05),
        Rule("overfitting", "problem", "the discriminator can tell training items from held-out ones",
            "train on more data, or stop at the best generator (best/); a smaller --width or --penalty r1",
            _overfitting, threshold=0.5, at_once=True),
        Rule("strong_discriminator", "problem",
            "the discriminator wins so clearly that the generator learns nothing",
            "lower the discriminator's learning rate (--set learning_rate_ratio=0.25), one update of it an iteration, "
            "--objective non_saturating, or --penalty r1",
            _strong_discriminator, threshold=1.2, at_once=True),
        Rule("weak_discriminator", "problem", "the discriminator cannot tell poor samples from real ones",
            "raise the discriminator's learning rate (--set learning_rate_ratio=1) or its updates "
            "(--set discriminator_steps=2), or lower --set penalty_weight",
            _weak_discriminator, threshold=0.8, at_once=True),
        Rule("divergence", "problem", "losses or weights grow without bound",
            "lower --set learning_rate, add a penalty (--penalty gradient_penalty with wasserstein, r1 else), "
            "or --set clip_gradients=1",
            _divergence, threshold=1.0, at_once=True),
        Rule("oscillation", "notice", "the samples become better and worse in turn",
            "lower --set learning_rate, raise --set average_decay, or add --penalty r1",
            _oscillation, threshold=3.0),
        Rule("stalled", "notice", "the samples have not improved for half of the training",
            "stop, and use the best generator (best/); --until plateau does so by itself",
            _stalled, threshold=0.5),
    )
}  # fmt: skip
"""Every rule by its name."""


def not_finite(step: int, meaning: str) -> Alarm:
    """The alarm of a training that ended with a number that is not finite."""
    rule = RULES["divergence"]
    return Alarm(rule.name, rule.severity, step, meaning, {}, rule.advice)


@final
class Doctor:
    """Reads a log line by line, and tells which alarms stand.

    Args:
        num_heldout: how many held-out items there are; None for enough to judge by.

    Example:
        >>> doctor, game = Doctor(), {"discriminator_loss": 0.7, "generator_loss": 0.7, "penalty": 0.0}
        >>> figures = {"distance": 9.0, "distance_error": 0.1, "diversity": 0.01}
        >>> for step in (100, 200, 300):
        ...     alarms = doctor.see({"step": step, "progress": step / 400, "evaluation": figures} | game)
        >>> [(alarm.name, alarm.since) for alarm in alarms]
        [('collapse', 100)]
    """

    def __init__(self, num_heldout: int | None = None) -> None:
        self._known = {} if num_heldout is None else {"num_heldout": num_heldout}
        self._lines: list[Line] = []
        self._steps: dict[str, list[int]] = {name: [] for name in RULES}  # of the latest scores in a row that were high
        self._standing: list[Alarm] = []

    def see(self, line: Line) -> list[Alarm]:
        """Read the next line of the log; the alarms that stand after it."""
        if "evaluation" not in line:
            return self._standing
        self._lines.append({**line, **line["evaluation"], **self._known})
        warm_up = MAX_WARM_UP_STEPS if line["progress"] < WARM_UP else MIN_WARM_UP_STEPS
        alarms, is_beginning, is_improving = [], line["step"] < warm_up, _is_improving(self._lines)
        standing = {alarm.name for alarm in self._standing}
        for rule in RULES.values():
            evidence, steps = rule.evidence(self._lines), self._steps[rule.name]
            if not evidence or next(iter(evidence.values())) <= rule.threshold:
                steps.clear()
                continue
            steps.append(line["step"])
            may_come = rule.at_once or not (is_beginning or (is_improving and not rule.while_improving))
            if len(steps) >= PATIENCE and (may_come or rule.name in standing):
                alarms.append(Alarm(rule.name, rule.severity, steps[0], rule.meaning, evidence, rule.advice))
        self._standing = alarms
        return alarms

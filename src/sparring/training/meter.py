"""The listener that makes the lines of the log: mean losses, evaluations and alarms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from sparring.errors import UnknownNameError, UsageError
from sparring.evaluation.figures import FIGURES
from sparring.evaluation.health import Doctor
from sparring.evaluation.monitor import Monitor, can_monitor, warn_if_few
from sparring.game.augment import Adaptive
from sparring.game.game import Report
from sparring.modalities.modality import Dataset
from sparring.training.loop import Listener, Outcome, Training
from sparring.training.recipe import Change, Recipe
from sparring.training.run_folder import COUNTERS, NUMBERS, REPORTED
from sparring.training.stopping import Goal
from sparring.types import LogLine

FULL_LINES = 10_000
"""After this many lines, and whenever the number of steps has doubled since, lines come half as often."""


class Meter(Listener):
    """Measures a training, and sets `training.line`, `training.alarms` and `training.reached`.

    Make it before a state is restored: it measures how weights grow from their first values. When a run resumes, it
    reads the lines of the log so far, and writes the changes to the recipe into the next line.
    """

    def __init__(
        self, training: Training, lines: Iterable[LogLine] = (), changes: Mapping[str, Change] | None = None
    ) -> None:
        recipe = training.recipe
        self.doctor = Doctor(training.dataset.heldout.num_items)
        self.goal = Goal(recipe.until) if recipe.until else None
        self.monitor: Monitor | None = None
        self.changes = dict(changes or {})
        warn_if_few(training.dataset)
        if does_evaluate(recipe, training.dataset):
            share, steps = recipe.evaluation_share, recipe.evaluation_steps
            dataset = replace(training.dataset, measured_by=_find_extractor(lines := list(lines), training.dataset))
            self.monitor = Monitor(training.game, dataset, share=share, interval_steps=steps)
        for line in lines:
            self._read(training, line)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Make a line every `log_steps`, less often in a long training, and whenever an evaluation is due."""
        step, interval, training.line = training.game.steps, training.recipe.log_steps, None
        while step > FULL_LINES * interval:
            interval *= 2
        has_line, place = step % interval == 0, (step, training.seconds, training.progress)
        evaluate = self.monitor is not None and self.monitor.is_due(*place, has_line=has_line)
        if training.pending and (evaluate or has_line):
            self._make_line(training, evaluate)

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Make a last line of the pending numbers."""
        training.line = None
        if training.pending and outcome.status == "finished":
            self._make_line(training, evaluate=False)

    def _make_line(self, training: Training, evaluate: bool) -> None:
        counters = training.game.steps, training.images, round(training.seconds, 3), round(training.progress, 4)
        means = [sum(values) / len(values) for values in zip(*training.pending, strict=True)]
        line: LogLine = dict(zip((*COUNTERS, *REPORTED), (*counters, *means), strict=True))
        training.pending.clear()
        if not training.game.restraints:
            del line["restraint"]
        if isinstance(training.game.augment, Adaptive):
            line["augment"] = training.game.augment.probability
        if self.changes:
            line["changed"], self.changes = self.changes, {}
        if self.monitor is not None and evaluate:
            line["evaluation"] = self.monitor.measure(training.generator())
            line["measured_by"] = self.monitor.extractor.name
            if self.monitor.class_shares:
                line["class_shares"] = [round(share, 4) for share in self.monitor.class_shares]
            if self.monitor.faults:
                line["faults"] = self.monitor.faults
        before = {alarm.name for alarm in training.alarms}
        self._read(training, line)
        if before != {alarm.name for alarm in training.alarms}:
            line["alarms"] = [asdict(alarm) for alarm in training.alarms]
        training.line = line

    def _read(self, training: Training, line: LogLine) -> None:
        training.alarms = self.doctor.see(line)
        reason = self.goal.stop_reason(line) if self.goal is not None else ""
        if reason and training.recipe.until:  # it is None when the user goes on after the goal
            training.reached = reason
        if self.monitor is not None and "evaluation" in line:
            self.monitor.note(line["step"], line["seconds"], line["evaluation"])


def _find_extractor(lines: Sequence[LogLine], dataset: Dataset) -> str:
    """The name of the extractor that measured a run so far, since distances by another one are others; empty if new."""
    line = next((line for line in reversed(lines) if "evaluation" in line), {"measured_by": ""})
    name = line.get("measured_by")
    if isinstance(name, str):
        return name
    old = dataset.trained_classifier  # an older sparring did not write it
    return (dataset.modality.neutral_extractor() if old is None else old.extractor()).name


def does_evaluate(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether a training evaluates its samples."""
    return can_monitor(dataset) and (recipe.evaluation_share > 0 or recipe.evaluation_steps is not None)


def check_goal(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a goal for a number that the log will not contain."""
    if recipe.until is None:
        return
    goal = Goal(recipe.until)
    name = goal.name
    figures = [figure.name for figure in FIGURES.values() if figure.in_monitor]
    if name not in (*COUNTERS, *NUMBERS, *figures):
        raise UnknownNameError("figure", name, (*figures, *COUNTERS, *NUMBERS))
    if name in figures and not does_evaluate(recipe, dataset):
        raise UsageError(f"--until {recipe.until} needs evaluations: raise evaluation_share, or give more data")
    is_share = FIGURES[name].is_share if name in FIGURES else name in ("real_probability", "fake_probability")
    if goal.target and is_share and not (0 <= (number := goal.target[2]) <= 1 and number != (goal.target[1] == ">")):
        raise UsageError(f"--until {recipe.until!r}: {name} lies between 0 and 1, so this is always so, or never")

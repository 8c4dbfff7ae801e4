"""What people see while a training runs: in a terminal, in a notebook, and in a file."""

import math
import re
import shlex
import signal
import textwrap
from collections.abc import Mapping
from statistics import fmean
from typing import Any, final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from sparring.distributed.collectives import world_size
from sparring.evaluation.figures import FIGURES
from sparring.evaluation.health import Alarm
from sparring.game.game import Report
from sparring.modalities.modality import Dataset
from sparring.plugins import OWN
from sparring.training.build import choose_device, choose_precision, goes_both_ways
from sparring.training.footprint import is_large, predict_memory
from sparring.training.loop import Listener, Outcome, Training
from sparring.training.parts import Parts
from sparring.training.recipe import Recipe
from sparring.training.resolve import count_classes, images_per_second
from sparring.training.run_folder import REPORTED, Run
from sparring.training.stopping import Limits

MAX_LISTED = 5  # classes in a line of text
BAR_SECONDS, LINE_SECONDS = 1.0, 10.0
"""Seconds of training between updates of the bar, and between the plain lines that replace it in a file."""


@final
class Terminal(Listener):
    """Shows a training and its preparation: a bar in a terminal, a changing line in a notebook, else plain lines.

    As a context manager it removes the bar however the training ends.

    Args:
        stderr: write to the standard error.
        quiet: show nothing.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        self._console = Console(highlight=False, markup=False, stderr=stderr, quiet=quiet)
        self._is_notebook = self._console.is_jupyter and not quiet
        self._is_live = self._console.is_interactive and not self._is_notebook and not quiet
        self._console.soft_wrap = not self._is_live  # the bar keeps within its line, and a file's lines stay whole
        self._bar = Progress(  # one line of 80 columns, or more lines in a narrower terminal
            BarColumn(bar_width=4),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
            console=self._console,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._live = Live(self._bar, console=self._console)
        self._line: Any = None  # a notebook's handle of the changing line
        self._due_seconds = 0.0  # the training time at which to show the next numbers
        self._alarms: list[Alarm] = []
        self._result = ""  # the latest evaluation, in words
        self._is_new = False  # whether a file does not have it yet
        self._measured_step = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._live.transient = True  # the bar goes, unless a training has ended and left it
        self._live.stop()

    def on_progress(self, what: str, share: float) -> None:
        """Show a description of the work, and the share that is done."""
        if self._is_notebook:
            from IPython import display

            content = {"text/plain": f"{share:4.0%}  {what}" + (f"  {self._result}" if self._result else "")}
            if self._line is None:
                show: Any = display.display  # it has no types
                self._line = show(content, raw=True, display_id=True)
            else:
                self._line.update(content, raw=True)
        if self._is_live:
            self._live.start()
            if share < self._bar.tasks[0].completed:  # other work begins, which a task that is complete cannot tell
                self._bar.remove_task(self._task)
                self._task = self._bar.add_task(what, total=1.0)
            self._bar.update(self._task, completed=share, description=what)

    def say(self, *lines: str | Text) -> None:
        """Write lines; in a terminal, strings are broken between words, and texts stay whole, as commands to copy."""
        wrapped = (_wrap(line, self._width) if isinstance(line, str) else line for line in lines)
        self._console.print(*wrapped, sep="\n", soft_wrap=True)

    def started(self, training: Training) -> None:
        """Show what is trained, where it goes, how long it takes, and how to stop it."""
        if self._console.quiet:
            return
        recipe, step = training.recipe, training.game.steps
        lines = [] if step else describe_choice(recipe, training.dataset, training.parts)
        until = f"to {describe_limits(recipe.limits)}" + (f" or {recipe.until}" if recipe.until else "")
        where = f"{training.folder} from step {step:,}" if step else str(training.folder)
        if training.folder is not None and training.folder.resolve().is_relative_to(recipe.data):
            where += ", which lies inside the data and is left out of them"
        stop = "interrupting the kernel" if self._is_notebook else "Ctrl-C"
        self.say(*lines, f"{'resuming' if step else '  into'} {where}, {until}; {stop} saves and stops")
        self._due_seconds = training.seconds + BAR_SECONDS
        self.on_progress("starting", training.progress)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Show the numbers of the latest steps, and the alarms."""
        if training.line and "evaluation" in training.line:
            self._measured_step, self._is_new = training.game.steps, True
            self._result = _describe_figures(training.line["evaluation"], training.dataset)
        self._show_below(training)
        if training.seconds < self._due_seconds or not (training.line or training.pending):
            return
        means = training.line or dict(zip(REPORTED, map(fmean, zip(*training.pending, strict=True)), strict=True))
        is_changing = self._is_live or self._is_notebook
        self._due_seconds = training.seconds + (BAR_SECONDS if is_changing else LINE_SECONDS)
        numbers = (
            f"{training.images / max(training.seconds, 1e-9):,.0f} {training.config.modality.counted}/s  "
            f"loss D {means['discriminator_loss']:.2f} G {means['generator_loss']:.2f}  "
            f"D(real) {means['real_probability']:.2f} D(fake) {means['fake_probability']:.2f}"
        )
        if is_changing:
            self.on_progress(numbers, training.progress)
        else:
            result = f"  {self._result}" if self._is_new and self._result else ""
            self._console.print(f"{training.progress:4.0%}  {numbers}{result}")
            self._is_new = False

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Show where the run is and what to do next; the error of a failed training says more."""
        if outcome.status == "failed" or training.folder is None:
            return
        steps, images, seconds = training.game.steps, training.images, training.seconds
        self.on_progress(outcome.status, training.progress)
        self._live.update(self._bar)  # the alarms come below
        self._live.stop()
        run, name, lines = Run(training.folder), training.config.modality.counted, list[str | Text]()
        lines.append(
            f"{outcome.status} after {steps:,} steps, {images:,} {name}, {seconds:.0f} s of training "
            f"({images / max(seconds, 1e-9):,.0f} {name}/s): {outcome.reason}"
        )
        is_own = training.recipe.network.startswith(OWN)  # modules of the caller's, which no command has
        load = f"sparring.load({str(run.path)!r}{', module=generator' if is_own else ''})"
        modality = training.config.modality
        verb, what, output, python = "sample", "-n 64", modality.sample_file, f"{load}.sample(64, seed=0)"
        if training.recipe.source is not None:
            what, output = modality.to_translate
            verb, python = "translate", f"{load}.translate(items)"
        if self._result:
            step = "" if self._measured_step == steps else f", at step {self._measured_step:,}"
            lines.append(f"  {'result':{len(verb)}}  {self._result}{step}")
        for alarm in training.alarms:
            told = _alarm_lines(alarm, self._width)
            lines += told if self._is_live else told[:1]  # elsewhere the rest stands above
        path, look = str(run.path), run.sample_path(steps)
        minutes = training.recipe.minutes
        option, value = ("steps", str(2 * steps)) if minutes is None else ("minutes", f"{2 * minutes:g}")
        if self._is_notebook or is_own:
            further = ", generator=generator, discriminator=discriminator" if is_own else ""
            further += "" if outcome.signal else f", {option}={value}"
            lines += [f"  {verb}  {python}", f"  resume  sparring.resume({path!r}{further})"]
        else:
            further, name = "" if outcome.signal else f" --{option} {value}", shlex.quote(path)
            commands = {
                "look": str(look),
                verb: f"sparring {verb} {name} {what} --out {shlex.quote(str(run.path / output))}",
                "python": python,
                "resume": f"sparring resume {name}{further}",
            }
            lines += [Text(f"  {key:{len(verb)}}  {command}") for key, command in commands.items()]
            if outcome.signal == signal.SIGUSR1:
                lines.append(Text(f"resume me: sparring resume {name}"))
        self.say(*lines)

    @property
    def _width(self) -> int | None:
        """Where lines are wrapped; None where they stay whole."""
        return self._console.width if self._is_live else None

    def _show_below(self, training: Training) -> None:
        """Show the latest evaluation and the active alarms below the bar; elsewhere alarms that begin and end."""
        before, self._alarms = self._alarms, training.alarms
        if self._is_live and (before != self._alarms or self._is_new):
            self._is_new = False
            alarms = (text for alarm in self._alarms for text in _alarm_lines(alarm, self._width))
            line = f"  result  {self._result}, at step {self._measured_step:,}"
            result = [Text(_wrap(line, self._width))] if self._result else []
            self._live.update(Group(self._bar, *result, *alarms))
        if self._is_live or before == self._alarms:
            return
        for alarm in self._alarms:
            if alarm.name not in {each.name for each in before}:
                self._console.print(*_alarm_lines(alarm), sep="\n")
        for alarm in before:
            if alarm.name not in {each.name for each in self._alarms}:
                self._console.print(f"  {alarm.name.replace('_', ' ')} ended at step {training.game.steps:,}")


def describe_limits(limits: Limits) -> str:
    """Where a training ends, in words."""
    given = [
        f"{format(value, ',' if isinstance(value, int) else 'g')} {name if value != 1 else name.removesuffix('s')}"
        for name, value in vars(limits).items()
        if value is not None
    ]
    return " or ".join(given)


def describe_choice(recipe: Recipe, dataset: Dataset, own: Parts = Parts()) -> list[str]:
    """Lines on the data and the settings chosen for them; how long it takes only for the user's own files."""
    names = [*dataset.class_names, *(each.name for each in dataset.attributes)]
    listed = f" ({', '.join(names[:MAX_LISTED])}{', …' if len(names) > MAX_LISTED else ''})" if names else ""
    labels = f"with labels{listed}" if recipe.conditional else "no labels"
    if recipe.num_clusters > 1:
        labels = f"no labels: {recipe.num_clusters} automatic groups stand in for them"
    if dataset.source is not None:
        listed = ", ".join(f"{name} {weight:g}" for name, weight in recipe.restraints.items())
        labels = f"restraint {listed}" if listed else "no restraint"
        if recipe.num_clusters > 1:
            labels = f"{recipe.num_clusters} automatic groups of both"
        labels += ", both ways" if goes_both_ways(recipe) else ", one way"
    num_items, survey = dataset.train.num_items, dataset.survey
    is_rounded = (
        choose_precision(recipe.precision, choose_device(recipe.device), dataset.modality.item_shape) is not None
    )
    parts = f"{num_items:,} to train on and {dataset.heldout.num_items:,} held out" if num_items else "new items"
    lines = [
        *(survey.description if survey else [recipe.data]),
        f"  {dataset.modality.describe()}; {parts}"
        f"{', as their folders say' if survey and survey.num_heldout is not None else ''}"
        f"{'; each also mirrored' if recipe.mirror else ''}",
        *([f"  translated from {recipe.source}: {_describe_source(dataset.source)}"] if dataset.source else []),
        f"  network {recipe.network}{'' if own.network else f' with width {recipe.width}'}, {recipe.objective}, "
        f"penalty {recipe.penalty}"
        f"{', in bfloat16' if is_rounded else ''}"
        f"{', augmentation as needed' if recipe.augment_target is not None else ''}; {labels}",
    ]
    if survey is None or own.network:
        return lines
    modality, limits = dataset.modality, recipe.limits
    rate, name = images_per_second(recipe, modality, own), modality.counted
    images = min(
        (limits.steps or math.inf) * recipe.images_per_step,
        limits.images or math.inf,
        60 * (limits.minutes or math.inf) * rate,
    )
    seconds = images / rate
    return [
        *lines,
        f"  about {rate:,.0f} {name}/s: {images / recipe.images_per_step:,.0f} steps in {describe_seconds(seconds)}, "
        f"each {name.removesuffix('s')} {images / max(1, num_items or 0):,.1f} times",
        *_describe_memory(recipe, dataset, own),
    ]


def _describe_memory(recipe: Recipe, dataset: Dataset, own: Parts) -> list[str]:
    """What a large training takes."""
    if not is_large(recipe, dataset.modality):
        return []
    try:
        needed = predict_memory(recipe, dataset.modality, count_classes(recipe, dataset), own)
    except (RuntimeError, TypeError, ValueError):  # a network of one's own that computes with the contents of tensors
        return []
    how = "; activations are computed again, to save some" if recipe.recompute else ""
    return [f"  about {needed / 1e9:.1f} GB of memory{' for each process' if world_size() > 1 else ''}{how}"]


def _describe_source(source: Dataset) -> str:
    """How many items a translator is fed."""
    num_items = source.train.num_items
    return f"{num_items:,} and {source.heldout.num_items:,} held out" if num_items else "new items"


def describe_seconds(seconds: float) -> str:
    """A time in words.

    Example:
        >>> describe_seconds(42), describe_seconds(195), describe_seconds(9000)
        ('42 s', '3 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _describe_figures(evaluation: Mapping[str, float], dataset: Dataset) -> str:
    """The figures of an evaluation that a terminal shows."""
    shown = ((figure.describe, evaluation.get(name)) for name, figure in FIGURES.items())
    return ", ".join(describe(value, dataset) for describe, value in shown if describe and value is not None)


def _wrap(line: str, width: int | None) -> str:
    """Break a line between words, and begin the rest of it below its own beginning.

    Example:
        >>> print(_wrap("    fix       train on more data, or stop", 32))
            fix       train on more
                      data, or stop
    """
    key = re.match(r" *(?:\w+ {2,})?", line)
    indent = " " * (key.end() if key and key[0].strip() else 2 + len(line) - len(line.lstrip()))
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _alarm_lines(alarm: Alarm, width: int | None = None) -> list[Text]:
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in alarm.evidence.items())
    style = "bold red" if alarm.severity == "problem" else "yellow"
    title = f"  {alarm.name.replace('_', ' ')} since step {alarm.since:,}: {alarm.meaning}"
    return [
        Text(_wrap(title, width), style),
        *([Text(_wrap(f"    evidence  {numbers}", width))] if numbers else []),
        Text(_wrap(f"    fix       {alarm.advice}", width)),
    ]

"""The output in the terminal: a running training, and the results of the other commands."""

import json
import math
import shlex
import signal
import sys
from dataclasses import asdict
from typing import final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from sparring.data.memory import kept_files
from sparring.data.pack import find_packs
from sparring.evaluation.card import CLASS_FIGURES, Card
from sparring.evaluation.health import Alarm
from sparring.files import cache_folder
from sparring.game.game import Report
from sparring.modalities.modality import Dataset
from sparring.training.loop import Listener, Outcome, Training
from sparring.training.recipe import Recipe, Request
from sparring.training.resolve import images_per_second, resolve
from sparring.training.run_folder import Run

MAX_LISTED_CLASSES = 20
LINE_SECONDS = 10.0
"""If the output is no terminal, a plain line replaces the bar each time this many seconds of training have passed."""


@final
class Terminal(Listener):
    """Shows a training and its preparation: a progress bar in a terminal, plain lines elsewhere.

    As a context manager it removes the bar however the training ends.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        # Everything fits into 80 columns.
        columns = (BarColumn(bar_width=4), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(compact=True))
        self._bar = Progress(*columns, TextColumn("{task.description}", markup=False), console=self._console)
        self._task = self._bar.add_task("starting", total=1.0)
        self._live = Live(self._bar, console=self._console)
        self._last_seconds = 0.0
        self._last_alarms: list[Alarm] = []

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def on_progress(self, what: str, share: float) -> None:
        """Show a description of the work, and the share that is done."""
        if self._console.is_terminal:
            self._live.start()
            self._bar.update(self._task, completed=share, description=what)

    def started(self, training: Training) -> None:
        """Show the survey of the user's own files, and the settings chosen for them."""
        if training.game.steps == 0:
            for text in describe_choice(training.recipe, training.dataset):
                print(text)
        self.on_progress("starting", training.progress)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Show the line of the log, and the alarms."""
        if (line := training.line) is None:
            return
        numbers = (
            f"{training.images / max(training.seconds, 1e-9):,.0f} images/s  "
            f"loss D {line['discriminator_loss']:.2f} G {line['generator_loss']:.2f}  "
            f"D(real) {line['real_probability']:.2f} D(fake) {line['fake_probability']:.2f}"
        )
        if self._console.is_terminal:
            self.on_progress(numbers, training.progress)
            self._live.update(Group(self._bar, *(text for alarm in training.alarms for text in _alarm_lines(alarm))))
            return
        if training.seconds - self._last_seconds >= LINE_SECONDS:
            self._last_seconds = training.seconds
            self._console.print(f"{training.progress:4.0%}  {numbers}")
        before, now = ({alarm.name for alarm in alarms} for alarms in (self._last_alarms, training.alarms))
        for alarm in training.alarms:
            if alarm.name not in before:
                self._console.print(*_alarm_lines(alarm), sep="\n")
        for alarm in self._last_alarms:
            if alarm.name not in now:
                self._console.print(f"  {alarm.name.replace('_', ' ')} ended at step {training.game.steps:,}")
        self._last_alarms = training.alarms

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Show where the run is and what to do next; the error of a failed training says more."""
        if outcome.status == "failed" or training.folder is None:
            return
        self._live.stop()
        steps, images, seconds = training.game.steps, training.images, training.seconds
        path, say = shlex.quote(str(training.folder)), self._console.print
        say(
            f"{outcome.status} after {steps:,} steps, {images:,} images, {seconds:.0f} s of training "
            f"({images / max(seconds, 1e-9):,.0f} images/s): {outcome.reason}"
        )
        for alarm in training.alarms:
            say(*_alarm_lines(alarm), sep="\n")
        say(f"  look    {Run(training.folder).sample_path(steps)}")
        say(f"  sample  sparring sample {path} -n 64 --out grid.png")
        say(f"  python  sparring.load({str(training.folder)!r}).sample(64, seed=0)")
        say(f"  resume  sparring resume {path}" + ("" if outcome.signal else f" --steps {2 * steps}"))
        if outcome.signal == signal.SIGUSR1:
            say(f"resume me: sparring resume {path}")


def describe_choice(recipe: Recipe, dataset: Dataset) -> list[str]:
    """Lines on the user's own files and the settings chosen for them; none for built-in data."""
    if dataset.survey is None:
        return []
    labels = "with labels" if recipe.conditional else "no labels"
    if recipe.num_clusters > 1:
        labels = f"no labels: {recipe.num_clusters} automatic groups stand in for them"
    rate, limits = images_per_second(recipe, dataset.modality), recipe.limits
    images = min(
        (limits.steps or math.inf) * recipe.images_per_step,
        limits.images or math.inf,
        60 * (limits.minutes or math.inf) * rate,
    )
    num_items, seconds = dataset.train.num_items or 0, images / rate
    minutes = f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
    return [
        *dataset.survey.description,
        f"  {dataset.modality.describe()}; {num_items:,} to train on and {dataset.heldout.num_items:,} held out"
        f"{', as their folders say' if dataset.survey.num_heldout is not None else ''}"
        f"{'; each also mirrored' if recipe.mirror else ''}",
        f"  network {recipe.network} with width {recipe.width}, {recipe.objective}, penalty {recipe.penalty}"
        f"{', augmentation as needed' if recipe.augment_target is not None else ''}; {labels}",
        f"  about {rate:,.0f} images/s: {images / recipe.images_per_step:,.0f} steps in "
        f"{f'{seconds:.0f} s' if seconds < 100 else minutes}, "
        f"each image {images / max(1, num_items):,.1f} times",
    ]


def show_dry_run(request: Request) -> None:
    """Print the recipe as JSON, and a description of the data on stderr."""
    with Terminal() as terminal:
        recipe, dataset = resolve(request, terminal.on_progress, dry=True)
    count = "any number of" if dataset.train.num_items is None else dataset.train.num_items
    lines = [*describe_choice(recipe, dataset), f"{count} items of {list(dataset.modality.item_shape)}"]
    print(*lines, sep="\n", file=sys.stderr)
    print(json.dumps(asdict(recipe), indent=2))


def _alarm_lines(alarm: Alarm) -> list[Text]:
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in alarm.evidence.items())
    style = "bold red" if alarm.severity == "problem" else "yellow"
    title = Text(f"  {alarm.name.replace('_', ' ')} since step {alarm.since:,}: {alarm.meaning}", style)
    return [title, *([Text(f"    evidence  {numbers}")] if numbers else []), Text(f"    fix       {alarm.advice}")]


def new_table(first: str, *others: str) -> Table:
    """An empty table without rules: text in the first column, numbers in the others."""
    columns = (Column(header, justify="right") for header in others)
    return Table(Column(first), *columns, box=None, padding=(0, 2, 0, 0))


def show_card(card: Card) -> None:
    """Print a metric card."""
    columns = {"generated": f"{card.num_generated:,} generated", "floor": f"{card.num_heldout:,} held out"}
    if card.num_heldout < card.num_generated:
        columns = {"generated": columns["generated"], "matched": f"{card.num_heldout:,} generated", **columns}
    table = new_table("", *columns.values())
    for name, row in card.figures.items():
        table.add_row(name.replace("_", " "), *(str(getattr(row, column) or "–") for column in columns))
    console = Console(highlight=False)
    console.print(table)
    if card.classes:
        table = new_table("class", *(name.replace("_", " ") for name in CLASS_FIGURES), "held out")
        table.title = "classes, worst first; held out: the same three figures for held-out samples"
        table.columns[0].max_width, table.columns[0].no_wrap = 16, True
        ranked = sorted(card.classes.items(), key=lambda item: item[1]["class_agreement"].generated.value)
        for name, rows in ranked[:MAX_LISTED_CLASSES]:
            generated = (rows[key].matched if key == "coverage" else rows[key].generated for key in CLASS_FIGURES)
            floors = (f"{floor.value:.2f}" if (floor := rows[key].floor) else "–" for key in CLASS_FIGURES)
            table.add_row(Text(name, overflow="ellipsis"), *(str(each or "–") for each in generated), " ".join(floors))
        if len(ranked) > MAX_LISTED_CLASSES:
            table.caption = f"and {len(ranked) - MAX_LISTED_CLASSES} more classes, in card.json"
        console.print(table)
    console.print(
        f"against {card.num_real:,} of {card.data} ({card.split} split), seed {card.seed}, intervals of 95 %; "
        "features: " + ", ".join(f"{name} ({digits})" for name, digits in card.extractors.items())
    )


def show_packs() -> None:
    """Print the contents of the cache: packed files, and data passed from memory."""
    packs = [(f"{info.num_items:,} of {info.description}, from {info.path}", folder) for folder, info in find_packs()]
    entries = [*packs, *((f"passed from memory: {path}", path.parent) for path in kept_files())]
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) / 1e6 for _, folder in entries]
    for (what, _), size in zip(entries, sizes, strict=True):
        print(f"{size:12,.1f} MB  {what}")
    print(f"{sum(sizes):12,.1f} MB in {cache_folder()}" if entries else f"nothing is packed in {cache_folder()}")

"""What a person sees in the terminal while training, and at the end."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from sparring.evaluation import Card
from sparring.health import Alarm
from sparring.run import Run
from sparring.trainer import Outcome, Progress

LINE_SECONDS = 10.0
"""Where the output is no terminal, a plain line every so many seconds of training takes the bar's place."""


@contextmanager
def show_training() -> Iterator[Callable[[Progress], None]]:
    """While it lasts, what it yields shows the progress it is given, and below it the alarms that stand."""
    console = _console()
    if not console.is_terminal:
        yield _Lines(console).show
        return

    # Everything fits into 80 columns.
    columns = (BarColumn(bar_width=4), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(compact=True))
    bar = Bar(*columns, TextColumn("{task.description}"), console=console)
    task = bar.add_task("starting", total=1.0)

    def update(progress: Progress) -> None:
        bar.update(task, completed=progress.share, description=_numbers(progress))
        live.update(Group(bar, *(line for alarm in progress.alarms for line in _alarm_lines(alarm))))

    with Live(bar, console=console) as live:
        yield update


class _Lines:
    """Where the output is no terminal: a line of numbers now and then, and the alarms as they come and go."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seconds = 0.0
        self._alarms: list[str] = []

    def show(self, progress: Progress) -> None:
        """Print what is new."""
        if progress.seconds - self._seconds >= LINE_SECONDS:
            self._seconds = progress.seconds
            self._console.print(f"{progress.share:4.0%}  {_numbers(progress)}")
        for alarm in progress.alarms:
            if alarm.name not in self._alarms:
                self._console.print(*_alarm_lines(alarm), sep="\n")
        standing = [alarm.name for alarm in progress.alarms]
        for name in self._alarms:
            if name not in standing:
                self._console.print(f"  {name.replace('_', ' ')} has gone at step {progress.line['step']:,}")
        self._alarms = standing


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)


def _alarm_lines(alarm: Alarm) -> list[Text]:
    """What an alarm says, with its numbers, and what to try."""
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in alarm.evidence.items())
    style = "bold red" if alarm.severity == "problem" else "yellow"
    lines = [Text(f"  {alarm.name.replace('_', ' ')} since step {alarm.since:,}: {alarm.meaning}", style)]
    return [*lines, *([Text(f"    seen   {numbers}")] if numbers else []), Text(f"    try    {alarm.advice}")]


def show_end(run: Run, outcome: Outcome) -> None:
    """Say where the run lies and what to do with it."""
    summary = run.summary()
    console = _console()
    rate = summary.images / max(summary.seconds, 1e-9)
    console.print(
        f"{outcome.status} after {summary.steps:,} steps, {summary.images:,} images, "
        f"{summary.seconds:.0f} s of training ({rate:,.0f} images/s): {outcome.reason}"
    )
    for alarm in summary.health:
        console.print(*_alarm_lines(alarm), sep="\n")
    console.print(f"  look    {run.sample_path(summary.steps)}")
    path = shlex.quote(str(run.path))
    console.print(f"  sample  sparring sample {path} -n 64 --out grid.png")
    console.print(f"  python  sparring.load({str(run.path)!r}).sample(64, seed=0)")
    console.print(f"  go on   sparring resume {path}" + ("" if outcome.signal else f" --steps {2 * summary.steps}"))
    if outcome.signal == signal.SIGUSR1:
        console.print(f"resume me: sparring resume {path}")


@contextmanager
def show_work() -> Iterator[Callable[[str, float], None]]:
    """While it lasts, what it yields shows what is being done and the share that is done; in a terminal alone."""
    if not sys.stdout.isatty():
        yield lambda what, share: None
        return
    bar = Bar(BarColumn(bar_width=20), TextColumn("{task.percentage:3.0f}%"), TextColumn("{task.description}"))
    task = bar.add_task("starting", total=1.0)
    with bar:
        yield lambda what, share: bar.update(task, completed=share, description=what)


def show_card(card: Card) -> None:
    """Print a metric card."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    columns = {"generated": f"{card.num_generated:,} generated", "floor": f"{card.num_heldout:,} held out"}
    if card.num_heldout < card.num_generated:
        columns = {"generated": columns["generated"], "matched": f"{card.num_heldout:,} generated", **columns}
    for header in columns.values():
        table.add_column(header, justify="right")
    for name, figure in card.figures.items():
        table.add_row(name.replace("_", " "), *(str(getattr(figure, column) or "–") for column in columns))
    console = Console()
    console.print(table)
    console.print(
        f"against {card.num_real:,} of {card.data} ({card.split} split), seed {card.seed}, intervals of 95 %; "
        "features: " + ", ".join(f"{name} ({digits})" for name, digits in card.extractors.items()),
        highlight=False,
    )


def _numbers(progress: Progress) -> str:
    line = progress.line
    return (
        f"{line['images'] / max(progress.seconds, 1e-9):,.0f} images/s  "
        f"loss D {line['discriminator_loss']:.2f} G {line['generator_loss']:.2f}  "
        f"D(real) {line['real_probability']:.2f} D(fake) {line['fake_probability']:.2f}"
    )

"""What a person sees in the terminal while training, and at the end."""

import math
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markdown import Markdown
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from sparring.build import images_a_second
from sparring.data import Dataset, Survey
from sparring.data.memory import kept
from sparring.data.pack import packs
from sparring.evaluation import Card
from sparring.files import cache_folder
from sparring.health import Alarm
from sparring.recipes import Recipe
from sparring.run import Run
from sparring.study.report import Report
from sparring.study.study import Trial
from sparring.trainer import Outcome, Progress
from sparring.training import Audience

COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
"""What images with so many channels are."""

MAX_CLASSES = 20
"""That a card in the terminal lists."""

LINE_SECONDS = 10.0
"""Where the output is no terminal, a plain line every so many seconds of training takes the bar's place."""


@contextmanager
def show_training() -> Iterator[Audience]:
    """While it lasts, what it yields shows what it is told of a training, and the alarms that stand."""
    console = _console()
    if not console.is_terminal:
        yield Audience(on_ready=show_choice, on_progress=_Lines(console).show)
        return

    # Everything fits into 80 columns.
    columns = (BarColumn(bar_width=4), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(compact=True))
    bar = Bar(*columns, TextColumn("{task.description}", markup=False), console=console)
    task = bar.add_task("starting", total=1.0)

    def work(what: str, share: float) -> None:
        bar.update(task, completed=share, description=what)

    def ready(recipe: Recipe, dataset: Dataset) -> None:
        show_choice(recipe, dataset)
        work("starting", 0.0)

    def update(progress: Progress) -> None:
        bar.update(task, completed=progress.share, description=_numbers(progress))
        live.update(Group(bar, *(line for alarm in progress.alarms for line in _alarm_lines(alarm))))

    with Live(bar, console=console) as live:
        yield Audience(work, ready, update)


def show_choice(recipe: Recipe, dataset: Dataset, *, on_stderr: bool = False) -> None:
    """Say what was seen of the user's own images, and what was chosen for them."""
    if dataset.survey is not None:
        print(*_seen(dataset.survey), *_chosen(recipe, dataset), sep="\n", file=sys.stderr if on_stderr else sys.stdout)


def _seen(survey: Survey) -> list[str]:
    counts = {"formats": survey.formats, "modes": survey.modes}
    formats, modes = (", ".join(f"{name} {count:,}" for name, count in each.items()) for each in counts.values())
    sides = f"{survey.smallest} to {survey.largest} px on the shorter side, {survey.median} in the middle"
    classes = survey.class_counts
    smallest = min(classes, key=classes.__getitem__, default="")
    return [
        f"{survey.path}: {survey.num_images:,} images ({formats}; {modes}), {sides}",
        *([f"  {survey.num_others:,} other files were not looked at"] if survey.num_others else []),
        *([f"  {survey.num_faults:,} cannot be read:"] if survey.faults else []),
        *(f"    {fault}" for fault in survey.faults),
        *([f"    and {more:,} more"] if (more := survey.num_faults - len(survey.faults)) > 0 else []),
        f"  {len(classes)} classes from sub-folders or labels, of {classes[smallest]:,} images at least ({smallest})"
        if classes
        else f"  no classes: {survey.without_classes}",
    ]


def _chosen(recipe: Recipe, dataset: Dataset) -> list[str]:
    colours = COLOURS[dataset.train.item_shape[0]]
    told = "told the classes" if recipe.conditional else "not told any classes"
    if (recipe.num_clusters or 1) > 1:
        told = f"told {recipe.num_clusters} clusters of alike images"
    rate = images_a_second(recipe, dataset.train.item_shape)
    limits = [
        (recipe.steps or math.inf) * recipe.batch_size * recipe.discriminator_steps,
        recipe.images or math.inf,
        60 * (recipe.minutes or math.inf) * rate,
    ]
    images = min(limits)
    steps = images / (recipe.batch_size * recipe.discriminator_steps)
    num_items = dataset.train.num_items or 0
    own = ", by their folders" if dataset.survey and dataset.survey.num_heldout is not None else ""
    return [
        f"  {recipe.size} px, {colours}; {num_items:,} to train on and {dataset.heldout.num_items:,} held out{own}"
        f"{', each mirrored as well' if recipe.mirror else ''}",
        f"  network {recipe.network} with width {recipe.width}, {recipe.objective}, penalty {recipe.penalty}, {told}"
        f"{', augmented as needed' if recipe.augment_target is not None else ''}",
        f"  about {rate:,.0f} images/s: {steps:,.0f} steps in {_duration(images / rate)}, each image "
        f"{images / max(1, num_items):,.1f} times"
        if images < math.inf
        else f"  about {rate:,.0f} images/s, until it is told to stop",
    ]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


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
    bar = Bar(
        BarColumn(bar_width=20), TextColumn("{task.percentage:3.0f}%"), TextColumn("{task.description}", markup=False)
    )
    task = bar.add_task("starting", total=1.0)
    with bar:
        yield lambda what, share: bar.update(task, completed=share, description=what)


@contextmanager
def show_study(num_trials: int) -> Iterator[Callable[[list[Trial]], None]]:
    """While it lasts, what it yields prints each trial of a study that has ended."""
    console, told = Console(), set[int]()

    def show(trials: list[Trial]) -> None:
        for trial in trials:
            if trial.state in ("waiting", "running") or trial.number in told:
                continue
            told.add(trial.number)
            value = trial.result.value if trial.result else None
            how = f"{value:.4g}" if value is not None else trial.state
            which = f"{trial.cell.name}, {Path(trial.cell.data).name}, seed {trial.seed}"
            console.print(f"{len(told)} of {num_trials}: {which}: {how}", highlight=False, markup=False)

    yield show


def show_report(report: Report) -> None:
    """Print a study's report, as tables in a terminal."""
    print(report.text) if not sys.stdout.isatty() else Console().print(Markdown(report.text))
    print("in", *(str(path) for path in (report.path, *report.plots)))


def show_packs() -> None:
    """List the packs in the cache, and the data that were given in memory."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("images", "of", "MB"):
        table.add_column(header, justify="right")
    table.add_column("packed from", overflow="fold")
    total = 0
    for folder, manifest in packs():
        size = sum(path.stat().st_size for path in folder.iterdir())
        total += size
        kind = f"{manifest.size} px, {COLOURS[manifest.channels]}"
        table.add_row(f"{manifest.num_images:,}", kind, f"{size / 1e6:,.1f}", Text(manifest.path))
    for path in kept():
        size = path.stat().st_size
        total += size
        table.add_row("", "given in memory", f"{size / 1e6:,.1f}", Text(str(path)))
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    print(f"{total / 1e6:,.1f} MB in {cache_folder()}" if table.row_count else f"nothing is packed in {cache_folder()}")


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
    if card.classes:
        console.print(_class_table(card))
    console.print(
        f"against {card.num_real:,} of {card.data} ({card.split} split), seed {card.seed}, intervals of 95 %; "
        "features: " + ", ".join(f"{name} ({digits})" for name, digits in card.extractors.items()),
        highlight=False,
    )


def _class_table(card: Card) -> Table:
    """The classes, from the worst one on: its figures, and those of held-out samples."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("class", max_width=16, overflow="ellipsis", no_wrap=True)
    for header in ("as asked", "precision", "coverage", "of held-out samples"):
        table.add_column(header, justify="right")
    ranked = sorted(card.classes.items(), key=lambda item: item[1]["class_agreement"].generated.value)
    for name, figures in ranked[:MAX_CLASSES]:
        floors = [figure.floor for figure in figures.values()]
        table.add_row(
            Text(name),
            *(
                str((figure.matched or "–") if key == "coverage" else figure.generated)
                for key, figure in figures.items()
            ),
            " ".join("–" if floor is None else f"{floor.value:.2f}" for floor in floors),
        )
    if len(ranked) > MAX_CLASSES:
        table.caption = f"and {len(ranked) - MAX_CLASSES} classes more, in card.json"
    return table


def _numbers(progress: Progress) -> str:
    line = progress.line
    return (
        f"{line['images'] / max(progress.seconds, 1e-9):,.0f} images/s  "
        f"loss D {line['discriminator_loss']:.2f} G {line['generator_loss']:.2f}  "
        f"D(real) {line['real_probability']:.2f} D(fake) {line['fake_probability']:.2f}"
    )

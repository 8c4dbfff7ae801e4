"""What a person sees in the terminal while training, and at the end."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from sparring.run import Run
from sparring.trainer import Outcome, Progress

LINE_SECONDS = 10.0
"""Where the output is no terminal, a plain line every so many seconds of training takes the bar's place."""


@contextmanager
def show_training() -> Iterator[Callable[[Progress], None]]:
    """While it lasts, what it yields shows the progress it is given."""
    if not sys.stdout.isatty():
        shown = 0.0

        def print_line(progress: Progress) -> None:
            nonlocal shown
            if progress.seconds - shown >= LINE_SECONDS:
                shown = progress.seconds
                print(f"{progress.share:4.0%}  {_numbers(progress)}", flush=True)

        yield print_line
        return

    # Everything fits into 80 columns.
    columns = (BarColumn(bar_width=4), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(compact=True))
    bar = Bar(*columns, TextColumn("{task.description}"))
    task = bar.add_task("starting", total=1.0)
    with bar:
        yield lambda progress: bar.update(task, completed=progress.share, description=_numbers(progress))


def show_end(run: Run, outcome: Outcome) -> int:
    """Say where the run lies and what to do with it.

    Returns:
        The exit code: 0, or 128 and the signal's number where one ended the training.
    """
    summary = run.summary()
    console = Console(highlight=False, soft_wrap=True, markup=False)
    rate = summary.images / max(summary.seconds, 1e-9)
    console.print(
        f"{outcome.status} after {summary.steps:,} steps, {summary.images:,} images, "
        f"{summary.seconds:.0f} s of training ({rate:,.0f} images/s): {outcome.reason}"
    )
    console.print(f"  look    {run.sample_path(summary.steps)}")
    path = shlex.quote(str(run.path))
    console.print(f"  sample  sparring sample {path} -n 64 --out grid.png")
    console.print(f"  python  sparring.load({str(run.path)!r}).sample(64, seed=0)")
    console.print(f"  go on   sparring resume {path}" + ("" if outcome.signal else f" --steps {2 * summary.steps}"))
    return 0 if outcome.signal is None else 128 + outcome.signal


def _numbers(progress: Progress) -> str:
    line = progress.line
    return (
        f"{line['images'] / max(progress.seconds, 1e-9):,.0f} images/s  "
        f"loss D {line['discriminator_loss']:.2f} G {line['generator_loss']:.2f}  "
        f"D(real) {line['real_probability']:.2f} D(fake) {line['fake_probability']:.2f}"
    )

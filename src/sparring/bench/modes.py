"""`sparring bench modes`: does a generator find every mode of its data, and how evenly?

Judged by the protocol of Lin et al. 2018 (PacGAN, arXiv:1712.04086). Points: 2,500 samples; high quality within three
standard deviations of the nearest mode; a mode is found by one such sample; the reverse KL of the histogram of all
samples over their nearest modes. Stacked digits: 26,000 samples, each channel read by a classifier of digits; the
reverse KL over the thousand numbers. The training is ours: the recipe that `sparring train TASK` takes, on samples
drawn anew for every batch.
"""

import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from sparring.bench.classics import CLASSICS, EPOCHS
from sparring.bench.classics import play as play_classic
from sparring.data import Mixture, open_dataset
from sparring.errors import UnknownNameError, UsageError
from sparring.generator import load, to_samples
from sparring.metrics import ModeCount, count_digit_modes, count_modes
from sparring.training import train
from sparring.types import Samples


@dataclass(frozen=True)
class Floor:
    """What every seed must reach.

    Args:
        found: modes.
        high_quality: the least share of samples of high quality.
        reverse_kl: at most, in nats.
    """

    found: int
    high_quality: float
    reverse_kl: float

    def holds(self, count: ModeCount) -> bool:
        """Whether a count reaches it."""
        return (
            count.found >= self.found
            and count.high_quality >= self.high_quality
            and count.reverse_kl <= self.reverse_kl
        )


@dataclass(frozen=True)
class Length:
    """A training, and what it must reach.

    Args:
        steps: of the training.
        floor: what every seed must reach.
    """

    steps: int
    floor: Floor


@dataclass(frozen=True)
class Task:
    """Data whose modes are known.

    Args:
        data: its name in `SOURCES`.
        full: the training that is compared with the published rows.
        quick: a shorter one, or None where there is none.
        seeds: how many full trainings.
        num_samples: to judge.
        protocol: how they are judged, in words.
        published: rows of papers: name, modes, percent of high quality, reverse KL, runs.
        settings: where the training differs from the recipe that `sparring train` takes.
    """

    data: str
    full: Length
    quick: Length | None
    seeds: int
    num_samples: int
    protocol: str
    published: tuple[tuple[str, str, str, str, str], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def count(self, samples: Samples) -> ModeCount:
        """Judge samples."""
        data = open_dataset(self.data).train
        return count_modes(samples, data) if isinstance(data, Mixture) else count_digit_modes(samples)


_POINTS = (
    "2,500 samples. High quality: within three standard deviations of the nearest mode. A mode is found by one such "
    "sample. Reverse KL of the histogram of all samples over their nearest modes"
)

TASKS = {
    task.data: task
    for task in (
        Task(
            data="ring",
            full=Length(2500, Floor(8, 0.98, 0.01)),
            quick=Length(800, Floor(8, 0.9, 0.05)),
            seeds=10,
            num_samples=2500,
            protocol=f"{_POINTS} (perfect samples: .0014).",
            published=(
                ("GAN", "6.3 ± .5", "98.2", ".45", "10"),
                ("ALI", "6.6 ± .3", "97.6", ".36", "10"),
                ("PacGAN2", "7.9 ± .1", "95.6", ".07", "10"),
                ("PacGAN4", "7.8 ± .1", "95.9", ".07", "10"),
            ),
        ),
        Task(
            data="grid",
            full=Length(8000, Floor(25, 0.97, 0.02)),
            quick=Length(1500, Floor(25, 0.9, 0.05)),
            seeds=10,
            num_samples=2500,
            protocol=f"{_POINTS} (perfect samples: .0048).",
            published=(
                ("GAN", "17.3 ± .8", "94.8", ".70", "10"),
                ("ALI", "24.1 ± .4", "95.7", ".14", "10"),
                ("PacGAN2", "23.8 ± .7", "91.3", ".13", "10"),
                ("PacGAN4", "24.8 ± .2", "93.6", ".04", "10"),
            ),
        ),
        Task(
            data="stacked-digits",
            full=Length(45_000, Floor(1000, 0.0, 0.06)),
            quick=None,
            seeds=3,
            num_samples=26_000,
            protocol="26,000 samples, each channel read by a classifier of digits. Reverse KL of the histogram over "
            "the thousand numbers (perfect samples of these digits: .026).",
            settings={
                "width": 64,
                "learning_rate": 2.5e-3,
                "learning_rate_ratio": 0.125,
                "average_decay": 0.999,
            },
            published=(
                ("DCGAN", "99", "", "3.40", ""),
                ("ALI", "16", "", "5.40", ""),
                ("Unrolled GAN", "48.7", "", "4.32", ""),
                ("VEEGAN", "150", "", "2.95", ""),
                ("PacDCGAN2", "1000", "", ".06", "10"),
            ),
        ),
    )
}
"""Every task by the name of its data, with the rows of Lin et al. 2018, Tables 1 and 2."""


@dataclass(frozen=True)
class Result:
    """One training, judged.

    Args:
        task: the name of its data.
        row: "sparring", or the classic that was played.
        seed: of the training; the samples are drawn with the same.
        found: modes found.
        high_quality: the share of samples within three standard deviations of a mode.
        reverse_kl: in nats.
        seconds: of training.
        holds: whether it reaches the floor of its task; None for the classics, which owe nothing.
    """

    task: str
    row: str
    seed: int
    found: int
    high_quality: float
    reverse_kl: float
    seconds: float
    holds: bool | None


def results(tasks: list[Task], seeds: int | None = None, quick: bool = False) -> Iterator[Result]:
    """Train each task by its recipe with seeds 0, 1, 2, ..., and judge what comes out."""
    for task in tasks:
        length = task.quick if quick else task.full
        if length is None:
            raise UsageError(f"{task.data} has no quick form: leave it out of --tasks, or --quick away")
        for seed in range(seeds or task.seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = train(task.data, steps=length.steps, seed=seed, out=folder, **task.settings)
                count = task.count(to_samples(load(run.path).sample(task.num_samples, seed=seed)))
                yield _result(task, "sparring", seed, count, run.summary().seconds, length.floor.holds(count))


def classic_results(tasks: list[Task], seeds: int | None = None) -> Iterator[Result]:
    """Play the classic objectives under one protocol on the tasks that are mixtures, and judge what comes out."""
    for task in tasks:
        mixture = open_dataset(task.data).train
        if isinstance(mixture, Mixture):
            for classic in CLASSICS:
                for seed in range(seeds or task.seeds):
                    start = time.perf_counter()
                    samples = play_classic(classic, mixture, seed, task.num_samples)
                    seconds = time.perf_counter() - start
                    yield _result(task, classic.name, seed, task.count(samples), seconds, None)


def _result(task: Task, row: str, seed: int, count: ModeCount, seconds: float, holds: bool | None) -> Result:
    return Result(task.data, row, seed, count.found, count.high_quality, count.reverse_kl, seconds, holds)


def print_results(
    names: list[str], seeds: int | None, quick: bool = False, classics: bool = False, as_json: bool = False
) -> int:
    """Train, and print each result as it comes, then the tables with the published rows beside ours.

    Args:
        names: of `TASKS`; all of them if empty, or all that have a quick form.
        seeds: trainings of each; each task's own number if None.
        quick: shorter trainings with lower floors, one seed.
        classics: the classic objectives as well.
        as_json: an object a line instead of text.

    Returns:
        The exit code: 0 if every seed reaches the floors of its task, 1 if one doesn't.

    Raises:
        UnknownNameError: for a task that there isn't.
        UsageError: for a quick form that a task hasn't.
    """
    for name in names:
        if name not in TASKS:
            raise UnknownNameError("task", name, TASKS)
    tasks = [TASKS[name] for name in names] or [task for task in TASKS.values() if task.quick or not quick]
    judged = []
    played = results(tasks, 1 if quick else seeds, quick)
    for result in chain(played, classic_results(tasks, seeds)) if classics else played:
        judged.append(result)
        if as_json:
            print(json.dumps(asdict(result)), flush=True)
        else:
            quality = f"{result.high_quality:.2%} high quality, " if result.task != "stacked-digits" else ""
            print(
                f"{result.task}, {result.row}, seed {result.seed}: {result.found} modes, {quality}reverse KL "
                f"{result.reverse_kl:.4f}, {result.seconds:.0f} s" + ("  ✗" if result.holds is False else ""),
                flush=True,
            )
    if not as_json:
        for task in tasks:
            _print_table(task, [result for result in judged if result.task == task.data])
    return 0 if all(result.holds is not False for result in judged) else 1


def _print_table(task: Task, judged: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), title=f"\n{task.data}", title_justify="left")
    for name in ("", "modes", "high quality %", "reverse KL", "seconds", "seeds"):
        table.add_column(name, justify="left" if not name else "right")
    for name, found, high_quality, reverse_kl, runs in task.published:
        table.add_row(f"{name}, published", found, high_quality, reverse_kl, "", runs)
    for row in dict.fromkeys(result.row for result in judged):
        ours = [result for result in judged if result.row == row]
        table.add_row(
            row,
            _mean_and_error([result.found for result in ours]),
            _mean_and_error([100 * result.high_quality for result in ours]) if task.full.floor.high_quality else "",
            _mean_and_error([result.reverse_kl for result in ours]),
            f"{sum(result.seconds for result in ours) / len(ours):.0f}",
            str(len(ours)),
        )
    console = Console()
    console.print(table)
    console.print(task.protocol, highlight=False)
    if any(result.holds is None for result in judged):
        console.print(f"The classics share networks, data, optimiser and {EPOCHS} epochs: sparring/bench/classics.py.")


def _mean_and_error(values: list[float]) -> str:
    """The mean with its standard error over seeds."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.3g}"
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return f"{mean:.4g} ± {math.sqrt(variance / len(values)):.1g}"

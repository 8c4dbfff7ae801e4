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
from dataclasses import asdict, dataclass
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
class Task:
    """Data whose modes are known.

    Args:
        data: its name in `SOURCES`.
        steps: of the training.
        seeds: how many trainings.
        num_samples: to judge.
        floor: what every one must reach.
        published: rows of papers: name, modes, percent of high quality, reverse KL, runs.
        average_decay: of the generator's averaged weights; the recipe's own if None.
        quick_steps: of the quick training, or None where there is none.
        quick_floor: what it must reach.
    """

    data: str
    steps: int
    seeds: int
    num_samples: int
    floor: Floor
    published: tuple[tuple[str, str, str, str, str], ...]
    average_decay: float | None = None
    quick_steps: int | None = None
    quick_floor: Floor | None = None

    def count(self, samples: Samples) -> ModeCount:
        """Judge samples."""
        data = open_dataset(self.data).train
        return count_modes(samples, data) if isinstance(data, Mixture) else count_digit_modes(samples)


TASKS = {
    task.data: task
    for task in (
        Task(
            data="ring",
            steps=2500,
            seeds=10,
            num_samples=2500,
            floor=Floor(8, 0.98, 0.01),
            published=(
                ("GAN", "6.3 ± .5", "98.2", ".45", "10"),
                ("ALI", "6.6 ± .3", "97.6", ".36", "10"),
                ("PacGAN2", "7.9 ± .1", "95.6", ".07", "10"),
                ("PacGAN4", "7.8 ± .1", "95.9", ".07", "10"),
            ),
            quick_steps=800,
            quick_floor=Floor(8, 0.9, 0.05),
        ),
        Task(
            data="grid",
            steps=4500,
            seeds=10,
            num_samples=2500,
            floor=Floor(25, 0.97, 0.02),
            published=(
                ("GAN", "17.3 ± .8", "94.8", ".70", "10"),
                ("ALI", "24.1 ± .4", "95.7", ".14", "10"),
                ("PacGAN2", "23.8 ± .7", "91.3", ".13", "10"),
                ("PacGAN4", "24.8 ± .2", "93.6", ".04", "10"),
            ),
            quick_steps=1500,
            quick_floor=Floor(25, 0.9, 0.05),
        ),
        Task(
            data="stacked-digits",
            steps=30_000,
            average_decay=0.999,
            seeds=3,
            num_samples=26_000,
            floor=Floor(1000, 0.0, 0.06),
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
        steps, floor = (task.quick_steps, task.quick_floor) if quick else (task.steps, task.floor)
        if steps is None or floor is None:
            raise UsageError(f"{task.data} has no quick form: leave it out of --tasks, or --quick away")
        settings: dict[str, Any] = {} if task.average_decay is None else {"average_decay": task.average_decay}
        for seed in range(seeds or task.seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = train(task.data, steps=steps, seed=seed, out=folder, **settings)
                count = task.count(to_samples(load(run.path).sample(task.num_samples, seed=seed)))
                yield _result(task, "sparring", seed, count, run.summary().seconds, floor.holds(count))


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
        names: of `TASKS`.
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
    tasks = [TASKS[name] for name in names]
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
            _mean_and_error([100 * result.high_quality for result in ours]) if task.floor.high_quality else "",
            _mean_and_error([result.reverse_kl for result in ours]),
            f"{sum(result.seconds for result in ours) / len(ours):.0f}",
            str(len(ours)),
        )
    Console().print(table)
    if any(result.holds is None for result in judged):
        print(f"The classics share networks, data, optimiser and {EPOCHS} epochs: sparring/bench/classics.py.")


def _mean_and_error(values: list[float]) -> str:
    """The mean with its standard error over seeds."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.3g}"
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return f"{mean:.4g} ± {math.sqrt(variance / len(values)):.1g}"

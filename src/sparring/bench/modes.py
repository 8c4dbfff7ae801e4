"""`sparring bench modes`: does a generator find every mode of its data, and how evenly?

Judged by the protocol of Lin et al. 2018 (PacGAN, arXiv:1712.04086): 2,500 samples; high quality within three standard
deviations of the nearest mode; a mode is found by one such sample; the reverse KL of the histogram of all samples over
their nearest modes. The training is ours, the recipe `points`: fresh samples of the exact mixture in every batch.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from sparring.data import Mixture, open_dataset
from sparring.errors import UnknownNameError
from sparring.generator import load
from sparring.metrics import count_modes
from sparring.training import train

NUM_SAMPLES = 2500
STEPS = {"ring": 2500, "grid": 4500}
FLOORS = {"ring": (8, 0.98, 0.01), "grid": (25, 0.97, 0.02)}
"""What every seed must reach: modes found, share of high quality, and at most this reverse KL."""

PUBLISHED = {
    "ring": [
        ("GAN", "6.3 ± .5", "98.2", ".45"),
        ("ALI", "6.6 ± .3", "97.6", ".36"),
        ("PacGAN2", "7.9 ± .1", "95.6", ".07"),
        ("PacGAN4", "7.8 ± .1", "95.9", ".07"),
    ],
    "grid": [
        ("GAN", "17.3 ± .8", "94.8", ".70"),
        ("ALI", "24.1 ± .4", "95.7", ".14"),
        ("PacGAN2", "23.8 ± .7", "91.3", ".13"),
        ("PacGAN4", "24.8 ± .2", "93.6", ".04"),
    ],
}
"""Lin et al. 2018, Table 1: modes, percent of high quality, reverse KL."""


@dataclass(frozen=True)
class Result:
    """One training, judged.

    Args:
        task: "ring" or "grid".
        seed: of the training; the samples are drawn with the same.
        found: modes found.
        high_quality: the share of samples within three standard deviations of a mode.
        reverse_kl: in nats.
        seconds: of training.
    """

    task: str
    seed: int
    found: int
    high_quality: float
    reverse_kl: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether it reaches the floors of its task."""
        found, high_quality, reverse_kl = FLOORS[self.task]
        return self.found == found and self.high_quality >= high_quality and self.reverse_kl <= reverse_kl


def results(tasks: list[str], seeds: int) -> Iterator[Result]:
    """Train and judge each task with seeds 0, 1, 2, ..."""
    for task in tasks:
        if task not in STEPS:
            raise UnknownNameError("task", task, STEPS)
        mixture = open_dataset(task).train
        assert isinstance(mixture, Mixture)
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = train(task, steps=STEPS[task], seed=seed, out=folder)
                points = torch.from_numpy(load(run.path).sample(NUM_SAMPLES, seed=seed))
                count = count_modes(points, mixture)
                yield Result(task, seed, count.found, count.high_quality, count.reverse_kl, run.summary().seconds)


def print_results(tasks: list[str], seeds: int, as_json: bool) -> int:
    """Train, and print each result as it comes, then the tables with the published rows beside ours.

    Returns:
        The exit code: 0 if every seed reaches the floors of its task, 1 if one doesn't.
    """
    judged = []
    for result in results(tasks, seeds):
        judged.append(result)
        if as_json:
            print(json.dumps(asdict(result) | {"holds": result.holds}), flush=True)
        else:
            print(
                f"{result.task} seed {result.seed}: {result.found} modes, {result.high_quality:.2%} high quality, "
                f"reverse KL {result.reverse_kl:.4f}, {result.seconds:.0f} s" + ("" if result.holds else "  ✗"),
                flush=True,
            )
    if not as_json:
        _print_tables(tasks, judged)
    return 0 if all(result.holds for result in judged) else 1


def _print_tables(tasks: list[str], judged: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    for task in tasks:
        ours = [result for result in judged if result.task == task]
        table = Table(box=None, padding=(0, 2, 0, 0), title=f"\n{task}", title_justify="left")
        for name in ("", "modes", "high quality %", "reverse KL", "seconds", "seeds"):
            table.add_column(name, justify="left" if not name else "right")
        for row in PUBLISHED[task]:
            table.add_row(*row, "", "10")
        table.add_row(
            "sparring",
            _mean_and_error([result.found for result in ours]),
            _mean_and_error([100 * result.high_quality for result in ours]),
            _mean_and_error([result.reverse_kl for result in ours]),
            f"{sum(result.seconds for result in ours) / len(ours):.0f}",
            str(len(ours)),
        )
        Console().print(table)


def _mean_and_error(values: list[float]) -> str:
    """The mean with its standard error over seeds."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.3g}"
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return f"{mean:.4g} ± {math.sqrt(variance / len(values)):.1g}"

"""`sparring bench modes`: does a generator find every mode of its data, and how evenly?

The training is that of `sparring train`, with new samples in every batch. The samples are judged by the protocol of
Lin et al. 2018 (PacGAN, arXiv:1712.04086), which `Benchmark.protocol` describes.
"""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from sparring.data import grid, ring
from sparring.errors import UnknownNameError, UsageError
from sparring.generator.generator import load
from sparring.metrics import ModeCount, count_digit_modes, count_modes
from sparring.training.train import train
from sparring.types import Samples


@dataclass(frozen=True)
class Target:
    """The length of a training, and what every seed must reach by then."""

    steps: int  # of the training
    found: int  # the least number of modes
    high_quality: float  # the least share of samples of high quality; 0 where that has no meaning
    reverse_kl: float  # the most, in nats

    def is_reached(self, count: ModeCount) -> bool:
        """Whether a count is good enough."""
        is_good = count.high_quality >= self.high_quality and count.reverse_kl <= self.reverse_kl
        return is_good and count.found >= self.found


@dataclass(frozen=True)
class Benchmark:
    """Data whose modes are known."""

    data: str  # its name in `SOURCES`
    full: Target  # the training that is compared with the published rows
    quick: Target | None  # a shorter one, or None where there is none
    seeds: int  # the number of full trainings
    num_samples: int  # how many samples are judged
    count: Callable[[Samples], ModeCount]  # counts the modes in samples
    protocol: str  # how samples are judged, in words
    published: tuple[tuple[str, str, str, str, str], ...]  # name, modes, percent of high quality, reverse KL, runs
    settings: dict[str, Any] = field(default_factory=dict)  # where the training differs from the usual recipe


_POINTS = (
    "2,500 samples. High quality: within three standard deviations of the nearest mode. One such sample finds a mode. "
    "Reverse KL of the histogram of all samples over their nearest modes"
)

BENCHMARKS = {
    benchmark.data: benchmark
    for benchmark in (
        Benchmark(
            data="ring",
            full=Target(3000, 8, 0.98, 0.01),
            quick=Target(1500, 8, 0.9, 0.05),
            seeds=10,
            num_samples=2500,
            count=lambda samples: count_modes(samples, ring()),
            protocol=f"{_POINTS} (perfect samples: .0014).",
            published=(
                ("GAN", "6.3 ± .5", "98.2", ".45", "10"),
                ("ALI", "6.6 ± .3", "97.6", ".36", "10"),
                ("PacGAN2", "7.9 ± .1", "95.6", ".07", "10"),
                ("PacGAN4", "7.8 ± .1", "95.9", ".07", "10"),
            ),
        ),
        Benchmark(
            data="grid",
            full=Target(8000, 25, 0.97, 0.02),
            quick=Target(2500, 25, 0.9, 0.05),
            seeds=10,
            num_samples=2500,
            count=lambda samples: count_modes(samples, grid()),
            protocol=f"{_POINTS} (perfect samples: .0048).",
            published=(
                ("GAN", "17.3 ± .8", "94.8", ".70", "10"),
                ("ALI", "24.1 ± .4", "95.7", ".14", "10"),
                ("PacGAN2", "23.8 ± .7", "91.3", ".13", "10"),
                ("PacGAN4", "24.8 ± .2", "93.6", ".04", "10"),
            ),
        ),
        Benchmark(
            data="stacked-digits",
            full=Target(45_000, 1000, 0.0, 0.06),
            quick=None,
            seeds=3,
            num_samples=26_000,
            count=count_digit_modes,
            protocol="26,000 samples. A classifier of digits reads each channel. Reverse KL of the histogram over the "
            "thousand numbers (perfect samples of these digits: .026).",
            settings={"width": 64, "learning_rate": 2.5e-3, "learning_rate_ratio": 0.125, "average_decay": 0.999},
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
"""Every benchmark by the name of its data, with the rows of Lin et al. 2018, Tables 1 and 2."""


@dataclass(frozen=True)
class ModeResult:
    """The modes that one training found."""

    task: str  # the name of the data
    seed: int  # of the training and of the samples
    found: int
    high_quality: float  # the share of samples within three standard deviations of a mode
    reverse_kl: float  # in nats
    seconds: float  # training time
    holds: bool  # whether it reaches the target


def run(tasks: Sequence[str], seeds: int | None, quick: bool, as_json: bool) -> int:
    """Train on each benchmark's data with seeds 0, 1, 2, ..., and print the results beside the published rows.

    Args:
        tasks: names in `BENCHMARKS`; all of them if empty, or all that have a quick form.
        seeds: how many trainings of each; the benchmark's own number if None.
        quick: shorter trainings with lower targets, one seed.
        as_json: a JSON object a line instead of text.

    Returns:
        The exit code: 0 if every training reaches its target, else 1.
    """
    targets: dict[str, Target] = {}
    for name in tasks or [name for name, benchmark in BENCHMARKS.items() if benchmark.quick or not quick]:
        if name not in BENCHMARKS:
            raise UnknownNameError("task", name, BENCHMARKS)
        target = BENCHMARKS[name].quick if quick else BENCHMARKS[name].full
        if target is None:
            raise UsageError(f"{name} has no quick form: leave it out of --tasks, or leave out --quick")
        targets[name] = target
    all_hold = True
    for name, target in targets.items():
        benchmark, results = BENCHMARKS[name], []
        for seed in range(1 if quick else seeds or benchmark.seeds):
            results.append(result := _train_and_count(benchmark, target, seed))
            all_hold &= result.holds
            quality = f"{result.high_quality:.2%} high quality, " if target.high_quality else ""
            text = f"{name}, seed {seed}: {result.found} modes, {quality}reverse KL {result.reverse_kl:.4f}, "
            text += f"{result.seconds:.0f} s" + ("" if result.holds else "  ✗")
            print(json.dumps(asdict(result)) if as_json else text, flush=True)
        if not as_json:
            _print_table(benchmark, results)
    return 0 if all_hold else 1


def _train_and_count(benchmark: Benchmark, target: Target, seed: int) -> ModeResult:
    with tempfile.TemporaryDirectory() as folder:
        run = train(benchmark.data, steps=target.steps, seed=seed, out=folder, progress=False, **benchmark.settings)
        generator, seconds = load(run.path), run.summary().seconds
    items = generator.sample(benchmark.num_samples, seed=seed)
    count = benchmark.count(generator.config.modality.encode(items))
    numbers = count.found, count.high_quality, count.reverse_kl, seconds
    return ModeResult(benchmark.data, seed, *numbers, target.is_reached(count))


def _print_table(benchmark: Benchmark, results: list[ModeResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), title=f"\n{benchmark.data}", title_justify="left")
    for name in ("", "modes", "high quality %", "reverse KL", "seconds", "seeds"):
        table.add_column(name, justify="left" if not name else "right")
    for name, found, high_quality, reverse_kl, num_runs in benchmark.published:
        table.add_row(f"{name}, published", found, high_quality, reverse_kl, "", num_runs)
    cells = []
    for values in zip(*((each.found, 100 * each.high_quality, each.reverse_kl) for each in results), strict=True):
        error = f" ± {stdev(values) / math.sqrt(len(values)):.1g}" if len(values) > 1 else ""  # over seeds
        cells.append(f"{fmean(values):.{4 if error else 3}g}{error}")
    cells[1] = cells[1] if benchmark.full.high_quality else ""
    table.add_row("sparring", *cells, f"{fmean(each.seconds for each in results):.0f}", str(len(results)))
    Console().print(table, benchmark.protocol, highlight=False)

"""Draws the pictures of ring and grid: a training that fails, one that works, and what their discriminators know.

    python benchmarks/points.py [--tasks ring grid] [--only modes divergence rejection seeds]

`modes-*.png` shows samples over the training, and behind them the discriminator's probability: above, the first GAN
with Adam's default settings; below, the recipe `points`. `divergence-*.png` shows the JS divergence by known densities,
what the training discriminator's value claims, and the bound that fresh discriminators prove on held-out samples.
`rejection` prints the modes before and after rejection sampling, for a generator of the short training. `seeds` trains
ten times as `sparring bench modes` does, and prints modes, coverage, divergence and alarms of each.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

import sparring
from sparring.bench.modes import BENCHMARKS
from sparring.data import Mixture, grid, ring
from sparring.game.game import Report
from sparring.metrics import count_modes, density_coverage, density_ratio, divergence
from sparring.seeding import Stream
from sparring.theory import js_lower_bound
from sparring.training.loop import Listener, Training
from sparring.training.plots import BLUE, GREY

PICTURES = Path("docs/images")
MIXTURES = {"ring": ring, "grid": grid}
STEPS = {name: BENCHMARKS[name].full.steps for name in MIXTURES}
NUM_COLUMNS = 5
NUM_KERNELS, NUM_JUDGED = 200_000, 4000
BLUR = 0.1
"""The blur's standard deviation over the mixture's."""
RED = "#b3261e"


TRAININGS: dict[str, dict[str, Any]] = {
    "non_saturating, Adam's defaults": {
        "recipe": "gan",
        "objective": "non_saturating",
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "batch_size": 256,
        "latent_dim": 2,
        "prior": "gaussian",
        "log_steps": 50,
    },
    "recipe points": {"recipe": "points"},
}
"""The two trainings of the pictures: the first GAN's networks with Adam's default settings, and ours."""


class Watcher(Listener):
    """Looks at the players every so many steps."""

    def __init__(self, interval_steps: int, look: Callable[[Training], None]) -> None:
        self.interval_steps = interval_steps
        self.look = look

    def stepped(self, training: Training, report: Report | None) -> None:
        """Look, if it is time."""
        if training.game.steps % self.interval_steps == 0:
            self.look(training)


def train(task: str, settings: dict[str, Any], interval_steps: int, look: Callable[[Training], None]) -> None:
    """Train, and look at the players every so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(interval_steps, look)
        sparring.train(task, steps=STEPS[task], out=Path(folder) / "run", listeners=[watcher], **settings)


def middle(training: Training, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The logit that counts as zero. A relativistic discriminator knows differences alone: half way between both."""
    if training.game.objective.name != "relativistic":
        return torch.zeros(())
    return (real_logits.mean() + fake_logits.mean()) / 2


def draw_modes(task: str) -> None:
    """Samples over the training, in front of the discriminator's probability."""
    mixture = MIXTURES[task]()
    figure = Figure(figsize=(2.3 * NUM_COLUMNS, 5.1), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    for row, (label, settings) in zip(figure.subplots(2, NUM_COLUMNS), TRAININGS.items(), strict=True):
        row[0].set_ylabel(label)
        train(task, settings, STEPS[task] // NUM_COLUMNS, partial(_draw_panel, iter(row), mixture))
    figure.savefig(PICTURES / f"modes-{task}.png")


def _draw_panel(panels: Iterator[Any], mixture: Mixture, training: Training) -> None:
    axes = next(panels)
    extent = 1.9 * mixture.scale
    line = torch.linspace(-extent, extent, 240)
    plane = torch.cartesian_prod(line, line) / mixture.scale
    points = training.generator().sample(2500, seed=0)
    with torch.inference_mode():
        discriminator = training.game.discriminator.eval()
        logits = discriminator(plane)
        real = training.data.batch(1000, Stream(0, "map"))
        shift = middle(training, discriminator(real), discriminator(torch.from_numpy(points) / mixture.scale))
        discriminator.train()
    probability = torch.sigmoid(logits - shift).reshape(240, 240).T
    axes.imshow(probability, origin="lower", extent=(-extent, extent) * 2, cmap="RdBu", vmin=0, vmax=1, alpha=0.6)
    axes.scatter(points[:, 0], points[:, 1], s=1.5, color="black", linewidths=0)
    count = count_modes(torch.from_numpy(points), mixture)
    axes.set_title(f"step {training.game.steps:,}: {count.found} modes, {count.high_quality:.0%}", fontsize=9)
    axes.set(xticks=[], yticks=[], xlim=(-extent, extent), ylim=(-extent, extent))
    print(f"{training.game.objective.name}, step {training.game.steps}: {count}", flush=True)


def draw_divergence(task: str) -> None:
    """The divergence by known densities, the training discriminator's claim and the proven bound, over a training."""
    mixture = MIXTURES[task]()
    figure = Figure(figsize=(10, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (label, settings) in zip(panels, TRAININGS.items(), strict=True):
        lines: list[tuple[int, float, float, float, float, float]] = []
        train(task, settings, STEPS[task] // 10, partial(_append_estimates, lines, mixture))
        steps, blurred, claimed, proven, low, high = (list(column) for column in zip(*lines, strict=True))
        axes.plot(steps, blurred, "o-", color="black", markersize=3, label="known density and kernel estimate")
        axes.plot(steps, claimed, "o-", color=RED, markersize=3, label="training discriminator: (V + log 4) / 2")
        axes.plot(steps, proven, "o-", color=BLUE, markersize=3, label="fresh discriminators, held-out samples")
        axes.fill_between(steps, low, high, color=BLUE, alpha=0.25, linewidth=0)
        axes.axhline(math.log(2), color=GREY, linewidth=0.8)
        axes.set(xlabel="step", title=label, ylim=(-0.15, 0.75))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("nats")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(PICTURES / f"divergence-{task}.png")
    for share in (1.0, 0.5, 0.2):  # the estimate for perfect samples, and for clusters that are too narrow
        narrow = Mixture(mixture.means, share * mixture.sigma)
        estimate = blurred_js(narrow.batch(NUM_KERNELS + NUM_JUDGED, Stream(1, "known")), mixture)
        both = (mixture.batch(NUM_KERNELS, Stream(2, "known")), narrow.batch(NUM_KERNELS, Stream(3, "known")))
        exact = js_lower_bound(*(mixture.log_density(points) - narrow.log_density(points) for points in both))
        print(f"{task}, clusters of {share} of the right σ: {estimate:.4f}, exactly {exact:.4f}", flush=True)


def _append_estimates(
    lines: list[tuple[int, float, float, float, float, float]], mixture: Mixture, training: Training
) -> None:
    with torch.inference_mode():
        generator, discriminator = training.game.generator, training.game.discriminator
        latents = training.game.prior.batch(NUM_KERNELS + NUM_JUDGED, Stream(0, "estimates"))
        generated = generator(latents)
        real_logits = discriminator(training.data.batch(20_000, Stream(0, "estimates")))
        fake_logits = discriminator(generated[:20_000])
        shift = middle(training, real_logits, fake_logits)
    claimed = js_lower_bound(real_logits - shift, fake_logits - shift)
    generated = generated * mixture.scale
    proven = divergence(mixture.batch(20_000, Stream(0, "held-out")), generated[:20_000], steps=600)
    blurred = blurred_js(generated, mixture)
    print(
        f"{training.game.objective.name}, step {training.game.steps}: blurred {blurred:.4f}, claimed {claimed:.4f}, "
        f"proven {proven.js:.4f} [{proven.low:.4f}, {proven.high:.4f}]",
        flush=True,
    )
    lines.append((training.game.steps, blurred, claimed, proven.js, proven.low, proven.high))


def print_rejection(task: str) -> None:
    """Modes before and after rejection sampling, for a generator of the task's quick training."""
    mixture, quick = MIXTURES[task](), BENCHMARKS[task].quick
    assert quick is not None
    with tempfile.TemporaryDirectory() as folder:
        generator = sparring.load(sparring.train(task, steps=quick.steps, out=folder).path)
    real = mixture.batch(20_000, Stream(0, "real"))
    log_ratio = density_ratio(real, torch.from_numpy(generator.sample(20_000, seed=100)))
    for seed in range(3):
        plain = count_modes(torch.from_numpy(generator.sample(2500, seed)), mixture)
        kept = count_modes(torch.from_numpy(generator.sample(2500, seed, rejection=log_ratio)), mixture)
        print(
            f"{task}, samples' seed {seed}: {plain.found} modes, {plain.high_quality:.1%}, {plain.reverse_kl:.4f}; "
            f"after rejection {kept.found} modes, {kept.high_quality:.1%}, {kept.reverse_kl:.4f}",
            flush=True,
        )


def print_seeds(task: str) -> None:
    """Modes, coverage by 2,500 samples, divergence and alarms of ten trainings, and when the best generator was."""
    mixture = MIXTURES[task]()
    real, other = (mixture.batch(2500, Stream(seed, "real")) for seed in (0, 1))
    print(f"{task}, real samples: coverage {density_coverage(real, other)[1].value:.3f}", flush=True)
    for seed in range(BENCHMARKS[task].seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = sparring.train(task, steps=STEPS[task], seed=seed, out=Path(folder) / "run", progress=False)
            points = torch.from_numpy(sparring.load(run).sample(NUM_KERNELS + NUM_JUDGED, seed))
            rows = [row for row in run.log() if "evaluation" in row]
            distances = [row["evaluation"]["distance"] for row in rows]
            best = rows[distances.index(min(distances))]["step"] if rows else "none"
            alarms = [alarm.name for alarm in run.summary().health]
        print(
            f"{task}, seed {seed}: {count_modes(points[:2500], mixture)}, "
            f"coverage {density_coverage(real, points[:2500])[1].value:.3f}, JS {blurred_js(points, mixture):.4f}, "
            f"best at step {best}, alarms {alarms}",
            flush=True,
        )


def blurred_js(points: Tensor, mixture: Mixture) -> float:
    """A lower bound, nearly tight, on the JS divergence of a generator from a mixture of known density.

    Both are blurred by a Gaussian of a tenth of the mixture's σ, which can only bring them nearer. The blurred
    mixture's density is exact; the blurred generator's is the kernel estimate of all points but the last 4,000. A
    hundredth of its weight lies on kernels twenty times as wide, so that no lonely point gets a density of zero.
    The log of their ratio is then tested on points that are not in the estimate, new ones of the blurred mixture and
    the generator's last 4,000, blurred: where the estimate errs, the bound falls.

    Args:
        points: generated, [n, 2].
        mixture: the data.
    """
    width = BLUR * mixture.sigma
    blurred = Mixture(mixture.means, math.hypot(mixture.sigma, width))
    kernel, judged = points[:-NUM_JUDGED], points[-NUM_JUDGED:]
    judged = judged + width * Stream(0, "blur").normal(NUM_JUDGED, 2)
    logits = []
    for part in (blurred.batch(NUM_JUDGED, Stream(0, "judged")), judged):
        narrow = _log_kernel_density(part, kernel, width, mixture.means)
        wide = _log_kernel_density(part, kernel[::20], 20 * width, mixture.means[:1])
        logits.append(blurred.log_density(part) - torch.logaddexp(narrow + math.log(0.99), wide + math.log(0.01)))
    return js_lower_bound(*logits)


def _log_kernel_density(points: Tensor, kernel: Tensor, width: float, means: Tensor) -> Tensor:
    """The log of the mean of Gaussians around those of the kernel's points that are nearest to the same mode, [n]."""
    home, kernel_home = (torch.cdist(part, means).argmin(1) for part in (points, kernel))
    sums = torch.full((len(points),), -math.inf)
    for mode in range(len(means)):
        near = kernel[kernel_home == mode]
        for part in torch.split((home == mode).nonzero().flatten(), 100):
            squares = torch.cdist(points[part], near, compute_mode="donot_use_mm_for_euclid_dist").square()
            sums[part] = (-squares / (2 * width**2)).logsumexp(1)
    return sums - math.log(len(kernel) * 2 * math.pi * width**2)


PARTS = {"modes": draw_modes, "divergence": draw_divergence, "rejection": print_rejection, "seeds": print_seeds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["ring", "grid"])
    parser.add_argument("--only", nargs="+", default=list(PARTS))
    arguments = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        for what in arguments.only:
            PARTS[what](task)

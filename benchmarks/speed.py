"""Compares the cost of a step with what a user would write without sparring, on one machine in one run.

    python benchmarks/speed.py [--only NAME ...] [--rounds 15]

The two forms of a step take turns, so that other work on the machine slows both. Each turn gives a ratio of their
times; the median is printed with the quartiles.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import growth
import reference
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.utils.flop_counter import FlopCounterMode

import sparring
from sparring.game.game import Report
from sparring.game.penalties import R1R2, GradientPenalty
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.images import Images
from sparring.networks import NETWORKS
from sparring.seeding import Stream
from sparring.training.build import build
from sparring.training.loop import Listener, Training, play
from sparring.training.meter import Meter
from sparring.training.progress import Terminal
from sparring.training.recipe import make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import resolve
from sparring.training.run_folder import create_run

LATENT_DIM, BATCH = 64, 64
Step = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Two forms of the same work.

    Args:
        what: is compared.
        ours: sparring's form.
        theirs: the other.
        required: the most that ours may take of the other's time.
    """

    what: str
    ours: Step
    theirs: Step
    required: float


def ratios(comparison: Comparison, rounds: int) -> list[float]:
    """Our time over theirs, one number a round; each round takes about a second of each."""
    for step in (comparison.ours, comparison.theirs):
        step()
    times = max(1, round(1.0 / _seconds(comparison.theirs, 1)))
    return [_seconds(comparison.ours, times) / _seconds(comparison.theirs, times) for _ in range(rounds)]


def _seconds(step: Step, times: int) -> float:
    start = time.perf_counter()
    _repeat(step, times)
    return time.perf_counter() - start


def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        step()


def dcgan(side: int) -> Comparison:
    """The tutorial's loop, and the game with the same networks; tests/test_reference.py has their equal weights."""
    theirs = reference.Dcgan(reference.generator(side), reference.discriminator(side))
    ours = _game(reference.generator(side), reference.discriminator(side))
    real, latents = _images(128, side), Stream(0, "latents").normal(128, reference.LATENT_DIM)
    return Comparison(
        f"dcgan {side}×{side}", lambda: ours.step(real), lambda: theirs.step(real, latents), required=0.85
    )


def wgan_gp() -> Comparison:
    """The common WGAN-GP, and the game."""
    theirs = reference.WganGp(reference.generator(), reference.discriminator(normalized=False))
    ours = _game(
        reference.generator(),
        reference.discriminator(normalized=False),
        objective="wasserstein",
        penalties=[GradientPenalty(10.0)],
        discriminator_steps=5,
    )
    real = [_images(64, 32) for _ in range(5)]
    latents = [Stream(0, "latents", step).normal(64, reference.LATENT_DIM) for step in range(5)]
    positions = [Stream(0, "positions", step).uniform(64) for step in range(5)]
    return Comparison(
        "wasserstein + gradient_penalty",
        lambda: ours.step(real),
        lambda: theirs.step(real, latents, positions),
        required=0.78,
    )


def relativistic(interval: int) -> Comparison:
    """Relativistic pairs with both penalties, and R3GAN's order of passes with the penalties in every step."""
    ours = _game(*_conv(), objective="relativistic", penalties=[R1R2(0.01, interval)])
    theirs = reference.R3Gan(*_conv())
    real, latents = _images(64, 28), Stream(0, "latents").normal(64, LATENT_DIM)
    return Comparison(
        f"relativistic + r1r2, every {interval} steps" if interval > 1 else "relativistic + r1r2",
        lambda: _repeat(lambda: ours.step(real), 4),  # one of them has the penalties, where they are lazy
        lambda: _repeat(lambda: theirs.step(real, latents), 4),
        required=0.9 if interval == 1 else 0.7,
    )


def rounded(side: int, required: float) -> Comparison:
    """The default's game in bfloat16 and in float32; a CPU needs AMX to be faster."""
    ours, theirs, real = _game(*_conv(side), autocast=torch.bfloat16), _game(*_conv(side)), _images(32, side)
    return Comparison(
        f"bfloat16 over float32, {side}×{side}", lambda: ours.step(real), lambda: theirs.step(real), required
    )


def _conv(side: int = 28) -> tuple[nn.Module, nn.Module]:
    network, item_shape = NETWORKS["conv"], (1, side, side)
    with Stream(0, "networks").as_default():
        return network.generator(item_shape, LATENT_DIM, 32, 0), network.discriminator(item_shape, 32, "none", 0)


def _game(generator: nn.Module, discriminator: nn.Module, **options: Any) -> sparring.Game:
    """A game with its weights laid out as those of a training are."""
    for player in (generator, discriminator):
        convert_conv2d_weight_memory_format(player, torch.channels_last)
    return sparring.Game(generator, discriminator, **options)


def _images(size: int, side: int) -> Tensor:
    return 2 * Stream(0, "images").uniform(size, 1, side, side) - 1


COMPARISONS: dict[str, Callable[[], Comparison]] = {
    "dcgan-32": lambda: dcgan(32),
    "dcgan-64": lambda: dcgan(64),
    "wgan-gp": wgan_gp,
    "relativistic": lambda: relativistic(1),
    "lazy": lambda: relativistic(4),
    "bfloat16-28": lambda: rounded(28, required=1.1),
    "bfloat16-64": lambda: rounded(64, required=0.8),
}


OTHERS = ("overhead", "arithmetic", "sampling", "start", "saving", "growth")


class Alternation(Listener):
    """Plays as many steps of a bare loop after each chunk of a training's steps, and times both."""

    def __init__(self, bare: Step, chunk: int) -> None:
        self.bare, self.chunk = bare, chunk
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.since = 0.0

    def started(self, training: Training) -> None:
        """Begin the first chunk."""
        self.since = time.perf_counter()

    def stepped(self, training: Training, report: Report | None) -> None:
        """Time the chunk that ends here, and the bare one."""
        if training.game.steps % self.chunk == 0:
            self.ours.append(time.perf_counter() - self.since)
            self.theirs.append(_seconds(self.bare, self.chunk))
            self.since = time.perf_counter()


def overhead(steps: int = 6000, chunk: int = 100) -> tuple[float, list[float]]:
    """How much longer a training takes than a loop of bare steps, as a share; evaluations apart.

    The training's chunks of steps take turns with those of the bare loop. Returns the share for all chunks together,
    with what comes rarely such as pictures and checkpoints, and the three quartiles over the chunks.
    """
    settings = {"batch_size": BATCH, "conditional": False, "num_clusters": 1, "evaluation_share": 0.0, "steps": steps}
    recipe, dataset = resolve(make_request("digits", **settings))
    assert isinstance(dataset.train, sparring.Items)
    images, game = dataset.train.items, build(recipe, dataset).game
    generator, discriminator = game.generator, game.discriminator

    def bare() -> None:
        real = images[torch.randint(len(images), (BATCH,))].float() / 127.5 - 1
        fake = generator(torch.randn(BATCH, LATENT_DIM))
        loss = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
        game.discriminator_optimizer.zero_grad()
        torch.autograd.backward(loss)
        game.discriminator_optimizer.step()
        discriminator.requires_grad_(False)
        game.generator_optimizer.zero_grad()
        torch.autograd.backward(softplus(-discriminator(fake)).mean())
        game.generator_optimizer.step()
        discriminator.requires_grad_(True)

    training, alternation = build(recipe, dataset), Alternation(bare, chunk)
    with TemporaryDirectory() as folder, Terminal() as terminal:
        run = create_run(Path(folder) / "run", "overhead")
        training.folder = run.path
        play(training, [Meter(training), Recorder(run), terminal, alternation])
        run.unlock()
    shares = [ours / theirs - 1 for ours, theirs in zip(alternation.ours, alternation.theirs, strict=True)]
    return sum(alternation.ours) / sum(alternation.theirs) - 1, statistics.quantiles(shares, n=4)


def arithmetic_rate() -> dict[str, float]:
    """Multiply-adds a second that a step needs, as a share of the rate of a large matrix product."""
    side = 2048
    left, right = torch.randn(2, side, side)
    peak = side**3 / min(_seconds(lambda: left @ right, 3) / 3 for _ in range(10))
    real = _images(64, 28)
    conv, dcgan_networks = _conv(), (reference.generator(64), reference.discriminator(64))
    game, other = _game(*conv), _game(*dcgan_networks)
    steps = {"conv": lambda: game.step(real), "dcgan-64": lambda: other.step(_images(128, 64))}
    needed = {
        "conv": _needed(*conv, Stream(0, "latents").normal(64, LATENT_DIM)),
        "dcgan-64": _needed(*dcgan_networks, Stream(0, "latents").normal(128, reference.LATENT_DIM, 1, 1)),
    }
    return {name: needed[name] / min(_seconds(step, 3) / 3 for _ in range(10)) / peak for name, step in steps.items()}


def _needed(generator: nn.Module, discriminator: nn.Module, latents: Tensor) -> float:
    """Multiply-adds of three passes through the generator and eight through the discriminator, one after the other.

    The discriminator's update needs no slopes at its images, so that its first layer has two passes less.
    """
    first = next(module for module in discriminator.modules() if isinstance(module, nn.Conv2d))
    inputs: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    with FlopCounterMode(display=False) as of_generator:
        fake = generator(latents)
    with FlopCounterMode(display=False) as of_discriminator:
        discriminator(fake)
    hook.remove()
    with FlopCounterMode(display=False) as of_first:
        first(inputs[0])
    counts = [counter.get_total_flops() / 2 for counter in (of_generator, of_discriminator, of_first)]
    return float(3 * counts[0] + 8 * counts[1] - 2 * counts[2])


def sampling() -> float:
    """The rate of `generator.sample` over that of the network's forward passes alone."""
    config = Config(Images((1, 28, 28)), "conv", LATENT_DIM, "gaussian", 32, class_shares=(0.1,) * 10)
    generator, n = Generator(config.build(), config), 10_000
    latents, labels = generator.latents(n), generator.random_labels(n)
    assert labels is not None

    def bare() -> None:
        with torch.inference_mode():
            for inputs in zip(torch.split(latents, 100), torch.split(labels, 100), strict=True):
                generator.module(*inputs)

    comparison = Comparison("sampling", bare, lambda: generator.sample(n), required=0.8)
    return statistics.median(ratios(comparison, 5))


FIRST_UPDATE = """
import os
from sparring.cli.main import main
from sparring.game.game import Game
step = Game.step
def first(self, *arguments):
    step(self, *arguments)
    os._exit(0)
Game.step = first
main()
"""


def start_up() -> float:
    """Seconds from the command to its first update, each time in a new process."""

    def once() -> float:
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", FIRST_UPDATE, "train", "--out", f"{folder}/run"], check=True)
            return time.perf_counter() - start

    return statistics.median(once() for _ in range(3))


def saving() -> float:
    """The share of the training time that a checkpoint every minute takes."""
    training = build(*resolve(make_request("digits", steps=5, evaluation_share=0.0)))
    with TemporaryDirectory() as folder:
        recorder = Recorder(create_run(Path(folder) / "run", "saving"))
        play(training, [recorder])
        recorder.run.unlock()
        return _seconds(lambda: recorder._save(training), 10) / 10 / 60


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[*COMPARISONS, *OTHERS])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    print("| what | ours over theirs, median [quartiles] | required |")
    print("|---|---|---|")
    for name in arguments.only:
        if name in COMPARISONS:
            comparison = COMPARISONS[name]()
            low, middle, high = statistics.quantiles(ratios(comparison, arguments.rounds), n=4)
            print(f"| {comparison.what} | {middle:.3f} [{low:.3f}, {high:.3f}] | ≤ {comparison.required} |", flush=True)
    if "overhead" in arguments.only:
        share, (low, middle, high) = overhead()
        print(
            f"\nA training over its bare loop: {share:+.1%}, chunks {middle:+.1%} [{low:+.1%}, {high:+.1%}] "
            "(required: ≤ 4 %)"
        )
    if "arithmetic" in arguments.only:
        rates = ", ".join(f"{name} {share:.2f}" for name, share in arithmetic_rate().items())
        print(f"Multiply-adds a second, as a share of a large matrix product's: {rates} (required: ≥ .70)")
    if "sampling" in arguments.only:
        print(
            f"Images a second of `sample(10_000)`, as a share of the bare network's: {sampling():.2f} (required: ≥ .8)"
        )
    if "start" in arguments.only:
        print(f"From `sparring train` to its first update: {start_up():.1f} s (required: ≤ 5)")
    if "saving" in arguments.only:
        print(f"A checkpoint every minute takes {saving():.2%} of the training (required: ≤ 2 %)")
    if "growth" in arguments.only:
        growth.print_table()


if __name__ == "__main__":
    main()

"""What a step costs, beside what a user would write otherwise, on the same machine in the same run.

    python benchmarks/speed.py [--only NAME ...] [--rounds 15]

Two forms of one step take turns, so that what else the machine does meets both; the ratio of their times is taken in
each turn, and its median is printed with the quartiles.
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

import reference
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import sparring
from sparring.networks import NETWORKS
from sparring.penalties import R1R2, GradientPenalty
from sparring.seeding import Stream

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
    for _ in range(times):
        step()
    return time.perf_counter() - start


def dcgan(side: int) -> Comparison:
    """The tutorial's loop, and the game with the same networks; tests/test_reference.py has their equal weights."""
    players = [(reference.generator(side), reference.discriminator(side)) for _ in range(2)]
    theirs = reference.Dcgan(*players[0])
    generator, discriminator = players[1]
    game = sparring.Game(nn.Sequential(nn.Unflatten(1, (reference.LATENT_DIM, 1, 1)), generator), discriminator,
                         prior=sparring.Gaussian((reference.LATENT_DIM,)))  # fmt: skip
    real, latents = _images(128, side), Stream(0, "latents").normal(128, reference.LATENT_DIM)
    return Comparison(
        f"dcgan {side}×{side}", lambda: game.step(real), lambda: theirs.step(real, latents), required=0.85
    )


def wgan_gp() -> Comparison:
    """The common WGAN-GP, and the game."""
    players = [(reference.generator(), reference.discriminator(normalized=False)) for _ in range(2)]
    theirs = reference.WganGp(*players[0])
    generator, discriminator = players[1]
    game = sparring.Game(
        nn.Sequential(nn.Unflatten(1, (reference.LATENT_DIM, 1, 1)), generator),
        discriminator,
        objective="wasserstein",
        penalties=[GradientPenalty(10.0)],
        prior=sparring.Gaussian((reference.LATENT_DIM,)),
        discriminator_steps=5,
    )
    real = [_images(64, 32) for _ in range(5)]
    latents = [Stream(0, "latents", step).normal(64, reference.LATENT_DIM) for step in range(5)]
    positions = [Stream(0, "positions", step).uniform(64) for step in range(5)]
    return Comparison(
        "wasserstein + gradient_penalty",
        lambda: game.step(real),
        lambda: theirs.step(real, latents, positions),
        required=0.78,
    )


def one_stage() -> Comparison:
    """The norm-free conv: both players' updates from one pass through the discriminator, and one after the other."""
    ours, theirs = (_conv_game(simultaneous=simultaneous) for simultaneous in (True, False))
    real = _images(64, 28)
    return Comparison("conv, one-stage", lambda: ours.step(real), lambda: theirs.step(real), required=0.88)


def relativistic() -> Comparison:
    """Relativistic pairs with both penalties: one-stage, and one after the other (not yet R3GAN's order of passes)."""
    penalties = [R1R2(0.01)]
    ours, theirs = (
        _conv_game(simultaneous=simultaneous, objective="relativistic", penalties=penalties)
        for simultaneous in (True, False)
    )
    real = _images(64, 28)
    return Comparison("relativistic + r1r2", lambda: ours.step(real), lambda: theirs.step(real), required=0.85)


def _conv_game(
    *, simultaneous: bool, objective: str = "non_saturating", penalties: list[R1R2] | None = None
) -> sparring.Game:
    network, item_shape = NETWORKS["conv"], (1, 28, 28)
    with Stream(0, "networks").as_default():
        generator = network.generator(item_shape, 64, 32, 0)
        discriminator = network.discriminator(item_shape, 32, "none", 0)
    return sparring.Game(
        generator, discriminator, objective=objective, penalties=penalties or [], simultaneous=simultaneous
    )


def _images(size: int, side: int) -> Tensor:
    return 2 * Stream(0, "images").uniform(size, 1, side, side) - 1


COMPARISONS: dict[str, Callable[[], Comparison]] = {
    "dcgan-32": lambda: dcgan(32),
    "dcgan-64": lambda: dcgan(64),
    "wgan-gp": wgan_gp,
    "one-stage": one_stage,
    "relativistic": relativistic,
}


def overhead(steps: int = 400) -> float:
    """The time of a training's steps with all that is around them, over that of the same game alone."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = sparring.train("digits", steps=steps, batch_size=64, conditional=False, out=Path(folder) / "run")
        whole = time.perf_counter() - start
        training = run.summary().seconds
    return whole / training - 1


def arithmetic_rate() -> dict[str, float]:
    """Multiply-adds of a step over its time, as a share of the rate of a large matrix product."""
    side = 2048
    left, right = torch.randn(2, side, side)
    left @ right
    best = min(_seconds(lambda: left @ right, 3) / 3 for _ in range(5))
    peak = side**3 / best
    shares = {}
    for name, comparison in (("conv", one_stage()), ("dcgan-64", dcgan(64))):
        step = comparison.theirs if name == "conv" else comparison.ours
        with FlopCounterMode(display=False) as counter:
            step()
        multiply_adds = counter.get_total_flops() / 2
        shares[name] = multiply_adds / min(_seconds(step, 3) / 3 for _ in range(5)) / peak
    return shares


def start_up() -> float:
    """Seconds from the command to its first update, each time in a new process."""
    command = [sys.executable, "-m", "sparring", "train", "--steps", "1", "--out"]

    def once() -> float:
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([*command, f"{folder}/run"], check=True, capture_output=True)
            return time.perf_counter() - start

    return statistics.median(once() for _ in range(3))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[*COMPARISONS, "overhead", "arithmetic", "start"])
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
        print(f"\nAround the steps of a training, of the time of its steps: {overhead():.1%} (required: ≤ 4 %)")
    if "arithmetic" in arguments.only:
        rates = ", ".join(f"{name} {share:.2f}" for name, share in arithmetic_rate().items())
        print(f"Multiply-adds a second, as a share of a large matrix product's: {rates} (required: ≥ .70)")
    if "start" in arguments.only:
        print(f"From `sparring train` to the end of a training of one step: {start_up():.1f} s (required: ≤ 5)")


if __name__ == "__main__":
    main()

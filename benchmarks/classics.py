"""Trains the classic objectives under one protocol: the networks and samples of Lin et al. 2018 (PacGAN).

    python benchmarks/classics.py [--tasks ring grid] [--seeds 1]

Every row has the same players, data, optimiser and number of batches. Rows differ in the objective and its penalty
alone, and in the five updates of the discriminator for each of the generator in Wasserstein's games. The generator has
four layers of 400 with batch normalisation and ReLU on two Gaussian latents; the discriminator has three of 200 maxout
units of five pieces; weights start as N(0, 0.02²); Adam has rate 1e-4 and β₁ 0.8; both players move at once; the data
are 100,000 points, drawn once, in batches of 100 (arXiv:1712.04086). Prints the last table of docs/theory.md.
"""

import argparse
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor, nn

from sparring.bench.modes import BENCHMARKS
from sparring.data import Items, Mixture, grid, ring
from sparring.game.game import Game
from sparring.game.penalties import Dragan, GradientPenalty, Penalty, WeightClipping
from sparring.seeding import Stream

NUM_POINTS = 100_000
BATCH_SIZE = 100
EPOCHS = 12
"""Of PacGAN's 400, so that a laptop needs minutes. It favours what learns early."""
MIXTURES = {"ring": ring, "grid": grid}


class Maxout(nn.Module):
    """The largest of several linear functions: [batch, num_inputs] to [batch, num_outputs].

    Args:
        num_inputs: of each linear function.
        num_outputs: how many units.
        num_pieces: linear functions a unit.

    Source: Goodfellow et al. 2013, "Maxout networks", arXiv:1302.4389.

    Example:
        >>> Maxout(2, 3, num_pieces=5)(torch.zeros(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs * num_pieces)
        self.num_pieces = num_pieces

    def forward(self, inputs: Tensor) -> Tensor:
        """The largest piece of each unit."""
        pieces: Tensor = self.linear(inputs).unflatten(1, (-1, self.num_pieces))
        return pieces.amax(2)


@dataclass(frozen=True)
class Classic:
    """A row of the table."""

    name: str
    objective: str
    penalties: list[Penalty] = field(default_factory=list)
    discriminator_steps: int = 1


CLASSICS = (
    Classic("GAN, minimax", "minimax"),
    Classic("GAN, non-saturating", "non_saturating"),
    Classic("LSGAN", "least_squares"),
    Classic("hinge", "hinge"),
    Classic("relativistic", "relativistic"),
    Classic("WGAN, clipped", "wasserstein", [WeightClipping(0.01)], discriminator_steps=5),
    Classic("WGAN-GP", "wasserstein", [GradientPenalty(10.0)], discriminator_steps=5),
    Classic("DRAGAN", "non_saturating", [Dragan(10.0)]),
)


def train(classic: Classic, mixture: Mixture, seed: int, num_samples: int, epochs: int = EPOCHS) -> Tensor:
    """Train one row, and draw samples [num_samples, 2] from the last generator."""
    points = Items(mixture.batch(NUM_POINTS, Stream(seed, "points")))
    with Stream(seed, "networks").as_default():
        generator, discriminator = _generator(), _discriminator()
    game = Game(
        generator,
        discriminator,
        objective=classic.objective,
        penalties=classic.penalties,
        generator_optimizer=_adam(generator),
        discriminator_optimizer=_adam(discriminator),
        discriminator_steps=classic.discriminator_steps,
        simultaneous=True,
        seed=seed,
    )
    turns = classic.discriminator_steps
    for step in range(epochs * NUM_POINTS // (BATCH_SIZE * turns)):
        game.step([points.batch(BATCH_SIZE, Stream(seed, "data", step * turns + turn)) for turn in range(turns)])
    with torch.inference_mode():
        samples: Tensor = generator.eval()(Stream(seed, "sample").normal(num_samples, 2))
    return samples


def _generator() -> nn.Sequential:
    hidden: list[nn.Module] = []
    for num_inputs in (2, 400, 400, 400):
        hidden += [_linear(num_inputs, 400), nn.BatchNorm1d(400), nn.ReLU()]
    return nn.Sequential(*hidden, _linear(400, 2))


def _discriminator() -> nn.Sequential:
    hidden = [Maxout(num_inputs, 200, num_pieces=5) for num_inputs in (2, 200, 200)]
    for maxout in hidden:
        _initialize(maxout.linear)
    return nn.Sequential(*hidden, _linear(200, 1))


def _linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    return _initialize(nn.Linear(num_inputs, num_outputs))


def _initialize(linear: nn.Linear) -> nn.Linear:
    nn.init.normal_(linear.weight, 0.0, 0.02)
    nn.init.zeros_(linear.bias)
    return linear


def _adam(player: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(player.parameters(), lr=1e-4, betas=(0.8, 0.999), fused=True)


def main() -> None:
    """Print a table for each mixture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=MIXTURES, default=list(MIXTURES))
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for task in arguments.tasks:
        benchmark = BENCHMARKS[task]
        print(f"\n| {task} | modes | high quality | reverse KL |\n|---|---|---|---|")
        for classic in CLASSICS:
            counts = [
                benchmark.count(train(classic, MIXTURES[task](), seed, benchmark.num_samples))
                for seed in range(arguments.seeds)
            ]
            print(
                f"| {classic.name} | {fmean(count.found for count in counts):.3g} "
                f"| {fmean(count.high_quality for count in counts):.1%} "
                f"| {fmean(count.reverse_kl for count in counts):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

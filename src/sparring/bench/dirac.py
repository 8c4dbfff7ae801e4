"""The Dirac-GAN, played by the real `Game`: two numbers, a data point at 0, and nothing hidden.

A generator that is one point θ, a discriminator whose logit is ψ x, plain gradient steps. What a training method does
near its equilibrium can be read off one step (Mescheder et al. 2018, arXiv:1801.04406).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparring.data import Gaussian
from sparring.game import Game
from sparring.penalties import Penalty
from sparring.types import Latents, Logits, Samples

NUM_POINTS = 2
"""Points in a batch: all alike, but DRAGAN wants a standard deviation."""


class Point(nn.Module):
    """The generator: every latent becomes the point θ."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, latents: Latents) -> Samples:
        """θ for each latent, [batch, 1]."""
        return self.theta.expand(len(latents), 1)


class Slope(nn.Module):
    """The discriminator: the logit of x is ψ x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.fill_(psi)

    def forward(self, samples: Samples) -> Logits:
        """ψ x, [batch]."""
        logits: Tensor = self.linear(samples)
        return logits.flatten()


def play(
    theta: float,
    psi: float,
    steps: int,
    *,
    objective: str,
    penalties: Sequence[Penalty] = (),
    rate: float = 0.2,
    simultaneous: bool = True,
    discriminator_steps: int = 1,
) -> Tensor:
    """The path of (θ, ψ), float64 [steps + 1, 2].

    Args:
        theta: where the generator starts.
        psi: where the discriminator starts.
        steps: how many iterations.
        objective: a name in `OBJECTIVES`.
        penalties: what restrains the discriminator.
        rate: the step size.
        simultaneous: whether both players move at once.
        discriminator_steps: updates of the discriminator an iteration.

    Example:
        >>> path = play(1.0, 1.0, 50, objective="wasserstein")
        >>> bool(path[-1].norm() > path[0].norm())  # it spirals outward
        True
    """
    generator, discriminator = Point(theta), Slope(psi)
    game = Game(
        generator,
        discriminator,
        objective=objective,
        penalties=penalties,
        prior=Gaussian((1,)),
        generator_optimizer=torch.optim.SGD(generator.parameters(), rate),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), rate),
        simultaneous=simultaneous,
        discriminator_steps=discriminator_steps,
    )
    real = torch.zeros(NUM_POINTS, 1, dtype=torch.float64)
    path = [(theta, psi)]
    for _ in range(steps):
        game.step(real)
        path.append((generator.theta.item(), next(discriminator.parameters()).item()))
    return torch.tensor(path, dtype=torch.float64)


def measured_update(
    *, objective: str, penalties: Sequence[Penalty] = (), rate: float = 0.2, simultaneous: bool = True
) -> Tensor:
    """The linear part of one step at the equilibrium, by one step from a little beside it on each axis, [2, 2].

    Example:
        >>> from sparring.theory import dirac_update
        >>> measured = measured_update(objective="wasserstein")
        >>> bool((measured - dirac_update("wasserstein", rate=0.2)).abs().max() < 1e-9)
        True
    """
    small = 1e-6
    columns = [
        play(theta, psi, 1, objective=objective, penalties=penalties, rate=rate, simultaneous=simultaneous)[-1] / small
        for theta, psi in ((small, 0.0), (0.0, small))
    ]
    return torch.stack(columns, dim=1)

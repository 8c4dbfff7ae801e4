"""The Dirac-GAN, trained by the real `Game`: a generator of one number, a discriminator of one number.

The data are the point 0, the generator is one point θ, the logit of x is ψ x, and both players take plain gradient
steps. One step near the equilibrium shows what a training method does there (Mescheder et al. 2018, arXiv:1801.04406).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparring.game.game import Game
from sparring.game.penalties import Penalty
from sparring.game.sources import Gaussian
from sparring.types import Latents, Samples


class Point(nn.Module):
    """The generator: every latent becomes the point θ."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, latents: Latents) -> Samples:
        """θ for each latent, [batch, 1]."""
        return self.theta.expand(len(latents), 1)


def train(
    theta: float,
    psi: float,
    steps: int,
    *,
    objective: str,
    penalties: Sequence[Penalty] = (),
    rate: float = 0.2,
    simultaneous: bool = True,
) -> Tensor:
    """Train from (θ, ψ) with step size `rate`, and return the path, float64 [steps + 1, 2].

    Example:
        >>> path = train(1.0, 1.0, 50, objective="wasserstein")
        >>> bool(path[-1].norm() > path[0].norm())  # it spirals outward
        True
    """
    slope = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(slope.weight, psi)
    generator, discriminator = Point(theta), nn.Sequential(slope, nn.Flatten(0))
    game = Game(
        generator,
        discriminator,
        objective=objective,
        penalties=penalties,
        prior=Gaussian((1,)),
        generator_optimizer=torch.optim.SGD(generator.parameters(), rate),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), rate),
        simultaneous=simultaneous,
    )
    real, path = torch.zeros(2, 1, dtype=torch.float64), [(theta, psi)]  # DRAGAN needs the deviation of two points
    for _ in range(steps):
        game.step(real)
        path.append((generator.theta.item(), slope.weight.item()))
    return torch.tensor(path, dtype=torch.float64)

"""Closed forms: what the players of each game should do, and what that is worth.

Distributions here are discrete: `real` p and `fake` q are float64 [k], at least 0, of sum 1, over the same k atoms.
A discriminator is then a table of k logits, its loss an expectation over all pairs of a real and a generated atom,
and everything that papers state about optimal discriminators can be computed twice: in closed form, and by training.
docs/theory.md derives what has no published closed form, and `sparring bench theory` prints both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.errors import UnknownNameError, UsageError
from sparring.objectives import Objective

Distribution = Float[Tensor, "atoms"]
"""Probabilities of the atoms, float64."""


def optimal_probability(real: Distribution, fake: Distribution) -> Distribution:
    """D*(x) = p(x) / (p(x) + q(x)).

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, Proposition 1, eq. 2.

    Example:
        >>> optimal_probability(torch.tensor([0.75, 0.25]), torch.tensor([0.25, 0.75]))
        tensor([0.7500, 0.2500])
    """
    return real / (real + fake)


def optimal_logit(real: Distribution, fake: Distribution) -> Distribution:
    """Log p(x) − log q(x): the logit of the optimal probability; ±inf where one of the two is 0.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, Proposition 1, eq. 2.

    Example:
        >>> optimal_logit(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
        tensor([0., 0.])
    """
    return real.log() - fake.log()


def value(real: Distribution, fake: Distribution, probability: Distribution) -> float:
    """V(D, G) = E_p[log D] + E_q[log(1 − D)], in nats.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, eq. 1.

    Example:
        >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
        >>> round(value(half, half, half) + math.log(4), 12)
        0.0
    """
    return float((torch.special.xlogy(real, probability) + torch.special.xlogy(fake, 1 - probability)).sum())


def kl(real: Distribution, fake: Distribution) -> float:
    """KL(p‖q) = Σ p log(p / q), in nats; inf where q is 0 and p is not.

    Example:
        >>> round(kl(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), 4)
        0.6931
    """
    return float((torch.special.xlogy(real, real) - torch.special.xlogy(real, fake)).sum())


def js(real: Distribution, fake: Distribution) -> float:
    """JS(p‖q) = ½ KL(p‖m) + ½ KL(q‖m), m = (p + q) / 2, in nats, 0 to log 2.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, eq. 6.

    Example:
        >>> round(js(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])), 4)  # log 2
        0.6931
    """
    mean = (real + fake) / 2
    return (kl(real, mean) + kl(fake, mean)) / 2


def js_lower_bound(real_logits: Float[Tensor, " n"], fake_logits: Float[Tensor, " m"]) -> float:
    """½ (V(D) + log 4): what a discriminator proves of the JS divergence, in nats.

    It is a lower bound in expectation for every discriminator, and exact for the optimal one: 2 JS ≥ V(D) + log 4.
    On samples it holds up to their chance, and only where the discriminator wasn't trained on them.

    Args:
        real_logits: the discriminator's logits of real samples, [n].
        fake_logits: of generated samples, [m].

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, Theorem 1.

    Example:
        >>> js_lower_bound(torch.zeros(5), torch.zeros(5))
        0.0
    """
    softplus = torch.nn.functional.softplus
    bound = math.log(2) - (softplus(-real_logits.double()).mean() + softplus(fake_logits.double()).mean()) / 2
    return float(bound)


def total_variation(real: Distribution, fake: Distribution) -> float:
    """½ Σ |p − q|, 0 to 1.

    Example:
        >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        0.5
    """
    return float((real - fake).abs().sum() / 2)


def pearson_chi2(real: Distribution, fake: Distribution) -> float:
    """χ²(p‖q) = Σ (p − q)² / q; inf where q is 0 and p is not.

    Example:
        >>> pearson_chi2(torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5]))
        0.25
    """
    difference = (real - fake).square()
    return float(torch.where(difference > 0, difference / fake, 0).sum())


def wasserstein1(real: Distribution, fake: Distribution, positions: Distribution) -> float:
    """W₁(p, q) = ∫ |F_p − F_q| of atoms on a line, F the distribution functions.

    Args:
        real: p.
        fake: q.
        positions: where on the line the atoms lie, increasing, [k].

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, eq. 1; on a line it is the area between the
        distribution functions.

    Example:
        >>> wasserstein1(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]))
        3.0
    """
    gaps = (real - fake).cumsum(0)[:-1]
    return float((gaps.abs() * positions.diff()).sum())


@dataclass(frozen=True)
class Optimum:
    """The discriminator's best response in a game, and what it is worth.

    Args:
        logits: of an optimal discriminator, [k]; where several are optimal, one of them.
        discriminator_loss: the least that its expected loss can be.
        generator_loss: the generator's expected loss there: what it then minimises.
    """

    logits: Distribution
    discriminator_loss: float
    generator_loss: float


def _minimax(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # Theorem 1: V(D*, G) = 2 JS − log 4, and E_p log D* does not depend on what the generator is asked here.
    at_fake = torch.special.xlogy(fake, fake / (real + fake)).sum()  # E_q log(1 − D*)
    return Optimum(optimal_logit(real, fake), math.log(4) - 2 * js(real, fake), float(at_fake))


def _non_saturating(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # −E_q log D* = E_q log((p + q) / p) = KL(q‖p) − KL(q‖m) + log 2, m = (p + q) / 2.
    generator_loss = kl(fake, real) - kl(fake, (real + fake) / 2) + math.log(2)
    return Optimum(optimal_logit(real, fake), math.log(4) - 2 * js(real, fake), generator_loss)


def _wasserstein(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # The potential falls where more real mass lies to the left, and rises where more of it lies to the right.
    slopes = -torch.sign((real - fake).cumsum(0)[:-1])
    logits = torch.cat([slopes.new_zeros(1), (slopes * positions.diff()).cumsum(0)])
    return Optimum(logits, -wasserstein1(real, fake, positions), float(-(fake * logits).sum()))


def _least_squares(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    outputs = optimal_probability(real, fake)
    discriminator_loss = (real * fake / (real + fake)).sum() / 2  # ½ [p (1 − D*)² + q D*²]
    return Optimum(outputs, float(discriminator_loss), float((fake * (outputs - 1).square()).sum() / 2))


def _hinge(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # Between the margins the loss is linear in each logit, so the optimum lies at a margin: sign(p − q).
    logits = torch.sign(real - fake)
    return Optimum(logits, 2 * (1 - total_variation(real, fake)), float(-(fake * logits).sum()))


def _relativistic(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # A pair (x, y) is real-fake with p(x) q(y) and fake-real with q(x) p(y): its optimal logit is the difference
    # of log p/q, which the table log p/q reaches for all pairs at once.
    forward, backward = torch.outer(real, fake).flatten(), torch.outer(fake, real).flatten()
    logits = optimal_logit(real, fake)
    pairs = torch.nn.functional.softplus(logits[:, None] - logits[None, :]).flatten()
    return Optimum(logits, math.log(2) - js(forward, backward), float((forward * pairs).sum()))


CLOSED_FORMS: dict[str, Callable[[Distribution, Distribution, Distribution], Optimum]] = {
    "minimax": _minimax,
    "non_saturating": _non_saturating,
    "wasserstein": _wasserstein,
    "least_squares": _least_squares,
    "hinge": _hinge,
    "relativistic": _relativistic,
}
"""The optimum of each objective that has a closed form, from p, q and the atoms' positions."""


def optimum(objective: str, real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    """The closed form of a game's optimal discriminator.

    Args:
        objective: a name in `OBJECTIVES`.
        real: p, positive.
        fake: q, positive.
        positions: of the atoms on a line, increasing; only `wasserstein` looks at them, and keeps its table
            1-Lipschitz along the line.

    Raises:
        UnknownNameError: for an objective that has no closed form here.

    Example:
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
        >>> optimum("hinge", p, q, torch.arange(2.0)).logits
        tensor([-1.,  1.])
    """
    if objective not in CLOSED_FORMS:
        raise UnknownNameError("objective with a closed form", objective, CLOSED_FORMS)
    return CLOSED_FORMS[objective](real, fake, positions)


def expected_losses(
    objective: Objective, real: Distribution, fake: Distribution, logits: Distribution
) -> tuple[Tensor, Tensor]:
    """Both players' expected losses for a table of logits, over all pairs of a real and a generated atom.

    Returns:
        The discriminator's and the generator's, scalars with a graph.
    """
    atoms = len(real)
    weights = torch.outer(real, fake).flatten()
    real_logits, fake_logits = logits.repeat_interleave(atoms), logits.repeat(atoms)
    discriminator = (weights * objective.discriminator(real_logits, fake_logits)).sum()
    return discriminator, (weights * objective.generator(real_logits, fake_logits)).sum()


def train_table(
    objective: Objective,
    real: Distribution,
    fake: Distribution,
    positions: Distribution | None = None,
    steps: int = 500,
) -> Distribution:
    """A table of logits trained on an objective's own loss, from zero.

    The loss is convex in the table, and Rprop, which looks at the gradient's signs alone and halves its steps where
    they change, finds the minimum of smooth and of piecewise linear losses to the last digits.

    Args:
        objective: whose loss.
        real: p.
        fake: q.
        positions: where given, the table is kept 1-Lipschitz along the line by projecting its increments.
        steps: how many.

    Returns:
        The logits, [k].
    """
    if positions is not None and len(positions) != len(real):
        raise UsageError(f"there are {len(real)} atoms and {len(positions)} positions")
    increments = torch.zeros_like(real).requires_grad_()

    def table() -> Tensor:
        return increments if positions is None else increments.cumsum(0)

    optimizer = torch.optim.Rprop([increments], lr=0.1, step_sizes=(1e-15, 1.0))
    for _ in range(steps):
        loss, _ = expected_losses(objective, real, fake, table())
        (increments.grad,) = torch.autograd.grad(loss, increments)
        optimizer.step()
        if positions is not None:
            with torch.no_grad():
                increments[1:].clamp_(-positions.diff(), positions.diff())
                increments[0] = 0  # a constant changes nothing
    return table().detach()


DIRAC_SLOPES = {
    "minimax": (0.5, 0.5),
    "non_saturating": (0.5, 0.5),
    "wasserstein": (1.0, 1.0),
    "least_squares": (0.0, 1.0),
    "hinge": (1.0, 1.0),
    "relativistic": (0.5, 0.5),
}
"""At zero logits: how the discriminator's loss rises, and the generator's falls, with a generated sample's logit."""


def dirac_update(objective: str, rate: float, gamma: float = 0.0, simultaneous: bool = True) -> Tensor:
    """The linear part of one step of the Dirac-GAN at its equilibrium.

    The data are the point 0, the generator is the point θ, the discriminator's logit is ψ x, and both descend by
    gradient steps of size h. With b and g the slopes in `DIRAC_SLOPES`,

        ψ ← ψ − h (b θ + γ ψ),    θ ← θ + h g ψ,

    where an alternating generator already sees the new ψ. For γ = 0 and simultaneous steps the eigenvalues are
    1 ± i h √(b g), so the game spirals outward at |λ| = √(1 + h² b g). Zero-centred penalties of weight γ give
    |λ| = √(1 − h γ + h² b g) below the critical γ = 2 √(b g).

    Args:
        objective: a name in `OBJECTIVES`.
        rate: the step size h.
        gamma: the weight γ of `r1` or `r2`; for `r1r2`, which has both, it counts twice.
        simultaneous: whether both players move at once.

    Returns:
        The matrix [2, 2] that (θ, ψ) is multiplied by, float64; its largest eigenvalue by magnitude is the rate at
        which the distance from the equilibrium changes.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406,
        sections 2 and 4.

    Example:
        >>> round(spectral_radius(dirac_update("non_saturating", rate=0.2)), 5)
        1.00499
        >>> round(spectral_radius(dirac_update("non_saturating", rate=0.2, gamma=0.3)), 5)
        0.97468
    """
    if objective not in DIRAC_SLOPES:
        raise UnknownNameError("objective with known slopes", objective, DIRAC_SLOPES)
    b, g = DIRAC_SLOPES[objective]
    psi = torch.tensor([-rate * b, 1 - rate * gamma], dtype=torch.float64)  # the new ψ in terms of θ and ψ
    seen = torch.tensor([0.0, 1.0], dtype=torch.float64) if simultaneous else psi
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64) + rate * g * seen
    return torch.stack([theta, psi])


def spectral_radius(matrix: Tensor) -> float:
    """The largest magnitude of a matrix's eigenvalues.

    Example:
        >>> round(spectral_radius(torch.tensor([[0.0, -2.0], [2.0, 0.0]])), 5)
        2.0
    """
    return float(torch.linalg.eigvals(matrix).abs().max())

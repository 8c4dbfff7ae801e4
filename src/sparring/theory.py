"""Closed forms: the optimal discriminator of each game, and the losses there.

Distributions here are discrete: `real` p and `fake` q are float64 [k], at least 0, with sum 1, over the same k atoms.
A discriminator is then a table of k logits, and its loss is an expectation over all pairs of a real and a generated
atom. So every statement of a paper about optimal discriminators can be computed twice: in closed form, and by training.
docs/theory.md derives the unpublished closed forms, and `sparring bench theory` prints both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from sparring.errors import UnknownNameError, UsageError
from sparring.game.objectives import Objective

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
    """½ (V(D) + log 4): the lower bound on the JS divergence that a discriminator proves, in nats.

    2 JS ≥ V(D) + log 4 for every discriminator, with equality for the optimal one. On samples the bound holds in
    expectation, and only if the discriminator was not trained on them.

    Args:
        real_logits: the discriminator's logits of real samples, [n].
        fake_logits: its logits of generated samples, [m].

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, Theorem 1.

    Example:
        >>> js_lower_bound(torch.zeros(5), torch.zeros(5))
        0.0
    """
    losses = softplus(-real_logits.double()).mean() + softplus(fake_logits.double()).mean()
    return float(math.log(2) - losses / 2)


def total_variation(real: Distribution, fake: Distribution) -> float:
    """½ Σ |p − q|, 0 to 1.

    Example:
        >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        0.5
    """
    return float((real - fake).abs().sum() / 2)


def wasserstein1(real: Distribution, fake: Distribution, positions: Distribution) -> float:
    """W₁(p, q) = ∫ |F_p − F_q| of atoms on a line, F the distribution functions.

    `positions` are the atoms' places on the line, increasing, [k].

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, eq. 1, here for a line.

    Example:
        >>> wasserstein1(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]))
        3.0
    """
    return float(((real - fake).cumsum(0)[:-1].abs() * positions.diff()).sum())


@dataclass(frozen=True)
class Optimum:
    """An optimal discriminator of a game, and the expected losses there."""

    logits: Distribution  # of an optimal discriminator, [k]; if several are optimal, one of them
    discriminator_loss: float  # the least expected loss of the discriminator
    generator_loss: float  # the generator's expected loss against this discriminator


def _minimax(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # Theorem 1: V(D*, G) = 2 JS − log 4. The generator's loss omits E_p log D*, which it cannot change.
    generator_loss = torch.special.xlogy(fake, fake / (real + fake)).sum()  # E_q log(1 − D*)
    return Optimum(optimal_logit(real, fake), math.log(4) - 2 * js(real, fake), float(generator_loss))


def _non_saturating(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # −E_q log D* = E_q log((p + q) / p) = KL(q‖p) − KL(q‖m) + log 2, m = (p + q) / 2.
    generator_loss = kl(fake, real) - kl(fake, (real + fake) / 2) + math.log(2)
    return Optimum(optimal_logit(real, fake), math.log(4) - 2 * js(real, fake), generator_loss)


def _wasserstein(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # The potential falls if more real than generated mass lies to the left, and rises otherwise.
    slopes = -torch.sign((real - fake).cumsum(0)[:-1])
    logits = torch.cat([slopes.new_zeros(1), (slopes * positions.diff()).cumsum(0)])
    return Optimum(logits, -wasserstein1(real, fake, positions), float(-(fake * logits).sum()))


def _least_squares(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    outputs = optimal_probability(real, fake)
    discriminator_loss = (real * fake / (real + fake)).sum() / 2  # ½ [p (1 − D*)² + q D*²]
    return Optimum(outputs, float(discriminator_loss), float((fake * (outputs - 1).square()).sum() / 2))


def _hinge(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # Between the margins the loss is linear in each logit, so the optimum is at a margin: sign(p − q).
    logits = torch.sign(real - fake)
    return Optimum(logits, 2 * (1 - total_variation(real, fake)), float(-(fake * logits).sum()))


def _relativistic(real: Distribution, fake: Distribution, positions: Distribution) -> Optimum:
    # The pair (x, y) is (real, fake) with weight p(x) q(y) and (fake, real) with q(x) p(y). Its optimal logit is the
    # difference of log p/q at x and at y, so the table log p/q is optimal for all pairs at once.
    forward, backward = torch.outer(real, fake).flatten(), torch.outer(fake, real).flatten()
    logits = optimal_logit(real, fake)
    pairs = softplus(logits[:, None] - logits[None, :]).flatten()
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
        positions: the atoms' places on a line, increasing; only for `wasserstein`, whose table is 1-Lipschitz there.

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
    """The discriminator's and the generator's expected loss for a table of logits, scalars with a graph.

    The expectation is over all pairs of a real and a generated atom.
    """
    weights = torch.outer(real, fake).flatten()
    pairs = logits.repeat_interleave(len(real)), logits.repeat(len(real))
    return (weights * objective.discriminator(*pairs)).sum(), (weights * objective.generator(*pairs)).sum()


def train_table(
    objective: Objective,
    real: Distribution,
    fake: Distribution,
    positions: Distribution | None = None,
    steps: int = 500,
) -> Distribution:
    """Train a table of logits [k] on an objective's own loss, from zero.

    The loss is convex in the table. Rprop uses only the signs of the gradient and halves its steps if they change, so
    it finds the minimum of smooth and of piecewise linear losses to the last digits.

    Args:
        objective: the game.
        real: p.
        fake: q.
        positions: if given, the table is kept 1-Lipschitz along the line by projecting its increments.
        steps: of training.
    """
    if positions is not None and len(positions) != len(real):
        raise UsageError(f"there are {len(real)} atoms and {len(positions)} positions")
    increments = torch.zeros_like(real).requires_grad_()

    def table() -> Tensor:
        return increments if positions is None else increments.cumsum(0)

    optimizer = torch.optim.Rprop([increments], lr=0.1, step_sizes=(1e-15, 1.0))
    for _ in range(steps):
        (increments.grad,) = torch.autograd.grad(expected_losses(objective, real, fake, table())[0], increments)
        optimizer.step()
        if positions is not None:
            with torch.no_grad():
                increments[1:].clamp_(-positions.diff(), positions.diff())
                increments[0] = 0  # a constant changes nothing
    return table().detach()


DIRAC_SLOPES = {
    **dict.fromkeys(("minimax", "non_saturating", "relativistic"), (0.5, 0.5)),
    **dict.fromkeys(("wasserstein", "hinge"), (1.0, 1.0)),
    "least_squares": (0.0, 1.0),
}
"""At zero logits: how fast the discriminator's loss rises, and the generator's falls, with a fake sample's logit."""


def dirac_update(objective: str, rate: float, gamma: float = 0.0, simultaneous: bool = True) -> Tensor:
    """The linear part of one step of the Dirac-GAN at its equilibrium.

    The data are the point 0, the generator is the point θ, the discriminator's logit is ψ x, and both take gradient
    steps of size h. With the slopes b and g in `DIRAC_SLOPES`,

        ψ ← ψ − h (b θ + γ ψ),    θ ← θ + h g ψ,

    and with alternating steps the generator uses the new ψ. For γ = 0 and simultaneous steps the eigenvalues are
    1 ± i h √(b g), so the game spirals outward with |λ| = √(1 + h² b g). Zero-centred penalties of weight γ give
    |λ| = √(1 − h γ + h² b g) below the critical γ = 2 √(b g).

    Args:
        objective: a name in `OBJECTIVES`.
        rate: the step size h.
        gamma: the weight γ of `r1` or `r2`; twice the weight of `r1r2`, which is their sum.
        simultaneous: whether both players move at once.

    Returns:
        The matrix [2, 2] by which a step multiplies (θ, ψ), float64; its largest eigenvalue by magnitude is the rate
        at which the distance from the equilibrium changes.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406, §§ 2, 4.

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
    old_theta, old_psi = torch.eye(2, dtype=torch.float64)
    return torch.stack([old_theta + rate * g * (old_psi if simultaneous else psi), psi])


def spectral_radius(matrix: Tensor) -> float:
    """The largest magnitude of a matrix's eigenvalues.

    Example:
        >>> round(spectral_radius(torch.tensor([[0.0, -2.0], [2.0, 0.0]])), 5)
        2.0
    """
    return float(torch.linalg.eigvals(matrix).abs().max())

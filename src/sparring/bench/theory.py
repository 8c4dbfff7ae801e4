"""`sparring bench theory`: exact statements of the field, each computed twice and compared.

Every row is a measurement by running the library's own code, the closed form it should equal, and their difference.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from sparring import theory
from sparring.bench import dirac
from sparring.objectives import OBJECTIVES
from sparring.penalties import PENALTIES, R1, R1R2, R2, GradientPenalty, Penalty
from sparring.seeding import Stream

TABLE_TOLERANCE, EIGENVALUE_TOLERANCE, PENALTY_TOLERANCE, SLOPE_TOLERANCE = 1e-6, 1e-4, 1e-9, 1e-5


@dataclass(frozen=True)
class Row:
    """One statement, checked.

    Args:
        section: what it is about.
        statement: what is stated.
        measured: what running it gave.
        exact: the closed form.
        tolerance: how far the two may lie apart.
    """

    section: str
    statement: str
    measured: float
    exact: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the two agree."""
        return abs(self.measured - self.exact) <= self.tolerance


def rows(num_distributions: int = 3) -> Iterator[Row]:
    """Every row of the benchmark.

    Args:
        num_distributions: pairs of random distributions for each objective.
    """
    yield from optimal_discriminators(num_distributions)
    yield from dirac_gan()
    yield from linear_penalties()
    yield from penalty_gradients()


def print_rows(checked: list[Row], as_json: bool) -> int:
    """Print the rows as a table for each section, or as JSON.

    Returns:
        The exit code: 0 if every row holds, 1 if one doesn't.
    """
    broken = [row for row in checked if not row.holds]
    if as_json:
        print(json.dumps([asdict(row) | {"holds": row.holds} for row in checked], indent=2, ensure_ascii=False))
        return 1 if broken else 0

    from rich.console import Console
    from rich.table import Table

    console = Console()
    for section in dict.fromkeys(row.section for row in checked):
        table = Table(box=None, padding=(0, 2, 0, 0), title=section, title_justify="left")
        for name in ("statement", "measured", "exact", "difference"):
            table.add_column(name, justify="left" if name == "statement" else "right")
        for row in (row for row in checked if row.section == section):
            difference = f"{row.measured - row.exact:+.1e}" + ("" if row.holds else " ✗")
            table.add_row(row.statement, f"{row.measured:.6f}", f"{row.exact:.6f}", difference)
        console.print(table)
        console.print()
    console.print(f"{len(checked) - len(broken)} of {len(checked)} statements hold")
    return 1 if broken else 0


def random_distributions(number: int, atoms: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Two random positive distributions over the same atoms, and increasing positions for them; all float64."""
    stream = Stream(number, "distributions")
    real, fake, gaps = (stream.part(name).uniform(atoms).double() + 0.01 for name in ("real", "fake", "gaps"))
    return real / real.sum(), fake / fake.sum(), gaps.cumsum(0)


def optimal_discriminators(num_distributions: int) -> Iterator[Row]:
    """What a table trained on each objective's own loss reaches, against the closed form."""
    section = "optimal discriminator: the least expected loss, trained against closed form"
    for number in range(num_distributions):
        real, fake, positions = random_distributions(number)
        for name in theory.CLOSED_FORMS:
            objective = OBJECTIVES[name]
            line = positions if name == "wasserstein" else None
            trained = theory.train_table(objective, real, fake, line)
            reached, _ = theory.expected_losses(objective, real, fake, trained)
            optimum = theory.optimum(name, real, fake, positions)
            yield Row(section, f"{name}, pair {number}", reached.item(), optimum.discriminator_loss, TABLE_TOLERANCE)
            _, generator_loss = theory.expected_losses(objective, real, fake, optimum.logits)
            statement = f"{name}, pair {number}, the generator's loss there"
            yield Row(section, statement, generator_loss.item(), optimum.generator_loss, TABLE_TOLERANCE)
        table = torch.sigmoid(theory.train_table(OBJECTIVES["minimax"], real, fake))
        two_js = 2 * theory.js(real, fake) - math.log(4)
        value = theory.value(real, fake, table)
        yield Row(section, f"V(D*, G) = 2 JS − log 4, pair {number}", value, two_js, TABLE_TOLERANCE)
    same = theory.train_table(OBJECTIVES["minimax"], real, real)
    value = theory.value(real, real, torch.sigmoid(same))
    yield Row(section, "V(D*, G) = −log 4 where q = p", value, -math.log(4), TABLE_TOLERANCE)


def dirac_gan() -> Iterator[Row]:
    """The change of the distance to the equilibrium in one step of the real Game, against the exact eigenvalue."""
    section = "Dirac-GAN, step size 0.2: the largest |eigenvalue| of a step, measured against exact"
    restrained: list[tuple[str, list[Penalty], float]] = [
        ("", [], 0.0),
        (", r1 γ 0.3", [R1(0.3)], 0.3),
        (", r2 γ 0.3", [R2(0.3)], 0.3),
        (", r1 γ 1", [R1(1.0)], 1.0),
        (", r1r2 γ 0.3", [R1R2(0.3)], 0.6),
        (", weight_clipping 0.01", [PENALTIES["weight_clipping"](0.01)], 0.0),
    ]
    for objective in theory.DIRAC_SLOPES:
        for simultaneous in (True, False):
            for label, penalties, gamma in restrained:
                step = dirac.measured_update(objective=objective, penalties=penalties, simultaneous=simultaneous)
                measured = theory.spectral_radius(step)
                exact = theory.spectral_radius(theory.dirac_update(objective, 0.2, gamma, simultaneous))
                order = "simultaneous" if simultaneous else "alternating"
                yield Row(section, f"{objective}{label}, {order}", measured, exact, EIGENVALUE_TOLERANCE)


def linear_penalties() -> Iterator[Row]:
    """Penalties on a linear discriminator of slope 3, where they are known exactly."""
    section = "penalties of weight 5 on a linear discriminator of slope ‖w‖ = 3"
    slope = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    real, fake = (Stream(number, "points").normal(8, 3).double() for number in (0, 1))
    exact = {"gradient_penalty": 20.0, "dragan": 20.0, "r1": 22.5, "r2": 22.5, "r1r2": 45.0}
    for name, value in exact.items():
        measured = PENALTIES[name](5.0)(lambda samples: samples @ slope, real, fake, Stream(0, "penalty")).mean()
        formula = "λ (‖w‖ − 1)²" if value == 20.0 else "γ ‖w‖²" if name == "r1r2" else "γ/2 ‖w‖²"
        yield Row(section, f"{name}: {formula}", measured.item(), value, PENALTY_TOLERANCE)


def penalty_gradients() -> Iterator[Row]:
    """The gradient of the whole loss of the discriminator along a random direction, against a finite difference."""
    section = "the discriminator's whole loss with a penalty: its slope by finite difference, against autograd"
    with Stream(0, "network").as_default():
        network = nn.Sequential(nn.Linear(3, 16), nn.Softplus(), nn.Linear(16, 1), nn.Flatten(0)).double()
    parameters = list(network.parameters())
    directions = [Stream(number, "direction").normal(*p.shape).double() for number, p in enumerate(parameters)]
    real, fake = (Stream(number, "points").normal(8, 3).double() for number in (0, 1))
    start = [parameter.detach().clone() for parameter in parameters]

    def loss_at(penalty: Penalty, distance: float) -> Tensor:
        with torch.no_grad():
            for parameter, value, direction in zip(parameters, start, directions, strict=True):
                parameter.copy_(value + distance * direction)
        losses = OBJECTIVES["non_saturating"].discriminator(network(real), network(fake))
        return (losses + penalty(network, real, fake, Stream(0, "penalty"))).mean()

    for name in ("gradient_penalty", "dragan", "r1", "r2", "r1r2"):
        penalty = PENALTIES[name](1.0)
        gradients = torch.autograd.grad(loss_at(penalty, 0.0), parameters)
        exact = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        step = 1e-5
        difference = (loss_at(penalty, step) - loss_at(penalty, -step)).item() / (2 * step)
        yield Row(section, name, difference, exact, SLOPE_TOLERANCE)


@dataclass(frozen=True)
class Vanishing:
    """How the generator's gradient fares while the discriminator is trained to optimality.

    Args:
        steps: of the discriminator, increasing.
        norms: of the gradient of the generator's loss with respect to the generated points, by objective.
    """

    steps: list[int]
    norms: dict[str, list[float]]


def vanishing_gradients(steps: int = 2000, every: int = 20) -> Vanishing:
    """Two Gaussians of σ 0.1 whose means lie 2 apart, and a discriminator that gets ever better.

    The number is the mean over the generated points of the norm of the gradient that each of them receives.
    """
    real = 0.1 * Stream(0, "real").normal(512, 2)
    fake = 0.1 * Stream(0, "fake").normal(512, 2) + torch.tensor([2.0, 0.0])
    at = list(range(0, steps + 1, every))
    norms: dict[str, list[float]] = {}
    for name in ("minimax", "non_saturating", "least_squares", "wasserstein"):
        objective = OBJECTIVES[name]
        with Stream(0, "network").as_default():
            network = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
            network = network.append(nn.Linear(64, 1)).append(nn.Flatten(0))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        penalty = GradientPenalty(10.0) if name == "wasserstein" else PENALTIES["none"]()
        norms[name] = []
        for step in range(steps + 1):
            if step % every == 0:
                points = fake.clone().requires_grad_()
                loss = objective.generator(network(real), network(points)).sum()
                (gradient,) = torch.autograd.grad(loss, points)
                norms[name].append(gradient.norm(dim=1).mean().item())
            losses = objective.discriminator(network(real), network(fake))
            losses = losses + penalty(network, real, fake, Stream(0, "penalty", step))
            parameters = list(network.parameters())
            for parameter, slope in zip(parameters, torch.autograd.grad(losses.mean(), parameters), strict=True):
                parameter.grad = slope
            optimizer.step()
    return Vanishing(at, norms)

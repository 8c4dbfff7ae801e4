"""`sparring bench theory`: exact statements of the field, each checked by running the library's own code.

A check holds what the code measures against the closed form that it should equal.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, product

import torch
from torch import Tensor, nn

from sparring import theory
from sparring.bench import dirac
from sparring.game.objectives import OBJECTIVES
from sparring.game.penalties import PENALTIES, R1, R1R2, R2, Penalty
from sparring.seeding import Stream

TABLE_TOLERANCE, EIGENVALUE_TOLERANCE, PENALTY_TOLERANCE, SLOPE_TOLERANCE = 1e-6, 1e-4, 1e-9, 1e-5
NEAR = 1e-6  # a distance from the equilibrium at which a step is linear


@dataclass(frozen=True)
class Check:
    """One statement and its measurement."""

    section: str  # the heading of its table
    statement: str  # what is stated
    measured: float  # what the code gave
    exact: float  # the closed form
    tolerance: float  # the largest difference allowed

    @property
    def holds(self) -> bool:
        """Whether the two agree."""
        return abs(self.measured - self.exact) <= self.tolerance


def run(quick: bool, as_json: bool) -> int:
    """Print every check, as a table for each section or as JSON.

    Args:
        quick: one pair of random distributions for each objective, where there are three otherwise.
        as_json: JSON instead of tables.

    Returns:
        The exit code: 0 if every statement holds, else 1.
    """
    done = list(checks(1 if quick else 3))
    num_held = sum(check.holds for check in done)
    if as_json:
        print(json.dumps([asdict(check) | {"holds": check.holds} for check in done], indent=2, ensure_ascii=False))
        return int(num_held < len(done))

    from rich.console import Console
    from rich.table import Table

    console = Console()
    for section, group in groupby(done, key=lambda check: check.section):
        table = Table(box=None, padding=(0, 2, 0, 0), title=section, title_justify="left")
        for name in ("statement", "measured", "exact", "difference"):
            table.add_column(name, justify="left" if name == "statement" else "right")
        for check in group:
            difference = f"{check.measured - check.exact:+.1e}" + ("" if check.holds else " ✗")
            table.add_row(check.statement, f"{check.measured:.6f}", f"{check.exact:.6f}", difference)
        console.print(table, "")
    console.print(f"{num_held} of {len(done)} statements hold")
    return int(num_held < len(done))


def checks(num_distributions: int) -> Iterator[Check]:
    """Every check of the benchmark, with so many pairs of random distributions for each objective."""
    yield from check_optimal_discriminators(num_distributions)
    yield from check_dirac_gan()
    yield from check_linear_penalties()
    yield from check_penalty_gradients()


def random_distributions(number: int, atoms: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Two random positive distributions over the same atoms, and increasing positions for them; all float64."""
    stream = Stream(number, "distributions")
    real, fake, gaps = (stream.part(name).uniform(atoms).double() + 0.01 for name in ("real", "fake", "gaps"))
    return real / real.sum(), fake / fake.sum(), gaps.cumsum(0)


def check_optimal_discriminators(num_distributions: int) -> Iterator[Check]:
    """The least loss that a table of logits reaches in training, against the closed form, for each objective."""
    section = "optimal discriminator: the least expected loss, trained against closed form"
    for number in range(num_distributions):
        real, fake, positions = random_distributions(number)
        for name in theory.CLOSED_FORMS:
            objective = OBJECTIVES[name]
            trained = theory.train_table(objective, real, fake, positions if name == "wasserstein" else None)
            reached, _ = theory.expected_losses(objective, real, fake, trained)
            optimum = theory.optimum(name, real, fake, positions)
            statement = f"{name}, pair {number}"
            yield Check(section, statement, reached.item(), optimum.discriminator_loss, TABLE_TOLERANCE)
            _, generator_loss = theory.expected_losses(objective, real, fake, optimum.logits)
            statement += ", the generator's loss there"
            yield Check(section, statement, generator_loss.item(), optimum.generator_loss, TABLE_TOLERANCE)
        table = torch.sigmoid(theory.train_table(OBJECTIVES["minimax"], real, fake))
        value, two_js = theory.value(real, fake, table), 2 * theory.js(real, fake) - math.log(4)
        yield Check(section, f"V(D*, G) = 2 JS − log 4, pair {number}", value, two_js, TABLE_TOLERANCE)
    same = torch.sigmoid(theory.train_table(OBJECTIVES["minimax"], real, real))
    value = theory.value(real, real, same)
    yield Check(section, "V(D*, G) = −log 4 where q = p", value, -math.log(4), TABLE_TOLERANCE)


def check_dirac_gan() -> Iterator[Check]:
    """One step of the real Game from near the equilibrium on each axis, against its exact eigenvalue."""
    section = "Dirac-GAN, step size 0.2: the largest |eigenvalue| of a step, measured against exact"
    restraints: list[tuple[str, list[Penalty], float]] = [
        ("", [], 0.0),
        (", r1 γ 0.3", [R1(0.3)], 0.3),
        (", r2 γ 0.3", [R2(0.3)], 0.3),
        (", r1 γ 1", [R1(1.0)], 1.0),
        (", r1r2 γ 0.3", [R1R2(0.3)], 0.6),
        (", weight_clipping 0.01", [PENALTIES["weight_clipping"](0.01)], 0.0),
    ]
    for objective, is_joint, (label, penalties, gamma) in product(theory.DIRAC_SLOPES, (True, False), restraints):
        columns = [
            dirac.train(*start, steps=1, objective=objective, penalties=penalties, simultaneous=is_joint)[-1] / NEAR
            for start in ((NEAR, 0.0), (0.0, NEAR))
        ]
        measured = theory.spectral_radius(torch.stack(columns, dim=1))
        exact = theory.spectral_radius(theory.dirac_update(objective, 0.2, gamma, is_joint))
        statement = f"{objective}{label}, {'simultaneous' if is_joint else 'alternating'}"
        yield Check(section, statement, measured, exact, EIGENVALUE_TOLERANCE)


def check_linear_penalties() -> Iterator[Check]:
    """Penalties on a linear discriminator of slope 3, where they are known exactly."""
    section = "penalties of weight 5 on a linear discriminator of slope ‖w‖ = 3"
    slope = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    real, fake = (Stream(number, "points").normal(8, 3).double() for number in (0, 1))
    exact = {"gradient_penalty": 20.0, "dragan": 20.0, "r1": 22.5, "r2": 22.5, "r1r2": 45.0}
    for name, value in exact.items():
        measured = PENALTIES[name](5.0)(lambda samples: samples @ slope, real, fake, Stream(0, "penalty")).mean()
        formula = "λ (‖w‖ − 1)²" if value == 20.0 else "γ ‖w‖²" if name == "r1r2" else "γ/2 ‖w‖²"
        yield Check(section, f"{name}: {formula}", measured.item(), value, PENALTY_TOLERANCE)


def check_penalty_gradients() -> Iterator[Check]:
    """The slope of the discriminator's whole loss along a random direction, by autograd and by finite difference."""
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
        penalty, step = PENALTIES[name](1.0), 1e-5
        gradients = torch.autograd.grad(loss_at(penalty, 0.0), parameters)
        exact = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        difference = (loss_at(penalty, step) - loss_at(penalty, -step)).item() / (2 * step)
        yield Check(section, name, difference, exact, SLOPE_TOLERANCE)

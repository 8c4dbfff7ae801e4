"""Closed forms, against training and against each other."""

import math

import pytest
import torch
from torch import Tensor

from sparring import OBJECTIVES, UnknownNameError, theory
from sparring.bench import dirac
from sparring.bench.checks import Check, checks, random_distributions

CHECKS = list(checks(num_distributions=2))


@pytest.mark.parametrize("check", CHECKS, ids=[f"{check.section[:12]}: {check.statement}" for check in CHECKS])
def test_every_statement_of_the_benchmark_holds(check: Check) -> None:
    assert check.measured == pytest.approx(check.exact, rel=0, abs=check.tolerance)


def test_figures_that_papers_and_notebooks_print() -> None:
    def radius(objective: str, gamma: float = 0.0, simultaneous: bool = True) -> float:
        return theory.spectral_radius(theory.dirac_update(objective, 0.2, gamma, simultaneous))

    assert radius("non_saturating") == pytest.approx(1.00499, abs=5e-6)
    assert radius("minimax", gamma=0.3) == pytest.approx(0.97468, abs=5e-6)
    assert radius("minimax", gamma=1.0) == pytest.approx(0.9, abs=1e-7)
    assert radius("wasserstein") == pytest.approx(1.0198, abs=5e-5)
    assert radius("non_saturating", simultaneous=False) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", theory.DIRAC_SLOPES)
def test_closed_forms_and_slopes_are_of_real_objectives(name: str) -> None:
    real, fake, positions = random_distributions(0)
    assert theory.optimum(name, real, fake, positions).logits.shape == real.shape
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    (at_discriminator,) = torch.autograd.grad(OBJECTIVES[name].discriminator(zero, logit).sum(), logit)
    (at_generator,) = torch.autograd.grad(OBJECTIVES[name].generator(zero, logit).sum(), logit)
    assert theory.DIRAC_SLOPES[name] == (at_discriminator.item(), -at_generator.item())


def test_no_table_beats_the_optimum() -> None:
    real, fake, positions = random_distributions(5)
    for name in theory.CLOSED_FORMS:
        objective = OBJECTIVES[name]
        optimum = theory.optimum(name, real, fake, positions)
        for number in range(20):
            noise = torch.randn(len(real), dtype=torch.float64, generator=torch.Generator().manual_seed(number))
            logits = optimum.logits + 0.1 * noise
            if name == "wasserstein":  # back into the Lipschitz functions
                steps = logits.diff().clamp(-positions.diff(), positions.diff())
                logits = torch.cat([logits[:1], logits[:1] + steps.cumsum(0)])
            loss, _ = theory.expected_losses(objective, real, fake, logits)
            assert loss.item() >= optimum.discriminator_loss - 1e-12


def uniform(*atoms: int, total: int = 4) -> Tensor:
    weights = torch.zeros(total, dtype=torch.float64)
    weights[list(atoms)] = 1 / len(atoms)
    return weights


def test_divergences_at_the_ends() -> None:
    left, right, both = uniform(0, 1), uniform(2, 3), uniform(0, 1, 2, 3)
    assert theory.js(left, right) == pytest.approx(math.log(2), rel=1e-15)
    assert theory.js(left, left) == 0
    assert theory.kl(left, both) == pytest.approx(math.log(2), rel=1e-15)
    assert theory.kl(both, left) == math.inf
    assert theory.total_variation(left, right) == 1
    positions = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    assert theory.wasserstein1(left, right, positions) == pytest.approx(2)


def test_js_is_half_of_what_the_optimal_logits_prove() -> None:
    """Atoms repeated as often as they weigh: the bound on such samples is the divergence itself."""
    counts_real, counts_fake = torch.tensor([1, 2, 5]), torch.tensor([4, 3, 1])
    logits = torch.log(counts_real / counts_fake)
    bound = theory.js_lower_bound(logits.repeat_interleave(counts_real), logits.repeat_interleave(counts_fake))
    assert bound == pytest.approx(theory.js(counts_real.double() / 8, counts_fake.double() / 8), abs=1e-7)


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan"])
def test_penalties_with_slopes_of_one_do_not_bring_the_generator_to_the_data(name: str) -> None:
    """They want no flat discriminator, but that is where the Dirac-GAN's equilibrium lies (Mescheder et al. 2018)."""
    from sparring import PENALTIES

    path = dirac.train(1.0, 1.0, 400, objective="wasserstein", penalties=[PENALTIES[name](1.0)])
    assert path[200:, 0].abs().min() > 1
    calm = dirac.train(1.0, 1.0, 400, objective="wasserstein", penalties=[PENALTIES["r1"](1.0)])
    assert calm[-1].norm() < 1e-6


def test_unknown_names() -> None:
    real, fake, positions = random_distributions(0)
    with pytest.raises(UnknownNameError):
        theory.optimum("minmax", real, fake, positions)
    with pytest.raises(UnknownNameError):
        theory.dirac_update("minmax", 0.2)

"""What holds for every objective that is registered."""

import pytest
import torch

from sparring import OBJECTIVES
from sparring.game.objectives import Objective

every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@every_objective
def test_losses_are_per_sample(objective: Objective) -> None:
    real, fake = torch.randn(5), torch.randn(5)
    assert objective.discriminator(real, fake).shape == (5,)
    assert objective.generator(real, fake).shape == (5,)


@every_objective
def test_losses_do_not_mix_samples(objective: Objective) -> None:
    """A mean or a sum over the batch inside a loss turns this red."""
    real, fake = torch.randn(5), torch.randn(5)
    for loss in (objective.discriminator, objective.generator):
        torch.testing.assert_close(loss(real, fake)[:2], loss(real[:2], fake[:2]), rtol=0, atol=0)


@every_objective
@pytest.mark.parametrize("magnitude", [1e4, -1e4])
def test_losses_and_gradients_are_finite_at_extreme_logits(objective: Objective, magnitude: float) -> None:
    for real_value, fake_value in ((magnitude, -magnitude), (magnitude, magnitude), (0.0, magnitude)):
        for loss in (objective.discriminator, objective.generator):
            real = torch.tensor([real_value], requires_grad=True)
            fake = torch.tensor([fake_value], requires_grad=True)
            value = loss(real, fake)
            gradients = torch.autograd.grad(value.sum(), (real, fake), allow_unused=True)
            assert torch.isfinite(value).all()
            assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


@every_objective
def test_gradients_match_finite_differences(objective: Objective) -> None:
    # Off the kinks of the hinge at ±1.
    real = torch.tensor([-2.3, -0.4, 0.3, 2.7], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([0.2, -1.7, 2.4, -0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(objective.discriminator, (real, fake))
    assert torch.autograd.gradcheck(objective.generator, (real, fake))


@every_objective
def test_players_pull_in_opposite_directions_at_zero_logits(objective: Objective) -> None:
    """The discriminator raises real and lowers generated logits; the generator raises the generated ones."""
    real, fake = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    at_real, at_fake = torch.autograd.grad(objective.discriminator(real, fake).sum(), (real, fake))
    (generator_at_fake,) = torch.autograd.grad(objective.generator(real, fake).sum(), fake)
    assert at_real < 0 <= at_fake
    assert at_fake > 0 or objective.name == "least_squares"  # its target for generated samples is 0 itself
    assert generator_at_fake < 0


@every_objective
def test_unpaired_generator_losses_ignore_the_real_logits(objective: Objective) -> None:
    """The game skips the real logits where `paired` is false: a wrong flag would change the loss."""
    fake = torch.randn(4)
    same = torch.equal(objective.generator(torch.zeros(4), fake), objective.generator(torch.ones(4), fake))
    assert same is not objective.paired


@every_objective
def test_probability_is_one(objective: Objective) -> None:
    probability = objective.probability(torch.linspace(-50, 50, 101))
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (probability.diff() >= 0).all()


@every_objective
def test_it_says_what_it_is(objective: Objective) -> None:
    assert objective.summary
    assert objective.divergence
    assert "arXiv" in objective.source

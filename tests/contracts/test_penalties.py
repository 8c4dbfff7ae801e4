"""What holds for every penalty that is registered."""

import pytest
import torch
from torch import nn

from sparring import PENALTIES, UsageError
from sparring.game.penalties import Penalty
from sparring.seeding import Stream

every_penalty = pytest.mark.parametrize("kind", PENALTIES.values(), ids=PENALTIES)
STREAM = Stream(0, "penalty")


def discriminator() -> nn.Sequential:
    """Smooth, so that finite differences are exact enough."""
    with Stream(0, "test").as_default():
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Softplus(), nn.Linear(8, 1), nn.Flatten(0)).double()


def samples(seed: int) -> torch.Tensor:
    return Stream(seed, "samples").normal(5, 3, 2, 2).double()


@every_penalty
def test_values_are_per_sample_finite_and_not_negative(kind: type[Penalty]) -> None:
    value = kind()(discriminator(), samples(1), samples(2), STREAM)
    assert value.shape == (5,)
    assert torch.isfinite(value).all()
    assert (value >= 0).all()


@every_penalty
def test_gradient_matches_a_finite_difference_of_the_whole_loss(kind: type[Penalty]) -> None:
    """The double backward, along a random direction in the space of all weights."""
    network = discriminator()
    parameters = list(network.parameters())
    directions = [Stream(number, "direction").normal(*p.shape).double() for number, p in enumerate(parameters)]

    def loss() -> torch.Tensor:
        return kind()(network, samples(1), samples(2), STREAM).sum()

    def moved_loss(distance: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=distance)
        value = loss().item()
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(direction, alpha=distance)
        return value

    value = loss()
    slope = 0.0
    if value.requires_grad:
        gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    step = 1e-5
    assert slope == pytest.approx((moved_loss(step) - moved_loss(-step)) / (2 * step), rel=1e-6, abs=1e-8)


@every_penalty
def test_generated_samples_get_no_gradient(kind: type[Penalty]) -> None:
    fake = samples(2).requires_grad_()
    value = kind()(discriminator(), samples(1), fake, STREAM)
    (gradient,) = torch.autograd.grad(value.sum() + 0 * fake.sum(), fake)
    assert (gradient == 0).all()


@every_penalty
def test_same_stream_same_value(kind: type[Penalty]) -> None:
    first, second = (kind()(discriminator(), samples(1), samples(2), STREAM) for _ in range(2))
    assert torch.equal(first, second)


@every_penalty
def test_finite_on_a_constant_discriminator(kind: type[Penalty]) -> None:
    """The norm's derivative at zero must not be NaN: a dead discriminator would poison its own weights."""
    network = discriminator()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    value = kind()(network, samples(1), samples(2), STREAM).sum()
    if value.requires_grad:
        gradients = torch.autograd.grad(value, list(network.parameters()), allow_unused=True)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@every_penalty
@pytest.mark.parametrize(("weight", "interval"), [(-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_numbers_out_of_range_are_refused(kind: type[Penalty], weight: float, interval: int) -> None:
    with pytest.raises(UsageError):
        kind(weight, interval)


@every_penalty
def test_it_says_what_it_is(kind: type[Penalty]) -> None:
    assert kind.summary
    assert "arXiv" in kind.source

"""What holds for every restraint that is registered."""

import pytest
import torch
from torch import nn

from sparring import RESTRAINTS, UsageError
from sparring.game.both_ways import BothWays, swap
from sparring.game.restraints import Restraint
from sparring.seeding import Stream

every_restraint = pytest.mark.parametrize("kind", RESTRAINTS.values(), ids=RESTRAINTS)
SIZE = 6


class Way(nn.Module):
    """A smooth translator of vectors, with features of three patches."""

    def __init__(self, number: int) -> None:
        super().__init__()
        with Stream(number, "test").as_default():
            self.map = nn.Linear(SIZE, SIZE, bias=False).double()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.map(items))

    def features(self, items: torch.Tensor) -> list[torch.Tensor]:
        return [self.forward(items).unflatten(1, (3, 2))]


def generator() -> BothWays:
    return BothWays(Way(0), Way(1))


def items(seed: int) -> torch.Tensor:
    return Stream(seed, "items").normal(4, SIZE).double()


def value(kind: type[Restraint], weight: float, network: nn.Module) -> torch.Tensor:
    inputs = items(1)
    return kind(weight)(network, inputs, network(inputs), items(2))


@every_restraint
def test_values_are_per_sample_finite_and_not_negative(kind: type[Restraint]) -> None:
    values = value(kind, 1.0, generator())
    assert values.shape == (4,)
    assert torch.isfinite(values).all()
    assert (values >= 0).all()


@every_restraint
def test_it_is_proportional_to_its_weight(kind: type[Restraint]) -> None:
    network = generator()
    torch.testing.assert_close(value(kind, 3.0, network), 3 * value(kind, 1.0, network))


@every_restraint
def test_it_restrains_something(kind: type[Restraint]) -> None:
    """By a gradient of the generator's weights, or by a projection of them."""
    network = generator()
    loss, before = value(kind, 1.0, network).sum(), [each.clone() for each in network.parameters()]
    found = loss.requires_grad and any(
        bool(each.any()) for each in torch.autograd.grad(loss, [*network.parameters()], materialize_grads=True)
    )
    kind(0.01).project(network)
    moved = any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert found or moved


@pytest.mark.parametrize("name", ["cycle", "identity"])  # the keys of `contrastive` are constants
def test_its_gradient_matches_a_finite_difference(name: str) -> None:
    """Along a random direction in the space of all weights."""
    network, kind = generator(), RESTRAINTS[name]
    parameters = [*network.parameters()]
    loss = value(kind, 1.0, network).sum()
    gradients = torch.autograd.grad(loss, parameters)
    directions = [Stream(number, "direction").normal(*each.shape).double() for number, each in enumerate(parameters)]
    step, losses = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=sign * step)
        losses.append(value(kind, 1.0, network).sum().item())
    slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5)


@every_restraint
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_numbers_out_of_range_are_refused(kind: type[Restraint], weight: float) -> None:
    with pytest.raises(UsageError, match="must be at least 0"):
        kind(weight)


@every_restraint
def test_it_says_what_it_is(kind: type[Restraint]) -> None:
    assert kind.summary
    assert "arXiv" in kind.source


def test_perfect_translators_have_no_cycle_and_no_identity_loss() -> None:
    """G doubles and F halves: the cycle is closed. The identity loss is 0 for the identity."""
    doubles, halves = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        doubles.weight.copy_(2 * torch.eye(2))
        halves.weight.copy_(0.5 * torch.eye(2))
    both, inputs = BothWays(doubles, halves), torch.randn(6, 2)
    assert RESTRAINTS["cycle"](10.0)(both, inputs, both(inputs), inputs).abs().max() < 1e-5
    wrong = BothWays(doubles, doubles)
    assert RESTRAINTS["cycle"](10.0)(wrong, inputs, wrong(inputs), inputs).min() > 0
    same = BothWays(nn.Identity(), nn.Identity())
    assert RESTRAINTS["identity"](5.0)(same, inputs, inputs, swap(inputs)).max() == 0


def test_contrast_wants_the_same_patch() -> None:
    """Known values: equal patches of three orthogonal features, and patches in another order."""

    class Patches(nn.Module):
        def features(self, items: torch.Tensor) -> list[torch.Tensor]:
            return [items.unflatten(1, (3, 3))]

    given = torch.eye(3).flatten()[None]
    moved = torch.eye(3)[[1, 2, 0]].flatten()[None]
    matched = torch.log(1 + 2 * torch.exp(torch.tensor(-1 / 0.07)))
    contrast = RESTRAINTS["contrastive"](1.0)
    torch.testing.assert_close(contrast(Patches(), given, given, given)[0], matched)
    torch.testing.assert_close(contrast(Patches(), given, moved, given)[0], matched + 1 / 0.07)

"""Penalties against their exact values on linear discriminators, and what they do to layers and weights."""

import pytest
import torch
from torch import nn

import sparring
from sparring import PENALTIES, UsageError
from sparring.seeding import Stream

STREAM = Stream(0, "penalty")
SLOPE = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)  # of norm 3
REAL, FAKE = Stream(1, "x").normal(4, 3).double(), Stream(2, "x").normal(4, 3).double()


def linear(samples: torch.Tensor) -> torch.Tensor:
    return samples @ SLOPE


# With the slope's norm w = 3 and the weight 5.
EXACT = {"gradient_penalty": 5 * 4.0, "dragan": 5 * 4.0, "r1": 5 / 2 * 9, "r2": 5 / 2 * 9, "r1r2": 5 * 9.0}


@pytest.mark.parametrize("name", EXACT)
def test_exact_on_a_linear_discriminator(name: str) -> None:
    value = PENALTIES[name](5.0)(linear, REAL, FAKE, STREAM)
    torch.testing.assert_close(value, torch.full((4,), EXACT[name], dtype=torch.float64), rtol=1e-12, atol=0)


def seen_by(penalty: sparring.Penalty) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def spy(samples: torch.Tensor) -> torch.Tensor:
        seen.append(samples.detach())
        return linear(samples)

    penalty(spy, REAL, FAKE, STREAM)
    return torch.cat(seen)


def test_where_the_zero_centred_penalties_look() -> None:
    assert torch.equal(seen_by(sparring.R1()), REAL)
    assert torch.equal(seen_by(sparring.R2()), FAKE)
    assert torch.equal(seen_by(sparring.R1R2()), torch.cat([REAL, FAKE]))


def test_gradient_penalty_looks_on_the_segments_between_real_and_fake() -> None:
    points = seen_by(sparring.GradientPenalty())
    position = (points - FAKE) / (REAL - FAKE)
    torch.testing.assert_close(position, position[:, :1].expand(-1, 3))  # one position a sample
    assert ((position > 0) & (position < 1)).all()
    assert len(position[:, 0].unique()) == 4


def test_dragan_looks_close_to_the_data() -> None:
    offset = seen_by(sparring.Dragan()) - REAL
    assert (offset >= 0).all()
    assert (offset <= 0.5 * REAL.std()).all()
    assert offset.std() > 0


def test_clipping_bounds_every_weight() -> None:
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 9).reshape(3, 3))
    sparring.WeightClipping(0.25).project(layer)
    assert layer.weight.min() == -0.25
    assert layer.weight.max() == 0.25
    assert layer.weight[1, 1] == 0


def test_spectral_norm_keeps_the_parameter_that_the_optimiser_holds() -> None:
    layer = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    sparring.SpectralNorm().prepare(layer)
    held = {id(parameter) for parameter in optimizer.param_groups[0]["params"]}
    assert held == {id(parameter) for parameter in layer.parameters()}


def test_spectral_norm_makes_every_layer_lipschitz_one() -> None:
    with Stream(0, "test").as_default():
        network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(6, 5))
        sparring.SpectralNorm().prepare(network)
        for _ in range(200):
            network(torch.randn(1, 2, 3, 3))
    for layer in (network[0], network[3]):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["none", "spectral_norm"])
def test_a_weight_that_would_be_ignored_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="neither a weight nor an interval"):
        PENALTIES[name](5.0)

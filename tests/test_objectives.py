"""Each loss against numbers worked out by hand."""

import math

import pytest
import torch

import sparring
from sparring import OBJECTIVES

LOG2, A, B = math.log(2), 2.0, -1.0


def log1p_exp(t: float) -> float:
    return math.log(1 + math.exp(t))


# For a real logit of 2 and a generated one of −1.
BY_HAND = {
    "minimax": (log1p_exp(-2) + log1p_exp(-1), -log1p_exp(-1)),
    "non_saturating": (log1p_exp(-2) + log1p_exp(-1), log1p_exp(1)),
    "wasserstein": (-3.0, 1.0),
    "least_squares": (0.5 * 1 + 0.5 * 1, 0.5 * 4),
    "hinge": (0.0 + 0.0, 1.0),
    "relativistic": (log1p_exp(-3), log1p_exp(3)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_values_worked_out_by_hand(name: str) -> None:
    real, fake = torch.tensor([A], dtype=torch.float64), torch.tensor([B], dtype=torch.float64)
    discriminator, generator = BY_HAND[name]
    assert OBJECTIVES[name].discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-12)
    assert OBJECTIVES[name].generator(real, fake).item() == pytest.approx(generator, rel=1e-12)


SMOOTHED = {
    "minimax": 0.75 * log1p_exp(-2) + 0.25 * log1p_exp(2) + log1p_exp(-1),
    "non_saturating": 0.75 * log1p_exp(-2) + 0.25 * log1p_exp(2) + log1p_exp(-1),
    "least_squares": 0.5 * 1.25**2 + 0.5 * 1,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_smoothed_labels(name: str) -> None:
    """A quarter of the target for real samples goes to the other side; generated ones and the generator stay."""
    if name not in SMOOTHED:
        with pytest.raises(sparring.UsageError, match=r"no labels to smooth.*minimax, non_saturating, least_squares"):
            OBJECTIVES[name].smooth(0.25)
        assert OBJECTIVES[name].smooth(0.0) is OBJECTIVES[name]
        return
    real, fake = torch.tensor([A], dtype=torch.float64), torch.tensor([B], dtype=torch.float64)
    smoothed = OBJECTIVES[name].smooth(0.25)
    assert smoothed.discriminator(real, fake).item() == pytest.approx(SMOOTHED[name], rel=1e-12)
    assert smoothed.generator(real, fake).item() == pytest.approx(BY_HAND[name][1], rel=1e-12)


def test_value_at_equilibrium_is_minus_log_four() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    assert -OBJECTIVES["minimax"].discriminator(zero, zero).item() == pytest.approx(-math.log(4), rel=1e-15)


def test_minimax_is_zero_sum_and_saturates_where_non_saturating_does_not() -> None:
    fake = torch.tensor([-20.0], dtype=torch.float64, requires_grad=True)
    slopes = [
        torch.autograd.grad(OBJECTIVES[name].generator(fake, fake).sum(), fake)[0].item()
        for name in ("minimax", "non_saturating")
    ]
    assert abs(slopes[0]) < 1e-8
    assert slopes[1] == pytest.approx(-1)


def test_hinge_stops_at_the_margin() -> None:
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    assert OBJECTIVES["hinge"].discriminator(real, fake).tolist() == [0.0, 2.0]

"""The estimator of the divergence where the divergence is known. Seeds are fixed: no false alarms by chance."""

import math

import pytest
import torch

from sparring import DataError
from sparring.data import Mixture, ring
from sparring.metrics import divergence
from sparring.seeding import Stream
from sparring.theory import js_lower_bound


def normal(number: int, size: int, *shape: int) -> torch.Tensor:
    return Stream(number, "samples").normal(size, *shape)


@pytest.mark.slow
def test_halves_of_the_same_data() -> None:
    result = divergence(normal(0, 2000, 2), normal(1, 2000, 2), steps=300)
    assert result.low <= 0 <= result.high
    assert result.js < 0.005
    assert result.p_value > 0.01


def test_disjoint_sets() -> None:
    result = divergence(normal(0, 1000, 2), normal(1, 1000, 2) + 20, steps=200)
    assert result.js == pytest.approx(math.log(2), abs=1e-3)
    assert result.accuracy == 1
    assert result.p_value < 1e-100


@pytest.mark.slow
def test_gaussians_of_known_divergence() -> None:
    """20,000 samples each of N(0, I) and N((2, 0), I): within five per cent of the exact JS."""
    real, fake = normal(0, 20_000, 2), normal(1, 20_000, 2) + torch.tensor([2.0, 0.0])
    # log p − log q is 2 − 2 x; a million points give the exact value to three digits.
    points = normal(2, 1_000_000).double()
    exact = js_lower_bound(2 - 2 * points, 2 - 2 * (points + 2))
    assert divergence(real, fake, steps=600).js == pytest.approx(exact, rel=0.05)


def test_features_of_known_divergence() -> None:
    """Many coordinates that differ a little each: the bound is close; by sines of each coordinate it was .24 of .34."""
    real, fake = normal(0, 2000, 64), normal(1, 2000, 64) + 2 / 8
    points = normal(2, 1_000_000).double()
    exact = js_lower_bound(2 - 2 * points, 2 - 2 * (points + 2))
    result = divergence(real, fake, steps=300)
    assert result.js > 0.85 * exact
    assert result.low < exact


@pytest.mark.slow
def test_clusters_that_are_too_narrow_are_seen() -> None:
    """Every point at its mode, and the modes three times too narrow: a plain network over the plane proves nothing."""
    wide = ring()
    narrow = Mixture(wide.means, sigma=0.003)
    real, fake = wide.batch(10_000, Stream(0, "points")), narrow.batch(10_000, Stream(1, "points"))
    exact = js_lower_bound(*(wide.log_density(part) - narrow.log_density(part) for part in (real, fake)))
    assert divergence(real, fake, steps=600).js == pytest.approx(exact, rel=0.05)


def test_images_of_any_shape_and_sounds() -> None:
    images = normal(0, 100, 1, 28, 28).tanh()
    assert divergence(images, -images.abs(), steps=15).js > 0.5
    wide = normal(0, 100, 3, 10, 21).tanh()
    assert divergence(wide, -wide.abs(), steps=15).js > 0.5
    sounds = normal(1, 100, 1, 500)
    assert divergence(sounds, sounds.cumsum(2), steps=15).js > 0.5


def test_the_same_call_gives_the_same_numbers() -> None:
    results = [divergence(normal(0, 200, 2), normal(1, 200, 2) + 1, steps=20) for _ in range(2)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.zeros(10, 2), torch.zeros(100, 2), "10 real samples"),
        (torch.zeros(100, 2), torch.zeros(100, 3), "different shapes"),
        (torch.zeros(100, 2), torch.full((100, 2), math.nan), "fake samples hold"),
    ],
)
def test_bad_samples_are_named(real: torch.Tensor, fake: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        divergence(real, fake)

"""Rejection sampling where p/q is known: accepted samples follow p."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from sparring import UsageError
from sparring.data import grid
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.generator.rejection import EPSILON, Acceptance, calibrate
from sparring.metrics import count_modes
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.seeding import Stream

LINE = Config(Points((2,)), "mlp", latent_dim=2, prior="gaussian", width=1)


@pytest.fixture
def generator() -> Generator:
    """Its samples are its latents, N(0, I)."""
    layer = torch.nn.Linear(2, 2)
    layer.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    return Generator(layer, LINE)


def test_the_formula() -> None:
    """Equation 8 by hand, at a ratio one below the maximum."""
    acceptance = Acceptance(lambda samples: samples[:, 0], maximum=3.0, shift=0.5)
    expected = -1 - math.log(1 - math.exp(-1 - EPSILON)) - 0.5
    assert acceptance.probability(torch.tensor([[2.0]])).item() == pytest.approx(1 / (1 + math.exp(-expected)))
    assert acceptance.probability(torch.tensor([[3.0], [9.0]])).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_without_a_shift_it_is_exact_rejection() -> None:
    """σ(F) = p / (M q) for γ = 0: the point of the formula."""
    ratios = torch.linspace(-5, 0.9, 30)
    probability = Acceptance(lambda samples: samples[:, 0], maximum=1.0, shift=0.0).probability(ratios[:, None])
    assert probability.tolist() == pytest.approx((ratios - 1).exp().tolist(), rel=1e-4)


def test_the_shift_is_the_percentile() -> None:
    """Four fifths of the samples are accepted with a probability under one half, and one fifth with more."""
    samples = Stream(0, "samples").normal(10_000, 1)
    probability = calibrate(lambda samples: samples[:, 0], samples).probability(samples)
    assert (probability < 0.5).double().mean().item() == pytest.approx(0.8, abs=1e-3)


def test_accepted_samples_move_to_where_the_ratio_is_large(generator: Generator) -> None:
    plain = generator.sample(2000, seed=0)
    accepted = generator.sample(2000, seed=0, rejection=lambda samples: 2 * samples[:, 0])
    # N(0, 1) against e^{2x} N(0, 1), which is N(2, 1): the mean moves to the right by far more than 2000 draws' error.
    assert accepted[:, 0].mean() > plain[:, 0].mean() + 0.5
    assert abs(accepted[:, 1].mean()) < 5 / 2000**0.5  # false alarm 6e-7, and none for this seed


def test_ten_are_the_first_ten_of_a_hundred(generator: Generator) -> None:
    def log_ratio(samples: torch.Tensor) -> torch.Tensor:
        return -samples.square().sum(1)

    many = generator.sample(1500, seed=3, rejection=log_ratio)
    assert many.shape == (1500, 2)
    for count in (1, 10, 777):
        assert np.array_equal(generator.sample(count, seed=3, rejection=log_ratio), many[:count])
    assert not np.array_equal(generator.sample(10, seed=4, rejection=log_ratio), many[:10])
    assert len(np.unique(many, axis=0)) == 1500


def test_known_densities_of_a_grid_raise_the_quality_and_keep_the_modes() -> None:
    """Three points in four of the grid, one anywhere: with the exact ratio, nearly all of the bad ones go."""
    mixture = grid()
    points = mixture.batch(8000, Stream(0, "points"))
    points[::4] = 10 * Stream(0, "anywhere").uniform(2000, 2) - 5

    def log_ratio(samples: torch.Tensor) -> torch.Tensor:
        real = mixture.log_density(samples)
        fake = torch.logaddexp(math.log(0.75) + real, torch.full_like(real, math.log(0.25 / 100)))
        return real - fake

    acceptance = calibrate(log_ratio, points)
    kept = points[Stream(0, "acceptance").uniform(8000) < acceptance.probability(points)]
    before, after = count_modes(points, mixture), count_modes(kept, mixture)
    assert before.high_quality < 0.8
    assert after.high_quality > 0.97
    assert before.found == after.found == 25


def test_images_and_classes() -> None:
    config = Config(Images((1, 28, 28)), "conv", latent_dim=4, prior="gaussian", width=2, class_shares=(0.5, 0.5))
    with Stream(0, "test").as_default():
        generator = Generator(config.build(), config)
    seen: list[torch.Size] = []

    def log_ratio(samples: torch.Tensor) -> torch.Tensor:
        seen.append(samples.shape)
        return samples.mean((1, 2, 3))

    assert generator.sample(5, labels=1, rejection=log_ratio).shape == (5, 28, 28)
    assert generator.sample(5, rejection=log_ratio).shape == (5, 28, 28)
    assert seen[0][1:] == (1, 28, 28)
    with pytest.raises(UsageError, match="one label"):
        generator.sample(2, labels=[0, 1], rejection=log_ratio)
    without = dataclasses.replace(config, class_shares=())
    with pytest.raises(UsageError, match="without labels"):
        Generator(without.build(), without).sample(2, labels=0, rejection=log_ratio)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_ratio_that_is_no_number_is_refused(generator: Generator, value: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        generator.sample(5, rejection=lambda samples: torch.full((len(samples),), value))


def test_items_and_back() -> None:
    for modality, items in (
        (Images((1, 28, 28)), Stream(0, "images").integers(256, 3, 28, 28).to(torch.uint8).numpy()),
        (Images((3, 28, 28)), Stream(0, "images").integers(256, 3, 28, 28, 3).to(torch.uint8).numpy()),
        (Points((2,)), Stream(0, "points").normal(3, 2).numpy()),
    ):
        assert np.array_equal(modality.decode(modality.encode(items)), items)

"""Precision, recall, density, coverage and memorisation on sets made by hand, and against scikit-learn's neighbours."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from sparring import UsageError
from sparring.metrics import density_coverage, memorization, neighbor_distance, precision_recall


def points(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


def test_precision_and_recall_are_not_swapped() -> None:
    """Real at 0, 1, 2, 10; k = 1 gives balls of 1, 1, 1, 8. Generated at 0.5, 0.7, 30: balls of .2, .2, 29.3."""
    precision, recall = precision_recall(points(0, 1, 2, 10), points(0.5, 0.7, 30), k=1)
    assert precision.value == pytest.approx(2 / 3)  # 30 lies in no real ball
    assert recall.value == pytest.approx(3 / 4)  # 1, 2 and 10 lie in the ball around 30; 0 in none
    precision, recall = precision_recall(points(0.5, 0.7, 30), points(0, 1, 2, 10), k=1)
    assert (precision.value, recall.value) == (pytest.approx(3 / 4), pytest.approx(2 / 3))


def test_dropping_modes_lowers_recall_and_coverage_and_noise_lowers_precision_and_density() -> None:
    generator = torch.Generator().manual_seed(0)
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    real, half = (torch.randn(2, 800, 2, generator=generator) * 0.5).unbind(0)
    real, half = real + modes.repeat(200, 1), half + modes[:2].repeat(400, 1)
    precision, recall = precision_recall(real, half)
    density, coverage = density_coverage(real, half)
    assert precision.low > 0.9
    assert 0.4 < recall.value < 0.6
    assert density.low > 0.8
    assert 0.4 < coverage.value < 0.6
    wide = real + torch.randn(800, 2, generator=generator) * 2
    assert precision_recall(real, wide)[0].high < 0.8
    assert density_coverage(real, wide)[0].high < 0.6


def test_one_outlier_spoils_recall_and_not_coverage() -> None:
    """The case that density and coverage were made for (Naeem et al. 2020, section 3): huge balls around outliers."""
    real = points(*torch.linspace(0, 1, 100).tolist())
    fake = torch.cat([points(*[0.5 + 1e-4 * i for i in range(50)]), points(-50.0, 50.0)])
    assert precision_recall(real, fake, k=1)[1].value == 1.0
    assert density_coverage(real, fake, k=1)[1].value < 0.1


def test_neighbours_are_scikit_learns() -> None:
    real, fake = torch.randn(1200, 3), torch.randn(700, 3) * 1.5
    radii = NearestNeighbors(n_neighbors=6).fit(real.double()).kneighbors(real.double())[0][:, 5]  # itself, then five
    inside = torch.cdist(fake.double(), real.double()) <= torch.from_numpy(radii)
    density, coverage = density_coverage(real, fake, k=5)
    assert density.value == pytest.approx(inside.double().sum(1).mean().item() / 5)
    assert coverage.value == pytest.approx(inside.any(0).double().mean().item())


def test_copies_of_a_sample_count_as_neighbours() -> None:
    """A set of pairs of equal samples has balls of radius 0 at k = 1: a copy of one is inside, all else outside."""
    real = points(0, 0, 5, 5)
    precision, _ = precision_recall(real, points(0, 0.1), k=1)
    assert precision.value == 0.5


def test_memorisation_of_fresh_samples_is_nothing_and_of_copies_all() -> None:
    """Fresh samples: 0 within 4 standard errors of the expected share, 800 of 8,000 (error probability 6e-5, and more
    where samples share neighbours: the set is fixed by its seed)."""
    generator = torch.Generator().manual_seed(0)
    train, heldout, fresh = (torch.randn(n, 4, generator=generator) for n in (1800, 200, 8000))
    assert abs(memorization(train, heldout, fresh).value) < 0.14
    assert memorization(train, heldout, train + 1e-5).value == 1.0
    assert memorization(train, heldout, heldout + 1e-5).value == pytest.approx(1 - 10)
    half = torch.cat([train[:500] + 1e-5, fresh[:500]])
    estimate = memorization(train, heldout, half)
    assert 0.1 < estimate.low < 0.5 < estimate.high < 0.9
    # Typical samples, all near the middle, are no copies.
    assert memorization(train, heldout, fresh * 0.3).value < 0.3


def test_neighbours_that_there_are_not() -> None:
    for k in (0, 3):
        with pytest.raises(UsageError, match="k must be"):
            precision_recall(points(0, 1, 2), points(0, 1, 2), k=k)


def test_neighbor_distance_counts_neighbours_of_the_other_set() -> None:
    """Of 0, 1, 10 and 1.2, 10.5, 30, all but 0 and 30 have one: 4 of 6. By chance it is 2 · 3 · 3 / (6 · 5)."""
    assert neighbor_distance(points(0, 1, 10), points(1.2, 10.5, 30)).value == pytest.approx(1 - (4 / 6) / 0.6)
    assert neighbor_distance(points(0, 1), points(0.5, 0.5)).value == pytest.approx(1 - (2 / 4) / (2 / 3))
    assert neighbor_distance(points(0, 1), points(9, 8)).value == 1.0

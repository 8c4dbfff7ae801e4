"""Fréchet and kernel distance against closed forms and against scikit-learn's kernel."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from sparring import DataError
from sparring.metrics import frechet_distance, kernel_distance, ks_distance
from sparring.seeding import Stream


def with_moments(n: int, mean: Tensor, root: Tensor, seed: int) -> Tensor:
    """Samples whose own mean and covariance are exactly `mean` and `root` rootᵀ."""
    noise = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noise = noise - noise.mean(0)
    white = noise @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(noise.T))).T
    return mean + white @ root.T


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    first, second = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([0.5, 1.0, 3.0]).double()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    real = with_moments(200, torch.tensor([100.0, 0.0, 3.0]).double(), turn @ first.diag(), seed=0)
    fake = with_moments(300, torch.tensor([101.0, 2.0, 3.0]).double(), turn @ second.diag(), seed=1)
    # With common axes the covariances commute: ‖Δμ‖² + Σ (σ − σ′)².
    truth = 1 + 4 + (first - second).square().sum().item()
    assert frechet_distance(real, fake, num_resamples=2).value == pytest.approx(truth, abs=1e-8)


def test_frechet_distance_where_covariances_do_not_commute() -> None:
    """Of 2×2 matrices Tr (AB)^½ = √(Tr AB + 2 √det AB)."""
    a, b = torch.tensor([[2.0, 1.0], [0.0, 1.0]]).double(), torch.tensor([[1.0, 0.0], [-2.0, 0.5]]).double()
    real, fake = (with_moments(100, torch.zeros(2).double(), root, seed) for seed, root in enumerate((a, b)))
    product = a @ a.T @ b @ b.T
    cross = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    truth = (a @ a.T).trace() + (b @ b.T).trace() - 2 * cross
    assert frechet_distance(real, fake, num_resamples=2).value == pytest.approx(truth.item(), abs=1e-8)


@pytest.mark.parametrize("rank", [1, 5])
def test_frechet_distance_is_that_of_scipys_matrix_root(rank: int) -> None:
    """With features that depend on each other too, whose covariance has no inverse."""
    generator = torch.Generator().manual_seed(3)
    mix = torch.randn(2, rank, 5, generator=generator, dtype=torch.float64)
    real, fake = torch.randn(2, 400, rank, generator=generator, dtype=torch.float64) @ mix
    covariances = [torch.cov(features.T).numpy() for features in (real, fake)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1] + 1e-14 * np.eye(5))
    truth = (real.mean(0) - fake.mean(0)).square().sum().item() + sum(each.trace() for each in covariances)
    truth -= 2 * root.trace().real
    assert frechet_distance(real, fake, num_resamples=2).value == pytest.approx(truth, abs=1e-6)


def test_frechet_distance_of_one_feature() -> None:
    """(μ − μ′)² + (σ − σ′)²."""
    real = torch.tensor([[0.0], [2.0], [4.0]])
    assert frechet_distance(real, 3 * real + 1, num_resamples=2).value == pytest.approx(5**2 + 4**2)


def test_frechet_distance_is_refused_where_the_covariance_is_not_known() -> None:
    real, fake = torch.randn(50, 8), torch.randn(8, 8)
    message = "8 fake samples cannot determine the covariance of 8 features.*kernel_distance"
    with pytest.raises(DataError, match=message):
        frechet_distance(real, fake)
    assert kernel_distance(real, fake).low < kernel_distance(real, fake).high


def test_kernel_distance_is_the_unbiased_estimator_over_scikit_learns_kernel() -> None:
    real, fake = torch.randn(1300, 5), torch.randn(1100, 5) * 1.2  # more than one part of rows
    within = [polynomial_kernel(x, degree=3, gamma=1 / 5, coef0=1) for x in (real, fake)]
    across = polynomial_kernel(real, fake, degree=3, gamma=1 / 5, coef0=1)
    means = [(kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)) for kernel in within]
    truth = means[0] + means[1] - 2 * across.mean()
    assert kernel_distance(real, fake, num_resamples=2).value == pytest.approx(truth, rel=1e-4)


def test_kernel_distance_has_no_bias_and_the_frechet_distance_has() -> None:
    """Thirty pairs of equal distributions: |mean| < 4 standard errors (error probability 1e-4), and one far above 0."""
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, 40, 4, generator=generator) for _ in range(30)]
    distances = torch.tensor([kernel_distance(*pair, num_resamples=2).value for pair in pairs])
    assert abs(distances.mean()) < 4 * distances.std() / 30**0.5
    biased = torch.tensor([frechet_distance(*pair, num_resamples=2).value for pair in pairs])
    assert biased.mean() > 4 * biased.std() / 30**0.5


@pytest.mark.parametrize("shift", [0.0, 0.5, 9.0])
def test_ks_distance_is_that_of_scipy(shift: float) -> None:
    """Also where numbers occur several times, as pitches of 0 do."""
    real, fake = Stream(0, "real").normal(70), Stream(0, "fake").normal(50) + shift
    real[:20] = fake[:5] = 0.0
    estimate = ks_distance(real, fake)
    assert estimate.value == pytest.approx(scipy.stats.ks_2samp(real, fake).statistic)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_interval_of_a_ks_distance_holds_its_value_of_the_whole() -> None:
    """Shares of 0 and 1 of .3 and .5 have the distance .2: 200 intervals of 95 % hold it, but for about ten."""
    uniform = Stream(0, "shares").uniform(200, 2, 400)
    estimates = [ks_distance((real < 0.3).float(), (fake < 0.5).float(), num_resamples=50) for real, fake in uniform]
    assert sum(each.low <= 0.2 <= each.high for each in estimates) >= 175

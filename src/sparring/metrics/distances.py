"""Distances between two sets of features: how far generated samples are from real ones as a whole."""

import torch
from torch import Tensor

from sparring.errors import DataError
from sparring.metrics.estimate import around, bootstrap, check_features, check_num_resamples
from sparring.seeding import Stream
from sparring.types import Estimate, Features


def frechet_distance(real: Features, fake: Features, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The squared Wasserstein-2 distance between two Gaussians with the features' means and covariances.

    ‖μ_r − μ_f‖² + Tr(Σ_r + Σ_f − 2 (Σ_r Σ_f)^½)

    It falls with the number of samples: compare equal numbers only, and with the distance of held-out real samples.
    With Inception's features, and only with them, it is called FID.

    Args:
        real: features [n, d].
        fake: features [m, d].
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Raises:
        DataError: unless n and m are above d, as the covariance needs; or if features are constant or not finite.

    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6.

    Example:
        >>> features = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(features, features + 3.0).value, 3)  # 3² + 3²
        18.0
    """
    check_features(real=real, fake=fake)
    for name, features in (("real", real), ("fake", fake)):
        if len(features) <= features.shape[1]:
            raise DataError(
                f"{len(features)} {name} samples cannot determine the covariance of {features.shape[1]} features: "
                f"give more than {features.shape[1]}, or use kernel_distance"
            )
    return bootstrap(_frechet, [real.double(), fake.double()], num_resamples, seed, least=0.0)


def _frechet(groups: list[Tensor]) -> float:
    real, fake = groups
    shift = (real.mean(0) - fake.mean(0)).square().sum()
    d = real.shape[1]
    real_covariance, fake_covariance = (torch.cov(group.T).view(d, d) for group in groups)
    # With Σ_r = R Rᵀ, Σ_r Σ_f has the eigenvalues of Rᵀ Σ_f R, symmetric: at least 0, except for rounding.
    values, vectors = torch.linalg.eigh(real_covariance)
    root = vectors * values.clamp(min=0).sqrt()
    cross = torch.linalg.eigvalsh(root.T @ fake_covariance @ root).clamp(min=0).sqrt().sum()
    return max(0.0, float(shift + real_covariance.trace() + fake_covariance.trace() - 2 * cross))


def kernel_distance(real: Features, fake: Features, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The squared maximum mean discrepancy with the kernel k(x, y) = (xᵀy / d + 1)³, without bias.

    mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y), over pairs of different samples. If the two distributions are
    equal, it is 0 on average for any number of samples, and below 0 half of the time. With Inception's features it is
    called KID.

    Args:
        real: features [n, d].
        fake: features [m, d].
        num_resamples: of the bootstrap that gives the interval, which is too wide if the distance is near 0.
        seed: of the bootstrap.

    Raises:
        DataError: for features that are constant or not finite.

    Source: Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4; the unbiased estimator:
        Gretton et al. 2012, "A kernel two-sample test", equation 3.

    Example:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> kernel_distance(x, x + 1.0).value  # k(0, 2) + k(1, 3) − ½ (k(0, 1) + k(0, 3) + k(2, 1) + k(2, 3))
        -121.0
    """
    check_features(real=real, fake=fake)
    check_num_resamples(num_resamples)
    real, fake = real.double(), fake.double()
    real_counts = _resampling_counts(len(real), num_resamples, Stream(seed, "bootstrap/real"))
    fake_counts = _resampling_counts(len(fake), num_resamples, Stream(seed, "bootstrap/fake"))
    within = _mean_kernel(real, real, real_counts, real_counts) + _mean_kernel(fake, fake, fake_counts, fake_counts)
    distances = within - 2 * _mean_kernel(real, fake, real_counts, fake_counts)
    return around(distances[0].item(), distances[1:].std().item())


def ks_distance(real: Tensor, fake: Tensor, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The largest difference between the shares of two sets of numbers that are at most x, over all x.

    max |F(x) − G(x)|, the statistic of Kolmogorov and Smirnov: 0 for equal histograms, 1 for numbers of which all of
    one set are above all of the other. It needs no unit. It falls with the number of samples: two sets of n from the
    same distribution have about 1.2 / √n.

    Args:
        real: numbers [n], one of each sample.
        fake: numbers [m].
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Source: Hodges 1958, "The significance probability of the Smirnov two-sample test", Arkiv för Matematik 3, 469–486.

    Example:
        >>> ks_distance(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([3.0, 4.0, 5.0, 6.0])).value
        0.5
    """
    return bootstrap(_ks, [real.double(), fake.double()], num_resamples, seed, least=0.0, most=1.0)


def _ks(groups: list[Tensor]) -> float:
    sets = [group.sort().values for group in groups]
    places = torch.cat(sets)
    real, fake = (torch.searchsorted(each, places, right=True).double() / len(each) for each in sets)
    return (real - fake).abs().max().item()


def _resampling_counts(n: int, num_resamples: int, stream: Stream) -> Tensor:
    """How often each resample draws each sample, [n, 1 + num_resamples]; the first column draws each once."""
    drawn = [torch.bincount(stream.at(number).integers(n, n), minlength=n) for number in range(num_resamples)]
    return torch.stack([torch.ones(n, dtype=torch.int64), *drawn], dim=1).double()


def _mean_kernel(x: Tensor, y: Tensor, x_counts: Tensor, y_counts: Tensor) -> Tensor:
    """The mean of k over pairs of different samples, for each column of counts."""
    sums = torch.zeros(x_counts.shape[1], dtype=torch.float64)
    for part, counts in zip(torch.split(x, 1000), torch.split(x_counts, 1000), strict=True):
        sums += (counts * ((part @ y.T / x.shape[1] + 1) ** 3 @ y_counts)).sum(0)
    pairs = x_counts.sum(0) * y_counts.sum(0)
    if x is y:
        with_itself = (x.square().sum(1) / x.shape[1] + 1) ** 3
        sums -= (x_counts.square() * with_itself[:, None]).sum(0)
        pairs = pairs - x_counts.square().sum(0)
    return sums / pairs

"""Distances between two sets of features: how far generated samples are from real ones as a whole."""

import torch
from torch import Tensor, nn

from sparring.errors import DataError
from sparring.metrics.estimate import Estimate, around, bootstrap, check_features, check_num_resamples
from sparring.seeding import Stream
from sparring.types import Features


def frechet_distance(real: Features, fake: Features, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The squared Wasserstein-2 distance between two Gaussians with the features' means and covariances.

    ‖μ_r − μ_f‖² + Tr(Σ_r + Σ_f − 2 (Σ_r Σ_f)^½)

    It falls with more samples even where nothing else changes: compare equal numbers only, and with the same figure
    for held-out real samples. With Inception's features, and no others, it is called FID.

    Args:
        real: features [n, d].
        fake: features [m, d].
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap.

    Raises:
        DataError: for no more samples than dimensions, where the covariance is not known, or features that are
            constant or not finite.

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
                f"{len(features)} {name} samples don't tell the covariance of {features.shape[1]} features: "
                f"give more than {features.shape[1]}, or use kernel_distance"
            )
    return bootstrap(_frechet, [real.double(), fake.double()], num_resamples, seed, least=0.0)


class _AreFeatures(nn.Identity):
    """An extractor for features that are extracted already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _frechet(groups: list[Tensor]) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_AreFeatures(groups[0].shape[1]))
    for features, are_real in zip(groups, (True, False), strict=True):
        metric.update(features - groups[0].mean(0), real=are_real)  # means near zero lose no digits in the sums
    return float(metric.compute())


def kernel_distance(real: Features, fake: Features, *, num_resamples: int = 100, seed: int = 0) -> Estimate:
    """The squared maximum mean discrepancy with the kernel k(x, y) = (xᵀy / d + 1)³, without bias.

    mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y), over pairs of different samples: 0 on average where the two
    distributions are one, for any number of samples, and below 0 then half of the time. With Inception's features it
    is called KID.

    Args:
        real: features [n, d].
        fake: features [m, d].
        num_resamples: of the bootstrap that gives the interval; wider than it need be where the distance is near 0.
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
    real_counts, fake_counts = (
        _resampling_counts(len(features), num_resamples, Stream(seed, name))
        for name, features in (("bootstrap/real", real), ("bootstrap/fake", fake))
    )
    distances = (
        _mean_kernel(real, real, real_counts, real_counts)
        + _mean_kernel(fake, fake, fake_counts, fake_counts)
        - 2 * _mean_kernel(real, fake, real_counts, fake_counts)
    )
    return around(distances[0].item(), distances[1:].std().item())


def _resampling_counts(n: int, num_resamples: int, stream: Stream) -> Tensor:
    """How often each sample is drawn, [n, 1 + num_resamples]: once in the first column, then at random."""
    drawn = [torch.bincount(stream.at(number).integers(n, n), minlength=n) for number in range(num_resamples)]
    return torch.stack([torch.ones(n, dtype=torch.int64), *drawn], dim=1).double()


def _mean_kernel(x: Tensor, y: Tensor, x_counts: Tensor, y_counts: Tensor) -> Tensor:
    """The mean of k over pairs for each column of counts; a sample makes no pair with itself, however often drawn."""
    sums = torch.zeros(x_counts.shape[1], dtype=torch.float64)
    for part, counts in zip(torch.split(x, 1000), torch.split(x_counts, 1000), strict=True):
        kernel = (part @ y.T / x.shape[1] + 1) ** 3
        sums += (counts * (kernel @ y_counts)).sum(0)
    pairs = x_counts.sum(0) * y_counts.sum(0)
    if x is y:
        itself = (x.square().sum(1) / x.shape[1] + 1) ** 3
        sums -= (x_counts.square() * itself[:, None]).sum(0)
        pairs = pairs - x_counts.square().sum(0)
    return sums / pairs

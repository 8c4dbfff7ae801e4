"""Penalties restrain the discriminator.

A penalty can add a value per sample to the discriminator's loss, project its weights back after an update, or change
its layers once, before the game begins; most do one of the three. Gradients are those of the logits with respect to
the samples, ∇ₓD(x), and ‖·‖ is the norm over one sample. `interval` is lazy regularisation: every `interval`-th update
of the discriminator computes the penalty and multiplies it by `interval` (Karras et al. 2020, "Analyzing and improving
the image quality of StyleGAN", arXiv:1912.04958). To add a penalty, write its class and add it to `PENALTIES`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn
from torch.nn.utils import parametrizations

from sparring.distributed.collectives import deviation
from sparring.errors import UsageError
from sparring.game.logit_cache import Score, gradients
from sparring.seeding import Stream
from sparring.types import PerSample, Samples


@dataclass(frozen=True)
class Penalty:
    """The interface of penalties: three methods, which do nothing by default.

    Args:
        weight: its strength, at least 0; each penalty says what it multiplies or bounds.
        interval: compute it at every `interval`-th update of the discriminator, at least 1.

    Raises:
        UsageError: for a weight or an interval out of range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    per_sample: ClassVar[bool] = False
    """Whether it assumes that samples don't influence each other, as batch normalisation makes them do."""
    whole_batch: ClassVar[bool] = False
    """Whether its value for one sample depends on the others of the batch."""
    has_weight: ClassVar[bool] = True
    """Whether it takes a weight and an interval."""

    weight: float = 0.0
    interval: int = 1

    def __post_init__(self) -> None:
        if not self.has_weight and (self.weight, self.interval) != (type(self).weight, 1):
            raise UsageError(f"the penalty {self.name!r} has neither a weight nor an interval: omit both")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"the weight of the penalty {self.name!r} must be at least 0, not {self.weight}")
        if self.interval < 1:
            raise UsageError(f"the interval of the penalty {self.name!r} must be at least 1, not {self.interval}")

    def prepare(self, discriminator: nn.Module) -> None:
        """Change the discriminator's layers, once, before the game begins."""

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The value to add to the discriminator's loss for each sample, [batch].

        Args:
            discriminator: from samples to logits; a game passes a `LogitCache`, which computes nothing twice.
            real: real samples [batch, ...].
            fake: generated samples of the same shape, without a graph.
            stream: for random points.
        """
        return real.new_zeros(len(real))

    def project(self, discriminator: nn.Module) -> None:
        """Bring the weights back into their allowed range, after an update."""


def _squared_slopes(discriminator: Score, samples: Samples) -> PerSample:
    """‖∇ₓD(x)‖², [batch]."""
    return gradients(discriminator, samples).square().flatten(1).sum(1)


def _distance_from_slope_one(discriminator: Score, samples: Samples) -> PerSample:
    """(‖∇ₓD(x)‖ − 1)², [batch]; its gradient where ∇ₓD(x) = 0 is 0, not NaN."""
    squared = _squared_slopes(discriminator, samples)
    return (torch.where(squared > 0, squared, 1).sqrt() * (squared > 0) - 1).square()


@final
@dataclass(frozen=True)
class NoPenalty(Penalty):
    """No penalty."""

    name = "none"
    summary = "an unrestrained discriminator"
    source = "Goodfellow et al. 2014, arXiv:1406.2661"
    has_weight = False


@final
@dataclass(frozen=True)
class WeightClipping(Penalty):
    """w ← clip(w, −c, c) after each update, for every weight of the discriminator; c is `weight`.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, Algorithm 1, line 7.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> _ = nn.init.constant_(layer.weight, 3.0)
        >>> WeightClipping(0.01).project(layer)
        >>> round(layer.weight.item(), 4)
        0.01
    """

    name = "weight_clipping"
    summary = "every weight of the discriminator clipped to [−weight, weight] after its update"
    source = "Arjovsky et al. 2017, arXiv:1701.07875"
    weight: float = 0.01

    @torch.no_grad()
    def project(self, discriminator: nn.Module) -> None:
        """Clip every parameter to [−weight, weight]."""
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.weight, self.weight)


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """WGAN-GP: λ (‖∇D(x̂)‖ − 1)² at random points x̂ = ε x + (1 − ε) G(z), ε uniform in [0, 1); λ is `weight`.

    Don't combine it with batch normalisation in the discriminator, which makes samples influence each other.

    Source: Gulrajani et al. 2017, "Improved training of Wasserstein GANs", arXiv:1704.00028, eq. 3.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> GradientPenalty(10.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([40., 40.])
    """

    name = "gradient_penalty"
    summary = "WGAN-GP: slopes of 1 between real and generated samples"
    source = "Gulrajani et al. 2017, arXiv:1704.00028"
    per_sample = True
    weight: float = 10.0

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The penalty, [batch]."""
        mix = stream.uniform(len(real), *[1] * (real.ndim - 1)).to(real)
        return self.weight * _distance_from_slope_one(discriminator, torch.lerp(fake, real, mix))


@final
@dataclass(frozen=True)
class Dragan(Penalty):
    """DRAGAN: λ (‖∇D(x̂)‖ − 1)² at x̂ = x + α δ, δ = ½ std(x) u, α and u uniform in [0, 1); λ is `weight`.

    The standard deviation is that of the whole batch. As in the authors' code, the perturbation is never negative.

    Source: Kodali et al. 2017, "On convergence and stability of GANs", arXiv:1705.07215, and its authors' code.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> Dragan(10.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([40., 40.])
    """

    name = "dragan"
    summary = "DRAGAN: slopes of 1 around the data"
    source = "Kodali et al. 2017, arXiv:1705.07215"
    per_sample = True
    whole_batch = True
    weight: float = 10.0

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The penalty, [batch]."""
        perturbation = 0.5 * deviation(real) * stream.part("perturbation").uniform(*real.shape).to(real)
        mix = stream.part("mix").uniform(len(real), *[1] * (real.ndim - 1)).to(real)
        return self.weight * _distance_from_slope_one(discriminator, real + mix * perturbation)


@final
@dataclass(frozen=True)
class R1(Penalty):
    """γ/2 ‖∇D(x)‖² at real samples; γ is `weight`.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406, eq. 9.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R1(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([9., 9.])
    """

    name = "r1"
    summary = "flat at the data: zero-centred gradient penalty on real samples"
    source = "Mescheder et al. 2018, arXiv:1801.04406"
    per_sample = True
    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The penalty, [batch]."""
        return 0.5 * self.weight * _squared_slopes(discriminator, real)


@final
@dataclass(frozen=True)
class R2(Penalty):
    """γ/2 ‖∇D(G(z))‖² at generated samples; γ is `weight`.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406, eq. 10.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R2(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([9., 9.])
    """

    name = "r2"
    summary = "flat at the generated samples: zero-centred gradient penalty on them"
    source = "Mescheder et al. 2018, arXiv:1801.04406"
    per_sample = True
    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The penalty, [batch]."""
        return 0.5 * self.weight * _squared_slopes(discriminator, fake)


@final
@dataclass(frozen=True)
class R1R2(Penalty):
    """γ/2 (‖∇D(x)‖² + ‖∇D(G(z))‖²): `R1` and `R2` with the same weight γ, as in R3GAN.

    Source: Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, eq. 3.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R1R2(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([18., 18.])
    """

    name = "r1r2"
    summary = "r1 and r2 together; with the relativistic objective it is R3GAN"
    source = "Huang et al. 2024, arXiv:2501.05441"
    per_sample = True
    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The penalty, [batch]."""
        r1, r2 = R1(self.weight), R2(self.weight)
        return r1(discriminator, real, fake, stream) + r2(discriminator, real, fake, stream)


@final
@dataclass(frozen=True)
class SpectralNorm(Penalty):
    """W / σ(W) in every linear, convolutional and embedding layer, σ the largest singular value of W as a matrix.

    One power iteration per forward pass estimates σ, for kernels reshaped to [out, in · height · width]. A weight or an
    interval is a UsageError.

    Source: Miyato et al. 2018, "Spectral normalization for generative adversarial networks", arXiv:1802.05957, eq. 8.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> SpectralNorm().prepare(layer)
        >>> _ = [layer(torch.zeros(1, 4)) for _ in range(200)]
        >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 3)
        1.0
    """

    name = "spectral_norm"
    summary = "every layer's weight divided by its largest singular value"
    has_weight = False
    source = "Miyato et al. 2018, arXiv:1802.05957"
    per_sample = True
    weight: float = 1.0

    def prepare(self, discriminator: nn.Module) -> None:
        """Reparametrise each linear, convolutional and embedding layer."""
        for module in list(discriminator.modules()):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
                parametrizations.spectral_norm(module)


PENALTIES: dict[str, type[Penalty]] = {
    penalty.name: penalty
    for penalty in (NoPenalty, WeightClipping, GradientPenalty, Dragan, R1, R2, R1R2, SpectralNorm)
}
"""Every penalty by its name."""

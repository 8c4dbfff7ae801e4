"""What restrains the discriminator.

A penalty may add a value per sample to the discriminator's loss, may project its weights back after an update, and
may change its layers once, before the game begins; most do one of the three. The gradients are those of the logits
with respect to the samples, ∇ₓD(x), and ‖·‖ is the norm over one sample.

`interval` is lazy regularisation: the penalty is computed at every `interval`-th update of the discriminator and
counts `interval` times there (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
arXiv:1912.04958).

To add a penalty: write its class and name it in `PENALTIES`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from sparring.distributed import deviation
from sparring.errors import UsageError
from sparring.judge import Score, gradients
from sparring.seeding import Stream
from sparring.types import PerSample, Samples


@dataclass(frozen=True)
class Penalty:
    """The interface: three things that a penalty may do, none of them by default.

    Args:
        weight: how strong it is, at least 0; its meaning is each penalty's own.
        interval: apply it at every how many updates of the discriminator, at least 1.

    Raises:
        UsageError: for a weight or an interval out of range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    per_sample: ClassVar[bool] = False
    """Whether it is about single samples, so that the discriminator should not normalise over the batch."""

    weight: float = 0.0
    interval: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"the weight of the penalty {self.name!r} must be at least 0, and is {self.weight}")
        if self.interval < 1:
            raise UsageError(f"the interval of the penalty {self.name!r} must be at least 1, and is {self.interval}")

    def prepare(self, discriminator: nn.Module) -> None:
        """Change the discriminator's layers, once, before the game begins."""

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """The value to add to the discriminator's loss for each sample, [batch].

        Args:
            discriminator: gives a logit to each sample; in a game it is a `Judge`, so that what is asked twice of the
                same samples is computed once.
            real: real samples [batch, ...].
            fake: generated samples of the same shape, without a graph.
            stream: for penalties that look at random points.
        """
        return real.new_zeros(len(real))

    def project(self, discriminator: nn.Module) -> None:
        """Bring the weights back to where they are allowed to be, after an update."""


def squared_norms(values: Tensor) -> PerSample:
    """‖v‖² over all but the first dimension, [batch]."""
    return values.square().flatten(1).sum(1)


def norms(values: Tensor) -> PerSample:
    """‖v‖ over all but the first dimension, [batch]; its gradient at v = 0 is 0, not NaN."""
    squared = squared_norms(values)
    return torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)


def _distance_from_slope_one(discriminator: Score, samples: Samples) -> PerSample:
    """(‖∇ₓD(x)‖ − 1)², [batch]."""
    return (norms(gradients(discriminator, samples)) - 1).square()


@final
@dataclass(frozen=True)
class NoPenalty(Penalty):
    """The discriminator as it is.

    Source: Goodfellow et al. 2014, arXiv:1406.2661.
    """

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "the discriminator as it is"
    source: ClassVar[str] = "Goodfellow et al. 2014, arXiv:1406.2661"

    weight: float = 0.0

    def __post_init__(self) -> None:
        _refuse_numbers(self, usual_weight=0.0)


@final
@dataclass(frozen=True)
class WeightClipping(Penalty):
    """w ← clip(w, −c, c) after each update, for every weight of the discriminator.

    Args:
        weight: the bound c.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, Algorithm 1, line 7.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(3.0)
        >>> WeightClipping(0.01).project(layer)
        >>> round(layer.weight.item(), 4)
        0.01
    """

    name: ClassVar[str] = "weight_clipping"
    summary: ClassVar[str] = "every weight of the discriminator clipped to [−weight, weight] after its update"
    source: ClassVar[str] = "Arjovsky et al. 2017, arXiv:1701.07875"

    weight: float = 0.01

    @torch.no_grad()
    def project(self, discriminator: nn.Module) -> None:
        """Clip every parameter to [−weight, weight]."""
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.weight, self.weight)


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """λ (‖∇D(x̂)‖ − 1)² at random points x̂ = ε x + (1 − ε) G(z) between real and generated samples (WGAN-GP).

    Don't combine it with batch normalisation in the discriminator: the penalty is about single samples.

    Args:
        weight: λ.

    Source: Gulrajani et al. 2017, "Improved training of Wasserstein GANs", arXiv:1704.00028, eq. 3.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> GradientPenalty(10.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([40., 40.])
    """

    name: ClassVar[str] = "gradient_penalty"
    summary: ClassVar[str] = "WGAN-GP: slopes of 1 between real and generated samples"
    source: ClassVar[str] = "Gulrajani et al. 2017, arXiv:1704.00028"
    per_sample: ClassVar[bool] = True

    weight: float = 10.0

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """λ (‖∇D(x̂)‖ − 1)², [batch]."""
        mix = stream.uniform(len(real), *[1] * (real.ndim - 1)).to(real)
        return self.weight * _distance_from_slope_one(discriminator, torch.lerp(fake, real, mix))


@final
@dataclass(frozen=True)
class Dragan(Penalty):
    """λ (‖∇D(x̂)‖ − 1)² at points around the data: x̂ = x + α δ, δ = ½ std(x) u, with α and u uniform in [0, 1).

    Args:
        weight: λ.

    The standard deviation is that of the whole batch. The perturbation, of one sign, is that of the authors' code.

    Source: Kodali et al. 2017, "On convergence and stability of GANs", arXiv:1705.07215, and its authors' code.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> Dragan(10.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([40., 40.])
    """

    name: ClassVar[str] = "dragan"
    summary: ClassVar[str] = "DRAGAN: slopes of 1 around the data"
    source: ClassVar[str] = "Kodali et al. 2017, arXiv:1705.07215"
    per_sample: ClassVar[bool] = True

    weight: float = 10.0

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """λ (‖∇D(x̂)‖ − 1)², [batch]."""
        perturbation = 0.5 * deviation(real) * stream.part("perturbation").uniform(*real.shape).to(real)
        mix = stream.part("mix").uniform(len(real), *[1] * (real.ndim - 1)).to(real)
        return self.weight * _distance_from_slope_one(discriminator, real + mix * perturbation)


@final
@dataclass(frozen=True)
class R1(Penalty):
    """γ/2 ‖∇D(x)‖² at real samples.

    Args:
        weight: γ.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406, eq. 9.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R1(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([9., 9.])
    """

    name: ClassVar[str] = "r1"
    summary: ClassVar[str] = "flat at the data: zero-centred gradient penalty on real samples"
    source: ClassVar[str] = "Mescheder et al. 2018, arXiv:1801.04406"
    per_sample: ClassVar[bool] = True

    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """γ/2 ‖∇D(x)‖² at the real samples, [batch]."""
        return 0.5 * self.weight * squared_norms(gradients(discriminator, real))


@final
@dataclass(frozen=True)
class R2(Penalty):
    """γ/2 ‖∇D(G(z))‖² at generated samples.

    Args:
        weight: γ.

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", arXiv:1801.04406, eq. 10.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R2(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([9., 9.])
    """

    name: ClassVar[str] = "r2"
    summary: ClassVar[str] = "flat at the generated samples: zero-centred gradient penalty on them"
    source: ClassVar[str] = "Mescheder et al. 2018, arXiv:1801.04406"
    per_sample: ClassVar[bool] = True

    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """γ/2 ‖∇D(G(z))‖² at the generated samples, [batch]."""
        return 0.5 * self.weight * squared_norms(gradients(discriminator, fake))


@final
@dataclass(frozen=True)
class R1R2(Penalty):
    """γ/2 (‖∇D(x)‖² + ‖∇D(G(z))‖²): both zero-centred penalties with one weight, as R3GAN has them.

    Args:
        weight: γ.

    Source: Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, eq. 3.

    Example:
        >>> slope_three = lambda x: 3 * x[:, 0]
        >>> R1R2(2.0)(slope_three, torch.ones(2, 1), torch.zeros(2, 1), Stream(0, "penalty"))
        tensor([18., 18.])
    """

    name: ClassVar[str] = "r1r2"
    summary: ClassVar[str] = "r1 and r2 together; with the relativistic objective it is R3GAN's game"
    source: ClassVar[str] = "Huang et al. 2024, arXiv:2501.05441"
    per_sample: ClassVar[bool] = True

    weight: float = 0.01

    def __call__(self, discriminator: Score, real: Samples, fake: Samples, stream: Stream) -> PerSample:
        """γ/2 (‖∇D(x)‖² + ‖∇D(G(z))‖²), [batch]."""
        at_real = squared_norms(gradients(discriminator, real))
        at_fake = squared_norms(gradients(discriminator, fake))
        return 0.5 * self.weight * at_real + 0.5 * self.weight * at_fake


@final
@dataclass(frozen=True)
class SpectralNorm(Penalty):
    """W / σ(W) in every linear, convolutional and embedding layer, σ the largest singular value of W as a matrix.

    σ is followed by one power iteration per forward pass, the kernel reshaped to [out, in · height · width].
    It has neither a weight nor an interval.

    Raises:
        UsageError: if one is given.

    Source: Miyato et al. 2018, "Spectral normalization for generative adversarial networks", arXiv:1802.05957, eq. 8.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> SpectralNorm().prepare(layer)
        >>> _ = [layer(torch.zeros(1, 4)) for _ in range(200)]
        >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 3)
        1.0
    """

    name: ClassVar[str] = "spectral_norm"
    summary: ClassVar[str] = "every layer's weight divided by its largest singular value"
    source: ClassVar[str] = "Miyato et al. 2018, arXiv:1802.05957"
    per_sample: ClassVar[bool] = True

    weight: float = 1.0

    def __post_init__(self) -> None:
        _refuse_numbers(self, usual_weight=1.0)

    def prepare(self, discriminator: nn.Module) -> None:
        """Reparametrise each linear, convolutional and embedding layer."""
        for module in list(discriminator.modules()):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
                parametrizations.spectral_norm(module)


def _refuse_numbers(penalty: Penalty, usual_weight: float) -> None:
    if (penalty.weight, penalty.interval) != (usual_weight, 1):
        raise UsageError(f"the penalty {penalty.name!r} has neither a weight nor an interval: leave both away")


PENALTIES: dict[str, type[Penalty]] = {
    penalty.name: penalty
    for penalty in (NoPenalty, WeightClipping, GradientPenalty, Dragan, R1, R2, R1R2, SpectralNorm)
}
"""Every penalty by its name."""

"""Restraints bind what a generator makes to what it was fed.

They are to the generator what penalties are to the discriminator: a restraint can add a value per sample to the
generator's loss, or project its weights back after an update. To add one, write its class and add it to `RESTRAINTS`.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from sparring.alignment import orthogonalize
from sparring.errors import UsageError
from sparring.game.both_ways import swap
from sparring.types import PerSample, Samples


@dataclass(frozen=True)
class Restraint:
    """The interface of restraints: two methods, which do nothing by default.

    Args:
        weight: its strength, at least 0; each restraint says what it multiplies.

    Raises:
        UsageError: for a weight out of range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    both_ways: ClassVar[bool] = False
    """Whether it needs the generator of the way back, see `BothWays`."""
    compares_features: ClassVar[bool] = False
    """Whether it needs the generator's `features`, see `sparring.networks.translate.Translator`."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"the weight of the restraint {self.name!r} must be at least 0, not {self.weight}")

    def __call__(self, generator: nn.Module, inputs: Samples, fake: Samples, real: Samples) -> PerSample:
        """The value to add to the generator's loss for each sample, [batch].

        Args:
            generator: the network that made `fake`.
            inputs: what it was fed, [batch, ...].
            fake: what it made of that, with its graph.
            real: real samples of the same domain as `fake`.
        """
        return fake.new_zeros(len(fake))

    def project(self, generator: nn.Module) -> None:
        """Bring the weights back into their allowed range, after an update."""


def _mean_error(made: Samples, wanted: Samples) -> PerSample:
    """The mean of |made − wanted| over each item, [batch]."""
    return (made - wanted).abs().flatten(1).mean(1)


@final
@dataclass(frozen=True)
class Cycle(Restraint):
    """λ |F(G(x)) − x| for items x of the source, and λ |G(F(y)) − y| for items y of the target; λ is `weight`.

    |·| is the mean over the numbers of an item. G and F are the two networks of a `BothWays`.

    Source: Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks",
    arXiv:1703.10593, eq. 2.

    Example:
        >>> from sparring.game.both_ways import BothWays
        >>> both, inputs = BothWays(nn.Identity(), nn.ReLU()), torch.tensor([[-3.0], [2.0]])
        >>> Cycle(10.0)(both, inputs, both(inputs), inputs)
        tensor([30.,  0.])
    """

    name = "cycle"
    summary = "there and back again gives the same item"
    source = "Zhu et al. 2017, arXiv:1703.10593"
    both_ways = True
    weight: float = 10.0

    def __call__(self, generator: nn.Module, inputs: Samples, fake: Samples, real: Samples) -> PerSample:
        """The restraint, [batch]."""
        return self.weight * _mean_error(swap(generator(swap(fake))), inputs)


@final
@dataclass(frozen=True)
class Identity(Restraint):
    """λ |G(y) − y| for real items y of the target: an item that is right already stays as it is; λ is `weight`.

    Source: Taigman et al. 2017, "Unsupervised cross-domain image generation", arXiv:1611.02200, the loss L_TID; Zhu et
    al. 2017, arXiv:1703.10593, section 5.2.

    Example:
        >>> Identity(5.0)(nn.ReLU(), torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([[-1.0], [1.0]]))
        tensor([5., 0.])
    """

    name = "identity"
    summary = "an item of the target domain stays as it is"
    source = "Taigman et al. 2017, arXiv:1611.02200"
    weight: float = 5.0

    def __call__(self, generator: nn.Module, inputs: Samples, fake: Samples, real: Samples) -> PerSample:
        """The restraint, [batch]."""
        return self.weight * _mean_error(generator(real), real)


@final
@dataclass(frozen=True)
class Contrastive(Restraint):
    """A patch of the output is closer to the same patch of the input than to its other patches; λ is `weight`.

    For unit features q_i of the output's patches and k_j of the input's, both by the generator's own `features`,
    λ times the mean over i of −log (exp(q_i·k_i/τ) / Σ_j exp(q_i·k_j/τ)), with τ = .07, averaged over layers.

    Source: Park et al. 2020, "Contrastive learning for unpaired image-to-image translation", arXiv:2007.15651, eq. 2-3.
    """

    name = "contrastive"
    summary = "each patch resembles the same patch of the input most"
    source = "Park et al. 2020, arXiv:2007.15651"
    compares_features = True
    weight: float = 1.0

    def __call__(self, generator: Any, inputs: Samples, fake: Samples, real: Samples) -> PerSample:
        """The restraint, [batch]."""
        values = []
        for made, given in zip(generator.features(fake), generator.features(inputs), strict=True):
            queries, keys = nn.functional.normalize(made, dim=2), nn.functional.normalize(given.detach(), dim=2)
            logits = queries @ keys.transpose(1, 2) / 0.07
            values.append((logits.logsumexp(2) - logits.diagonal(dim1=1, dim2=2)).mean(1))
        return self.weight * torch.stack(values).mean(0)


@final
@dataclass(frozen=True)
class Orthogonal(Restraint):
    """W ← (1 + β) W − β W Wᵀ W, twice after each update, for the square matrix W of a linear layer; β is `weight`.

    A linear map stays close to a rotation, which keeps all lengths and angles.

    Source: Cissé et al. 2017, "Parseval networks", arXiv:1704.08847; Conneau et al. 2018, "Word translation without
    parallel data", arXiv:1710.04087, section 3.3.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> layer.weight.data = torch.tensor([[1.1, 0.0], [0.0, 0.9]])
        >>> for _ in range(300):
        ...     Orthogonal(0.01).project(layer)
        >>> layer.weight.detach().round(decimals=2)
        tensor([[1., 0.],
                [0., 1.]])
    """

    name = "orthogonal"
    summary = "a linear generator stays a rotation"
    source = "Conneau et al. 2018, arXiv:1710.04087"
    weight: float = 0.01

    @torch.no_grad()
    def project(self, generator: nn.Module) -> None:
        """Two steps towards the nearest orthogonal matrix."""
        for layer in generator.modules():
            if isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
                layer.weight.copy_(orthogonalize(layer.weight, self.weight))


RESTRAINTS: dict[str, type[Restraint]] = {
    restraint.name: restraint for restraint in (Cycle, Identity, Contrastive, Orthogonal)
}
"""Every restraint by its name."""

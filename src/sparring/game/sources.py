"""Sources of batches. The data are one; so is the noise that a generator starts from, its prior."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.seeding import Stream
from sparring.types import Labels, Samples


class Source(ABC):
    """A distribution to draw batches from.

    Attributes:
        item_shape: the shape of one item: (channels, height, width) of an image, (2,) of a point.
        num_items: the number of items, or None if each draw is new.
        class_shares: the share of each class among the items; empty without labels.
    """

    item_shape: tuple[int, ...]
    num_items: int | None = None
    class_shares: tuple[float, ...] = ()

    @abstractmethod
    def batch(self, size: int, stream: Stream) -> Samples:
        """The batch that belongs to a stream: float32 [size, *item_shape], the same for the same stream."""

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The labels of the same batch, int64 [size] or vectors float32 [size, d], or None if there are none."""
        return None

    def batch_of(self, labels: Labels, stream: Stream) -> Samples:
        """A batch from which to make samples of the given labels: here any, as noise suits every label."""
        return self.batch(len(labels), stream)


@final
@dataclass(frozen=True)
class Gaussian(Source):
    """Independent standard normal numbers.

    Example:
        >>> Gaussian(item_shape=(64,)).batch(3, Stream(0, "latents")).shape
        torch.Size([3, 64])
    """

    item_shape: tuple[int, ...]

    def batch(self, size: int, stream: Stream) -> Samples:
        """Standard normal numbers, [size, *item_shape]."""
        return stream.normal(size, *self.item_shape)


@final
@dataclass(frozen=True)
class Uniform(Source):
    """Independent numbers uniform in [−1, 1).

    Example:
        >>> bool((Uniform(item_shape=(64,)).batch(3, Stream(0, "latents")).abs() <= 1).all())
        True
    """

    item_shape: tuple[int, ...]

    def batch(self, size: int, stream: Stream) -> Samples:
        """Numbers uniform in [−1, 1), [size, *item_shape]."""
        return 2 * stream.uniform(size, *self.item_shape) - 1


@final
class Changed(Source):
    """Another source's items, each changed by a function of samples and a stream, and the labels that they had."""

    def __init__(self, source: Source, change: Callable[[Samples, Stream], Samples]) -> None:
        self.source, self.change = source, change
        self.item_shape, self.num_items, self.class_shares = source.item_shape, source.num_items, source.class_shares

    def batch(self, size: int, stream: Stream) -> Samples:
        """The other source's batch, changed."""
        return self.change(self.source.batch(size, stream), stream.part("change"))

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The other source's labels."""
        return self.source.labels(size, stream)

    def batch_of(self, labels: Labels, stream: Stream) -> Samples:
        """The other source's batch of these labels, changed."""
        return self.change(self.source.batch_of(labels, stream), stream.part("change"))


PRIORS: dict[str, type[Gaussian] | type[Uniform]] = {"gaussian": Gaussian, "uniform": Uniform}
"""Every prior by its name."""


def prior_for(generator: nn.Module) -> Gaussian:
    """Standard normal latents in the shape that a generator's first layer with weights takes."""
    first = next((module for module in generator.modules() if [*module.parameters(recurse=False)]), None)
    if isinstance(first, nn.Linear):
        return Gaussian((first.in_features,))
    if isinstance(first, nn.ConvTranspose2d):
        return Gaussian((first.in_channels, 1, 1))
    raise UsageError("the shape of the generator's latents is unknown: give prior=sparring.Gaussian((latent_dim,))")


def spherical(start: Tensor, end: Tensor, positions: Tensor) -> Tensor:
    """Points between two latents at positions in [0, 1]: sin((1−t)Ω)/sin Ω · start + sin(tΩ)/sin Ω · end."""
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle, t = torch.acos(cosine), positions[:, None]
    if angle.sin() < 1e-6:  # parallel latents define no circle, but a line
        return torch.lerp(start, end, t)
    return torch.sin((1 - t) * angle) / angle.sin() * start + torch.sin(t * angle) / angle.sin() * end

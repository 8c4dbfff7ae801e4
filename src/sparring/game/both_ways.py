"""Two games that share a cycle, played as one: a batch holds items of both domains in turn.

Translating there and back takes two generators and two discriminators. `BothWays` makes one network of each pair: the
even items of a batch go through the first, the odd ones through the second. With a prior that holds source and target
items in turn, and real batches that hold target and source items in turn, the items at one place are always of one
domain. So one `Game` plays both: one optimiser trains both generators and one both discriminators, as in the code of
CycleGAN's authors (Zhu et al. 2017, arXiv:1703.10593), and one checkpoint holds it all.
"""

from typing import final

import torch
from torch import Tensor, nn

from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.types import Labels, Samples


@final
class BothWays(nn.Module):
    """Two networks as one.

    Args:
        there: for the even items of a batch: the generator from source to target, or the target's discriminator.
        back: for the odd ones: the generator from target to source, or the source's discriminator.

    Example:
        >>> both = BothWays(nn.Identity(), nn.Flatten())
        >>> both.back.register_forward_hook(lambda module, inputs, output: -output) and both(torch.ones(4, 1)).flatten()
        tensor([ 1., -1.,  1., -1.])
    """

    def __init__(self, there: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.there = there
        self.back = back

    def forward(self, items: Samples, labels: Labels | None = None) -> Tensor:
        """The networks' outputs, in the order of the items."""
        if labels is None:
            return interleave(self.there(items[0::2]), self.back(items[1::2]))
        return interleave(self.there(items[0::2], labels[0::2]), self.back(items[1::2], labels[1::2]))

    def features(self, items: Samples) -> list[Tensor]:
        """The networks' `features`, in the order of the items."""
        pairs = zip(self.there.features(items[0::2]), self.back.features(items[1::2]), strict=True)  # type: ignore[operator]
        return [interleave(even, odd) for even, odd in pairs]


def interleave(even: Tensor, odd: Tensor) -> Tensor:
    """Two tensors [n, ...] as one [2n, ...], with their items in turn.

    Example:
        >>> interleave(torch.zeros(2), torch.ones(2))
        tensor([0., 1., 0., 1.])
    """
    return torch.stack([even, odd], dim=1).flatten(0, 1)


def swap(items: Tensor) -> Tensor:
    """The items of each pair in the other order.

    Example:
        >>> swap(torch.arange(4))
        tensor([1, 0, 3, 2])
    """
    return items.reshape(-1, 2, *items.shape[1:]).flip(1).flatten(0, 1)


@final
class Both(Source):
    """Items of two sources in turn: the even ones from the first.

    Example:
        >>> from sparring.game.sources import Gaussian, Uniform
        >>> Both(Gaussian((3,)), Uniform((3,))).batch(4, Stream(0, "data")).shape
        torch.Size([4, 3])
    """

    def __init__(self, even: Source, odd: Source) -> None:
        self.even, self.odd = even, odd
        self.item_shape = even.item_shape

    def batch(self, size: int, stream: Stream) -> Samples:
        """Half a batch of each, in turn."""
        return interleave(self.even.batch(size // 2, stream), self.odd.batch(size // 2, stream.part("back")))

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The labels of these items, if both sources have some."""
        even, odd = self.even.labels(size // 2, stream), self.odd.labels(size // 2, stream.part("back"))
        return None if even is None or odd is None else interleave(even, odd)

    def batch_of(self, labels: Labels, stream: Stream) -> Samples:
        """Half a batch of each, of the given labels in turn."""
        even, odd = self.even.batch_of(labels[0::2], stream), self.odd.batch_of(labels[1::2], stream.part("back"))
        return interleave(even, odd)


def one_way(network: nn.Module, *, back: bool = False) -> nn.Module:
    """The network of one way, or the network itself if it has only one."""
    if not isinstance(network, BothWays):
        return network
    return network.back if back else network.there

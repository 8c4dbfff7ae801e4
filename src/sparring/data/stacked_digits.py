"""Three digits of the package as the channels of one image: a thousand modes, known by name."""

from typing import final

from sparring.data.digits import open_digits
from sparring.data.source import Dataset, Items, NamedSource, Source, to_float
from sparring.seeding import Stream
from sparring.types import Samples

NUM_CHANNELS = 3


@final
class Stacked(Source):
    """Images whose channels are independent draws from a set of grey images; every draw is new.

    Without labels: the modes are for the generator to find.

    Args:
        images: what to draw from, grey images.
        num_channels: how many to stack.

    Example:
        >>> import torch
        >>> stacked = Stacked(Items(torch.zeros(5, 1, 28, 28, dtype=torch.uint8)), num_channels=3)
        >>> stacked.batch(4, Stream(0, "data")).shape
        torch.Size([4, 3, 28, 28])
    """

    def __init__(self, images: Items, num_channels: int) -> None:
        self.images = images
        self.item_shape = (num_channels, *images.item_shape[1:])
        self.num_items = None

    def batch(self, size: int, stream: Stream) -> Samples:
        """Images [size, num_channels, height, width]."""
        chosen = stream.integers(len(self.images), size, self.item_shape[0])
        return to_float(self.images.take(chosen.flatten()).reshape(size, *self.item_shape))


def open_stacked_digits() -> Dataset:
    """Stacks of three training digits, and of three held-out ones.

    Example:
        >>> open_stacked_digits().train.item_shape
        (3, 28, 28)
    """
    digits = open_digits()
    assert isinstance(digits.train, Items)
    assert isinstance(digits.heldout, Items)
    return Dataset("stacked-digits", Stacked(digits.train, NUM_CHANNELS), Stacked(digits.heldout, NUM_CHANNELS))


STACKED_DIGITS = NamedSource(
    name="stacked-digits",
    summary="three of the digits as the channels of one image, drawn on the fly: 1,000 modes",
    source="Metz et al. 2016, arXiv:1611.02163, section 3.3.1; the digits as in digits",
    open=open_stacked_digits,
)

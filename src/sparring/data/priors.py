"""Priors: the sources that a generator starts from."""

from typing import final

from sparring.data.source import Source
from sparring.seeding import Stream
from sparring.types import Samples


@final
class Gaussian(Source):
    """Independent standard normal numbers.

    Args:
        item_shape: the shape of one draw.

    Example:
        >>> Gaussian((64,)).batch(3, Stream(0, "latents")).shape
        torch.Size([3, 64])
    """

    def __init__(self, item_shape: tuple[int, ...]) -> None:
        self.item_shape = item_shape
        self.num_items = None

    def batch(self, size: int, stream: Stream) -> Samples:
        """Standard normal numbers, [size, *item_shape]."""
        return stream.normal(size, *self.item_shape)


@final
class Uniform(Source):
    """Independent numbers uniform in [−1, 1).

    Args:
        item_shape: the shape of one draw.

    Example:
        >>> bool((Uniform((64,)).batch(3, Stream(0, "latents")).abs() <= 1).all())
        True
    """

    def __init__(self, item_shape: tuple[int, ...]) -> None:
        self.item_shape = item_shape
        self.num_items = None

    def batch(self, size: int, stream: Stream) -> Samples:
        """Numbers uniform in [−1, 1), [size, *item_shape]."""
        return 2 * stream.uniform(size, *self.item_shape) - 1


PRIORS: dict[str, type[Gaussian] | type[Uniform]] = {"gaussian": Gaussian, "uniform": Uniform}
"""Every prior by its name."""

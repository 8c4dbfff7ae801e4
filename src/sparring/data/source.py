"""What a source of samples is. Data are sources, and so are priors: the game maps one source to another."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.data.packed import Packed
from sparring.data.survey import MAX_CLASSES, Survey
from sparring.errors import DataError
from sparring.seeding import Stream
from sparring.types import Labels, Samples

RESIZED_AT_ONCE = 1000


class Source(ABC):
    """A distribution to draw batches from.

    Attributes:
        item_shape: the shape of one item: (channels, height, width) of an image, (2,) of a point.
        num_items: how many items there are, or None where each draw is new.
        class_shares: the share of each class among the items; empty where there are no labels.
    """

    item_shape: tuple[int, ...]
    num_items: int | None
    class_shares: tuple[float, ...] = ()

    @abstractmethod
    def batch(self, size: int, stream: Stream) -> Samples:
        """The batch that belongs to a stream: float32 [size, *item_shape], the same for the same stream.

        Args:
            size: the number of items.
            stream: its step says which batch of the sequence to draw.
        """

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The labels of the same batch, int64 [size], or None where there are none."""
        return None


class Items(Source):
    """A finite set of items, gone through in a new random order in each epoch.

    The batches of steps 0, 1, 2, ... follow each other without a gap, across the ends of epochs: every item comes
    once before any comes twice.

    Args:
        items: uint8 images [n, channels, height, width], given out scaled to [−1, 1]; or float32 [n, ...] as it is.
        item_labels: the class of each, int64 [n] from 0, or None where there are none.
        chosen: the numbers of those that belong to the set, int64 [k]; None for all of them.
        mirrored: of images, whether the set holds each a second time with left and right exchanged; these are the
            second half of it.
        num_classes: how many there are, where the labels may lack the last ones; as many as the labels tell if 0.

    Attributes:
        item_labels: of each item of the set, or None.

    Raises:
        DataError: if there are no items, or a label is out of range.

    Example:
        >>> items = Items(torch.arange(6.0).reshape(6, 1))
        >>> epoch = torch.cat([items.batch(2, Stream(0, "data", step)) for step in range(3)])
        >>> sorted(epoch.flatten().tolist())
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    def __init__(
        self,
        items: Tensor | Packed,
        item_labels: Labels | None = None,
        chosen: Tensor | None = None,
        mirrored: bool = False,
        num_classes: int = 0,
    ) -> None:
        count = len(items) if chosen is None else len(chosen)
        if count == 0:
            raise DataError("the data set is empty")
        self._items = items
        self.mirrored = mirrored
        self.item_labels = item_labels
        if item_labels is not None:
            wrong = ((item_labels < 0) | (item_labels >= MAX_CLASSES)).nonzero().flatten()
            if len(wrong):
                first = int(wrong[0])
                raise DataError(
                    f"labels must lie between 0 and {MAX_CLASSES - 1}, and item {first} has {item_labels[first]} "
                    f"({len(wrong)} such items)"
                )
            if chosen is not None:
                item_labels = item_labels[chosen]
            self.item_labels = item_labels.repeat(2) if mirrored else item_labels
            self.class_shares = _shares(self.item_labels, num_classes)
        self.item_shape = tuple(items.shape[1:])
        self.num_items = 2 * count if mirrored else count
        self._chosen = chosen
        self._count = count
        self._side: int | None = None
        self._order: tuple[Stream, Tensor] | None = None

    def __len__(self) -> int:
        """The number of different items, mirrored ones not counted."""
        return self._count

    @property
    def items(self) -> Tensor:
        """All of the set as they are stored, in memory."""
        if isinstance(self._items, Tensor) and self._chosen is None and not self.mirrored:
            return self._items
        assert self.num_items is not None
        return self.take(torch.arange(self.num_items))

    def with_labels(self, item_labels: Labels) -> "Items":
        """The same set with other labels, int64 [num_items]."""
        other = copy.copy(self)
        other.item_labels, other.class_shares = item_labels, _shares(item_labels)
        return other

    def with_mirror_images(self) -> "Items":
        """The same images, and each a second time with left and right exchanged."""
        other = copy.copy(self)
        other.mirrored, other.num_items, other._order = True, 2 * self._count, None
        other.item_labels = None if self.item_labels is None else self.item_labels[: self._count].repeat(2)
        return other

    def resized(self, side: int) -> "Items":
        """The same images, their middle squares brought to side × side pixels (bilinear, antialiased).

        Those in memory are at once, those in a file whenever they are read.
        """
        if isinstance(self._items, Packed):
            other = copy.copy(self)
            other._side, other.item_shape = side, (self.item_shape[0], side, side)
            return other
        numbers = torch.split(torch.arange(self._count), RESIZED_AT_ONCE)
        images = torch.cat([squared(self.take(part), side) for part in numbers])
        labels = None if self.item_labels is None else self.item_labels[: self._count]
        return Items(images, labels, mirrored=self.mirrored, num_classes=len(self.class_shares))

    def take(self, numbers: Tensor) -> Tensor:
        """The items of these numbers, int64 [k] from 0 to `num_items` − 1, as they are stored."""
        taken = self._items[self._stored(numbers)]
        if self._side is not None:
            taken = squared(taken, self._side)
        if not self.mirrored:
            return taken
        return torch.where((numbers >= self._count)[:, None, None, None], taken.flip(3), taken)

    def _stored(self, numbers: Tensor) -> Tensor:
        """Where they are among `items`."""
        numbers = numbers % self._count
        return numbers if self._chosen is None else self._chosen[numbers]

    def batch(self, size: int, stream: Stream) -> Samples:
        """The next `size` items of the sequence of epochs."""
        samples = to_float(self.take(self._indices(size, stream)))
        if isinstance(self._items, Packed):
            self._items.expect(self._stored(self._indices(size, stream.at(stream.step + 1))))
        return samples

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The labels of these items."""
        return None if self.item_labels is None else self.item_labels[self._indices(size, stream)]

    def _indices(self, size: int, stream: Stream) -> Tensor:
        assert self.num_items is not None
        start, n = (stream.step * stream.count + stream.rank) * size, self.num_items
        stop = start + size
        pieces = []
        for epoch in range(start // n, (stop - 1) // n + 1):
            order = self._epoch_order(stream.at(epoch))
            pieces.append(order[max(0, start - epoch * n) : stop - epoch * n])
        return torch.cat(pieces)

    def _epoch_order(self, stream: Stream) -> Tensor:
        if self._order is None or self._order[0] != stream:  # remembered for speed; it is a function of the stream
            assert self.num_items is not None
            self._order = (stream, stream.permutation(self.num_items))
        return self._order[1]


def _shares(labels: Labels, num_classes: int = 0) -> tuple[float, ...]:
    return tuple((torch.bincount(labels, minlength=num_classes) / len(labels)).tolist())


class Scaled(Source):
    """Another source's items, multiplied by a number.

    Args:
        source: the other source.
        factor: the number.

    Example:
        >>> Scaled(Items(torch.ones(4, 2)), 0.5).batch(1, Stream(0, "data"))
        tensor([[0.5000, 0.5000]])
    """

    def __init__(self, source: Source, factor: float) -> None:
        self.source = source
        self.factor = factor
        self.item_shape = source.item_shape
        self.num_items = source.num_items
        self.class_shares = source.class_shares

    def batch(self, size: int, stream: Stream) -> Samples:
        """The other source's batch, scaled."""
        return self.source.batch(size, stream) * self.factor

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The other source's labels."""
        return self.source.labels(size, stream)


def squared(images: Tensor, side: int) -> Tensor:
    """The middle squares of uint8 images [n, channels, height, width], brought to side × side pixels.

    Example:
        >>> squared(torch.tensor([[[[9, 0, 255, 9], [9, 0, 255, 9]]]], dtype=torch.uint8), 1)  # 127.5, to even
        tensor([[[[128]]]], dtype=torch.uint8)
    """
    height, width = images.shape[2:]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    square = images[:, :, top : top + least, left : left + least].float()
    resized = torch.nn.functional.interpolate(square, size=(side, side), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def to_float(items: Tensor) -> Samples:
    """uint8 images as float32 in [−1, 1]; other items as float32 unchanged.

    Example:
        >>> to_float(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten()
        tensor([-1.,  1.])
    """
    return items.float() / 127.5 - 1 if items.dtype == torch.uint8 else items.float()


@dataclass(frozen=True)
class Dataset:
    """A data set: what to train on, and what is held out from it.

    Args:
        name: its name in `SOURCES`, or its path.
        train: what the game draws from.
        heldout: what no training sees, for honest measurement.
        scale: what one unit of the generator's output is worth in the data's units; 1 for images. Points are divided
            by their root mean square before the game, so that no setting depends on their units.
        class_names: of the classes by their numbers, where they have any.
        survey: what a look at the user's own images found; None for other data.
    """

    name: str
    train: Source
    heldout: Source
    scale: float = 1.0
    class_names: tuple[str, ...] = ()
    survey: Survey | None = None


@dataclass(frozen=True)
class NamedSource:
    """An entry of `SOURCES`: data that have a name.

    Args:
        name: its name on the command line.
        summary: one line on what it is.
        source: who made it, and its licence where it has one.
        open: loads it.
    """

    name: str
    summary: str
    source: str
    open: Callable[[], Dataset]

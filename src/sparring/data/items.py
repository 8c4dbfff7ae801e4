"""Finite sets of items."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from sparring.data.layout import say_count
from sparring.data.packed import Packed
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.types import Labels, Samples

MAX_CLASSES = 1000
HELDOUT_EVERY = 10  # every tenth item is held out, unless the data say which
MOST_HELDOUT = 0.34  # the largest share to hold out so that the items of each file stay together
CHANGED_AT_ONCE = 1000
Change = Callable[[Tensor], Tensor]  # changes each of the stored items [k, ...]


@final
class Items(Source):
    """A finite set of items, in a new random order in each epoch.

    The batches of steps 0, 1, 2, ... continue across epochs without a gap: every item comes once before any comes
    twice.

    Args:
        items: float32 [n, ...], or uint8 [n, ...], whose batches are scaled from 0..255 to [−1, 1]. On the device
            "meta" they have no content, for dry runs.
        item_labels: the class of each, int64 [n] from 0; or vectors, float32 [n, d]; or None without labels.
        chosen: the numbers of the items in the set, int64 [k]; None for all.
        num_classes: the number of classes; 0 to take it from the labels.

    Attributes:
        item_labels: the labels of the set, or None.

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
        num_classes: int = 0,
    ) -> None:
        self._items = items
        self._chosen = chosen
        self._count = len(items) if chosen is None else len(chosen)
        if self._count == 0:
            raise DataError("the data set is empty")
        self.num_items: int = self._count
        self.item_shape = tuple(items.shape[1:])
        self.item_labels = None
        if item_labels is not None:
            _check_range("", item_labels)
            self.item_labels = item_labels if chosen is None else item_labels[chosen]
            self.class_shares = _shares(self.item_labels, num_classes)
        self._changes: tuple[Change, ...] = ()
        self._second: Change | None = None
        self._order: tuple[Stream, Tensor] | None = None

    def __len__(self) -> int:
        """The number of items without the copies of `with_copies`."""
        return self._count

    @property
    def items(self) -> Tensor:
        """The whole set in memory, as it is stored."""
        if isinstance(self._items, Tensor) and self._chosen is None and self._second is None:
            return self._items
        return self.take(torch.arange(self.num_items))

    def with_labels(self, item_labels: Labels) -> "Items":
        """The same set with other labels, int64 [num_items]."""
        other = copy.copy(self)
        other.item_labels, other.class_shares = item_labels, _shares(item_labels)
        return other

    def with_copies(self, change: Change) -> "Items":
        """The same set, followed by a changed copy of each item."""
        other = copy.copy(self)
        other.num_items, other._second, other._order = 2 * self._count, change, None
        other.item_labels = None if self.item_labels is None else torch.cat([self.item_labels[: self._count]] * 2)
        return other

    def map(self, change: Change, item_shape: tuple[int, ...]) -> "Items":
        """The same set with every item changed to a new shape; items in a file are changed when they are read."""
        other = copy.copy(self)
        other.item_shape = item_shape
        if isinstance(self._items, Packed):
            other._changes = (*self._changes, change)
        else:
            parts = torch.split(torch.arange(self._count), CHANGED_AT_ONCE)
            other._items, other._chosen = torch.cat([change(self._read(part)) for part in parts]), None
        return other

    def take(self, numbers: Tensor) -> Tensor:
        """The items of these numbers, int64 [k] from 0 to `num_items` − 1, as they are stored."""
        taken = self._read(numbers % self._count)
        if self._second is None:
            return taken
        is_second = (numbers >= self._count).view(-1, *[1] * len(self.item_shape))
        return torch.where(is_second, self._second(taken), taken)

    def batch(self, size: int, stream: Stream) -> Samples:
        """The next `size` items of the sequence of epochs.

        Raises:
            DataError: if the items have no content.
        """
        if isinstance(self._items, Tensor) and self._items.is_meta:
            raise DataError("these items were counted and not read: open the data set without dry")
        samples = to_float(self.take(self._numbers(size, stream)))
        if isinstance(self._items, Packed):
            self._items.prefetch(self._place(self._numbers(size, stream.at(stream.step + 1)) % self._count))
        return samples

    def labels(self, size: int, stream: Stream) -> Labels | None:
        """The labels of these items."""
        return None if self.item_labels is None else self.item_labels[self._numbers(size, stream)]

    def batch_of(self, labels: Labels, stream: Stream) -> Samples:
        """Random items of the given labels, int64 [n].

        Raises:
            UsageError: for a label that no item has.
        """
        own = self.item_labels
        if own is None or own.is_floating_point():
            raise UsageError("these items have no classes, and items of given ones are asked for")
        counts = torch.bincount(own, minlength=int(labels.max()) + 1)
        first, count = (counts.cumsum(0) - counts)[labels.cpu()], counts[labels.cpu()]
        if not count.all():
            raise UsageError(f"no item has the label {labels[(count == 0).nonzero()[0, 0]]}: give items of every label")
        place = first + (stream.uniform(len(labels)) * count).long()
        return to_float(self.take(own.argsort(stable=True)[place]))

    def _place(self, numbers: Tensor) -> Tensor:
        return numbers if self._chosen is None else self._chosen[numbers]

    def _read(self, numbers: Tensor) -> Tensor:
        items = self._items[self._place(numbers)]
        for change in self._changes:
            items = change(items)
        return items

    def _numbers(self, size: int, stream: Stream) -> Tensor:
        """The numbers of the items in a batch."""
        start, n = (stream.step * stream.world_size + stream.rank) * size, self.num_items
        stop = start + size
        pieces = []
        for epoch in range(start // n, (stop - 1) // n + 1):
            if self._order is None or self._order[0] != stream.at(epoch):  # a cache
                self._order = (stream.at(epoch), stream.at(epoch).permutation(n))
            pieces.append(self._order[1][max(0, start - epoch * n) : stop - epoch * n])
        return torch.cat(pieces)


@final
class Balanced(Source):
    """The items of a set, each class equally often.

    The sequence goes through the classes in rounds, each in a new random order, and through the items of each class in
    epochs: every item of a class comes once before any comes twice.

    Raises:
        DataError: if the items have no classes.

    Example:
        >>> items = Items(torch.arange(4.0).reshape(4, 1), torch.tensor([0, 0, 0, 1]))
        >>> sorted(Balanced(items).labels(6, Stream(0, "data")).tolist())
        [0, 0, 0, 1, 1, 1]
    """

    def __init__(self, items: Source) -> None:
        labels = items.item_labels if isinstance(items, Items) else None
        if not isinstance(items, Items) or labels is None or labels.is_floating_point():
            raise DataError("balance draws each class equally often, and these data have no classes: leave it away")
        self._items, self._labels = items, labels
        self.item_shape, self.num_items, self.class_shares = items.item_shape, items.num_items, items.class_shares
        self._members = [(labels == number).nonzero().flatten() for number in sorted(set(labels.tolist()))]
        self._orders: dict[str, tuple[int, Tensor]] = {}  # a cache of the latest order by its purpose

    def batch(self, size: int, stream: Stream) -> Samples:
        """The next `size` items of the sequence of rounds."""
        return to_float(self._items.take(self._numbers(size, stream)))

    def labels(self, size: int, stream: Stream) -> Labels:
        """The labels of these items."""
        return self._labels[self._numbers(size, stream)]

    def _numbers(self, size: int, stream: Stream) -> Tensor:
        start, numbers = (stream.step * stream.world_size + stream.rank) * size, []
        for position in range(start, start + size):
            turn, place = divmod(position, len(self._members))
            number = int(self._order(stream.part("classes"), turn, len(self._members))[place])
            members = self._members[number]
            epoch, place = divmod(turn, len(members))
            numbers.append(members[self._order(stream.part(f"class/{number}"), epoch, len(members))[place]])
        return torch.stack(numbers)

    def _order(self, stream: Stream, step: int, n: int) -> Tensor:
        if stream.purpose not in self._orders or self._orders[stream.purpose][0] != step:
            self._orders[stream.purpose] = step, stream.at(step).permutation(n)
        return self._orders[stream.purpose][1]


def to_float(items: Tensor) -> Samples:
    """uint8 items as float32 in [−1, 1]; other items as float32 unchanged."""
    return items.float() / 127.5 - 1 if items.dtype == torch.uint8 else items.float()


def to_uint8(samples: Samples) -> Tensor:
    """Samples in [−1, 1] as uint8, the inverse of `to_float` up to rounding."""
    return ((samples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def split(
    name: str,
    items: Tensor | Packed,
    labels: Labels | None = None,
    is_heldout: Tensor | None = None,
    class_names: Sequence[str] = (),
    files: Tensor | None = None,
) -> tuple[Items, Items]:
    """Training items and held-out items.

    If the data do not say which are held out, it is every tenth item in the order of classes, but never the only one of
    a class. Items of one file stay together, unless more than a third would be held out, or the only file of a class:
    then it is the last tenth of each file.

    Args:
        name: of the data, for messages.
        items: all of them.
        labels: of the items.
        is_heldout: bool [n], if the data say it.
        class_names: in the order of the classes' numbers.
        files: the number of each item's file, int64 [n], if some hold several items, which are neighbours.
    """
    count, has_content = len(items), not (isinstance(items, Tensor) and items.is_meta)
    if count < 2:
        raise DataError(f"{name!r} holds {say_count(count, 'items')}, but a training needs at least a few hundred")
    counts = torch.zeros(0)
    if labels is not None:
        _check_range(f"{name!r}: ", labels)
    if labels is not None and not labels.is_floating_point():
        counts = torch.bincount(labels, minlength=len(class_names))
    says_itself = is_heldout is not None and bool(is_heldout.any()) and not bool(is_heldout.all())
    if is_heldout is None or not says_itself:
        is_heldout = _choose_heldout(count, labels) if files is None else _choose_files(files, labels)
    parts = [Items(items, labels, part.nonzero().flatten(), len(class_names)) for part in (~is_heldout, is_heldout)]
    names = class_names or [str(number) for number in range(len(counts))]
    singles = [name for name, number in zip(names, counts.tolist(), strict=False) if number == 1]
    missing = [name for name, share in zip(names, parts[0].class_shares, strict=False) if not share]
    problems = {"a single item, which will be memorized": singles}
    if says_itself and has_content:
        problems["only held-out items"] = missing
    for what, found in problems.items():
        if found:
            more = f" and {len(found) - 10} more" if len(found) > 10 else ""
            advice = f"{', '.join(name[:40] for name in found[:10])}{more}. Add some, or train with --conditional False"
            warnings.warn(SparringWarning(f"classes in {name!r} with {what}: {advice}"), stacklevel=2)
    return parts[0], parts[1]


def _choose_heldout(count: int, labels: Labels | None) -> Tensor:
    """Every tenth item in the order of classes, but never the only one of a class; if there is none, the last: [n]."""
    places, are_several = torch.arange(count), _are_several(count, labels)
    if labels is not None and not labels.is_floating_point():
        places[torch.argsort(labels, stable=True)] = torch.arange(count)
    is_heldout = (places % HELDOUT_EVERY == HELDOUT_EVERY - 1) & are_several
    if not is_heldout.any():
        is_heldout[torch.where(are_several, places, places - count).argmax()] = True
    return is_heldout


def _choose_files(files: Tensor, labels: Labels | None) -> Tensor:
    """The items of every tenth file, or the last tenth of each file's items where whole files would not do: [n]."""
    sizes = torch.bincount(files)
    sizes = sizes[sizes > 0]
    file_of, first = torch.repeat_interleave(torch.arange(len(sizes)), sizes), sizes.cumsum(0) - sizes
    file_labels = None if labels is None else labels[first]
    is_chosen = _choose_heldout(len(sizes), file_labels) & _are_several(len(sizes), file_labels)
    is_heldout = is_chosen[file_of]
    if not 0 < is_heldout.double().mean() <= MOST_HELDOUT:
        from_end = (first + sizes)[file_of] - torch.arange(len(files))  # 1 for the last item of a file
        is_heldout = from_end <= (sizes // HELDOUT_EVERY)[file_of]
        is_heldout[-1] |= not is_heldout.any()
    return is_heldout


def _are_several(count: int, labels: Labels | None) -> Tensor:
    """Whether each item is not the only one of its class, bool [n]."""
    if labels is None or labels.is_floating_point():
        return torch.ones(count, dtype=torch.bool)
    return torch.bincount(labels)[labels] > 1


def _check_range(prefix: str, labels: Labels) -> None:
    if labels.is_floating_point():
        return
    wrong = ((labels < 0) | (labels >= MAX_CLASSES)).nonzero().flatten().tolist()
    if wrong:
        raise DataError(
            f"{prefix}labels must lie between 0 and {MAX_CLASSES - 1}, but item {wrong[0]} has {labels[wrong[0]]} "
            f"({len(wrong)} such items)"
        )


def _shares(labels: Labels, num_classes: int = 0) -> tuple[float, ...]:
    """The share of each class; empty for vectors."""
    if labels.is_floating_point():
        return ()
    return tuple((torch.bincount(labels, minlength=num_classes) / len(labels)).tolist())

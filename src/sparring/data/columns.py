"""Columns of tables: what each is taken for, and its values as numbers that networks see, and back.

A column has up to two parts in a sample. *Numbers and dates* have a place on a normal scale: their share of smaller
values u goes through the inverse of the normal distribution function, so that heavy tails, bounds and several peaks all
look alike. *Categories*, and of numbers a missing value and values that many rows share, are one-hot.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

ColumnKind = Literal["number", "category", "boolean", "date", "identifier", "constant", "text"]
Value = bool | float | str | None
Knots = tuple[tuple[float, float, float], ...]
EDGE = 1e-4  # places are at least so far from both ends of [0, 1]: normal ones lie between −3.7 and 3.7


@dataclass(frozen=True)
class Column:
    """A column of a table, as a generator's config.json holds it."""

    name: str
    kind: ColumnKind
    values: tuple[Value, ...] = ()  # that are one-hot, in their order; None is a missing value
    # Of numbers, and of dates in seconds since 1970: (value, share of rows below it, share of rows up to it), upwards.
    # Between two of them shares grow linearly.
    knots: Knots = ()
    shares: tuple[float, ...] = ()  # of the rows, for each of the one-hot numbers
    decimals: int | None = None  # of numbers; None for all that a float has
    step: float = 0.0  # of which all numbers, or seconds of dates, are multiples; 0 for none
    form: str = ""  # of dates: how a file writes them; of identifiers: "number" or ""
    bounds: tuple[float, ...] = ()  # of numbers, if the user gave them: the least and the largest
    # Other columns that determine it, so that it is computed and not learned: two whose sum it is, or one, each of
    # whose values comes with one value of this column: `pairs` of them.
    sources: tuple[str, ...] = ()
    pairs: tuple[tuple[Value, Value], ...] = ()

    @property
    def is_learned(self) -> bool:
        """Whether items have it; identifiers are made anew, and text is left out."""
        return self.kind not in ("identifier", "text")

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """How many numbers of a sample are a place, 0 or 1, and how many are one-hot; the first of these is no value.

        Only with a place: then the first says that the place counts. Constants, and what others determine, have none.
        """
        if self.sources:
            return 0, 0
        num_choices = len(self.values) + bool(self.knots)
        return int(bool(self.knots)), num_choices if num_choices > 1 else 0

    @property
    def present(self) -> list[bool | float | str]:
        """Its one-hot values without the missing one."""
        return [value for value in self.values if value is not None]

    @property
    def size(self) -> int:
        """How many numbers of a sample it has."""
        return sum(self.sizes)

    @property
    def dtype(self) -> str:
        """Of its values in an array of items; a missing value is NaN, NaT, or an empty text."""
        if self.kind == "date":
            return "M8[s]"
        present = self.present
        if self.knots or (present and isinstance(present[0], float)):
            return "i8" if self.decimals == 0 and None not in self.values else "f8"
        if present and isinstance(present[0], bool) and None not in self.values:
            return "?"
        return f"U{max(1, *(len(str(value)) for value in present))}" if present else "U1"

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers or dates; else they are text, or true and false."""
        return self.dtype[0] in "fiM"

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest of its numbers, or of its dates in seconds since 1970."""
        numbers = [knot[0] for knot in self.knots] + [float(value) for value in self.present]
        return min(numbers), max(numbers)

    def to_parts(self, cells: np.ndarray) -> np.ndarray:
        """The place of each value and the number of the one-hot number that is 1, float32 [n, 0 to 2].

        Only those that it has; see `sizes`.
        """
        has_place, num_choices = self.sizes
        if not self.is_ordered:
            known = ["" if value is None else str(value) for value in self.values]
            order = np.argsort(known)
            chosen = order[np.searchsorted(np.array(known)[order], cells.astype(str)).clip(max=len(known) - 1)]
            return np.asarray(chosen, np.float32)[:, None][:, : int(num_choices > 0)]
        numbers = self.to_numbers(cells)
        chosen = self._choose(numbers)
        parts = [np.where(chosen == 0, self._place(numbers), 0)] if has_place else []
        return np.stack(parts + [chosen] * (num_choices > 0), axis=1).astype(np.float32)

    def decode(self, samples: np.ndarray) -> np.ndarray:
        """Its values [n], of numbers [n, sum of `sizes`]; one-hot parts may hold any scores."""
        has_place, num_choices = self.sizes
        chosen = samples[:, has_place:].argmax(1) if num_choices else np.zeros(len(samples), int)
        if not self.is_ordered:
            return np.asarray(self.of_values(self.values)[chosen])
        fixed = [np.nan if value is None else value for value in self.values]
        numbers = np.array([0.0] * bool(self.knots) + fixed)[chosen]
        if self.knots:
            numbers = np.where(chosen == 0, self._value(samples[:, 0]), numbers)
        return self.of_numbers(numbers)

    def of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """Its values as items have them, of numbers, or of seconds since 1970, with NaN for missing ones."""
        if self.kind == "date":
            missing = np.isnan(numbers)
            dates: np.ndarray = np.where(missing, 0, numbers).round().astype("i8").astype("M8[s]")
            dates[missing] = np.datetime64("NaT")
            return dates
        return np.asarray(np.rint(numbers).astype("i8") if self.dtype == "i8" else numbers)

    def of_values(self, values: Sequence[Value]) -> np.ndarray:
        """Its values as items have them, of those that `to_values` gives."""
        if not self.is_ordered:
            return np.array(["" if value is None else value for value in values]).astype(self.dtype)
        return self.of_numbers(np.array([np.nan if value is None else value for value in values], float))

    def to_values(self, cells: np.ndarray) -> list[Value]:
        """Its values as JSON holds them, of those that items have."""
        if not self.is_ordered:
            booleans = {"True": True, "False": False} if self.kind == "boolean" else {}
            return [None if value == "" else booleans.get(value, value) for value in cells.tolist()]
        return [None if value != value else value for value in self.to_numbers(cells).tolist()]

    @staticmethod
    def to_numbers(cells: np.ndarray) -> np.ndarray:
        """Numbers, and dates as seconds since 1970, with NaN for missing ones."""
        if cells.dtype.kind != "M":
            return cells.astype(float)
        seconds = cells.astype("M8[s]").astype("i8").astype(float)
        return np.where(np.isnat(cells), np.nan, seconds)

    def _choose(self, numbers: np.ndarray) -> np.ndarray:
        """Which of the one-hot numbers is 1, int64 [n]."""
        fixed = np.array([np.nan if value is None else value for value in self.values], float)
        first = int(bool(self.knots))
        order = np.argsort(fixed)  # NaN comes last
        known = fixed[order]
        count = int((~np.isnan(known)).sum())
        chosen = np.zeros(len(numbers), int)
        if count:
            right = np.searchsorted(known[:count], numbers).clip(max=count - 1)
            left = (right - 1).clip(min=0)
            nearest = np.where(np.abs(known[left] - numbers) <= np.abs(known[right] - numbers), left, right)
            fits = np.ones(len(numbers), bool) if not self.knots else known[nearest] == numbers
            chosen = np.where(fits, first + order[nearest], chosen)
        return np.where(np.isnan(numbers), first + int(order[count]) if count < len(known) else 0, chosen)

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.knots, float).T

    def _place(self, numbers: np.ndarray) -> np.ndarray:
        """Places on the normal scale."""
        values, low, high = self._table
        right = np.searchsorted(values, numbers).clip(max=len(values) - 1)
        middle = (low + high) / 2
        left = (right - 1).clip(min=0)
        gap = np.where(right > left, values[right] - values[left], 1)
        share = ((numbers - values[left]) / gap).clip(0, 1)
        between = high[left] + share * (low[right] - high[left])
        u = np.where(values[right] == numbers, middle[right], np.where(numbers < values[0], low[0], between))
        places: np.ndarray = to_normal(torch.from_numpy(u)).numpy()
        return places

    def _value(self, places: np.ndarray) -> np.ndarray:
        """Numbers at places of the normal scale."""
        values, low, high = self._table
        u = torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(places, np.float64))).numpy()
        u = np.clip((u - EDGE) / (1 - 2 * EDGE), 0, 1)
        numbers = np.interp(u, np.stack([low, high], 1).ravel(), np.repeat(values, 2))
        if self.step:
            numbers = np.round(numbers / self.step) * self.step
        if self.bounds:
            numbers = numbers.clip(self.bounds[0], self.bounds[1])
        return np.asarray(numbers if self.decimals is None else np.round(numbers, self.decimals))


def dtype_of(columns: Sequence[Column]) -> np.dtype[np.void]:
    """Of an array of rows: a field for each column that is learned."""
    return np.dtype([(column.name, column.dtype) for column in columns if column.is_learned])


def to_parts(items: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Rows in the least room: the parts of each column that has some, side by side, float32 [n, m]."""
    return np.concatenate([column.to_parts(items[column.name]) for column in columns if column.size], axis=1)


def of_parts(parts: Tensor, columns: Sequence[Column]) -> Tensor:
    """Rows as networks see them, float32 [n, sum of `sizes`], of those of `to_parts`."""
    samples = torch.zeros(len(parts), sum(column.size for column in columns))
    start = part = 0
    for column in columns:
        has_place, num_choices = column.sizes
        if has_place:
            samples[:, start] = parts[:, part]
        if num_choices:
            samples[torch.arange(len(parts)), start + has_place + parts[:, part + has_place].long()] = 1
        start, part = start + column.size, part + has_place + (num_choices > 0)
    return samples


def to_normal(u: Tensor) -> Tensor:
    """Shares from 0 to 1 on the normal scale, float64."""
    normal: Tensor = torch.special.ndtri(EDGE + u.double() * (1 - 2 * EDGE))
    return normal


def make_column(name: str, kind: ColumnKind, cells: np.ndarray, **facts: Any) -> Column:
    """The column of values [n]: numbers or dates with NaN or NaT, or objects with None for missing ones.

    Numbers of few different values are one-hot, as categories are.
    """
    if cells.dtype.kind not in "fM":
        present = [cell for cell in cells if cell is not None]
        found = Counter(present)
        values = [value for value, _ in found.most_common()] if kind == "category" else sorted(found)
        knots: Knots = ()
    else:
        numbers = Column.to_numbers(cells)
        unique, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
        found = Counter(dict(zip(unique.tolist(), counts.tolist(), strict=True)))
        is_few = len(unique) <= min(MAX_CHOICES, len(numbers) / ROWS_PER_CHOICE)
        is_single = np.full(len(unique), is_few) | (counts >= SPIKE_SHARE * len(numbers))
        values = unique[is_single].tolist()
        knots = () if is_single.all() else choose_knots(unique[~is_single], counts[~is_single])
    num_missing = len(cells) - found.total()
    rest = found.total() - sum(found[value] for value in values)
    counted = [*([rest] if knots else []), *(found[value] for value in values), *([num_missing] if num_missing else [])]
    shares = tuple(count / len(cells) for count in counted)
    return Column(name, kind, (*values, *([None] if num_missing else [])), knots, shares, **facts)


def find_step(numbers: np.ndarray, steps: Sequence[float]) -> float:
    """The first of some steps of which all finite numbers are multiples; 0 if there is none."""
    present = numbers[np.isfinite(numbers)]
    return next((step for step in steps if (np.remainder(present, step) == 0).all()), 0.0)


MAX_CHOICES, ROWS_PER_CHOICE = 40, 10  # numbers of more different values, or of fewer rows for each, have a place
SPIKE_SHARE = 0.1  # a value that so many rows share is one-hot
MAX_KNOTS = 512
LEAST_COUNT = 3  # a value that fewer rows share is no step of the distribution


def choose_knots(values: np.ndarray, counts: np.ndarray) -> Knots:
    """Knots of a distribution: values that many rows share are steps, and quantiles lie between them.

    Example:
        >>> choose_knots(np.array([1.0, 2.0, 5.0]), np.array([1, 6, 1]))
        ((1.0, 0.0, 0.0), (2.0, 0.125, 0.875), (5.0, 1.0, 1.0))
    """
    total = counts.sum()
    below, up_to = (counts.cumsum() - counts) / total, counts.cumsum() / total
    is_step = (counts >= LEAST_COUNT) & ((counts >= total / MAX_KNOTS) | (len(values) <= MAX_KNOTS))
    middle = (below + up_to) / 2
    low, high = np.where(is_step, below, middle), np.where(is_step, up_to, middle)
    if not is_step[0]:
        low[0] = high[0] = 0.0
    if not is_step[-1]:
        low[-1] = high[-1] = 1.0
    if len(values) <= MAX_KNOTS:
        kept = np.arange(len(values))
    else:
        quantiles = np.searchsorted(up_to, np.linspace(0, 1, MAX_KNOTS // 2 + 1)).clip(max=len(values) - 1)
        kept = np.unique(np.concatenate([quantiles, is_step.nonzero()[0]]))
    return tuple(zip(values[kept].tolist(), low[kept].tolist(), high[kept].tolist(), strict=True))

"""Labels: the classes of items, or several attributes of each.

Classes are numbers, int64 [n]. Attributes are vectors, float32 [n, d]: the values of each category one-hot, then the
next attribute; numbers less their mean, divided by their deviation.
"""

import math
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparring.data.items import MAX_CLASSES
from sparring.errors import DataError, SparringWarning, UnknownNameError, UsageError
from sparring.types import Labels

LABEL_COLUMNS = ("label", "labels", "class", "class_label", "target", "targets", "category", "y")  # usual names
MAX_VALUES = 50  # a column beside others is a category if it has no more different values, each twice on average
NPZ = "labels:"  # the arrays of a .npz file with several columns of labels are this and the column's name


@dataclass(frozen=True)
class Attribute:
    """A part of a label: one of several values, or a number if there are no values.

    Example:
        >>> Attribute("hair", ("black", "red")).encode(torch.tensor([1.0]))
        tensor([[0., 1.]])
        >>> Attribute("age", mean=40.0, deviation=10.0, low=18.0, high=80.0).encode(torch.tensor([30.0]))
        tensor([[-1.]])
    """

    name: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    low: float = 0.0  # the range in the data
    high: float = 0.0

    def __post_init__(self) -> None:
        if not (self.deviation > 0 and all(map(math.isfinite, (self.mean, self.deviation, self.low, self.high)))):
            raise UsageError(f"the attribute {self.name!r} needs finite numbers and a deviation above 0")

    @property
    def size(self) -> int:
        """How many numbers it takes in a vector."""
        return len(self.values) or 1

    def encode(self, numbers: Tensor) -> Tensor:
        """The part of vectors [n, size] of numbers [n]: places in `values`, or numbers in their own unit."""
        if self.values:
            return torch.nn.functional.one_hot(numbers.long(), self.size).float()
        return ((numbers.double() - self.mean) / self.deviation).float()[:, None]

    def decode(self, part: Tensor) -> Tensor:
        """The numbers, float64 [n], of a part of vectors."""
        return part.argmax(1).double() if self.values else part[:, 0].double() * self.deviation + self.mean

    def number(self, value: object) -> float:
        """The number of a value that a caller asks for; a number outside the data's range gives a warning."""
        text = name_of(value)
        if self.values:
            if text not in self.values:
                raise UnknownNameError(self.name, text, self.values)
            return self.values.index(text)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{self.name} is a number from {self.low:g} to {self.high:g}, not {text!r}")
        if not self.low <= number <= self.high:
            message = f"{self.name}={text} lies outside the training data, which go from {self.low:g} to {self.high:g}"
            warnings.warn(SparringWarning(message), stacklevel=2)
        return number

    def describe(self) -> str:
        """Its name and values in words."""
        listed = ", ".join(self.values[:5]) + (", …" if len(self.values) > 5 else "")
        return f"{self.name} ({listed if self.values else f'{self.low:g} to {self.high:g}'})"


@dataclass(frozen=True)
class Labelling:
    """The labels of items and what their numbers mean; without `labels` there are none."""

    labels: Labels | None = None  # int64 [n], or float32 [n, d] with attributes
    class_names: tuple[str, ...] = ()  # empty if they are the numbers
    attributes: tuple[Attribute, ...] = ()
    unused: tuple[str, ...] = ()  # columns that were left out, and why


def check_labels(labels: Any, num_items: int, name: str) -> Labelling:
    """The labels of items in memory or in an array: the labels that occur are the classes.

    Args:
        labels: a class for each item: whole numbers, text or booleans [n] or [n, 1], or one-hot [n, classes]; or
            several attributes: numbers [n, attributes], a mapping from names to [n], or a mapping for each item.
        num_items: n.
        name: of the data, for messages.

    Raises:
        DataError: if they cannot be used.

    Example:
        >>> check_labels([20, 10, 20], 3, "x")
        Labelling(labels=tensor([1, 0, 1]), class_names=('10', '20'), attributes=(), unused=())
    """
    if labels is None:
        return Labelling()
    columns = label_columns(labels, num_items, name)
    found = make_labels(columns)
    if found.labels is None and len(found.unused) == len(columns) and any("different" in each for each in found.unused):
        raise DataError(
            f"the labels of {name!r} cannot be used: {'; '.join(found.unused)}. Give at most {MAX_CLASSES} classes, or "
            'numbers as attributes: labels={"age": [...]}'
        )
    if found.unused:
        message = f"labels in {name!r} were left out: {'; '.join(found.unused)}"
        warnings.warn(SparringWarning(message), stacklevel=2)
    return found


def label_columns(labels: Any, num_items: int, name: str) -> dict[str, np.ndarray]:
    """Columns of labels by their names, each [n]; classes alone are called "label"."""
    if isinstance(labels, Sequence) and labels and isinstance(labels[0], Mapping):
        if any(not isinstance(row, Mapping) or row.keys() != labels[0].keys() for row in labels):
            raise DataError(f"the labels of {name!r} have not all the same attributes as the first: {[*labels[0]]}")
        labels = {key: [row[key] for row in labels] for key in labels[0]}
    if hasattr(labels, "columns") and hasattr(labels, "to_numpy"):  # a table of pandas
        labels = {str(title): labels[title] for title in labels.columns}
    is_mapping = isinstance(labels, Mapping)
    columns: dict[str, np.ndarray] = {}
    for key, values in labels.items() if is_mapping else (("label", labels),):
        array = _as_array(values, name)
        table = array[:, None] if array.ndim == 1 else array
        if table.shape != (num_items, *table.shape[1:2]) or (is_mapping and table.shape[1] > 1):
            raise DataError(
                f"{name!r} has {num_items} items and labels {array.dtype} {list(array.shape)}: give one label to each "
                "item: a whole number or text [n], one-hot [n, classes], or a mapping from names of attributes to [n]"
            )
        if _is_one_hot(table):
            table = table.argmax(axis=1)[:, None]
        for place, column in enumerate(table.T):
            columns[str(key) if table.shape[1] == 1 else str(place)] = _check_values(column, name)
    return columns


def npz_labels(labels: Any, num_items: int, name: str) -> dict[str, np.ndarray]:
    """Labels as arrays of a .npz file, without columns that carry no information; see `labels_of`."""
    if labels is None or check_labels(labels, num_items, name).labels is None:
        return {}
    columns = label_columns(labels, num_items, name)
    if [*columns] == ["label"]:
        values = columns["label"]
        return {"labels": values.astype(np.int64) if values.dtype.kind in "iu" else values}
    return {NPZ + key: values for key, values in columns.items()}


def choose_labels(arrays: Mapping[str, np.ndarray], setting: str | None, name: str) -> dict[str, np.ndarray]:
    """The arrays of a file with those that are asked for as the labels; `setting` is their names, or None.

    Raises:
        UnknownNameError: if there is no such array.
    """
    wanted = setting.split(",") if setting else []
    for each in wanted:
        if each not in arrays and NPZ + each not in arrays:
            raise UnknownNameError(f"array of {name!r}", each, arrays)
    if not wanted:
        return dict(arrays)
    others = {key: values for key, values in arrays.items() if not {*key.lower().split("_")} & {*LABEL_COLUMNS}}
    others = {key: values for key, values in others.items() if key not in wanted and not key.startswith(NPZ)}
    titles = ["labels"] if len(wanted) == 1 else [NPZ + each for each in wanted]
    chosen = [arrays[each if each in arrays else NPZ + each] for each in wanted]
    return others | dict(zip(titles, chosen, strict=True))


def labels_of(arrays: Mapping[str, np.ndarray]) -> Any:
    """The labels among the arrays of a .npz file, as `check_labels` takes them; None if there are none."""
    columns = {key.removeprefix(NPZ): values for key, values in arrays.items() if key.startswith(NPZ)}
    return columns or arrays.get("labels")


def make_labels(columns: Mapping[str, np.ndarray]) -> Labelling:
    """Labels of checked columns [n] of numbers or text: the classes if a category is alone, else attributes."""
    attributes: list[Attribute] = []
    parts: list[Tensor] = []
    unused: list[str] = []
    for name, values in columns.items():
        numbers = _as_numbers(values)
        is_whole = numbers is not None and bool((numbers == numbers.round()).all())
        names, places = _distinct(values, is_whole)
        is_usual, is_alone = name in LABEL_COLUMNS, len(columns) == 1
        most = MAX_CLASSES if is_usual or (is_alone and numbers is None) else MAX_VALUES
        if len(names) < 2:
            unused.append(f"{name!r} is {''.join(names)!r} for every item, which tells nothing")
        elif (numbers is None or is_whole) and len(names) <= (most if is_usual else min(most, len(values) // 2)):
            attributes.append(Attribute(name, tuple(names)))
            parts.append(torch.from_numpy(places.astype(np.int64)))
        elif numbers is None or (is_usual and is_whole):
            unused.append(f"{name} has {len(names)} different values")
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # the attribute refuses what overflows
                spread = float(numbers.std()) or 1.0
            mean, low, high = (float(value) for value in (numbers.mean(), numbers.min(), numbers.max()))
            attributes.append(Attribute(name, (), mean, spread, low, high))
            parts.append(torch.from_numpy(numbers))
    if len(attributes) == 1 and attributes[0].values:
        class_names = attributes[0].values
        are_numbers = class_names == tuple(map(str, range(len(class_names))))  # so that names say nothing
        return Labelling(parts[0], () if are_numbers else class_names, unused=tuple(unused))
    stacked = [part.double() for part in parts]
    vectors = encode(attributes, torch.stack(stacked, dim=1)) if attributes else None
    return Labelling(vectors, (), tuple(attributes), tuple(unused))


def encode(attributes: Sequence[Attribute], numbers: Tensor) -> Labels:
    """Vectors float32 [n, d] of a number for each attribute [n, attributes]."""
    return torch.cat([each.encode(numbers[:, place]) for place, each in enumerate(attributes)], dim=1)


def decode(attributes: Sequence[Attribute], vectors: Labels) -> Tensor:
    """The numbers, float64 [n, attributes], of vectors."""
    parts = torch.split(vectors, [each.size for each in attributes], dim=1)
    return torch.stack([each.decode(part) for each, part in zip(attributes, parts, strict=True)], dim=1)


def categories(attributes: Sequence[Attribute], labels: Labels) -> Tensor:
    """The classes of labels, or the places of their categories' values, int64 [n, categories]."""
    if not attributes:
        return labels[:, None]
    return decode(attributes, labels)[:, [place for place, each in enumerate(attributes) if each.values]].long()


def join_categories(places: Tensor, sizes: Sequence[int]) -> Labels:
    """One number for each combination of categories [n, categories] that have so many values, the last one fastest.

    Example:
        >>> join_categories(torch.tensor([[0, 1], [2, 0]]), [10, 6])
        tensor([ 1, 12])
    """
    return (places * torch.tensor([math.prod(sizes[place + 1 :]) for place in range(len(sizes))])).sum(1)


def names_of(labels: Labels, class_names: Sequence[str], attributes: Sequence[Attribute]) -> list[str]:
    """What labels are called: the names of classes, or text such as "hair=red,age=30".

    Example:
        >>> names_of(torch.tensor([1, 0]), ("cat", "dog"), ())
        ['dog', 'cat']
    """
    arrays = arrays_of(labels, class_names, attributes)
    if not attributes:
        return [str(name) for name in arrays["labels"].tolist()]
    parts = (
        [f"{key.removeprefix(NPZ)}={part if isinstance(part, str) else f'{part:.4g}'}" for part in array.tolist()]
        for key, array in arrays.items()
    )
    return [*map(",".join, zip(*parts, strict=True))]


def arrays_of(labels: Labels, class_names: Sequence[str], attributes: Sequence[Attribute]) -> dict[str, np.ndarray]:
    """Labels as arrays of a .npz file: the names of classes, or an array for each attribute; see `labels_of`.

    Example:
        >>> arrays_of(torch.tensor([1, 0]), ("cat", "dog"), ())
        {'labels': array(['dog', 'cat'], dtype='<U3')}
    """
    if not attributes:
        return {"labels": np.array(class_names)[labels.numpy()] if class_names else labels.numpy()}
    columns = decode(attributes, labels).numpy().T
    return {
        NPZ + each.name: np.array(each.values)[column.astype(int)] if each.values else column
        for each, column in zip(attributes, columns, strict=True)
    }


def name_of(value: object) -> str:
    """The name of a class or value: text as it is, 2.0 as "2"."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def sort_names(names: Sequence[str]) -> list[str]:
    """Names in the order of their numbers if all are whole numbers, else of the alphabet."""
    are_whole = all(name.removeprefix("-").isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if are_whole else 0, name))


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        if isinstance(values, Tensor):
            values = (values.float() if values.is_floating_point() else values).detach().cpu().numpy()
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"the labels of {name!r} are no array: {error}: give one label to each item") from error
    return array


def _is_one_hot(array: np.ndarray) -> bool:
    is_table = array.dtype.kind in "biuf" and array.shape[1] > 1
    return is_table and bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _check_values(column: np.ndarray, name: str) -> np.ndarray:
    """Numbers, or text for all other values."""
    if column.dtype.kind == "S":
        column = np.char.decode(column, "utf-8", "replace")
    if column.dtype.kind == "O":
        wrong = [place for place, value in enumerate(column) if not _is_value(value)]
        if wrong:
            what = f"item {wrong[0]} of {name!r} has the label {reprlib.repr(column[wrong[0]])}"
            raise DataError(f"{what} ({len(wrong)} such items): labels are numbers or text")
        column = np.array([name_of(value) for value in column])
    if column.dtype.kind == "U":  # half of a pair of surrogates cannot be written into a file
        column = np.char.decode(np.char.encode(column, "utf-8", "replace"), "utf-8")
    if column.dtype.kind not in "biufU":
        raise DataError(f"{name!r} has labels of type {column.dtype}: labels are numbers or text")
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        place = int(np.flatnonzero(~np.isfinite(column))[0])
        raise DataError(f"item {place} of {name!r} has the label {column[place]}: give a number to each")
    return column.astype(str) if column.dtype.kind == "b" else column


def _is_value(value: object) -> bool:
    """Whether it is text or a finite number."""
    return isinstance(value, str | int | np.generic) or (isinstance(value, float) and math.isfinite(value))


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
    """The values as float64; None for text."""
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _distinct(values: np.ndarray, is_whole: bool) -> tuple[list[str], np.ndarray]:
    """The names of the different values, in order, and the place of each row's value among them."""
    different, places = np.unique(values, return_inverse=True)
    names = [name_of(value) if is_whole else str(value) for value in different]
    in_order = sort_names(names) if values.dtype.kind == "U" else names
    rank = {name: place for place, name in enumerate(in_order)}
    return in_order, np.array([rank[name] for name in names], np.int64)[places]

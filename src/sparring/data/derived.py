"""Columns of a table that others determine: they are found by themselves, not learned, and computed of the others.

A column is the sum of two others in each row, such as all riders of members and guests; or each value of another column
always comes with one value of it, such as a month with a day of the year. A generator that learned such columns
separately would break the rule in nearly every row.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from sparring.data.columns import Column
from sparring.data.rules import count_proofs, find_sums

LEAST_ROWS = 100  # fewer rows show no rule
LEAST_PROOFS = 50  # rows that would break a rule if it held by chance
MAX_PAIRS = 2000  # different values of a column that may determine another
ROUNDING = 1e-12  # of a sum, as a share of the largest one


def find_sources(items: np.ndarray, columns: Sequence[Column], kept: Collection[str] = ()) -> tuple[Column, ...]:
    """The columns, and of each that others determine how.

    Args:
        items: all rows, with a field for each column that is learned.
        columns: of the table.
        kept: names of columns that are learned in any case.
    """
    if len(items) < LEAST_ROWS:
        return tuple(columns)
    found = _find_sums(items, columns, kept)
    codes = {each.name: np.unique(items[each.name], return_inverse=True)[1] for each in columns if each.size}
    free = [each for each in columns if each.size and each.name not in found]
    roots: list[Column] = []
    summands = {name for column in found.values() for name in column.sources}
    for column in sorted(free, key=lambda each: -int(codes[each.name].max())):
        given = codes[column.name]
        is_free = column.name in kept or column.name in summands
        root = next((r for r in roots if not is_free and _determines(codes[r.name], given)), None)
        if root is None:
            roots.append(column)
            continue
        _, rows = np.unique(codes[root.name], return_index=True)
        keys, values = (each.to_values(items[each.name][rows]) for each in (root, column))
        found[column.name] = replace(column, sources=(root.name,), pairs=tuple(zip(keys, values, strict=True)))
    return tuple(found.get(column.name, column) for column in columns)


def _determines(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether each value of a comes with one value of b, by more rows than chance would allow."""
    return bool(b.max() <= a.max() < MAX_PAIRS) and count_proofs(a, b) >= LEAST_PROOFS


def _find_sums(items: np.ndarray, columns: Sequence[Column], kept: Collection[str]) -> dict[str, Column]:
    """Columns that are the sum of two others in each row, by their names."""
    known = {
        each.name: each
        for each in columns
        if each.size and each.kind == "number" and each.decimals is not None and None not in each.values
    }
    found: dict[str, Column] = {}
    used: set[str] = set()
    for (whole, *parts), _ in find_sums({name: items[name].astype(float) for name in known}, ROUNDING):
        if whole not in {*kept, *used} and not {*parts} & found.keys():
            found[whole] = replace(known[whole], sources=(parts[0], parts[1]))
            used |= {*parts}
    return found


def fill_derived(items: np.ndarray, columns: Sequence[Column]) -> None:
    """Compute the columns that others determine, in rows whose others are there."""
    for column in columns:
        if len(column.sources) == 2:
            first, second = (items[name].astype(float) for name in column.sources)
            items[column.name] = np.round(first + second, column.decimals or 0)
        elif column.sources:
            root = next(each for each in columns if each.name == column.sources[0])
            items[column.name] = _look_up(items[root.name], root, column)


def _look_up(cells: np.ndarray, root: Column, column: Column) -> np.ndarray:
    """The values that belong to those of another column; between two numbers one between, or that of the nearer one."""
    keys, values = zip(*column.pairs, strict=True)
    if not root.is_ordered:
        places = {str("" if key is None else key): place for place, key in enumerate(keys)}
        return column.of_values(values)[[places[str(cell)] for cell in cells]]
    numbers, known = root.to_numbers(cells), np.array([np.nan if key is None else key for key in keys], float)
    order = np.argsort(known)  # NaN comes last
    count = int((~np.isnan(known)).sum())
    sorted_keys, images = known[order[:count]], column.of_values(values)[order]
    if column.knots and None not in values and (np.diff(column.to_numbers(images)[:count]) >= 0).all():
        between = np.interp(numbers, sorted_keys, column.to_numbers(images)[:count])
        return column.of_numbers(np.where(np.isnan(numbers), column.to_numbers(images)[-1], between))
    right = np.searchsorted(sorted_keys, numbers).clip(max=count - 1)
    left = (right - 1).clip(min=0)
    is_left = np.abs(sorted_keys[left] - numbers) < np.abs(sorted_keys[right] - numbers)
    nearest = np.where(np.isnan(numbers), len(keys) - 1, np.where(is_left, left, right))
    return np.asarray(images[nearest])

"""Distances between the columns of real and of synthetic tables, and between pairs of them; categories kept.

A table is a `pandas.DataFrame`; `kinds` says what each column is: number, date, category, boolean, or what no
generator learns (identifier, constant, text), which is left out here too.

Every distance is a difference between two shares: the share of real rows in a set of values, less the share of
synthetic rows in it, for the set in which they differ most. Its interval is that of this difference for a fixed set.
Since the set is chosen, tables of equal distribution have more than 0: compare with that of held-out rows.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparring.errors import DataError
from sparring.metrics.estimate import around, mean_with_interval
from sparring.types import Estimate

if TYPE_CHECKING:
    import pandas

Kinds = Mapping[str, str]
"""What each column of a table is, by its name."""

NUMERIC, CATEGORICAL = ("number", "date"), ("category", "boolean")
NUM_BINS = 10
"""Parts of a column in a pair: tenths of the real numbers; or the most frequent categories, and all others together."""
FREQUENT = 0.95
"""A column with a real value of a larger share may seem constant by chance."""


def learned(kinds: Kinds) -> list[str]:
    """The columns that a generator learns."""
    return [name for name, kind in kinds.items() if kind in NUMERIC + CATEGORICAL]


def check_tables(kinds: Kinds, **tables: "pandas.DataFrame") -> None:
    """Raise a DataError for a table that lacks a column or has fewer than 2 rows."""
    for name, table in tables.items():
        if missing := [column for column in learned(kinds) if column not in table.columns]:
            raise DataError(f"the {name} table has no column {missing[0]!r}: give tables with the same columns")
        if len(table) < 2:
            raise DataError(f"the {name} table has {len(table)} rows: give at least 2, better thousands")


def to_numbers(cells: "pandas.Series", kind: str) -> np.ndarray:
    """The numbers of a column, or its dates in seconds since 1970, float64 [n]; NaN for a missing or infinite one.

    Dates may be text as in 2024-12-31 or 2024-12-31T23:59, and times as in 23:59.

    Raises:
        DataError: for a cell that is none, since a column that counted as missing would look equal to another.
    """
    import pandas

    if kind == "number":
        read = pandas.to_numeric(cells, errors="coerce")
        numbers = read.to_numpy(float, na_value=np.nan)
    else:
        if cells.dtype.kind != "M":
            texts = cells.astype(object).where(cells.isna(), cells.astype(str))
            cells = texts.mask(texts.str.fullmatch(r"\d\d:\d\d(:\d\d)?").eq(True), "1970-01-01T" + texts)
        read = pandas.to_datetime(
            cells, errors="coerce", utc=True, format=None if cells.dtype.kind == "M" else "ISO8601"
        )
        numbers = ((read - pandas.Timestamp(0, tz="UTC")) / pandas.Timedelta("1s")).to_numpy(float, na_value=np.nan)
    strange = (read.isna() & cells.notna()).to_numpy()
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"row {row + 1} of {cells.name!r} holds {cells.iloc[row]!r}, which is no {kind}: convert it first"
        )
    return np.where(np.isfinite(numbers), numbers, np.nan)


def to_codes(kind: str, *columns: "pandas.Series") -> tuple[list[np.ndarray], np.ndarray]:
    """The place of each value among all values of some columns in their order, 0 for a missing one; and these values.

    Equal values have equal codes in all columns, whether a category is written as 1, 1.0 or "1".
    """
    import pandas

    types = pandas.api.types
    if kind in NUMERIC:
        values = [to_numbers(column, kind) for column in columns]
    elif all(types.is_numeric_dtype(column) and not types.is_bool_dtype(column) for column in columns):
        values = [column.to_numpy(float, na_value=np.nan) for column in columns]
    else:
        texts = ([None if pandas.isna(cell) else _as_text(cell) for cell in column] for column in columns)
        values = [np.array(each, object) for each in texts]
    codes, uniques = pandas.factorize(np.concatenate(values), sort=True)
    return np.split(codes + 1, np.cumsum([len(each) for each in values])[:-1]), np.asarray(uniques)


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def column_distances(real: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds) -> dict[str, Estimate]:
    """The distance between the real and the synthetic values of each column, the largest first.

    Numbers and dates: max over x of |F(x) − G(x)|, the statistic of Kolmogorov and Smirnov (`ks_distance`). Categories:
    ½ Σ |p − q|, the total variation. A missing value counts as smaller than all numbers, or as a category of its own;
    so a distance is at least the difference between the shares of missing values.

    Args:
        real: rows that the synthetic ones should resemble.
        synthetic: rows with the same columns.
        kinds: what each column is.

    Returns:
        Distances from 0 to 1 by the names of the columns.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: Hodges 1958, as `ks_distance`; for tables KSComplement and TVComplement of SDMetrics, 1 − distance.

    Example:
        >>> import pandas
        >>> real = pandas.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "sex": ["f", "f", "m", "m"]})
        >>> synthetic = pandas.DataFrame({"age": [3.0, 4.0, 5.0, 6.0], "sex": ["f", "m", "m", "m"]})
        >>> found = column_distances(real, synthetic, {"age": "number", "sex": "category"})
        >>> {name: each.value for name, each in found.items()}
        {'age': 0.5, 'sex': 0.25}
    """
    check_tables(kinds, real=real, synthetic=synthetic)
    found = {}
    for name in learned(kinds):
        codes, _ = to_codes(kinds[name], real[name], synthetic[name])
        found[name] = _distance(*codes, is_ordered=kinds[name] in NUMERIC)
    return _largest_first(found)


def pair_distances(
    real: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds
) -> dict[tuple[str, str], Estimate]:
    """The distance between the real and the synthetic values of each pair of columns, the largest first.

    ½ Σ |p − q| over the at most 11 × 11 cells of a pair: tenths of the real numbers, or the ten most frequent
    categories and the rest; missing values are a part of their own. Many cells and few rows give much more than 0 by
    chance: about √(cells / π) √(½/n + ½/m) for n and m rows of equal distribution.

    Args:
        real: rows that the synthetic ones should resemble.
        synthetic: rows with the same columns.
        kinds: what each column is.

    Returns:
        Distances from 0 to 1 by the names of the two columns.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: ContingencySimilarity of SDMetrics, which is 1 − distance, with ten bins.

    Example:
        >>> import pandas
        >>> real = pandas.DataFrame({"a": ["x", "y"] * 50, "b": ["u", "v"] * 50})
        >>> synthetic = pandas.DataFrame({"a": ["x", "y"] * 50, "b": ["v", "u"] * 50})
        >>> pair_distances(real, synthetic, {"a": "category", "b": "category"})[("a", "b")].value
        1.0
    """
    check_tables(kinds, real=real, synthetic=synthetic)
    names = learned(kinds)
    bins = {name: _bins(kinds[name], real[name], synthetic[name]) for name in names}
    found = {}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            cells = [a * (NUM_BINS + 2) + b for a, b in zip(bins[first], bins[second], strict=True)]
            found[first, second] = _distance(*cells, is_ordered=False)
    return _largest_first(found)


def categories_kept(
    train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, min_rows: int = 10
) -> Estimate | None:
    """The share of categories that occur among the synthetic rows, of those that should occur often enough.

    These have at least `min_rows` training rows, and a perfect generator would make as many: it then lacks one of them
    with a probability of at most exp(−min_rows), 5e-5 for ten rows.

    Args:
        train: rows that the generator was trained on.
        synthetic: rows with the same columns, best as many.
        kinds: what each column is.
        min_rows: the least number of rows of a category that counts.

    Returns:
        From 0 to 1; the interval is of a mean over categories. None where no category has so many rows.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: this project; CategoryCoverage of SDMetrics counts all categories.

    Example:
        >>> import pandas
        >>> train = pandas.DataFrame({"city": ["Bonn"] * 80 + ["Ulm"] * 20})
        >>> categories_kept(train, train[:80], {"city": "category"}).value
        0.5
    """
    counts = _count_categories(train, synthetic, kinds, min_rows)
    kept = [made > 0 for _, made in counts.values()]
    return mean_with_interval(torch.tensor(kept), 0.0, 1.0) if kept else None


def lost_categories(
    train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, min_rows: int = 10
) -> dict[tuple[str, str], int]:
    """The categories that `categories_kept` misses, by column and category, with their training rows, most first.

    Example:
        >>> import pandas
        >>> train = pandas.DataFrame({"city": ["Bonn"] * 80 + ["Ulm"] * 20})
        >>> lost_categories(train, train[:80], {"city": "category"})
        {('city', 'Ulm'): 20}
    """
    counts = _count_categories(train, synthetic, kinds, min_rows)
    lost = {place: rows for place, (rows, made) in counts.items() if not made}
    return dict(sorted(lost.items(), key=lambda each: -each[1]))


def column_collapses(train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds) -> dict[str, float]:
    """How much less varied each column has become, 1 − H(synthetic) / H(train), the largest first.

    H is the entropy of the column's shares in tenths of the numbers or in its categories: 1 means that all synthetic
    values lie in one tenth, or are one category; 0 or less means as much variety as in the data. More than ten
    categories are cut into tenths in the order of their names, since the most frequent ones of few rows are so by
    chance. Columns in which one part has more than 95 % of the training rows are left out: few synthetic rows may all
    lie there by chance.

    Example:
        >>> import pandas
        >>> train = pandas.DataFrame({"age": range(100), "sex": ["f", "m"] * 50})
        >>> synthetic = pandas.DataFrame({"age": [40.0] * 100, "sex": ["f", "m"] * 50})
        >>> column_collapses(train, synthetic, {"age": "number", "sex": "category"})
        {'age': 1.0, 'sex': 0.0}
    """
    check_tables(kinds, train=train, synthetic=synthetic)
    found = {}
    for name in learned(kinds):
        if kinds[name] in NUMERIC:
            parts = _bins(kinds[name], train[name], synthetic[name])
        else:
            parts, uniques = to_codes(kinds[name], train[name], synthetic[name])
            parts = parts if len(uniques) <= NUM_BINS else _tenths([np.where(each, each, np.nan) for each in parts])
        shares = [np.bincount(part) / len(part) for part in parts]
        if shares[0].max() <= FREQUENT:
            before, after = (-float(each[each > 0] @ np.log(each[each > 0])) for each in shares)
            found[name] = 1 - after / before
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _distance(real: np.ndarray, synthetic: np.ndarray, *, is_ordered: bool) -> Estimate:
    """The largest difference between the shares of two sets of codes, over all sets of codes or all beginnings."""
    n, m = len(real), len(synthetic)
    size = int(max(real.max(), synthetic.max())) + 1
    p, q = np.bincount(real, minlength=size) / n, np.bincount(synthetic, minlength=size) / m
    if is_ordered:
        below_p, below_q = p.cumsum(), q.cumsum()
        place = np.abs(below_p - below_q).argmax()
        share, other = below_p[place], below_q[place]
    else:
        is_more = p > q
        share, other = p[is_more].sum(), q[is_more].sum()
    return share_difference(abs(float(share - other)), float(share), n, float(other), m, least=0.0)


def share_difference(value: float, share: float, n: int, other: float, m: int, least: float = -1.0) -> Estimate:
    """A difference between a share of n and another of m, with its normal interval."""
    variance = max(0.0, share * (1 - share)) / n + max(0.0, other * (1 - other)) / m
    return around(value, variance**0.5, least, 1.0)


def _bins(kind: str, real: "pandas.Series", synthetic: "pandas.Series") -> list[np.ndarray]:
    """The part of a column that each value lies in, from 0 to NUM_BINS + 1; 0 is that of missing values."""
    if kind in NUMERIC:
        return _tenths([to_numbers(cells, kind) for cells in (real, synthetic)])
    codes, uniques = to_codes(kind, real, synthetic)
    counts = np.bincount(codes[0], minlength=len(uniques) + 1)[1:]
    places = np.full(len(uniques) + 1, NUM_BINS + 1)
    places[0] = 0
    places[1 + np.argsort(-counts, kind="stable")[:NUM_BINS]] = np.arange(1, min(NUM_BINS, len(uniques)) + 1)
    return [places[each] for each in codes]


def _tenths(numbers: list[np.ndarray]) -> list[np.ndarray]:
    """Which tenth of the first numbers each number lies in, from 1; 0 for NaN."""
    present = numbers[0][~np.isnan(numbers[0])]
    # Edges are values of the data, so that one which many rows share is the end of its part.
    shares = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
    edges = np.unique(np.quantile(present, shares, method="inverted_cdf")) if len(present) else present
    return [np.where(np.isnan(each), 0, 1 + np.searchsorted(edges, each)) for each in numbers]


def _count_categories(
    train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, min_rows: int
) -> dict[tuple[str, str], tuple[int, int]]:
    """The training rows and the synthetic rows of each category that both should have often enough."""
    check_tables(kinds, train=train, synthetic=synthetic)
    least = max(min_rows, min_rows * len(train) / len(synthetic))
    found = {}
    for name in (name for name in learned(kinds) if kinds[name] in CATEGORICAL):
        codes, uniques = to_codes(kinds[name], train[name], synthetic[name])
        rows, made = (np.bincount(each, minlength=len(uniques) + 1)[1:] for each in codes)
        for place in np.flatnonzero(rows >= least).tolist():
            found[name, _as_text(uniques[place])] = (int(rows[place]), int(made[place]))
    return found


def _largest_first(found: dict[Any, Estimate]) -> dict[Any, Estimate]:
    return dict(sorted(found.items(), key=lambda each: -each[1].value))

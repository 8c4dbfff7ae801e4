"""What the columns of a table are: by their cells, and by what a user says."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from sparring.data.columns import Column, ColumnKind, Value, find_step, make_column
from sparring.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

DATE_FORMS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y/%m/%d", "%d.%m.%Y",
    "%d/%m/%Y", "%m/%d/%Y", "%H:%M:%S", "%H:%M",
)  # fmt: skip
MAX_DECIMALS = 9
MAX_CATEGORIES = 3000
MOST_DIFFERENT = 0.9  # text of which a larger share is different is no category
LONG_TEXT = 30  # characters, on average; such texts are no identifiers
MOSTLY = 0.5  # a column with a larger share of numbers is meant to be of numbers
MAX_PLACES = 4096  # numbers of a row as networks see it
STEPS = (1e6, 1e5, 1e4, 1000.0, 500.0, 100.0, 50.0, 10.0, 5.0)  # of which all numbers of a column may be multiples
SETTINGS = {"kind", "order", "bounds"}  # of a column in a file of corrections
ZERO_FIRST = re.compile(r"[+-]?0\d.*")
NESTED = (list, tuple, dict, np.ndarray)  # cells that hold several values
NUM_TOLD = 3


def read_corrections(path: str | None, frame: "DataFrame") -> dict[str, dict[str, Any]]:
    """What a user says about columns: `kind`, `order` and `bounds` of some, by their names, from a .toml file.

    Raises:
        UsageError: if the file cannot be read, or says what no column can be.
    """
    if path is None:
        return {}
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {path}: {error}: give a .toml file with [NAME] and kind, order or bounds"
        ) from error
    for name, settings in found.items():
        if name not in frame.columns:
            raise UnknownNameError("column", name, list(frame.columns), f" (in {path})")
        if not isinstance(settings, dict) or (unknown := settings.keys() - SETTINGS):
            what = min(unknown) if isinstance(settings, dict) else settings
            raise UsageError(f"{path}, [{name}]: {what!r} is no setting of a column: give kind, order or bounds")
        if (kind := settings.get("kind")) is not None and kind not in get_args(ColumnKind):
            raise UnknownNameError("kind", str(kind), get_args(ColumnKind), f" (in {path}, [{name}])")
        bounds = settings.get("bounds")
        if bounds is not None and not (
            isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(each, int | float) for each in bounds)
        ):
            raise UsageError(f"{path}, [{name}]: bounds must be two numbers, such as [0, 120], not {bounds!r}")
    return found


def find_columns(
    frame: "DataFrame", corrections: Mapping[str, Mapping[str, Any]] = {}, name: str = "the table"
) -> tuple[Column, ...]:
    """What each column of a table is.

    Raises:
        DataError: if a column is neither one thing nor another, or if there is nothing to learn.
    """
    columns = tuple(_find_column(frame[each], str(each), corrections.get(str(each), {}), name) for each in frame)
    learned = [column for column in columns if column.is_learned]
    if len(learned) < 2 or not any(column.size for column in learned):
        seen = ", ".join(f"{column.name!r} is {describe_column(column)}" for column in columns[:NUM_TOLD])
        raise DataError(
            f"{name!r} has {len(learned)} columns to learn from, and a table needs two: {seen}. If a column is taken "
            "wrongly, say so in a file: --set columns=columns.toml"
        )
    num_places = sum(column.size for column in learned)
    if num_places > MAX_PLACES:
        largest = max(learned, key=lambda column: len(column.values))
        raise DataError(
            f"the rows of {name!r} would take {num_places:,} numbers each, and {MAX_PLACES:,} are the most: join rare "
            f'categories, such as those of {largest.name!r}, or leave columns out with kind = "text" in '
            "--set columns=columns.toml"
        )
    return columns


def describe_column(column: Column) -> str:
    """What a column is taken for, in a few words."""
    values = column.present
    missing = ", some missing" if None in column.values and column.kind != "constant" else ""
    if len(column.sources) == 2:
        return f"always {column.sources[0]} + {column.sources[1]}: computed, not learned"
    if column.sources:
        return f"always the same for the same {column.sources[0]}: computed, not learned"
    if column.kind == "identifier":
        return "an identifier: made anew, never learnt"
    if column.kind == "text":
        return "free text: left out"
    if column.kind == "constant":
        return f"always {values[0]}" if values else "always missing"
    if column.kind == "boolean":
        return f"true or false{missing}"
    if column.kind == "category":
        return f"one of {len(values):,} categories{missing}"
    if column.kind == "date":
        first, last = (str(np.datetime64(int(each), "s")).replace("T00:00:00", "") for each in column.limits)
        return f"a date from {first} to {last}{missing}"
    low, high = column.limits
    unit = "whole numbers" if column.decimals == 0 else "numbers"
    if not column.knots:
        return f"one of {len(values)} {unit} from {low:g} to {high:g}{missing}"
    spikes = f", often {' or '.join(f'{value:g}' for value in values[:NUM_TOLD])}" if values else ""
    return f"{unit} from {low:g} to {high:g}{spikes}{missing}"


def _find_column(cells: "Series", title: str, correction: Mapping[str, Any], name: str) -> Column:
    """What a column is, and its values."""
    import pandas

    where, wanted = f"the column {title!r} of {name!r}", correction.get("kind")
    is_missing = cells.isna().to_numpy()
    present = cells[~is_missing]
    if wanted in ("identifier", "text"):
        return Column(title, wanted, form="number" if pandas.api.types.is_numeric_dtype(cells) else "")
    if not len(present):
        return Column(title, "constant", (None,))
    if isinstance(present.iloc[0], NESTED):
        raise DataError(
            f"{where} holds lists or records: give each of their parts a column of its own, or leave it out by "
            'kind = "text" in --set columns=columns.toml'
        )
    guessed: ColumnKind
    if pandas.api.types.is_bool_dtype(present) or set(map(str, present.unique()[:3])) <= BOOLEANS.keys():
        guessed = "boolean"
    elif pandas.api.types.is_datetime64_any_dtype(present):
        guessed = "date"
    elif pandas.api.types.is_numeric_dtype(present):
        guessed = "number"
    else:
        guessed = _guess_text(present, where, has_wish=wanted is not None)
    kind: ColumnKind = wanted or guessed
    if kind == "number" and wanted is None and _counts(present):
        return Column(title, "identifier", form="number")
    if kind in ("identifier", "text"):
        return Column(title, kind)
    if kind == "constant":
        kind = guessed
    if wanted == "boolean" and guessed != "boolean":
        raise DataError(f"{where} holds other values than true and false: give another kind")
    return _build(cells, is_missing, title, kind, correction, where)


BOOLEANS = {"True": True, "False": False, "true": True, "false": False, "TRUE": True, "FALSE": False}

DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")


def _guess_text(present: "Series", where: str, *, has_wish: bool) -> ColumnKind:
    """What a column of text is; an error for one of numbers and other text, unless the user says what it is."""
    texts = present.astype(str)
    numbers = _read_numbers(texts)
    is_number = ~np.isnan(numbers)
    different = texts.nunique()
    if is_number.all() and not texts.str.strip().str.fullmatch(ZERO_FIRST.pattern).any():
        return "number"
    if _date_form(texts):
        return "date"
    if is_number.mean() > MOSTLY and not is_number.all() and not has_wish:
        row = int((~is_number).argmax())
        raise DataError(
            f"{where} mixes numbers and text: {(~is_number).sum():,} cells are no numbers, such as {texts.iloc[row]!r} "
            f"in row {texts.index[row] + 1}. Leave such cells empty, or say what it is: --set columns=columns.toml"
        )
    is_long = texts.str.len().mean() > LONG_TEXT or texts.str.contains(r"\S\s+\S+\s+\S+\s+\S+\s+\S").mean() > MOSTLY
    if different > MOST_DIFFERENT * len(texts) and len(texts) > MIN_ROWS_TO_TELL:
        return "text" if is_long else "identifier"
    if different > MAX_CATEGORIES:
        if is_long:
            return "text"
        if has_wish:
            return "category"
        raise DataError(
            f"{where} has {different:,} different texts in {len(texts):,} rows, and {MAX_CATEGORIES:,} categories are "
            "the most: join rare ones, or say that it is an identifier or text: --set columns=columns.toml"
        )
    return "category"


def _counts(present: "Series") -> bool:
    """Whether numbers only count the rows: each once, whole, without a gap."""
    numbers = _read_numbers(present)
    return bool(
        len(numbers) > MIN_ROWS_TO_TELL and (numbers == np.round(numbers)).all()
        and len(np.unique(numbers)) == len(numbers) == numbers.max() - numbers.min() + 1
    )  # fmt: skip


def _read_numbers(cells: "Series") -> np.ndarray:
    """Numbers, with NaN for what is none; of text also those with a decimal comma."""
    import pandas

    if pandas.api.types.is_numeric_dtype(cells):
        return np.asarray(cells.to_numpy(float, na_value=np.nan))
    texts = cells.astype(object)
    numbers = pandas.to_numeric(texts, errors="coerce").to_numpy(float, na_value=np.nan).copy()
    odd = np.flatnonzero(np.isnan(numbers))
    for place in odd[:1].tolist():
        if isinstance(texts.iloc[place], str) and DECIMAL_COMMA.fullmatch(texts.iloc[place].strip()):
            swapped = texts.iloc[odd].str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            numbers[odd] = pandas.to_numeric(swapped, errors="coerce").to_numpy(float, na_value=np.nan)
    return np.asarray(numbers)


def _date_form(texts: "Series") -> str:
    """How all dates are written; "" if they are no dates."""
    import pandas

    for form in DATE_FORMS:
        few = texts.iloc[:NUM_LOOKED_AT]
        if all(pandas.to_datetime(each, format=form, errors="coerce").notna().all() for each in (few, texts)):
            return form
    return ""


NUM_LOOKED_AT = 20
MIN_ROWS_TO_TELL = 20  # in a table of fewer rows, all different values may be chance


def _build(
    cells: "Series", is_missing: np.ndarray, title: str, kind: ColumnKind, correction: Mapping[str, Any], where: str
) -> Column:
    """The column of a kind."""
    if kind == "date":
        form = "" if cells.dtype.kind == "M" else _date_form(cells[~is_missing].astype(str))
        if cells.dtype.kind != "M" and not form:
            raise DataError(f"{where} holds no dates that are all written alike: write them as 2024-12-31")
        dates = _dates(cells, form)
        step = find_step(Column.to_numbers(dates), (86_400.0, 3_600.0, 60.0))
        column = make_column(title, kind, dates, form=form, step=step)
    elif kind == "number":
        numbers = _read_numbers(cells)
        if not np.isfinite(numbers[~is_missing]).all():
            row = int(np.flatnonzero(~is_missing & ~np.isfinite(numbers))[0])
            raise DataError(f"row {row + 1} of {where} holds {cells.iloc[row]!r}, which is no finite number: mend it")
        present = numbers[~is_missing]
        decimals = next((each for each in range(MAX_DECIMALS) if (np.round(present, each) == present).all()), None)
        facts = {"decimals": decimals, "step": find_step(present, STEPS)}
        column = make_column(title, kind, numbers, **facts, bounds=tuple(correction.get("bounds", ())))
    elif kind == "boolean":
        column = make_column(title, kind, _objects(cells, is_missing, lambda cell: BOOLEANS[str(cell)]))
    else:
        column = make_column(title, kind, _objects(cells, is_missing, str))
        column = _in_order(column, correction.get("order", ()), where)
    return replace(column, kind="constant") if len(column.values) == 1 and not column.knots else column


def _in_order(column: Column, order: Sequence[object], where: str) -> Column:
    """The column with its categories in a user's order."""
    if not order:
        return column
    wanted = [str(each) for each in order]
    present = column.present
    if left := sorted(set(map(str, present)) - set(wanted)):
        raise UsageError(f"the order of {where} lacks {left[0]!r}: give all {len(present)} categories")
    missing: list[Value] = [None] * (None in column.values)
    return replace(column, values=(*(each for each in wanted if each in present), *missing))


def _objects(cells: "Series", is_missing: np.ndarray, change: Callable[[object], Value]) -> np.ndarray:
    found = np.array([None] * len(cells), dtype=object)
    found[~is_missing] = [change(cell) for cell in cells[~is_missing]]
    return found


def _dates(cells: "Series", form: str) -> np.ndarray:
    import pandas

    dates = pandas.to_datetime(cells.astype(object), format=form, errors="coerce") if form else cells
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert(None)
    found: np.ndarray = dates.to_numpy("M8[s]")
    return found


def parse_cells(cells: "Series", column: Column, name: str) -> np.ndarray:
    """The values of a column [n], of its `dtype`; a DataError for a cell of another kind."""
    is_missing = cells.isna().to_numpy()
    if is_missing.any() and None not in column.values:
        raise DataError(f"row {int(is_missing.argmax()) + 1} of {name!r} has no {column.name!r}, and each row had one")
    if column.kind == "date":
        return _dates(cells, column.form)
    if not column.is_ordered:
        change = (lambda cell: str(BOOLEANS.get(str(cell), cell))) if column.kind == "boolean" else str
        texts = _objects(cells, is_missing, change)
        texts[is_missing] = ""
        if strange := sorted(set(texts) - {"" if value is None else str(value) for value in column.values}):
            raise DataError(f"{name!r} has {strange[0]!r} for {column.name!r}, which the training never saw")
        return texts == "True" if column.dtype == "?" else texts.astype(column.dtype)
    numbers = _read_numbers(cells)
    if np.isnan(numbers[~is_missing]).any():
        raise DataError(f"{name!r} has text for {column.name!r}, which is a number")
    return numbers.astype(column.dtype)

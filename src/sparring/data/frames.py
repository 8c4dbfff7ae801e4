"""Files of tables, pandas' frames, and the arrays of items that a generator makes."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.data.column_kinds import parse_cells
from sparring.data.columns import Column, dtype_of
from sparring.data.memory import NAME, keep_bytes
from sparring.errors import DataError, UsageError, how_to_install

if TYPE_CHECKING:
    from pandas import DataFrame

ENDINGS = (".csv", ".tsv", ".parquet", ".feather")
SEPARATORS = ",;\t|"


def check_pandas(what: str, *, with_arrow: bool = False) -> Any:
    """The module pandas; a UsageError without the extra `tables`."""
    try:
        import pandas

        if with_arrow:
            import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{what} takes {error.name}, which is not installed: {how_to_install('tables')}") from error
    return pandas


def read_frame(path: Path) -> tuple["DataFrame", list[str]]:
    """A file's table, all cells of a .csv as text, and lines of text about how it was read.

    Raises:
        DataError: if it cannot be read, or has no names of columns.
        UsageError: without the extra `tables`.
    """
    pandas = check_pandas(str(path), with_arrow=path.suffix.lower() not in (".csv", ".tsv"))
    name, notes = str(path), list[str]()
    try:
        if path.suffix.lower() == ".parquet":
            frame = pandas.read_parquet(path)
        elif path.suffix.lower() == ".feather":
            frame = pandas.read_feather(path)
        else:
            encoding, separator, header = _look_at_text(path)
            _check_header(header, name)
            if encoding == "cp1252":
                notes.append("read as Windows-1252, since it is not written in UTF-8")
            frame = pandas.read_csv(path, sep=separator, encoding=encoding, dtype=str, index_col=False)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # on damaged files, pandas and pyarrow raise anything
        raise DataError(f"cannot read {name!r}: {error}") from error
    check_names([str(each) for each in frame.columns], name)
    frame.columns = [str(each) for each in frame.columns]
    return frame, notes


def _look_at_text(path: Path) -> tuple[str, str, list[str]]:
    """The encoding of a text file, what separates its cells, and its first line."""
    with path.open("rb") as file:
        head = file.read(2**16)
        rest = file.read() if not head.startswith((b"\xff\xfe", b"\xfe\xff")) else b""
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{str(path)!r} is no text, although its name ends in {path.suffix}: give a table")
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        (head + rest).decode(encoding, "ignore" if encoding == "utf-16" else "strict")
    except UnicodeDecodeError:
        encoding = "cp1252"
    lines = head.decode(encoding, "ignore").lstrip("\r\n")
    first = lines.splitlines()[0] if lines.strip() else ""
    if not first:
        raise DataError(f"{str(path)!r} is empty: give a table with a line of names and hundreds of rows")
    separator = max(SEPARATORS, key=lambda each: len(next(csv.reader([first], delimiter=each))))
    return encoding, separator, next(csv.reader(io.StringIO(lines), delimiter=separator))


def _check_header(header: Sequence[str], name: str) -> None:
    """Refuse a first line that holds values, or one name twice; pandas would rename it."""
    if values := [cell for cell in header if _is_number(cell)]:
        raise DataError(f"the first line of {name!r} holds values such as {values[0]!r}: begin with the columns' names")
    check_names([cell for cell in header if cell], name)


def _is_number(text: str) -> bool:
    try:
        return bool(text.strip()) and float(text) == float(text)
    except ValueError:
        return False


def check_names(names: Sequence[str], name: str) -> None:
    """Refuse a table of which two columns have one name."""
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise DataError(f"{name!r} has several columns called {twice[0]!r}: give each column its own name")


def to_items(frame: "DataFrame", columns: Sequence[Column], name: str) -> np.ndarray:
    """The rows of a table as an array with a field for each column that is learned, [n].

    Raises:
        DataError: if the table lacks a column, or a cell is not of its column's kind.
    """
    items = np.empty(len(frame), dtype_of(columns))
    for column in columns:
        if column.is_learned:
            if column.name not in frame:
                raise DataError(
                    f"{name!r} has no column {column.name!r}: give a table with the columns of the training"
                )
            items[column.name] = parse_cells(frame[column.name], column, name)
    return items


def to_frame(items: np.ndarray, columns: Sequence[Column]) -> "DataFrame":
    """The rows as pandas' frame, with the kinds of the table that was learned.

    Identifiers are 1, 2, 3 and so on, and columns of text are left out.
    """
    import pandas

    found: dict[str, Any] = {}
    for column in columns:
        if column.kind == "identifier":
            numbers = np.arange(1, len(items) + 1)
            found[column.name] = numbers if column.form == "number" else numbers.astype(str).astype(object)
        if not column.is_learned:
            continue
        cells = items[column.name]
        if column.dtype[0] == "U":
            texts = cells.astype(object)
            texts[cells == ""] = None
            if column.kind == "boolean":
                texts = pandas.array([None if text is None else text == "True" for text in texts], "boolean")
            found[column.name] = texts
        elif column.dtype == "f8" and column.decimals == 0:
            found[column.name] = pandas.array(cells, "Int64") if None in column.values else cells
        elif column.kind == "date" and column.form and column.form in TIME_FORMS:
            found[column.name] = pandas.Series(cells).dt.strftime(column.form)
        else:
            found[column.name] = cells
    return pandas.DataFrame(found)


def keep_frame(data: object) -> Path | None:
    """Write a frame of pandas or polars into a file of the cache, named by its contents; None for other data."""
    save = getattr(data, "to_parquet", None) or getattr(data, "write_parquet", None)
    if save is None or not hasattr(data, "columns"):
        return None
    check_pandas(NAME, with_arrow=True)
    check_names([str(each) for each in data.columns], NAME)
    content = io.BytesIO()
    try:
        save(content, **({"index": False} if hasattr(data, "to_parquet") else {}))
    except Exception as error:  # columns of several kinds of objects, which pyarrow refuses
        raise DataError(f"{NAME} cannot be kept in a file: {error}: give columns of one kind each") from error
    return keep_bytes(content.getvalue(), "data.parquet")


TIME_FORMS = ("%H:%M:%S", "%H:%M")


def write_csv(items: np.ndarray, target: Path | io.BytesIO, columns: Sequence[Column]) -> None:
    """Write rows as a .csv file, with commas, in UTF-8, and dates as they were written."""
    frame = to_frame(items, columns)
    for column in columns:
        if column.kind == "date" and column.form and column.form not in TIME_FORMS:
            frame[column.name] = frame[column.name].dt.strftime(column.form)
    frame.to_csv(target, index=False, encoding="utf-8", lineterminator="\n")

"""Tables with a column of encoded files: Parquet, and data sets saved by Hugging Face's library. They need pyarrow."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sparring.data.containers import Container, Entry, Kind, Reading, stamp
from sparring.errors import DataError, UsageError
from sparring.files import check_within

LABEL_COLUMNS = ("label", "labels", "class")
ROWS_AT_ONCE = 200


def table_files(path: Path) -> list[Path]:
    """The files of a table in a folder, or of its training split."""
    for split in ("train", *sorted(each.name for each in path.iterdir() if each.is_dir())):
        if (path / "dataset_dict.json").exists() and (path / split / "dataset_info.json").exists():
            return _arrow_files(path / split)
    found = _arrow_files(path) if (path / "dataset_info.json").exists() else sorted(path.rglob("*.parquet"))
    to_train_on = [file for file in found if file.name.startswith("train") or file.parent.name == "train"]
    return to_train_on or found


def _arrow_files(folder: Path) -> list[Path]:
    """The files of a split of Hugging Face's library, without its caches."""
    try:
        listed = json.loads((folder / "state.json").read_text())["_data_files"]
        return [folder / Path(each["filename"]).name for each in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return sorted(file for file in folder.glob("*.arrow") if not file.name.startswith("cache-"))


def open_table(path: Path, files: list[Path], kind: Kind, reading: Reading = Reading()) -> Container:
    """The files of a kind in a column of tables, in the order of the rows; without a name, in one with a usual name."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{path} takes pyarrow to read: pip install 'sparring[data]'") from error
    schema, num_rows = None, 0
    for file in files:
        if path.is_dir():
            check_within(file, path)
        try:
            with _open(file) as (found, count, _):
                schema, num_rows = schema or found, num_rows + count()
        except Exception as error:  # on damaged files, pyarrow raises anything
            raise DataError(f"cannot read {str(path)!r}: {error}") from error
    columns = {field.name: field.type for field in schema or ()}
    column = _choose_column(path, columns, kind, reading.column)
    label = next((name for name in LABEL_COLUMNS if name in columns), None)
    try:  # Hugging Face's library writes names beside the columns
        features = json.loads(getattr(schema, "metadata", {})[b"huggingface"])["info"]["features"]
        class_names = tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        class_names = ()

    def class_name(value: object) -> str:
        if class_names and isinstance(value, int):  # -1 has none
            return class_names[value] if 0 <= value < len(class_names) else ""
        return "" if value is None else str(value)

    def entries() -> Iterator[Entry]:
        rows = (row for file in files for row in _rows(file, column, label))
        for number, (cell, value) in enumerate(rows):
            data = cell["bytes"] if isinstance(cell, dict) else cell
            yield Entry(f"{path}: row {number}", class_name(value), partial(io.BytesIO, data or b""))

    stamps = hashlib.sha256(b"".join(stamp(str(file)) for file in files) + f"{column} {label}".encode())
    return Container(path, kind, stamps.hexdigest(), num_rows, 0, entries, class_names, "labels", column)


def _choose_column(path: Path, columns: dict[str, Any], kind: Kind, column: str | None) -> str:
    from pyarrow import types

    def holds_files(cells: Any) -> bool:
        if types.is_struct(cells):
            return any(field.name == "bytes" for field in cells)
        return bool(types.is_binary(cells) or types.is_large_binary(cells))

    listed = ", ".join(f"{name} ({cells})" for name, cells in columns.items())
    if column is not None and column not in columns:
        raise DataError(f"{str(path)!r} has no column {column!r}, but {listed}")
    fitting = [name for name, cells in columns.items() if holds_files(cells)]
    usual = [name for name in kind.columns if name in fitting] or fitting
    chosen = column or next(iter(usual), "")
    if chosen not in fitting:
        raise DataError(
            f"{str(path)!r} has no column of {kind.name} (encoded files, as bytes or as a struct with bytes) "
            f"{'' if column is None else f'called {column!r}'}, but {listed}: name it with --set column=NAME"
        )
    return chosen


@contextmanager
def _open(file: Path) -> Iterator[tuple[Any, Callable[[], int], Callable[[list[str]], Iterator[Any]]]]:
    """The schema of a file, a function that counts its rows, and one that reads columns in parts."""
    import pyarrow.parquet

    if file.suffix == ".parquet":
        with pyarrow.parquet.ParquetFile(file) as table:
            yield table.schema_arrow, lambda: table.metadata.num_rows, partial(table.iter_batches, ROWS_AT_ONCE, None)
        return
    with pyarrow.memory_map(str(file)) as source:
        parts = pyarrow.ipc.open_stream(source)
        yield parts.schema, lambda: sum(map(len, parts)), lambda columns: (part.select(columns) for part in parts)


def _rows(file: Path, column: str, label: str | None) -> Iterator[tuple[Any, Any]]:
    """The encoded file and the label of each row."""
    try:
        with _open(file) as (_, _, read):
            for part in read([column, *([label] if label else [])]):
                labels = part[label].to_pylist() if label else [None] * len(part)
                yield from zip(part[column].to_pylist(), labels, strict=True)
    except Exception as error:  # on damaged files, pyarrow raises anything
        raise DataError(f"cannot read {str(file)!r}: {error}") from error

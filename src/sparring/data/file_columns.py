"""Tables with a column of encoded files: Parquet, and data sets saved by Hugging Face's library. They need pyarrow."""

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sparring.data.containers import Container, Entry, Kind, Reading, ending_of, list_folder, stamp
from sparring.data.label_files import label_entries, parse_setting
from sparring.data.labels import LABEL_COLUMNS
from sparring.data.layout import Parts, arrange, parse_split, say_count
from sparring.errors import DataError, UnknownNameError, UsageError, how_to_install
from sparring.files import check_within

ROWS_AT_ONCE = 200
KIND_OF_CELL = re.compile(r"(?:large_|half)?([a-z]+)")  # in the name of its type
LABELS = {"int", "uint", "string", "bool", "dictionary", "float", "double"}  # kinds of cells that can be labels
SHARD = re.compile(r"[-_.]?\d+([-_.]?of[-_.]?\d+)?([-_.]\w+)?$")  # what follows a split in the name of one of its files
Part = tuple[Path, bool | None]  # a file of a table, and whether it is held out; None if no name says so


def table_files(path: Path, reading: Reading = Reading()) -> tuple[list[Part], list[str]]:
    """The files of a table in a folder, and lines of text about its splits."""
    if (path / "dataset_dict.json").exists():
        splits = sorted(each.parent for each in path.glob("*/dataset_info.json"))
        found: list[tuple[Path, Parts]] = [(file, (split.name,)) for split in splits for file in _arrow_files(split)]
    elif (path / "dataset_info.json").exists():
        found = [(file, ()) for file in _arrow_files(path)]
    else:
        listed = sorted(Path(inside) for inside in list_folder(path, reading) if ending_of(inside) == ".parquet")
        found = [(path / inside, (*inside.parts[:-1], SHARD.sub("", inside.stem))) for inside in listed]
    places, lines = arrange(path, ("files",), [names for _, names in found])
    if any(place is None or place.is_heldout is not None for place in places):
        pairs = zip(found, places, strict=True)
        return [(file, place.is_heldout) for (file, _), place in pairs if place is not None], lines
    parts: list[Part] = [(file, None) for file, names in found if any(map(_is_training, names))]
    num_others = say_count(len(found) - len(parts), "files")
    left_out = [f"left out beside train: {num_others}"] if 0 < len(parts) < len(found) else []
    return parts or [(file, None) for file, _ in found], left_out


def _is_training(name: str) -> bool:
    split = parse_split(name)
    return split is not None and split.is_training


def _arrow_files(folder: Path) -> list[Path]:
    """The files of a split of Hugging Face's library, without its caches."""
    try:
        listed = json.loads((folder / "state.json").read_text())["_data_files"]
        return [folder / Path(each["filename"]).name for each in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return sorted(file for file in folder.glob("*.arrow") if not file.name.startswith("cache-"))


def open_table(
    path: Path, parts: Sequence[Part], kind: Kind, reading: Reading = Reading(), notes: Sequence[str] = ()
) -> Container:
    """The files of a kind in a column of tables, in the order of the rows; without a name, in one with a usual name."""
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError(f"{path} takes pyarrow to read: {how_to_install('data')}") from error
    schema, counts, kinds = None, dict[Path, int](), defaultdict[str, set[str]](set)
    for file, _ in sorted(parts, key=lambda part: part[1] is True):  # held-out files may lack columns
        if path.is_dir() and not reading.follow_links:
            check_within(file, path)
        try:
            with _open(file) as (found, count, _):
                schema, counts[file] = schema or found, count()
            for field in found:
                kinds[field.name] |= {KIND_OF_CELL.match(str(field.type))[1]} - {"null"}  # type: ignore[index]
        except Exception as error:  # on damaged files, pyarrow raises anything
            raise DataError(f"cannot read {str(path)!r}: {error}") from error
    columns = {field.name: field.type for field in schema or ()}
    column = _choose_column(path, columns, kind, reading.column)
    source, wanted = parse_setting(reading.labels) if reading.labels else ("", [])
    if source:
        raise DataError(
            f"the labels of {str(path)!r} are columns of it: give --set labels=COLUMN,... instead of a file"
        )
    usual = [name for name in LABEL_COLUMNS if name in columns and not wanted]
    label = next((name for name in usual if kinds[name] <= LABELS), None)
    odd = [f"{name} ({columns[name]})" for name in usual if not kinds[name] <= LABELS]
    for each in [column, *wanted, *([label] if label else [])]:
        if len(kinds[each]) > 1:
            what = ", ".join(sorted(kinds[each]))
            raise DataError(f"the files of {str(path)!r} have columns {each!r} of several types: {what}")

    def names_of(column: str | None) -> tuple[str, ...]:
        try:  # Hugging Face's library writes names beside the columns
            features = json.loads(getattr(schema, "metadata", {})[b"huggingface"])["info"]["features"]
            return tuple(str(name) for name in features[column]["names"])
        except (KeyError, TypeError, ValueError):
            return ()

    def name_class(value: object, names: Sequence[str]) -> object:
        if names and isinstance(value, int):  # -1 has none
            return names[value] if 0 <= value < len(names) else None
        return value

    def class_name(value: object) -> str:
        name = name_class(value, class_names)
        return "" if name is None or name != name else str(name)  # NaN is none

    class_names = names_of(label)

    bare = [
        file
        for file, is_heldout in parts
        if label and is_heldout and not any(class_name(v) for (v,) in _rows(file, label))
    ]
    parts = [part for part in parts if part[0] not in bare]
    notes = [*notes, *(f"left out, since it has no labels: {file.relative_to(path)}" for file in bare)]
    asked = [name for name in columns if name not in (column, label, *wanted, *usual)]
    if asked and not wanted:
        notes.append(f"columns left aside: {', '.join(asked)}; --set labels=COLUMN,... chooses")
    notes += [f"{each} left aside: labels are numbers or text" for each in odd]

    def entries() -> Iterator[Entry]:
        titles = [column, label] if label else [column]
        rows = ((is_heldout, *row) for file, is_heldout in parts for row in _rows(file, *titles))
        for number, (is_heldout, cell, *values) in enumerate(rows):
            data, name = cell["bytes"] if isinstance(cell, dict) else cell, "".join(map(class_name, values))
            yield Entry(f"{path}: row {number}", name, partial(io.BytesIO, data or b""), is_heldout)

    stamps = b"".join(stamp(str(file)) + str(is_heldout).encode() for file, is_heldout in parts)
    container = Container(
        path=path,
        kind=kind,
        fingerprint=hashlib.sha256(stamps + f"{column} {label}".encode()).hexdigest(),
        num_files=sum(counts[file] for file, _ in parts),
        others={},
        entries=entries,
        class_names=class_names,
        classes_are="labels",
        notes=tuple(notes),
    )
    if label and pyarrow.types.is_floating(columns[label]):  # whole numbers with gaps, or an attribute
        wanted = [label]
    if not wanted:
        return container
    table: dict[str, list[object]] = {}
    for title in wanted:
        if title not in columns:
            raise UnknownNameError("column", title, columns)
        names = names_of(title)
        table[title] = [name_class(value, names) for file, _ in parts for (value,) in _rows(file, title)]
    return label_entries(container, table, wanted, "the table")


def holds_file_column(path: Path) -> bool:
    """Whether a .parquet file has a column of encoded files; true as well for one that cannot be read."""
    try:
        with _open(path) as (schema, _, _):
            return any(_holds_files(field.type) for field in schema)
    except Exception:  # without pyarrow, and on damaged files
        return True


def _holds_files(cells: Any) -> bool:
    from pyarrow import types

    if types.is_struct(cells):
        return any(field.name == "bytes" for field in cells)
    return bool(types.is_binary(cells) or types.is_large_binary(cells))


def _choose_column(path: Path, columns: dict[str, Any], kind: Kind, column: str | None) -> str:
    listed = ", ".join(f"{name} ({cells})" for name, cells in columns.items()) or "no columns"
    if column is not None and column not in columns:
        raise DataError(f"{str(path)!r} has no column {column!r}, but {listed}")
    fitting = [name for name, cells in columns.items() if _holds_files(cells)]
    usual = [name for name in kind.columns if name in fitting] or fitting
    chosen = column or next(iter(usual), "")
    if chosen not in fitting:
        raise DataError(
            f"{str(path)!r} has no column of {kind.name}{f' called {column!r}' if column else ''}, but {listed}: they "
            "are encoded files, as bytes or as a struct with bytes. Name the column with --set column=NAME"
        )
    return chosen


@contextmanager
def _open(file: Path) -> Iterator[tuple[Any, Callable[[], int], Callable[[list[str]], Iterator[Any]]]]:
    """The schema of a file, a function that counts its rows, and one that reads columns in parts."""
    import pyarrow.parquet

    if file.suffix.lower() == ".parquet":
        with pyarrow.parquet.ParquetFile(file) as table:
            yield table.schema_arrow, lambda: table.metadata.num_rows, partial(table.iter_batches, ROWS_AT_ONCE, None)
        return
    with pyarrow.memory_map(str(file)) as source:
        parts = pyarrow.ipc.open_stream(source)
        yield parts.schema, lambda: sum(map(len, parts)), lambda columns: (part.select(columns) for part in parts)


def _rows(file: Path, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Some columns of each row; None for a column that the file does not have."""
    try:
        with _open(file) as (schema, _, read):
            present = [column for column in columns if column in schema.names]
            for part in read(present):
                cells = {column: part[column].to_pylist() for column in present}
                yield from zip(*(cells.get(column, [None] * len(part)) for column in columns), strict=True)
    except Exception as error:  # on damaged files, pyarrow raises anything
        raise DataError(f"cannot read {str(file)!r}: {error}") from error

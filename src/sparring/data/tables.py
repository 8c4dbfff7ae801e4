"""Tables of images: Parquet files, and data sets of Hugging Face's library as it saves them to disk.

pyarrow reads them, which the extra `data` brings along.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sparring.data.collection import Collection, Picture, mark
from sparring.errors import DataError, UsageError
from sparring.files import check_within

IMAGE_COLUMNS = ("image", "img", "images", "picture")
LABEL_COLUMNS = ("label", "labels", "class")
ROWS_AT_ONCE = 200


def table_files(path: Path) -> list[Path]:
    """The files of a table: itself, or those in its folder; of a data set with splits, those to train on."""
    if path.is_file():
        return [path]
    for split in ("train", *sorted(each.name for each in path.iterdir() if each.is_dir())):
        if (path / "dataset_dict.json").exists() and (path / split / "dataset_info.json").exists():
            return _arrow_files(path / split)
    found = _arrow_files(path) if (path / "dataset_info.json").exists() else sorted(path.rglob("*.parquet"))
    to_train_on = [file for file in found if file.name.startswith("train") or file.parent.name == "train"]
    return to_train_on or found


def _arrow_files(folder: Path) -> list[Path]:
    """Those of a split of Hugging Face's library, which lists them; what it cached beside them is none of it."""
    try:
        listed = json.loads((folder / "state.json").read_text())["_data_files"]
        return [folder / Path(each["filename"]).name for each in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return sorted(file for file in folder.glob("*.arrow") if not file.name.startswith("cache-"))


def table(path: Path, files: list[Path], column: str | None = None) -> Collection:
    """The images in a column of tables, encoded as image files, in the order of their rows.

    Args:
        path: what the user gave.
        files: .parquet or .arrow files of the same columns.
        column: its name; if None, the one that is called like images.

    Raises:
        DataError: if they cannot be read, or there is no such column: then those there are are listed.
        UsageError: if pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401 - that it is there
    except ImportError as error:
        raise UsageError(f"{path} takes pyarrow to read: pip install 'sparring[data]'") from error
    for file in files:
        if path.is_dir():
            check_within(file, path)
    try:
        schemas = [_schema(file) for file in files]
        counts = [_num_rows(file) for file in files]
    except Exception as error:  # on damaged files, pyarrow raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    columns = {field.name: field.type for field in schemas[0]}
    image = _image_column(path, columns, column)
    label = next((name for name in LABEL_COLUMNS if name in columns), None)
    class_names = _class_names(schemas[0], label)

    def pictures() -> Iterator[Picture]:
        row = 0
        for file in files:
            for cell, value in _cells(file, image, label):
                yield Picture(f"{path}: row {row}", _name(value, class_names), partial(_opened, cell))
                row += 1

    marks = hashlib.sha256(b"".join(mark(str(file)) for file in files) + f"{image} {label}".encode())
    return Collection(path, marks.hexdigest(), sum(counts), 0, pictures, class_names, "labels", image)


def _image_column(path: Path, columns: dict[str, Any], column: str | None) -> str:
    import pyarrow

    def holds_images(kind: Any) -> bool:
        if pyarrow.types.is_struct(kind):
            return any(field.name == "bytes" for field in kind)
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    listed = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
    if column is not None and column not in columns:
        raise DataError(f"{str(path)!r} has no column {column!r}, but {listed}")
    fitting = [name for name, kind in columns.items() if holds_images(kind)]
    if column is None:
        named = [name for name in IMAGE_COLUMNS if name in fitting]
        column = next(iter(named or fitting), None)
    if column not in fitting:
        raise DataError(
            f"{str(path)!r} has no column of images (encoded files, as bytes or as a struct with bytes) "
            f"{'' if column is None else f'called {column!r}'}, but {listed}: name it with --set column=NAME"
        )
    return str(column)


def _opened(cell: Any) -> io.BytesIO:
    data = cell["bytes"] if isinstance(cell, dict) else cell
    return io.BytesIO(data or b"")


def _name(label: object, class_names: tuple[str, ...]) -> str:
    """Of a class: Hugging Face's name of its number (-1 is none), or what the column says."""
    if label is None:
        return ""
    if class_names and isinstance(label, int):
        return class_names[label] if 0 <= label < len(class_names) else ""
    return str(label)


def _class_names(schema: Any, label: str | None) -> tuple[str, ...]:
    """What Hugging Face's library writes beside the columns."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _schema(file: Path) -> Any:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(file)
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        return pyarrow.ipc.open_stream(source).schema


def _num_rows(file: Path) -> int:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(file).num_rows)
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        return sum(len(part) for part in pyarrow.ipc.open_stream(source))


def _cells(file: Path, image: str, label: str | None) -> Iterator[tuple[Any, Any]]:
    """The image and the label of each row."""
    parts = _parts(file, [image, *([label] if label else [])])
    while True:
        try:
            if (part := next(parts, None)) is None:
                return
            images = part[image].to_pylist()
            labels = part[label].to_pylist() if label else [None] * len(part)
        except Exception as error:  # on damaged files, pyarrow raises anything
            raise DataError(f"cannot read {str(file)!r}: {error}") from error
        yield from zip(images, labels, strict=True)


def _parts(file: Path, columns: list[str]) -> Iterator[Any]:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(file) as opened:
            yield from opened.iter_batches(ROWS_AT_ONCE, columns=columns)
        return
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        for part in pyarrow.ipc.open_stream(source):
            yield part.select(columns)

"""Find the files at a path."""

from collections.abc import Collection
from pathlib import Path

from sparring.data.containers import ARCHIVES, Container, Kind, Reading, one_line, open_archive, open_folder, read_head
from sparring.data.file_columns import open_table, table_files
from sparring.data.label_files import add_labels
from sparring.data.memory import kept_folder
from sparring.errors import DataError


def check_exists(path: Path) -> None:
    """Refuse a path that does not exist."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{one_line(path)!r} is not written in UTF-8: rename it") from error
    if not path.exists():
        if path.is_relative_to(kept_folder()):
            raise DataError(f"data from memory are no longer kept in {str(path)!r}: train with the same data again")
        moved = "; if the data of a run have moved, give their new place: sparring resume RUN --data NEW"
        advice = moved if path.is_absolute() else ", and no data set with that name: see `sparring list`"
        raise DataError(f"there is no file or folder {str(path)!r}{advice}")


def find_container(path: Path, kind: Kind, reading: Reading = Reading()) -> Container | None:
    """The files of a kind in a folder, an archive or a table; None for other paths."""
    if path.is_dir():
        folder = open_folder(path, kind, reading)
        parts, notes = ([], []) if folder.num_files else table_files(path, reading)
        return open_table(path, parts, kind, reading, notes) if parts else add_labels(folder, reading.labels)
    if path.name.lower().endswith(ARCHIVES):
        return add_labels(open_archive(path, kind), reading.labels)
    if path.suffix.lower() == ".parquet":
        return open_table(path, [(path, None)], kind, reading)
    if path.is_file() and kind.holds(path.name, lambda: read_head(path)):
        raise DataError(f"{str(path)!r} is a single {kind.name.removesuffix('s')}: give the folder with many of them")
    return None


def list_files(path: Path, endings: Collection[str]) -> list[Path]:
    """A file, or the files in a folder and below whose names have one of some endings, in the order of their names.

    Raises:
        DataError: if there is none.
    """
    check_exists(path)
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if not (found := [each for each in files if path.is_file() or each.suffix.lower() in endings]):
        raise DataError(f"the folder {str(path)!r} holds no files of this kind: give another folder, or a file")
    return found

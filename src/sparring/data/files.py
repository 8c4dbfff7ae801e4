"""Find the files at a path."""

from pathlib import Path

from sparring.data.containers import ARCHIVES, Container, Kind, Reading, one_line, open_archive, open_folder
from sparring.data.memory import kept_folder
from sparring.data.tables import open_table, table_files
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
        raise DataError(
            f"there is no file or folder {str(path)!r}, and no data set with that name: see `sparring list`"
        )


def find_container(path: Path, kind: Kind, reading: Reading = Reading()) -> Container | None:
    """The files of a kind in a folder, an archive or a table; None for other paths."""
    if path.is_dir():
        folder = open_folder(path, kind)
        files = [] if folder.num_files else table_files(path)
        return open_table(path, files, kind, reading) if files else folder
    if path.name.lower().endswith(ARCHIVES):
        return open_archive(path, kind)
    if path.suffix == ".parquet":
        return open_table(path, [path], kind, reading)
    if path.suffix.lower() in kind.endings:
        raise DataError(f"{str(path)!r} is a single {kind.name.removesuffix('s')}: give the folder with many of them")
    return None

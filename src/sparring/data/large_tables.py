"""Tables larger than memory: Parquet files, of which some thousand rows are read at a time.

They are read twice. The first time some rows are kept, by which the columns are known as those of a small table are:
evenly chosen ones, and each that would surprise somebody who knew these alone. The second time all rows are encoded
into a file of the cache.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.data.column_kinds import MAX_CATEGORIES, NESTED
from sparring.data.columns import Column, to_parts
from sparring.data.containers import stamp
from sparring.data.frames import check_names, check_pandas, to_items
from sparring.data.pack import pack_rows
from sparring.data.packed import Packed
from sparring.errors import DataError
from sparring.types import OnProgress

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_CELLS = 30_000_000  # of a table that is read as a whole
NUM_KEPT = 200_000  # rows that are evenly chosen, of all
ROWS_AT_ONCE = 2**16


def count_if_large(path: Path) -> int:
    """The number of rows of a .parquet file that is not to be read as a whole; 0 for another file."""
    if path.suffix.lower() != ".parquet":
        return 0
    metadata = _open(path).metadata
    return int(metadata.num_rows) if metadata.num_rows * metadata.num_columns > MOST_CELLS else 0


def read_parts(path: Path) -> Iterator[tuple[int, "DataFrame"]]:
    """The rows of a file in their order, some thousand at a time, each time with the number of the first."""
    start = 0
    try:
        for batch in _open(path).iter_batches(batch_size=ROWS_AT_ONCE):
            frame = batch.to_pandas(date_as_object=False)
            frame.columns = [str(each) for each in frame.columns]
            yield start, frame
            start += len(frame)
    except OSError as error:  # so pyarrow's errors about damaged files are called
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def keep_rows(path: Path, num_rows: int, on_progress: OnProgress) -> tuple["DataFrame", list[str]]:
    """Some rows of a large file, and the names of columns that count its rows.

    They are every so many-th row, and each row that is the first with a missing value, a value of a column of at most
    `MAX_CATEGORIES` different ones, or a number below or above all before.
    """
    import pandas

    every, kept, memories = max(1, num_rows // NUM_KEPT), list[Any](), dict[str, _Memory]()
    for start, frame in read_parts(path):
        on_progress(f"looking through {path.name}", start / num_rows)
        places = {*range(-start % every, len(frame), every)}
        for name in frame:
            places |= memories.setdefault(name, _Memory()).find_new(frame[name], start)
        kept.append(frame.iloc[sorted(places)])
    return pandas.concat(kept, ignore_index=True), [name for name, memory in memories.items() if memory.counts]


def pack_table(path: Path, num_rows: int, columns: Sequence[Column], on_progress: OnProgress) -> Packed:
    """All rows of a large file, as `to_parts` makes them, in a file of the cache; made once for each state of it."""

    def encode_parts() -> Iterator[np.ndarray]:
        for start, frame in read_parts(path):
            on_progress(f"encoding {path.name}", start / num_rows)
            yield to_parts(to_items(frame, columns, f"{path} after row {start:,}"), columns)

    fingerprint = sha256(stamp(str(path)) + repr(columns).encode()).hexdigest()
    size = sum(column.sizes[0] + (column.sizes[1] > 0) for column in columns)
    return pack_rows(path, fingerprint, f"rows of {size} numbers", size, encode_parts())


class _Memory:
    """What has been seen of a column."""

    def __init__(self) -> None:
        self.has_missing, self.counts, self.is_known = False, True, True
        self.known: set[Any] = set()  # all different values, as long as `is_known`
        self.limits: tuple[Any, Any] | None = None
        self.first = 0.0

    def find_new(self, cells: "Series", start: int) -> set[int]:
        """The places of cells that nobody would expect who knew those before; `start` is the number of the first."""
        import pandas

        is_number = pandas.api.types.is_numeric_dtype(cells) and not pandas.api.types.is_bool_dtype(cells)
        self.counts = self.counts and is_number and self._goes_on(cells, start)
        places, present = set[int](), cells.dropna()
        if len(present) < len(cells) and not self.has_missing:
            self.has_missing = True
            places.add(int(cells.isna().to_numpy().argmax()))
        one = present.iloc[0] if len(present) else None
        if self.is_known and not isinstance(one, NESTED):
            first = present.drop_duplicates()
            first = first[~first.isin(self.known)]
            self.known.update(first)
            self.is_known = len(self.known) <= MAX_CATEGORIES
            places |= {*first.index} if self.is_known else set()
        if one is not None and not isinstance(one, (str, bool, np.bool_, *NESTED)):  # numbers, dates and times
            values, before = present.to_numpy(), self.limits
            least, most = int(values.argmin()), int(values.argmax())
            ends = values[least], values[most]
            self.limits = ends if before is None else (min(ends[0], before[0]), max(ends[1], before[1]))
            places |= {*present.index[[least, most]]} if self.limits != before else set()
        return places

    def _goes_on(self, cells: "Series", start: int) -> bool:
        """Whether cells count the rows from the first one of all on, by whichever number that has."""
        numbers = cells.to_numpy(float, na_value=np.nan)
        self.first = numbers[0] if start == 0 else self.first
        return bool((numbers == self.first + start + np.arange(len(numbers))).all())


def _open(path: Path) -> Any:
    check_pandas(str(path), with_arrow=True)
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except Exception as error:  # on damaged files, pyarrow raises anything
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    check_names(file.schema_arrow.names, str(path))
    return file

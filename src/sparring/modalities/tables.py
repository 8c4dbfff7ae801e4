"""Tables: rows of numbers, categories, dates and missing values, in columns of different kinds."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from sparring import metrics
from sparring.data.column_kinds import describe_column, find_columns, read_corrections
from sparring.data.columns import Column, dtype_of, of_parts, to_normal, to_parts
from sparring.data.conditions import choose_rows, describe_choices
from sparring.data.containers import Reading
from sparring.data.corruptions import Corruption, mix_cells
from sparring.data.derived import fill_derived, find_sources
from sparring.data.file_columns import holds_file_column
from sparring.data.frames import ENDINGS, check_pandas, keep_frame, read_frame, to_frame, to_items, write_csv
from sparring.data.items import split
from sparring.data.large_tables import count_if_large, keep_rows, pack_table
from sparring.data.layout import say_count
from sparring.data.people import make_people
from sparring.errors import DataError, UsageError
from sparring.metrics.extractors import Extractor, coordinates, random_projections
from sparring.modalities.marginals import describe_columns, draw_marginals
from sparring.modalities.modality import Dataset, Modality, NamedSource, Survey
from sparring.modalities.output import Html, Writer
from sparring.modalities.preset import Preset
from sparring.networks.heads import Heads, WithHeads
from sparring.seeding import Stream
from sparring.types import Estimate, Faults, OnProgress, Samples

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

MAX_FEATURES = 64  # longer rows are measured by so many random projections
NUM_ROWS_SHOWN = 10
NUM_PICTURED = 1_000
NUM_PEOPLE = 3_000
NEAR = 1e-4  # places that differ by less are the same
LEAST_JUDGED = 200  # rows; fewer look faulty by chance


@final
@dataclass(frozen=True)
class Tables(Modality):
    """Rows of one table; an item is an entry of an array with a field for each column."""

    item_shape: tuple[int, ...]  # (numbers of a row,)
    columns: tuple[Column, ...] = field(default=(), repr=False)
    scale: float = 1.0
    name: Literal["tables"] = "tables"

    summary = "rows of a table: numbers, categories, dates, missing values"
    array_name = "tables"
    layouts = "tables, as an array with named fields"
    batch_normalization = False
    sample_file = "samples.csv"
    num_shown = NUM_PICTURED
    shown_as = "table"

    def __post_init__(self) -> None:
        size = sum(column.size for column in self.columns)
        if self.item_shape != (size,):
            raise UsageError(f"the columns of this table take {size} numbers in a row, not {list(self.item_shape)}")

    @classmethod
    def of_frame(
        cls, frame: "DataFrame", reading: Reading, name: str, identifiers: Sequence[str] = ()
    ) -> "tuple[Tables, np.ndarray]":
        """The modality of a table, some of whose columns are known to be identifiers, and its rows."""
        corrections = {each: {"kind": "identifier"} for each in identifiers} | read_corrections(reading.columns, frame)
        columns = find_columns(frame, corrections, name)
        items = to_items(frame, columns, name)
        columns = find_sources(items, columns, corrections)
        return cls((sum(column.size for column in columns),), columns), items

    @property
    def counted(self) -> str:
        """Rows."""
        return "rows"

    @cached_property
    def _places(self) -> dict[str, slice]:
        """Where the numbers of each column that is learned are in a sample."""
        places, start = {}, 0
        for column in self.columns:
            if column.is_learned and not column.sources:
                places[column.name] = slice(start, start + column.size)
                start += column.size
        return places

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """What each column is that is learned and varies."""
        return {column.name: column.kind for column in self.columns if column.is_learned and column.kind != "constant"}

    def encode(self, items: np.ndarray) -> Samples:
        """Numbers of each column, side by side; see `sparring.data.columns`."""
        return of_parts(torch.from_numpy(to_parts(items, self.columns)), self.columns)

    def decode(self, samples: Tensor) -> np.ndarray:
        """Rows with a field for each column that is learned."""
        numbers, items = samples.float().cpu().numpy(), np.empty(len(samples), dtype_of(self.columns))
        for name, place in self._places.items():
            items[name] = self._by_name[name].decode(numbers[:, place])
        fill_derived(items, self.columns)
        return items

    def to_frame(self, items: np.ndarray) -> "DataFrame":
        """Rows as pandas' frame, with the columns, the kinds and the missing values of the table that was learned."""
        check_pandas("a table as a frame")
        return to_frame(items, self.columns)

    def spread(self, samples: Samples, stream: Stream) -> Samples:
        """Samples with each place anywhere in the share of the rows that have the same value.

        Values that many rows share would be gaps and peaks on the scale, by which a discriminator would know real rows.
        """
        places, middles, low, high = self._steps
        if not len(places):
            return samples
        given = samples.index_select(1, places).T.contiguous()
        nearest = torch.searchsorted(middles, given - NEAR).clamp(max=middles.shape[1] - 1)
        low, high = low.gather(1, nearest), high.gather(1, nearest)
        is_step = ((middles.gather(1, nearest) - given).abs() <= NEAR) & (high > low)
        drawn = to_normal(low + (high - low) * stream.uniform(*given.T.shape).T)
        return samples.index_copy(1, places, torch.where(is_step, drawn.float(), given).T)

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where places are in a sample [k]; and of their knots, each [k, m]: the place, and the shares of both ends."""
        found = [(self._places[each.name].start, each.knots) for each in self.columns if each.sizes[0]]
        most = max((len(knots) for _, knots in found), default=0)
        ends = torch.ones(2, len(found), most, dtype=torch.float64)
        middles = torch.full((len(found), most), torch.inf)
        for row, (_, knots) in enumerate(found):
            ends[:, row, : len(knots)] = torch.tensor(knots, dtype=torch.float64).T[1:]
            middles[row, : len(knots)] = to_normal(ends[:, row, : len(knots)].mean(0)).float()
        return torch.tensor([start for start, _ in found]), middles, ends[0], ends[1]

    def add_heads(self, generator: Module) -> Module:
        """The generator, which now chooses one value for each one-hot part."""
        parts, gates = [], []
        for column in self.columns:
            has_place, num_choices = column.sizes
            if num_choices:
                start = self._places[column.name].start
                parts.append((start + has_place, num_choices))
                gates += [(start, start + 1)] * has_place
        return WithHeads(generator, Heads(self.item_shape[0], parts, gates))

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Tables, np.ndarray] | None":
        """Arrays with named fields [n]."""
        if array.dtype.names is None or array.ndim != 1:
            return None
        pandas = check_pandas(name)
        frame = pandas.DataFrame({title: array[title] for title in array.dtype.names})
        for title in array.dtype.names:
            if array.dtype[title].kind == "U":
                frame[title] = frame[title].where(frame[title] != "", None)
        return cls.of_frame(frame, reading, name)

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Survey | None:
        """Look at a .csv, .tsv, .parquet or .feather file, unless it has a column of pictures or sounds."""
        ending = path.suffix.lower()
        if ending not in ENDINGS or not path.is_file() or reading.column is not None:
            return None
        if ending == ".parquet" and holds_file_column(path):
            return None
        on_progress(f"reading {path.name}", 0.0)
        if num_large := count_if_large(path):
            frame, identifiers = keep_rows(path, num_large, on_progress)
            notes = [f"looked at in full; distributions, steps and what others determine by {len(frame):,} of its rows"]
        else:
            (frame, notes), identifiers = read_frame(path), []
        modality, items = cls.of_frame(frame, reading, str(path), identifiers)
        on_progress(f"reading {path.name}", 1.0)
        kinds = [f"  {each.name}: {describe_column(each)}" for each in modality.columns]
        shown = kinds if len(kinds) <= MAX_TOLD else [*kinds[:MAX_TOLD], f"  and {len(kinds) - MAX_TOLD} more columns"]
        count = say_count(num_large or len(frame), "rows")
        title = f"{path}: {count}; a column that is taken wrongly: --set columns=FILE.toml"

        def read(size: tuple[int, ...] | None, on_progress: OnProgress, dry: bool) -> Dataset:
            if num_large and not dry:
                packed = pack_table(path, num_large, modality.columns, on_progress)
                expand = partial(of_parts, columns=modality.columns)
                train, heldout = (each.map(expand, modality.item_shape) for each in split(str(path), packed))
            else:
                counted = torch.empty(num_large, *modality.item_shape, device="meta")
                train, heldout = split(str(path), counted if num_large else modality.store(items))
            return Dataset(str(path), modality, train, heldout, survey=survey)

        survey = Survey([modality], modality, None, [title, *shown, *(f"  {note}" for note in notes)], read)
        return survey

    @classmethod
    def keep(cls, data: object) -> Path | None:
        """Write a frame of pandas or polars into the cache."""
        return keep_frame(data)

    def with_size(self, size: tuple[int, ...]) -> "Tables":
        """The same, for no size."""
        return self if not size else super().with_size(size)  # type: ignore[return-value]  # it raises an error

    def usual_network(self, normalization: str | None) -> str:
        """Fully connected."""
        return "mlp"

    def neutral_extractor(self) -> Extractor:
        """The numbers of a row, or random projections of many."""
        (size,) = self.item_shape
        return coordinates() if size <= MAX_FEATURES else random_projections(size, MAX_FEATURES)

    def compare(self, real: Tensor, heldout: Tensor | None, fake: Tensor, seed: int) -> dict[str, Estimate]:
        """By `sparring.metrics.table_figures`."""
        train, made = (self.to_frame(self.decode(each)) for each in (real, fake))
        unseen = None if heldout is None else self.to_frame(self.decode(heldout))
        return metrics.table_figures(train, unseen, made, self._kinds, seed=seed)

    def fault_finder(self, real: Tensor, heldout: Tensor) -> Callable[[np.ndarray], Faults]:
        """By `sparring.metrics.table_faults`, with the rules that these rows keep."""
        if len(real) < LEAST_JUDGED:
            return super().fault_finder(real, heldout)
        train, unseen = (self.to_frame(self.decode(each)) for each in (real, heldout))
        rules = metrics.find_rules(train, unseen, self._kinds)
        return lambda items: metrics.table_faults(train, self.to_frame(items), self._kinds, rules)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The columns that are learned."""
        return describe_choices(self.columns)

    def choose(self, items: np.ndarray, where: str) -> np.ndarray:
        """Whether each row meets conditions such as "sex=female, age>40", bool [n]."""
        return choose_rows(items, where, self.columns)

    def corruptions(self) -> tuple[Corruption, ...]:
        """Cells of other rows."""
        return (Corruption("mixing", (0.1, 0.3, 1.0), "of the cells from other rows", mix_cells),)

    def describe(self) -> str:
        """How many columns of which kinds."""
        counts = Counter(column.kind for column in self.columns)
        kinds = ", ".join(f"{count} {kind if count == 1 else PLURALS[kind]}" for kind, count in counts.most_common())
        return f"{say_count(len(self.columns), 'columns')} ({kinds})"

    def num_pictured(self, num_rows: int) -> int:
        """As many as its distributions need."""
        return NUM_PICTURED

    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw the distribution of each column, of these rows over that of the data."""
        return draw_marginals(items, self.columns)

    @property
    def page_facts(self) -> dict[str, Any]:
        """What a page needs to write rows, and to draw their distributions over those of the data."""
        return {"columns": describe_columns(self.columns)}

    def to_numbers(self, item: np.ndarray) -> list[Any]:
        """The cells of a row, with the names of their columns."""
        return [f"{name} {item[name][0]}" for name in item.dtype.names or ()]

    def show(self, items: np.ndarray, names: Sequence[str] = ()) -> Html:
        """The distributions, and some of the rows."""
        learned = [column.name for column in self.columns if column.is_learned]
        lines = [learned, *([str(item[name]) for name in learned] for item in items[:NUM_ROWS_SHOWN])]
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines)
        rows = "".join(f"<tr>{each}</tr>" for each in cells)
        return Html(f'{super().show(items, names)}<div style="overflow-x: auto"><table>{rows}</table></div>')

    @property
    def file_writers(self) -> Mapping[str, Writer]:
        """Tables for other programs."""

        def write_parquet(items: np.ndarray, target: Any) -> None:
            self.to_frame(items).to_parquet(target, index=False)

        return {".csv": partial(write_csv, columns=self.columns), ".parquet": write_parquet}

    def to_bytes(self, items: np.ndarray, ending: str, labels: Mapping[str, np.ndarray] = {}) -> bytes:
        """The bytes of a file, or as .json an object for each row."""
        if ending != ".json":
            return super().to_bytes(items, ending, labels)
        records = self.to_frame(items).to_json(orient="records", date_format="iso", double_precision=15)
        return json.dumps({self.array_name: json.loads(records)}, separators=(",", ":"), ensure_ascii=False).encode()

    def read_file(self, path: Path) -> np.ndarray:
        """Rows from a file of a table with these columns."""
        if path.suffix.lower() not in ENDINGS:
            return super().read_file(path)
        return to_items(read_frame(path)[0], self.columns, str(path))

    def check_items(self, items: np.ndarray, name: str) -> np.ndarray:
        """Rows with the fields of `decode`; a DataError for others."""
        wanted = dtype_of(self.columns)
        if items.dtype.names != wanted.names or not len(items):
            raise DataError(f"{name} must be an array with the fields {', '.join(wanted.names or ())}")
        return items.astype(wanted)


MAX_TOLD = 40  # columns of which a line of text is shown
PLURALS = {
    "number": "numbers", "category": "categories", "boolean": "booleans", "date": "dates", "constant": "constants",
    "identifier": "identifiers", "text": "texts",
}  # fmt: skip


def _open_people() -> Dataset:
    check_pandas("people")
    modality, items = Tables.of_frame(make_people(NUM_PEOPLE), Reading(), "people")
    return Dataset("people", modality, *split("people", modality.store(items)))


# fmt: off
Tables.sources = (
    NamedSource(
        "people", "3,000 people made on the fly: numbers, categories, dates, missing values; 300 of them held out",
        source="this project",
        open=_open_people,
    ),
)
Tables.presets = (
    Preset(
        "tables", "for tables: relativistic, both zero-centred penalties, one value chosen for each category",
        source="this project, docs/log.md, after Huang et al. 2024, arXiv:2501.05441",
        settings={
            "network": "mlp", "latent_dim": 64, "objective": "relativistic", "penalty": "r1r2",
            "penalty_weight": 10.0, "penalty_interval": 4, "penalty_final": 0.1, "batch_size": 512,
            "learning_rate": 4e-4, "learning_rate_ratio": 2.0, "beta1": 0.0, "beta2": 0.99, "schedule": "cosine",
            "average_decay": 0.999, "log_steps": 50, "minutes": 5.0,
        },
    ),
)

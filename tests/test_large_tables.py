"""Tables that are not read as a whole: known by some rows, encoded once, and the same as small ones."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import sparring
from sparring.data import large_tables
from sparring.data.columns import of_parts
from sparring.data.frames import to_items
from sparring.data.items import Items
from sparring.data.pack import find_packs
from sparring.data.people import make_people
from sparring.errors import DataError
from sparring.modalities import Survey, look_at, open_dataset
from sparring.modalities.tables import Tables
from sparring.seeding import Stream

N = 2000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table of two thousand rows is large here: a tenth of them are evenly chosen, and 300 read at a time."""
    for name, value in {"MOST_CELLS": 10_000, "NUM_KEPT": N // 10, "ROWS_AT_ONCE": 300}.items():
        monkeypatch.setattr(large_tables, name, value)
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))


def make_frame() -> pd.DataFrame:
    """People of whom one of the last is like nobody before, and a column that only it lacks."""
    frame = make_people(N)
    frame["score"] = np.random.default_rng(0).normal(size=N)
    frame.loc[N - 7, ["age", "town", "score"]] = [117, "town Z", np.nan]
    frame.loc[N - 8, "moved"] = np.datetime64("1801-01-01")
    frame["both"] = frame["age"] + frame["rent"]
    return frame


def columns_of(path: Path) -> Any:
    modality = open_dataset(str(path)).modality
    assert isinstance(modality, Tables)
    return modality.columns


def test_all_rows_come_back(tmp_path: Path) -> None:
    """Exactly, but for numbers that lie between those by which the column is known."""
    frame, path = make_frame(), tmp_path / "people.parquet"
    frame.to_parquet(path, index=False)
    survey = look_at(str(path))
    assert isinstance(survey, Survey)
    assert survey.description[0].startswith(f"{path}: 2,000 rows")
    assert "  person: an identifier: made anew, never learnt" in survey.description
    assert survey.description[-1].startswith("  looked at in full; distributions, steps and what others determine by 2")
    assert not find_packs()
    dataset = open_dataset(str(path))
    modality = dataset.modality
    assert isinstance(modality, Tables)
    assert (dataset.train.num_items, dataset.heldout.num_items) == (1800, 200)
    known = {column.name: column for column in modality.columns}
    assert (known["age"].limits, known["both"].sources) == ((18, 117), ("age", "rent"))
    assert "town Z" in known["town"].values
    assert isinstance(dataset.train, Items)
    items = modality.decode(of_parts(dataset.train._items[torch.arange(N)], modality.columns))
    expected = to_items(frame, modality.columns, "people")
    for name in items.dtype.names or ():
        if name in ("income", "rent", "both", "score", "moved"):
            difference = known[name].to_numbers(items[name]) - known[name].to_numbers(expected[name])
            assert np.nanmedian(np.abs(difference)) <= 0.01 * np.nanstd(known[name].to_numbers(expected[name])), name
            assert (np.isnan(difference) == pd.isna(frame[name]).to_numpy()).all()
        else:
            assert (items[name] == expected[name]).all(), name


def test_rows_are_encoded_once_and_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, frame = tmp_path / "people.parquet", make_frame()
    frame.to_parquet(path, index=False)
    first = open_dataset(str(path)).train.batch(5, Stream(0, "rows"))
    encoded, encode = [], large_tables.to_parts
    monkeypatch.setattr(
        large_tables, "to_parts", lambda items, columns: encoded.append(len(items)) or encode(items, columns)
    )
    assert torch.equal(open_dataset(str(path)).train.batch(5, Stream(0, "rows")), first)
    assert not encoded
    dry = open_dataset(str(path), dry=True).train
    assert dry.num_items == 1800
    with pytest.raises(DataError, match="counted and not read"):
        dry.batch(5, Stream(0, "rows"))
    frame[::-1].to_parquet(path, index=False)
    assert not torch.equal(open_dataset(str(path)).train.batch(5, Stream(0, "rows")), first)
    assert sum(encoded) == N
    ((_, info),) = find_packs()
    assert (info.path, info.num_items) == (str(path), N)


def test_a_large_table_trains_and_is_measured(tmp_path: Path) -> None:
    make_frame().to_parquet(tmp_path / "people.parquet", index=False)
    run = sparring.train(
        tmp_path / "people.parquet", steps=3, width=8, batch_size=32, out=tmp_path / "run", progress=False
    )
    assert {"column_distance", "detector_auc"} <= sparring.evaluate(run.path, n=200).figures.keys()
    rows = sparring.load(run.path).modality.to_frame(sparring.load(run.path).sample(5))
    assert rows["person"].tolist() == [1, 2, 3, 4, 5]


def test_what_is_wrong_in_one_row_is_told(tmp_path: Path) -> None:
    """An infinite value is the largest so far, so its row is among those that are looked at."""
    frame, path = make_frame(), tmp_path / "people.parquet"
    frame.loc[N - 3, "score"] = np.inf
    frame.to_parquet(path, index=False)
    with pytest.raises(DataError, match="no finite number"):
        open_dataset(str(path))


def test_many_categories_are_all_known(tmp_path: Path) -> None:
    frame, path = make_frame(), tmp_path / "people.parquet"
    frame["town"] = [f"town {number // 2}" for number in range(N)]
    frame.to_parquet(path, index=False)
    known = {column.name: column for column in columns_of(path)}
    assert len(known["town"].values) == N // 2


def test_every_type_of_cells_is_known_as_in_a_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that pyarrow has and text has not: the limits are found in rows that are not evenly chosen."""
    random, path = np.random.default_rng(0), tmp_path / "types.parquet"
    days, cents = random.integers(0, 9000, N), random.integers(0, 10**6, N)
    table = {
        "day": pa.array([date(2000, 1, 1) + timedelta(days=int(each)) for each in days]),
        "price": pa.array([Decimal(int(each)) / 100 for each in cents], pa.decimal128(12, 2)),
        "kind": pa.array(random.choice(["a", "b"], N)).dictionary_encode(),
        "zone": pa.array(pd.date_range("2020-01-01", periods=N, freq="h", tz="Europe/Berlin")),
        "count": pa.array([None if number % 7 == 0 else number % 5000 for number in range(N)], pa.int32()),
    }
    pq.write_table(pa.table(table), path)
    found = {
        column.name: (column.kind, column.limits if column.knots else column.values) for column in columns_of(path)
    }
    monkeypatch.setattr(large_tables, "MOST_CELLS", 10**9)
    assert found == {
        column.name: (column.kind, column.limits if column.knots else column.values) for column in columns_of(path)
    }
    pq.write_table(pa.table({"pair": [[1, 2]] * N, "price": table["price"]}), path)
    with pytest.raises(DataError, match="holds lists or records"):
        open_dataset(str(path))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    make_frame().to_parquet(path, index=False)
    content = path.read_bytes()
    path.write_bytes(content[:4000] + bytes(4000) + content[8000:])
    with pytest.raises(DataError, match="cannot read"):
        open_dataset(str(path))

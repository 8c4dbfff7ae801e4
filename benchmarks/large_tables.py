"""Trains on a table of ten million rows and twenty columns, and says how much memory that took.

    python benchmarks/large_tables.py                        # writes the table, trains, deletes the table
    python benchmarks/large_tables.py --rows 1000000 --keep

The table is a Parquet file, drawn by `make_rows` in parts: heavy tails, many zeros, missing values, rare categories, a
date, and a sum. It is trained on twice in a process of its own, the second time with the pack of the first. Prints the
seconds of each command and its largest resident memory, as the system counts it. The cache is a folder beside the
table, and is deleted with it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet

PART = 500_000


def make_rows(n: int, seed: int) -> pandas.DataFrame:
    """Rows of twenty columns; what depends on what is written here, line by line."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 501) ** 1.2
    city, age = random.choice(500, n, p=shares / shares.sum()), random.integers(18, 95, n)
    net = np.exp(random.normal(3, 1, n) + 0.01 * age).round(2)
    tax = (net * np.where(city % 3 == 0, 0.07, 0.19)).round(2)
    found = {
        "age": age,
        "net": net,
        "tax": tax,
        "total": (net + tax).round(2),
        "discount": np.where(random.random(n) < 0.7, 0, random.integers(1, 60, n)),
        "rating": np.where(random.random(n) < 0.1, np.nan, random.normal(70, 12, n).clip(0, 100).round(1)),
        "items": random.geometric(0.4, n),
        "minutes": random.exponential(12, n).round(3),
        "city": np.array([f"city {each}" for each in range(500)], object)[city],
        "country": np.array(["DE", "FR", "PL", "IT", "ES"], object)[city % 5],
        "channel": random.choice(np.array(["web", "shop", "phone", None], object), n, p=[0.6, 0.25, 0.1, 0.05]),
        "is_member": random.random(n) < 0.2 + age / 200,
        "ordered": np.datetime64("2015-01-01", "s") + random.integers(0, 3650, n).astype("m8[D]"),
    }
    common = random.normal(0, 1, n)
    found |= {f"signal_{number}": 0.6 * common + random.normal(0, 1, n) for number in range(7)}
    return pandas.DataFrame(found)


def write(path: Path, num_rows: int) -> None:
    """The table, part by part."""
    writer = None
    for seed, start in enumerate(range(0, num_rows, PART)):
        part = pyarrow.Table.from_pandas(make_rows(min(PART, num_rows - start), seed), preserve_index=False)
        writer = writer or pyarrow.parquet.ParquetWriter(path, part.schema)
        writer.write_table(part)
    if writer is not None:
        writer.close()


def run(*words: object, cache: Path) -> None:
    """A command, and what it took."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "sparring", *map(str, words)]
    process = subprocess.Popen(command, env=os.environ | {"SPARRING_CACHE": str(cache)})
    _, status, usage = os.wait4(process.pid, 0)
    took, peak = time.perf_counter() - begun, usage.ru_maxrss / 1024
    print(f"exit code {status >> 8}, {took:.0f} s, at most {peak:,.0f} MiB: {' '.join(command[2:])}", flush=True)


def main() -> None:
    """Write, train twice, measure, delete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("runs/large-tables"))
    parser.add_argument("--keep", action="store_true", help="delete nothing")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, cache = arguments.out / f"{arguments.rows}.parquet", arguments.out / "cache"
    if not path.exists():
        write(path, arguments.rows)
    print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
    try:
        for turn in ("first", "second"):
            out = arguments.out / f"{turn}-{time.time():.0f}"
            run("train", path, "--minutes", arguments.minutes, "--out", out, cache=cache)
        run("evaluate", out, "-n", 5000, cache=cache)
        packed = sum(each.stat().st_size for each in cache.rglob("*") if each.is_file())
        print(f"the cache holds {packed / 1e6:,.0f} MB")
    finally:
        if not arguments.keep:
            path.unlink()
            shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()

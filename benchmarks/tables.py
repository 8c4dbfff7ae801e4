"""Trains sparring, a Gaussian copula, CTGAN and TVAE on the same tables for the same time, and measures what they make.

    pip download ISLP --no-deps && unzip islp-*.whl           # BSD-3; the tables are CSV files inside
    python benchmarks/tables.py ISLP/data --minutes 10 --seeds 0 1 2 --ctgan-python ctgan-venv/bin/python
    python benchmarks/tables.py ISLP/data --only real copula  # minutes without a training
    python benchmarks/tables.py ISLP/data --table             # prints what has been measured

CTGAN and TVAE come from the package `ctgan`, whose licence (Business Source License 1.1) forbids much: nothing of it is
part of sparring, and who wants the comparison installs it, `python -m venv ctgan-venv && ctgan-venv/bin/pip install
ctgan`. So does `copulas`, so the copula here is our own, in `work_copula`.

Each table is split once, by the permutation of seed 0: 60 % of the rows to train on, 20 % held out for the tests, and
20 % that stand for a perfect generator ("real"; they are fewer than the synthetic rows, so distances have more noise).
Everyone gets the training rows as a CSV file, with the same kinds of columns where they ask, and makes as many rows (at
most 50,000). A training may take so many minutes: of CTGAN and TVAE all that `fit` does, of sparring what --minutes
counts, which is training without measurements. Each runs in a process of its own with the threads that OMP_NUM_THREADS
says. Minutes are those of the clock, so use an idle machine: on a busy one, a training of sparring got a fifth of its
steps. Figures are means over seeds, ± the 95 % interval of one seed, and the range over seeds where there are several.

The tables: Default (10,000 × 4; does a customer default?), Wage (3,000 × 11; is the wage above the median? without
logwage, which says it), Caravan (5,822 × 86; is the insurance bought?), Bikeshare (8,645 × 15; how many bikers, without
casual and registered, whose sum they are), all of ISLP; and `orders`, a million rows that `make_orders` draws.
"""

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas

MAX_MADE = 50_000
FIGURES = (
    "TSTR, linear", "lost, linear", "TSTR, boosting", "lost, boosting", "detector", "column", "pair", "categories kept",
    "rule", "nearest record", "attack",
)  # fmt: skip
"""In the order of the printed rows; `lost` is what training rows teach more than synthetic ones, on the same test."""
NUM_ORDERS = 1_000_000


@dataclass(frozen=True)
class Table:
    """A table, the column that models predict, and what its columns are: all others are numbers."""

    file: str  # in the folder of ISLP's tables; empty for `orders`
    target: str
    categories: tuple[str, ...]
    dates: tuple[str, ...] = ()
    given_away: tuple[str, ...] = ()  # columns that say the target, which models don't see
    is_above_median: bool = False  # whether models predict that instead of the number


TABLES = {
    "default": Table("Default.csv", "default", ("default", "student")),
    "wage": Table(
        "Wage.csv", "wage", ("maritl", "race", "education", "jobclass", "health", "health_ins"),
        given_away=("logwage",), is_above_median=True,
    ),
    "caravan": Table("Caravan.csv", "Purchase", ("MOSTYPE", "MOSHOOFD", "Purchase")),
    "bikeshare": Table(
        "Bikeshare.csv", "bikers", ("season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit"),
        given_away=("casual", "registered"),
    ),
    "orders": Table(
        "", "returned", ("city", "country", "channel", "returned"), ("ordered", "delivered"),
    ),
}  # fmt: skip


def make_orders(n: int = NUM_ORDERS) -> pandas.DataFrame:
    """Orders of a shop: heavy tails, many zeros, rare cities, missing channels, and four rules.

    total = net + tax; ordered ≤ delivered; city → country; tax ≤ net. Returns depend on delay, price and country.
    """
    random = np.random.default_rng(0)
    shares = 1 / np.arange(1, 201) ** 1.1  # two hundred cities, the rarest with a thousandth of the rows
    city = random.choice(200, n, p=shares / shares.sum())
    net = np.exp(random.normal(3.5, 1.0, n)).round(2)
    tax = (net * np.where(city % 5 == 0, 0.07, 0.19)).round(2)
    day, delay = random.integers(0, 1096, n), random.poisson(2 + 3 * (city % 7 == 0), n)
    discount = np.where(random.random(n) < 0.7, 0, random.integers(1, 10, n) * 5)
    chance = 1 / (1 + np.exp(3 - 0.3 * delay - 0.4 * np.log(net / 30) + 0.02 * discount))
    start = np.datetime64("2022-01-01")
    return pandas.DataFrame(
        {
            "ordered": start + day.astype("m8[D]"),
            "delivered": start + (day + delay).astype("m8[D]"),
            "city": [f"city {each}" for each in city],
            "country": np.array(["DE", "FR", "PL", "IT", "ES"])[city % 5],
            "channel": random.choice(np.array(["web", "shop", "phone", None], object), n, p=[0.6, 0.25, 0.1, 0.05]),
            "items": 1 + random.geometric(0.5, n),
            "net": net,
            "tax": tax,
            "total": (net + tax).round(2),
            "discount": discount,
            "rating": random.normal(70, 12, n).clip(0, 100).round(1),
            "returned": np.where(random.random(n) < chance, "yes", "no"),
        }
    )


def split(name: str, folder: Path) -> tuple[list[pandas.DataFrame], dict[str, str]]:
    """The training rows, the held-out rows and those of a perfect generator; and the kinds of the columns."""
    table = TABLES[name]
    rows = pandas.read_csv(folder / table.file) if table.file else make_orders()
    order = np.random.default_rng(0).permutation(len(rows))
    parts = np.split(order, [int(0.6 * len(rows)), int(0.8 * len(rows))])
    kinds = {
        column: "category" if column in table.categories
        else "date" if column in table.dates
        else "constant" if rows[column].nunique() < 2
        else "number"
        for column in rows
    }  # fmt: skip
    return [rows.iloc[part].reset_index(drop=True) for part in parts], kinds


@dataclass
class Measurement:
    """What was measured of one rival with one seed: [value, low, high] by figure, and the names of the worst."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    mebibytes: float = 0.0
    failure: str = ""


def measure(
    name: str, parts: list[pandas.DataFrame], kinds: dict[str, str], made: pandas.DataFrame, is_real: bool
) -> Measurement:
    """All figures of synthetic rows. Of the perfect generator's rows, models learn from the training rows instead."""
    from sparring.metrics.table_models import detector_auc, train_synthetic_test_real
    from sparring.metrics.table_privacy import membership_advantage, nearest_record_ratio
    from sparring.metrics.table_rules import find_rules, rule_breaks
    from sparring.metrics.tables import categories_kept, column_distances, pair_distances

    table, (train, heldout, _) = TABLES[name], parts
    rows = (train, heldout, train if is_real else made)
    known = {column: kind for column, kind in kinds.items() if column not in table.given_away}
    if table.is_above_median:
        median = train[table.target].median()
        real, tested, learned = (each.assign(**{table.target: each[table.target] > median}) for each in rows)
        rows = (real, tested, learned)
        known[table.target] = "boolean"
    tstr = train_synthetic_test_real(*rows, known, table.target)
    columns, pairs = column_distances(train, made, kinds), pair_distances(train, made, kinds)
    broken = rule_breaks(find_rules(train, heldout, kinds), made)
    found = {
        "TSTR, linear": tstr["linear"].synthetic,
        "lost, linear": None if is_real else tstr["linear"].lost,
        "TSTR, boosting": tstr["boosting"].synthetic,
        "lost, boosting": None if is_real else tstr["boosting"].lost,
        "detector": detector_auc(heldout, made, kinds),
        "column": next(iter(columns.values())),
        "pair": next(iter(pairs.values())),
        "categories kept": categories_kept(train, made, kinds),
        "nearest record": nearest_record_ratio(train, heldout, made, kinds),
        "attack": membership_advantage(train, heldout, made, kinds),
        "rule": next(iter(broken.values()), None),
    }
    return Measurement(
        {figure: [each.value, each.low, each.high] for figure, each in found.items() if each is not None},
        {"column": next(iter(columns)), "pair": " × ".join(next(iter(pairs))), "rule": next(iter(broken), "")},
    )


def work_copula(train: pandas.DataFrame, kinds: dict[str, str], minutes: float, seed: int, n: int) -> pandas.DataFrame:
    """A Gaussian copula: every column becomes normal by its ranks, and their correlations are all that is kept.

    A value that many rows share, a category, or a missing value is an interval of ranks, in which each row gets a
    random place (the distributional transform, Rüschendorf 2009, J. Statist. Plann. Inference 139).
    """
    from scipy.special import ndtr, ndtri

    random, places, values = np.random.default_rng(seed), [], {}
    for name in kinds:
        codes, known = pandas.factorize(train[name], sort=True, use_na_sentinel=False)
        ends = np.concatenate([[0.0], np.bincount(codes).cumsum() / len(codes)])
        places.append(ndtri(ends[codes] + random.random(len(codes)) * (ends[codes + 1] - ends[codes])))
        values[name] = ends[1:], known
    correlations = np.nan_to_num(np.atleast_2d(np.corrcoef(places)))
    drawn = ndtr(random.multivariate_normal(np.zeros(len(kinds)), correlations, n, method="eigh"))
    made = {
        name: known[np.searchsorted(ends, drawn[:, place]).clip(max=len(known) - 1)]
        for place, (name, (ends, known)) in enumerate(values.items())
    }
    return pandas.DataFrame(made)


def work_ctgan(train: pandas.DataFrame, kinds: dict[str, str], minutes: float, seed: int, n: int) -> pandas.DataFrame:
    """CTGAN with its own settings, ended by the clock."""
    from ctgan import CTGAN

    return _fit_and_sample(CTGAN, train, kinds, minutes, seed, n)


def work_tvae(train: pandas.DataFrame, kinds: dict[str, str], minutes: float, seed: int, n: int) -> pandas.DataFrame:
    """TVAE with its own settings, ended by the clock."""
    from ctgan import TVAE

    return _fit_and_sample(TVAE, train, kinds, minutes, seed, n)


class TimeIsUpError(Exception):
    """Raised within `fit`, which has no limit of its own."""


def _fit_and_sample(
    model: Callable[..., Any], train: pandas.DataFrame, kinds: dict[str, str], minutes: float, seed: int, n: int
) -> pandas.DataFrame:
    import torch

    def stop(*_: object) -> None:
        raise TimeIsUpError

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the global state is what it draws from
    dates = {name: train[name] for name, kind in kinds.items() if kind == "date"}
    days = {name: (cells - pandas.Timestamp(0)) / pandas.Timedelta("1D") for name, cells in dates.items()}
    fitted = model(epochs=10**9)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    with suppress(TimeIsUpError):
        fitted.fit(train.assign(**days), [name for name, kind in kinds.items() if kind not in ("number", "date")])
    signal.setitimer(signal.ITIMER_REAL, 0)
    if getattr(fitted, "_generator", None) is None and not hasattr(fitted, "decoder"):
        raise RuntimeError(f"after {minutes:g} minutes it was still preparing the columns")
    made = fitted.sample(n)
    back = {name: pandas.Timestamp(0) + pandas.to_timedelta(made[name].round(), unit="D") for name in dates}
    return pandas.DataFrame(made.assign(**back))


def work_sparring(train: Path, minutes: float, seed: int, n: int, out: Path) -> None:
    """The commands that a person would give."""
    run = out.with_suffix("")
    for command in (
        ["train", train, "--minutes", minutes, "--seed", seed, "--out", run],
        ["sample", run, "-n", n, "--seed", seed, "--out", out],
    ):
        done = subprocess.run([sys.executable, "-m", "sparring", *map(str, command)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])


WORKERS = {"copula": work_copula, "ctgan": work_ctgan, "tvae": work_tvae}
RIVALS = ["real", *WORKERS, "sparring"]


def work(task: dict[str, Any]) -> None:
    """Train one of WORKERS in this process, and write its rows."""
    dates = [name for name, kind in task["kinds"].items() if kind == "date"]
    train = pandas.read_csv(task["train"], parse_dates=dates)
    made = WORKERS[task["rival"]](train, task["kinds"], task["minutes"], task["seed"], task["n"])
    made.to_csv(task["out"], index=False)


def train_rival(rival: str, path: Path, kinds: dict[str, str], n: int, out: Path, options: argparse.Namespace) -> None:
    """Train in a process of its own, and write the rows that it makes."""
    if rival == "sparring":
        return work_sparring(path, options.minutes, options.seed, n, out)
    python = options.ctgan_python if rival in ("ctgan", "tvae") else sys.executable
    task = {
        "rival": rival, "train": str(path), "kinds": kinds, "minutes": options.minutes, "seed": options.seed, "n": n,
        "out": str(out),
    }  # fmt: skip
    command = [python, str(Path(__file__).resolve()), "--worker", json.dumps(task)]
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    variables = os.environ | {"LOKY_MAX_CPU_COUNT": threads, "CUDA_VISIBLE_DEVICES": ""}  # processes of CTGAN's own
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return None


def run(name: str, rivals: list[str], options: argparse.Namespace) -> None:
    """Train and measure those of a table that are missing."""
    parts, kinds = split(name, options.folder)
    train, _, fresh = parts
    path = options.out / f"{name}.csv"
    train.to_csv(path, index=False)
    dates = [column for column, kind in kinds.items() if kind == "date"]
    for rival in rivals:
        for seed in options.seeds if rival != "real" else [0]:
            result = options.out / f"{name}-{rival}-{seed}.json"
            if result.exists():
                continue
            started, rows = time.monotonic(), result.with_suffix(".csv")
            options.seed = seed
            try:
                if rival != "real":
                    train_rival(rival, path, kinds, min(len(train), MAX_MADE), rows, options)
                seconds = time.monotonic() - started
                made = fresh[:MAX_MADE] if rival == "real" else pandas.read_csv(rows, parse_dates=dates)
                measurement = measure(name, parts, kinds, made, rival == "real")
                measurement.seconds = seconds
            except RuntimeError as error:
                measurement = Measurement(failure=str(error))
            measurement.mebibytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            result.write_text(json.dumps(asdict(measurement), indent=1))
            print(f"{name}, {rival}, seed {seed}: {measurement.failure or round(measurement.seconds)}", flush=True)


def show(number: float) -> str:
    """Three decimals, as the documents write them."""
    return f"{number:.3f}".replace("0.", ".", 1) if abs(number) < 1 else f"{number:.2f}"


def print_tables(names: list[str], rivals: list[str], options: argparse.Namespace) -> None:
    """What has been measured, as Markdown."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads, {options.minutes:g} minutes, ", end="")
    print(f"seeds {', '.join(map(str, options.seeds))}")
    for name in names:
        found = {}
        for rival in rivals:
            paths = [options.out / f"{name}-{rival}-{seed}.json" for seed in options.seeds]
            found[rival] = [Measurement(**json.loads(path.read_text())) for path in paths if path.exists()]
        good = {rival: [each for each in several if not each.failure] for rival, several in found.items()}
        good = {rival: several for rival, several in good.items() if several}
        if not good:
            continue
        print(f"\n**{name}**\n\n| | {' | '.join(good)} |\n|---|{'---|' * len(good)}")
        measured = {figure for several in good.values() for each in several for figure in each.figures}
        for figure in (figure for figure in FIGURES if figure in measured):
            cells = [_cell(figure, several) for several in good.values()]
            print(f"| {figure} | {' | '.join(cells)} |")
        print(f"| seconds | {' | '.join(f'{several[0].seconds:.0f}' for several in good.values())} |")
        for rival, several in found.items():
            for each in several:
                if each.failure:
                    print(f"\n{rival} did not run: {each.failure}")


def _cell(figure: str, several: list[Measurement]) -> str:
    several = [each for each in several if figure in each.figures]
    if not several:
        return "–"
    values = [each.figures[figure] for each in several]
    half = statistics.mean((high - low) / 2 for _, low, high in values)
    middle = [value for value, _, _ in values]
    spread = f" ({show(min(middle))} to {show(max(middle))})" if len(middle) > 1 else ""
    named = f", {several[0].names[figure]}" if several[0].names.get(figure) else ""
    return f"{show(statistics.mean(middle))} ± {show(half)}{spread}{named}"


def main() -> None:
    """Train what is missing, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?", help="with Default.csv and the other tables of ISLP")
    parser.add_argument("--out", type=Path, default=Path("runs/tables"), help="keeps rows and measurements")
    parser.add_argument("--tables", nargs="+", default=[*TABLES][:-1], choices=TABLES)
    parser.add_argument("--only", nargs="+", default=RIVALS, choices=RIVALS)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ctgan-python", default=sys.executable, help="an interpreter that has the package ctgan")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--worker", type=json.loads, help="used by itself")
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    if options.folder is None:
        parser.error("give the folder of ISLP's tables")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.tables if not options.table else []:
        run(name, options.only, options)
    print_tables(options.tables, options.only, options)


if __name__ == "__main__":
    main()

"""Distances of columns and pairs, categories kept and columns collapsed, on tables made by hand and at random."""

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sparring import DataError
from sparring.metrics.tables import (
    categories_kept,
    column_collapses,
    column_distances,
    lost_categories,
    pair_distances,
)

KINDS = {
    "age": "number",
    "income": "number",
    "sex": "category",
    "member": "boolean",
    "since": "date",
    "id": "identifier",
}
LEARNED = [name for name, kind in KINDS.items() if kind != "identifier"]


def people(n: int, seed: int = 0) -> pandas.DataFrame:
    """Rows whose columns depend on each other; a tenth have no income."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, n)
    income = np.where(random.random(n) < 0.1, np.nan, 1000 * age + random.normal(0, 5000, n))
    return pandas.DataFrame(
        {
            "age": age,
            "income": income,
            "sex": random.choice(["f", "m", None], n, p=[0.5, 0.45, 0.05]),
            "member": age > 50,
            "since": pandas.Timestamp("2000-01-01") + pandas.to_timedelta(age * 30, unit="D"),
            "id": range(seed * n, (seed + 1) * n),
        }
    )


def test_a_table_has_no_distance_to_itself_in_any_order() -> None:
    table = people(500)
    for other in (table, table.sample(frac=1.0, random_state=1), table[table.columns[::-1]]):
        columns, pairs = column_distances(table, other, KINDS), pair_distances(table, other, KINDS)
        assert sorted(columns) == sorted(LEARNED)
        assert len(pairs) == 10
        assert {each.value for each in (*columns.values(), *pairs.values())} == {0.0}


def test_numbers_and_categories_against_scipy_and_by_hand() -> None:
    """Missing numbers apart, the distance of numbers is SciPy's; that of categories is half the sum of differences."""
    real, other = people(400, 1), people(300, 2)
    other["age"] += 7
    found = column_distances(real, other, KINDS)
    assert found["age"].value == pytest.approx(stats.ks_2samp(real["age"], other["age"]).statistic)
    assert found["income"].value == pytest.approx(
        stats.ks_2samp(real["income"].fillna(-1e9), other["income"].fillna(-1e9)).statistic
    )
    shares = [table["sex"].fillna("none").value_counts(normalize=True) for table in (real, other)]
    assert found["sex"].value == pytest.approx(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
    assert list(found) == sorted(found, key=lambda name: -found[name].value)  # the largest first


def test_missing_values_count() -> None:
    real = pandas.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "c": ["a", "a", "b", "b"]})
    holes = pandas.DataFrame({"x": [np.nan, 2.0, np.nan, 4.0], "c": [None, "a", None, "b"]})
    found = column_distances(real, holes, {"x": "number", "c": "category"})
    assert found["x"].value == found["c"].value == 0.5


@pytest.mark.parametrize("values", [[1, 2, None], ["1", "2", None], pandas.array([1, 2, None], "Int64")])
def test_a_category_is_the_same_however_it_is_written(values: list[object]) -> None:
    real = pandas.DataFrame({"c": [1.0, 2.0, np.nan]})
    assert column_distances(real, pandas.DataFrame({"c": values}), {"c": "category"})["c"].value == 0.0


def test_a_boolean_is_the_same_however_it_is_written() -> None:
    forms = [[True, False, None], pandas.array([True, False, None], "boolean"), ["True", "False", None]]
    for values in forms:
        found = column_distances(pandas.DataFrame({"b": forms[0]}), pandas.DataFrame({"b": values}), {"b": "boolean"})
        assert found["b"].value == 0.0
    train = pandas.DataFrame({"b": [True] * 50 + [False] * 50})
    assert lost_categories(train, train[:50], {"b": "boolean"}) == {("b", "False"): 50}


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.lists(st.integers(0, 5), min_size=2, max_size=40))
@settings(max_examples=30, deadline=None)
def test_distances_are_symmetric_and_shares(left: list[int], right: list[int]) -> None:
    one, two = pandas.DataFrame({"x": left}), pandas.DataFrame({"x": right})
    for kind in ("number", "category"):
        there, back = (column_distances(*pair, {"x": kind})["x"] for pair in ((one, two), (two, one)))
        assert there.value == pytest.approx(back.value)
        assert 0 <= there.low <= there.value <= there.high <= 1
    assert column_distances(one, two, {"x": "number"})["x"].value <= there.value + 1e-12  # beginnings are sets too


def test_shuffled_columns_break_pairs_and_not_columns() -> None:
    """Of 2,000 rows, a pair of independent columns of ten parts has about .13 by chance, and never .2: its standard
    deviation is below .01. Age and income, which depend, have .65 after the shuffle."""
    table = people(2000)
    shuffled = table.copy()
    shuffled["age"] = shuffled["age"].sample(frac=1.0, random_state=1).to_numpy()
    assert column_distances(table, shuffled, KINDS)["age"].value == 0.0
    pairs = pair_distances(table, shuffled, KINDS)
    assert pairs["age", "income"].low > 0.5
    assert pairs["age", "sex"].high < 0.2
    assert pairs["income", "sex"].value == 0.0
    assert set(next(iter(pairs))) <= {"age", "income", "since", "member"}


def test_equal_distributions_have_little_distance() -> None:
    """Two samples of 2,000: above .06 with a probability of 2 exp(−2 · 1000 · .06²) < .002 for each of five columns
    (the two-sided bound of Massart for numbers; total variations of three categories are smaller still)."""
    found = column_distances(people(2000, 1), people(2000, 2), KINDS)
    assert max(each.value for each in found.values()) < 0.06


def test_the_interval_is_that_of_a_difference_of_two_shares() -> None:
    """95 % intervals of a distance of .3 cover it in 178 to 199 of 200 draws (binomial, error probability .002)."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        tables = [pandas.DataFrame({"x": random.random(500) < share}) for share in (0.2, 0.5)]
        found = column_distances(*tables, {"x": "boolean"})["x"]
        covered += found.low <= 0.3 <= found.high
    assert 178 <= covered <= 199


def test_categories_that_are_lost_are_named() -> None:
    train = pandas.DataFrame({"city": ["a"] * 900 + ["b"] * 60 + ["c"] * 30 + ["d"] * 7 + ["e"] * 3})
    kinds = {"city": "category"}
    made = train[train["city"].isin(["a", "c"])]
    assert lost_categories(train, made, kinds) == {("city", "b"): 60}  # d and e have fewer than ten rows
    kept = categories_kept(train, made, kinds)
    assert kept is not None
    assert kept.value == pytest.approx(2 / 3)
    assert lost_categories(train, train[:200], kinds) == {("city", "b"): 60}  # 30 rows are six of 200: too few to miss
    assert categories_kept(train, made, {"city": "identifier"}) is None


def test_a_collapsed_column_is_named() -> None:
    """A tenth of the numbers, or one category, is all there is; equal samples differ by less than .1."""
    train, made = people(1000, 1), people(1000, 2)
    assert max(column_collapses(train, made, KINDS).values()) < 0.1
    made["age"] = 40
    made["sex"] = "f"
    found = column_collapses(train, made, KINDS)
    assert list(found)[:2] == ["age", "sex"]
    assert [found["age"], found["sex"]] == [1.0, 1.0]
    constant = pandas.DataFrame({"c": ["x"] * 97 + ["y"] * 3})
    assert column_collapses(constant, constant[:97], {"c": "category"}) == {}


def test_dates_and_times_may_be_text() -> None:
    real = pandas.DataFrame({"t": pandas.to_datetime(["2024-02-01", "2024-12-03T10:00", None], format="ISO8601")})
    texts = pandas.DataFrame({"t": ["2024-02-01", "2024-12-03 10:00:00", None]})
    assert column_distances(real, texts, {"t": "date"})["t"].value == 0.0
    times, clock = (
        pandas.DataFrame({"t": ["09:30", "10:00", None]}),
        pandas.DataFrame({"t": ["09:30:00", "09:59:59", None]}),
    )
    assert column_distances(times, clock, {"t": "date"})["t"].value == pytest.approx(1 / 3)


def test_tables_that_cannot_be_compared() -> None:
    """A column that nobody could read would have no distance to another one."""
    for kind, cells in (("number", ["1,5", "2,5"]), ("date", ["31.12.2024", "01.12.2024"])):
        with pytest.raises(DataError, match=f"row 1 of 'x' holds '.*', which is no {kind}"):
            column_distances(*[pandas.DataFrame({"x": cells})] * 2, {"x": kind})
    table = people(10)
    with pytest.raises(DataError, match="the synthetic table has no column 'sex'"):
        column_distances(table, table.drop(columns="sex"), KINDS)
    with pytest.raises(DataError, match="the real table has 1 rows"):
        pair_distances(table[:1], table, KINDS)


def test_many_rare_categories_do_not_collapse_by_chance() -> None:
    """The most frequent of a thousand categories in 500 rows are so by chance, and rarer in others of the same kind."""
    random = np.random.default_rng(0)
    train, made = (pandas.DataFrame({"city": [f"city {each}" for each in random.integers(0, 1000, 500)]}) for _ in "ab")
    assert column_collapses(train, made, {"city": "category"})["city"] < 0.05
    assert column_collapses(train, made.assign(city="city 5"), {"city": "category"})["city"] == 1.0

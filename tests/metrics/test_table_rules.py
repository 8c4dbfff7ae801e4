"""Rules of tables: found where they hold, not where chance would keep them, and named where they are broken."""

import numpy as np
import pandas
import pytest

from sparring.metrics.table_rules import find_rules, rule_breaks
from sparring.metrics.table_summary import table_faults

KINDS = {
    "net": "number", "tax": "number", "total": "number", "ordered": "date", "delivered": "date",
    "city": "category", "country": "category", "noise": "number", "rare": "boolean",
}  # fmt: skip


def orders(n: int, seed: int) -> pandas.DataFrame:
    random = np.random.default_rng(seed)
    net, days = random.exponential(100, n).round(2), random.integers(0, 900, n)
    tax, city = (net * 0.19).round(2), random.choice(["Bonn", "Ulm", "Lyon", "Lille"], n)
    first = pandas.Timestamp("2020-01-01")
    return pandas.DataFrame(
        {
            "net": net,
            "tax": tax,
            "total": net + tax,
            "ordered": first + pandas.to_timedelta(days, unit="D"),
            "delivered": first + pandas.to_timedelta(days + random.integers(0, 30, n), unit="D"),
            "city": city,
            "country": np.where(np.isin(city, ["Bonn", "Ulm"]), "D", "F"),
            "noise": random.normal(size=n),
            "rare": random.random(n) < 0.01,
        }
    )


TRAIN, HELDOUT = orders(1000, 1), orders(500, 2)
RULES = ["total = net + tax", "tax ≤ net", "ordered ≤ delivered", "city → country"]


def test_the_rules_of_orders_and_no_others() -> None:
    """`net ≤ total` follows from the sum. Chance keeps none of the others: each would be broken by 20 rows."""
    assert sorted(rule.name for rule in find_rules(TRAIN, HELDOUT, KINDS)) == sorted(RULES)
    texts = TRAIN.assign(ordered=TRAIN["ordered"].astype(str), delivered=TRAIN["delivered"].astype(str))
    assert sorted(rule.name for rule in find_rules(texts, HELDOUT, KINDS)) == sorted(RULES)


@pytest.mark.parametrize("name", RULES)
def test_rows_that_break_a_rule_are_counted(name: str) -> None:
    rules, made = find_rules(TRAIN, HELDOUT, KINDS), orders(400, 3)
    assert {each.value for each in rule_breaks(rules, made).values()} == {0.0}
    if name.startswith("total"):
        made.loc[:99, "total"] += 1
    elif name.startswith("tax"):
        made.loc[:99, ["net", "tax", "total"]] = [1.0, 2.0, 3.0]
    elif name.startswith("ordered"):
        made.loc[:99, "ordered"] = pandas.Timestamp("2030-01-01")
    else:
        made.loc[:99, ["city", "country"]] = ["Bonn", "F"]
    found = rule_breaks(rules, made)
    assert next(iter(found)) == name
    assert found[name].value == 0.25
    assert found[name].low > 0.2
    assert sum(each.value for each in found.values()) == 0.25


def test_rows_without_a_value_break_nothing() -> None:
    rules, made = find_rules(TRAIN, HELDOUT, KINDS), orders(400, 3)
    made.loc[:99, ["total", "city", "ordered"]] = [np.nan, None, pandas.NaT]
    made.loc[100:199, "city"] = "Oslo"  # a category that the data don't have
    assert {each.value for each in rule_breaks(rules, made).values()} == {0.0}


def test_a_rule_that_held_out_rows_break_is_none() -> None:
    """Nor does it hide others: without the sum, `net ≤ total` no longer follows from it."""
    other = HELDOUT.copy()
    other.loc[0, "total"] += 5
    other.loc[0, "country"] = "E"
    found = {rule.name for rule in find_rules(TRAIN, other, KINDS)}
    assert found == {"tax ≤ net", "net ≤ total", "ordered ≤ delivered"}


def test_chains_and_equal_columns_are_said_once() -> None:
    random = np.random.default_rng(0)
    low = random.random(300)
    table = pandas.DataFrame({"a": low, "b": low + random.random(300) / 10, "c": low + 0.2, "twin": low})
    found = [rule.name for rule in find_rules(table[:200], table[200:], dict.fromkeys(table, "number"))]
    assert sorted(found) == ["a = twin", "b ≤ c", "twin ≤ b"]


def test_independent_columns_have_no_rules() -> None:
    """Ranges that do not overlap, rare values, and constants are no rules."""
    random = np.random.default_rng(0)
    table = pandas.DataFrame(
        {"small": random.random(400), "large": 5 + random.random(400), "zero": [0] * 399 + [1], "c": ["x"] * 400}
    )
    kinds = {"small": "number", "large": "number", "zero": "number", "c": "category"}
    assert find_rules(table[:300], table[300:], kinds) == []


def test_each_fault_has_its_evidence() -> None:
    """Fresh orders have none but little less variety in a column, by chance."""
    rules = find_rules(TRAIN, HELDOUT, KINDS)
    faults = table_faults(TRAIN, orders(1000, 3), KINDS, rules)
    assert faults.keys() == {"collapsed_column"}
    assert max(faults["collapsed_column"].values()) < 0.1
    faults = table_faults(TRAIN, TRAIN.assign(noise=0.1, city="Bonn"), KINDS, rules)
    assert faults["collapsed_column"] == {"city": 1.0, "noise": 1.0}
    shares = TRAIN["city"].value_counts(normalize=True)
    assert faults["lost_category"] == {f"city={name}": shares[name] for name in shares.index if name != "Bonn"}
    assert [*faults["broken_rule"]] == ["city → country"]
    assert 0.4 < faults["broken_rule"]["city → country"] < (TRAIN["country"] == "F").mean()

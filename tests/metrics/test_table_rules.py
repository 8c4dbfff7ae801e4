"""Rules of tables: found where they hold, not where chance would keep them, and named where they are broken."""

import numpy as np
import pandas
import pytest

from sparring.metrics.table_faults import table_faults
from sparring.metrics.table_rules import find_rules, rule_breaks

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
    """Fresh orders have none: the attack's interval misses 0 upwards with a probability of 2.5 %, and .1 never."""
    rules = find_rules(TRAIN, HELDOUT, KINDS)
    faults = table_faults(TRAIN, HELDOUT, orders(1000, 3), KINDS, rules)
    scores = {name: next(iter(evidence.values())) for name, evidence in faults.items()}
    assert scores.keys() == {"collapsed_column", "lost_category", "copied_rows", "broken_rule"}
    assert scores["collapsed_column"] < 0.1
    assert scores["lost_category"] == scores["broken_rule"] == 0.0
    assert scores["copied_rows"] < 0.1
    bad = TRAIN.assign(noise=0.1, city="Bonn")
    faults = table_faults(TRAIN, HELDOUT, bad, KINDS, rules)
    assert faults["collapsed_column"] == pytest.approx({"city": 1.0, "noise": 1.0, "net": 0.0})
    assert faults["lost_category"]["lost"] == pytest.approx(3 / 8)  # of four cities, two countries and a boolean
    assert {name.partition("=")[0] for name in faults["lost_category"]} == {"lost", "city"}
    assert next(iter(faults["broken_rule"])) == "city → country"
    assert faults["broken_rule"]["city → country"] > 0.4
    assert table_faults(TRAIN, HELDOUT, TRAIN, KINDS, rules)["copied_rows"] == {"advantage": 1.0, "nearest_record": 0.0}

"""Rules that all rows of a table keep, found by themselves, and the synthetic rows that break them.

Three kinds: a ≤ b or a = b of two numbers or two dates; a = b + c of three numbers; and a → b of two categories, where
each a has one b. A rule must hold in every training row and every held-out row that has its values. And it must say
something: were the columns independent, at least MIN_EXPECTED training rows would break it, so that a rule is found by
chance with a probability of about exp(−20). Columns that depend on each other may still keep a rule by chance.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from sparring.data.rules import count_proofs, find_sums
from sparring.metrics.table_models import sample
from sparring.metrics.tables import (
    CATEGORICAL,
    NUMERIC,
    Kinds,
    check_tables,
    learned,
    share_difference,
    to_codes,
    to_numbers,
)
from sparring.types import Estimate

if TYPE_CHECKING:
    import pandas

MIN_EXPECTED = 20
MAX_ROWS = 50_000
"""Rules are found in so many random rows of a larger table."""
TOLERANCE = 1e-6
"""Sums may differ by this share of the largest number of the column."""


@dataclass(frozen=True)
class TableRule:
    """A rule that all real rows keep."""

    name: str  # in words: "casual ≤ bikers", "bikers = casual + registered", "city → country"
    find_broken: "Callable[[pandas.DataFrame], np.ndarray]"  # which rows break it, bool [n]


def find_rules(train: "pandas.DataFrame", heldout: "pandas.DataFrame", kinds: Kinds) -> list[TableRule]:
    """The rules that all training and held-out rows keep.

    Those that follow from others are left out: a ≤ c where a ≤ b and b ≤ c; and b ≤ a where a = b + c and c is never
    negative.

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind.
        kinds: what each column is.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: for a → b: Kivinen and Mannila 1995, "Approximate inference of functional dependencies from relations",
        Theoretical Computer Science 149, 129–149, here without exceptions; that generators break such rules:
        "Evaluating inter-column logical relationships in synthetic tabular data generation" 2025, arXiv:2502.04055.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"net": range(100, 300), "tax": [10, 20] * 100})
        >>> rows["total"] = rows["net"] + rows["tax"]
        >>> kinds = dict.fromkeys(rows, "number")
        >>> [rule.name for rule in find_rules(rows[:150], rows[150:], kinds)]
        ['total = net + tax']
    """
    check_tables(kinds, train=train, heldout=heldout)
    train = sample(train, MAX_ROWS, seed=0)
    numbers = {
        kind: {name: to_numbers(train[name], kind) for name in learned(kinds) if kinds[name] == kind}
        for kind in NUMERIC
    }
    summed = {names: _sum_rule(*names, limit) for names, limit in find_sums(numbers["number"], TOLERANCE)}
    sums = {names: rule for names, rule in summed.items() if not rule.find_broken(heldout).any()}
    implied = {
        (part, whole)
        for whole, *parts in sums
        for part, other in (parts, parts[::-1])
        if np.nanmin(numbers["number"][other]) >= 0
    }
    found = list(sums.values())
    for kind in NUMERIC:
        orders = {
            names: rule for names, rule in _find_orders(numbers[kind], kind) if not rule.find_broken(heldout).any()
        }
        between = {(a, c) for a, b in orders for other, c in orders if b == other}
        found += [rule for names, rule in orders.items() if names not in between | implied]
    return found + [rule for rule in _find_dependences(train, kinds) if not rule.find_broken(heldout).any()]


def rule_breaks(rules: Sequence[TableRule], synthetic: "pandas.DataFrame") -> dict[str, Estimate]:
    """The share of synthetic rows that break each rule, the largest first.

    A row without one of the values breaks no rule, nor does a category that the data don't have.

    Args:
        rules: found by `find_rules`.
        synthetic: rows with the same columns.

    Returns:
        Shares from 0 to 1 by the names of the rules; the intervals are of shares of rows.

    Source: this project.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"city": ["Bonn", "Ulm", "Lyon"] * 50, "country": ["D", "D", "F"] * 50})
        >>> rules = find_rules(rows[:90], rows[90:], {"city": "category", "country": "category"})
        >>> synthetic = pandas.DataFrame({"city": ["Bonn", "Lyon"], "country": ["F", "F"]})
        >>> {name: each.value for name, each in rule_breaks(rules, synthetic).items()}
        {'city → country': 0.5}
    """
    n, found = len(synthetic), {}
    for rule in rules:
        share = float(rule.find_broken(synthetic).mean())
        found[rule.name] = share_difference(share, share, n, 0.0, n, least=0.0)
    return dict(sorted(found.items(), key=lambda each: -each[1].value))


def _find_orders(numbers: dict[str, np.ndarray], kind: str) -> Iterator[tuple[tuple[str, str], TableRule]]:
    """The rules a ≤ b and a = b."""
    names = list(numbers)
    for first in names:
        for second in names:
            a, b = numbers[first], numbers[second]
            is_present = ~np.isnan(a) & ~np.isnan(b)
            a, b = a[is_present], b[is_present]
            if first == second or not len(a) or (a > b).any():
                continue
            # The number of rows that would break the rule, were the columns independent.
            if (np.searchsorted(np.sort(b), a, "left") / len(b)).sum() >= MIN_EXPECTED:
                if (a < b).any():
                    yield (first, second), _order_rule(first, second, kind, is_equal=False)
                elif first < second:
                    yield (first, second), _order_rule(first, second, kind, is_equal=True)


def _find_dependences(train: "pandas.DataFrame", kinds: Kinds) -> Iterator[TableRule]:
    """The rules a → b."""
    names = [name for name in learned(kinds) if kinds[name] in CATEGORICAL]
    codes = {name: to_codes(kinds[name], train[name])[0][0] for name in names}
    for first, second in permutations(names, 2):
        rows = np.flatnonzero((codes[first] > 0) & (codes[second] > 0))
        if count_proofs(codes[first][rows], codes[second][rows]) >= MIN_EXPECTED:
            known = train.iloc[rows[np.unique(codes[first][rows], return_index=True)[1]]]
            yield _dependence_rule(known[first], known[second], kinds[first], kinds[second])


def _order_rule(first: str, second: str, kind: str, *, is_equal: bool) -> TableRule:
    def find_broken(rows: "pandas.DataFrame") -> np.ndarray:
        a, b = (to_numbers(rows[name], kind) for name in (first, second))
        return np.asarray((a > b) | ((a < b) & is_equal))

    return TableRule(f"{first} {'=' if is_equal else '≤'} {second}", find_broken)


def _sum_rule(whole: str, first: str, second: str, limit: float) -> TableRule:
    def find_broken(rows: "pandas.DataFrame") -> np.ndarray:
        a, b, c = (to_numbers(rows[name], "number") for name in (whole, first, second))
        return np.asarray(np.abs(a - b - c) > limit)

    return TableRule(f"{whole} = {first} + {second}", find_broken)


def _dependence_rule(first: "pandas.Series", second: "pandas.Series", kind: str, other_kind: str) -> TableRule:
    """Each category of the first column with its one of the second, by the distinct pairs of the data."""

    def find_broken(rows: "pandas.DataFrame") -> np.ndarray:
        (known, a), _ = to_codes(kind, first, rows[str(first.name)])
        (wanted, b), _ = to_codes(other_kind, second, rows[str(second.name)])
        belongs = np.zeros(1 + max(known.max(), a.max()), np.int64)  # 0 for a category that the data don't have
        belongs[known] = wanted
        return np.asarray((belongs[a] > 0) & (b > 0) & (belongs[a] != b))

    return TableRule(f"{first.name} → {second.name}", find_broken)

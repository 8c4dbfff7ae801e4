"""Synthetic rows summed up: the figures of a metric card, and what may be wrong with them, for alarms."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sparring.errors import DataError
from sparring.metrics.table_models import detector_auc, train_synthetic_test_real
from sparring.metrics.table_privacy import membership_advantage, nearest_record_ratio
from sparring.metrics.table_rules import TableRule, find_rules, rule_breaks
from sparring.metrics.tables import (
    Kinds,
    categories_kept,
    column_collapses,
    column_distances,
    learned,
    lost_categories,
    pair_distances,
)
from sparring.types import Estimate, Faults

if TYPE_CHECKING:
    import pandas

NUM_NAMED = 10
"""So many columns, categories or rules are named, the worst first."""


def table_figures(
    train: "pandas.DataFrame",
    heldout: "pandas.DataFrame | None",
    synthetic: "pandas.DataFrame",
    kinds: Kinds,
    *,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The figures of synthetic rows by name, of several columns, pairs and rules the worst one.

    column_distance and pair_distance: the largest ones. categories_kept. And with held-out rows: rule_breaks, of the
    rule that is broken most; detector_auc; lost_lesson, what boosting loses of the last column by learning from
    synthetic rows; nearest_record_ratio; membership_advantage.

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind that it was not trained on, none of which is among the synthetic ones.
        synthetic: rows with the same columns.
        kinds: what each column is.
        seed: of models and of the choice of rows.

    Returns:
        Those that these rows have: a detector takes 50 of them, and a lesson more than half as many synthetic rows as
        training rows, since fewer rows teach less.

    Raises:
        DataError: for a table that lacks a column or rows.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"age": range(300), "sex": ["f", "m", "f"] * 100})
        >>> found = table_figures(rows[:200], None, rows[200:], {"age": "number", "sex": "category"})
        >>> {name: round(each.value, 2) for name, each in found.items()}
        {'column_distance': 1.0, 'pair_distance': 0.9, 'categories_kept': 1.0}
    """
    largest = {
        "column_distance": [*column_distances(train, synthetic, kinds).values()],
        "pair_distance": [*pair_distances(train, synthetic, kinds).values()],
    }
    found = {name: estimates[0] for name, estimates in largest.items() if estimates}
    if (kept := categories_kept(train, synthetic, kinds)) is not None:
        found["categories_kept"] = kept
    if heldout is None:
        return found
    if broken := rule_breaks(find_rules(train, heldout, kinds), synthetic):
        found["rule_breaks"] = next(iter(broken.values()))
    with suppress(DataError):  # of too few rows
        found["detector_auc"] = detector_auc(heldout, synthetic, kinds, seed=seed)
    with suppress(DataError):  # a column that is always the same in one of the three teaches nothing
        if 2 * len(synthetic) > len(train):
            lesson = train_synthetic_test_real(train, heldout, synthetic, kinds, learned(kinds)[-1], seed=seed)
            found["lost_lesson"] = lesson["boosting"].lost
    found["nearest_record_ratio"] = nearest_record_ratio(train, heldout, synthetic, kinds, seed=seed)
    found["membership_advantage"] = membership_advantage(train, heldout, synthetic, kinds, seed=seed)
    return found


def table_faults(
    train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, rules: Sequence[TableRule]
) -> Faults:
    """The evidence of each fault that rows have; those that are well are left out.

    collapsed_column: `column_collapses`, 1 where all values lie in one tenth of the numbers, or are one category.
    lost_category: the share of the training rows that each of `lost_categories` has. broken_rule: the least share of
    rows that break a rule, as its interval allows. `sparring.metrics.memorization` tells copies, as of all data.

    Args:
        train: rows that the generator was trained on.
        synthetic: rows with the same columns, some hundreds at least.
        kinds: what each column is.
        rules: found by `find_rules`, once for a training.

    Returns:
        For each fault the ten worst columns, categories or rules, with numbers above 0 and up to 1, the largest first.

    Raises:
        DataError: for a table that lacks a column or rows.

    Example:
        >>> import pandas
        >>> train = pandas.DataFrame({"age": range(200), "sex": ["f", "m"] * 100})
        >>> kinds = {"age": "number", "sex": "category"}
        >>> table_faults(train, train.assign(sex="f"), kinds, [])
        {'collapsed_column': {'sex': 1.0}, 'lost_category': {'sex=m': 0.5}}
    """
    lost = lost_categories(train, synthetic, kinds).items()
    found = {
        "collapsed_column": column_collapses(train, synthetic, kinds),
        "lost_category": {f"{column}={value}": rows / len(train) for (column, value), rows in lost},
        "broken_rule": {name: share.low for name, share in rule_breaks(rules, synthetic).items()},
    }
    worst = {
        fault: dict([(name, score) for name, score in evidence.items() if score > 0][:NUM_NAMED])
        for fault, evidence in found.items()
    }
    return {fault: evidence for fault, evidence in worst.items() if evidence}

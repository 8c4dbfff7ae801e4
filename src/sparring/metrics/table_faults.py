"""What may be wrong with synthetic rows, as evidence for alarms: numbers by name, the score first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparring.metrics.table_privacy import membership_advantage, nearest_record_ratio
from sparring.metrics.table_rules import TableRule, rule_breaks
from sparring.metrics.tables import Kinds, categories_kept, column_collapses, lost_categories

if TYPE_CHECKING:
    import pandas

NUM_NAMED = 3
"""So many columns, categories or rules are named, the worst first."""


def table_faults(
    train: "pandas.DataFrame",
    heldout: "pandas.DataFrame",
    synthetic: "pandas.DataFrame",
    kinds: Kinds,
    rules: Sequence[TableRule],
) -> dict[str, dict[str, float]]:
    """The evidence of each fault that tables may have; none where there is nothing to judge.

    collapsed_column: the largest of `column_collapses`, 1 where all values lie in one tenth of the numbers, or are one
    category. lost_category: the share of `lost_categories`, and the training rows of those. copied_rows: the least
    `membership_advantage` that its interval allows, and `nearest_record_ratio`. broken_rule: the least share of rows
    that break a rule, as its interval allows.

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind that it was not trained on.
        synthetic: rows with the same columns, some hundreds at least.
        kinds: what each column is.
        rules: found by `find_rules`, once for a training.

    Returns:
        For each fault numbers from 0 to 1 by name (but for rows and the ratio), the score first: 0 or less is well.

    Raises:
        DataError: for a table that lacks a column or rows.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"age": range(300), "sex": ["f", "m", "f"] * 100})
        >>> synthetic = rows[:200].assign(sex="f", age=40)
        >>> faults = table_faults(rows[:200], rows[200:], synthetic, {"age": "number", "sex": "category"}, [])
        >>> faults["collapsed_column"], faults["lost_category"]
        ({'age': 1.0, 'sex': 1.0}, {'lost': 0.5, 'sex=m': 67.0})
    """
    found: dict[str, dict[str, float]] = {}
    if collapses := column_collapses(train, synthetic, kinds):
        found["collapsed_column"] = dict(list(collapses.items())[:NUM_NAMED])
    if (kept := categories_kept(train, synthetic, kinds)) is not None:
        named = list(lost_categories(train, synthetic, kinds).items())[:NUM_NAMED]
        rows = {f"{column}={category}": float(count) for (column, category), count in named}
        found["lost_category"] = {"lost": 1 - kept.value} | rows
    found["copied_rows"] = {
        "advantage": membership_advantage(train, heldout, synthetic, kinds).low,
        "nearest_record": nearest_record_ratio(train, heldout, synthetic, kinds).value,
    }
    if broken := rule_breaks(rules, synthetic):
        found["broken_rule"] = {name: share.low for name, share in list(broken.items())[:NUM_NAMED]}
    return found

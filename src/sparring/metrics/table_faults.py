"""What may be wrong with synthetic rows, as evidence for alarms: numbers by name, the score first.

Copied rows are not among them: `sparring.metrics.memorization` looks for copies of any kind of item, among all of them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparring.metrics.table_rules import TableRule, rule_breaks
from sparring.metrics.tables import Kinds, column_collapses, lost_categories
from sparring.types import Faults

if TYPE_CHECKING:
    import pandas

NUM_NAMED = 3
"""So many columns, categories or rules are named, the worst first."""


def table_faults(
    train: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, rules: Sequence[TableRule]
) -> Faults:
    """The evidence of each fault that rows have; those that are well are left out.

    collapsed_column: `column_collapses`, 1 where all values lie in one tenth of the numbers, or are one category.
    lost_category: the share of the training rows that each of `lost_categories` has. broken_rule: the least share of
    rows that break a rule, as its interval allows.

    Args:
        train: rows that the generator was trained on.
        synthetic: rows with the same columns, some hundreds at least.
        kinds: what each column is.
        rules: found by `find_rules`, once for a training.

    Returns:
        For each fault the three worst columns, categories or rules, with numbers above 0 and up to 1, the largest
        first.

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

"""Conditions on the rows of a table, such as "sex=female, age>40"."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparring.data.columns import Column
from sparring.errors import UnknownNameError, UsageError

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(r"(.+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*)", re.DOTALL)
ADVICE = 'give conditions such as "sex=female, age>40"'


def describe_choices(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What conditions may compare: for each column its name, its kind, and its values, or its least and largest one.

    Limits of dates are text such as 2024-12-31T00:00:00, and of whole numbers integers.

    Example:
        >>> describe_choices([Column("age", "number", (30.0, 50.0), decimals=0)])
        [{'name': 'age', 'kind': 'number', 'low': 30, 'high': 50}]
        >>> describe_choices([Column("sex", "category", ("f", "m"))])
        [{'name': 'sex', 'kind': 'category', 'values': ['f', 'm']}]
    """
    found: list[dict[str, Any]] = []
    for column in columns:
        if not column.is_learned:
            continue
        choice: dict[str, Any] = {"name": column.name, "kind": column.kind}
        if column.is_ordered:
            limits = np.array(column.limits).astype(column.dtype)
            choice["low"], choice["high"] = (limits.astype(str) if column.kind == "date" else limits).tolist()
        else:
            choice["values"] = [*map(str, column.present)]
        found.append(choice)
    return found


def choose_rows(items: np.ndarray, where: str, columns: Sequence[Column]) -> np.ndarray:
    """Whether each row meets all conditions, bool [n].

    Args:
        items: an array with a field for each column.
        where: conditions between commas; a value with a comma stands in double quotes, and an empty one is a missing
            value.
        columns: of the table.

    Raises:
        UsageError: for a condition that no row can meet or fail.
        UnknownNameError: for a column or a category that does not exist.

    Example:
        >>> columns = [Column("age", "number", (30.0, 50.0), decimals=0), Column("sex", "category", ("f", "m"))]
        >>> rows = np.array([(30, "f"), (50, "f"), (50, "m")], [("age", "i8"), ("sex", "U1")])
        >>> choose_rows(rows, "sex=f, age>40", columns)
        array([False,  True, False])
    """
    known = {column.name: column for column in columns if column.is_learned}
    chosen = np.ones(len(items), bool)
    for part in re.split(r""",(?=(?:[^"]*"[^"]*")*[^"]*$)""", where):
        found = CONDITION.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"{part.strip()!r} is no condition: {ADVICE}")
        name, sign, text = found[1].strip().strip('"'), found[2].replace("==", "="), found[3].strip().strip('"')
        if name not in known:
            raise UnknownNameError("column", name, known)
        chosen &= _compare(items[name], known[name], sign, text)
    return chosen


def _compare(cells: np.ndarray, column: Column, sign: str, text: str) -> np.ndarray:
    if sign not in ("=", "!=") and not column.is_ordered:
        raise UsageError(f"{column.name!r} has no order: use = or !=, not {sign}")
    if not text:
        has_text = column.dtype[0] == "U"
        is_missing = cells != cells if column.is_ordered else cells == "" if has_text else np.zeros(len(cells), bool)
        return is_missing if sign == "=" else ~is_missing
    if not column.is_ordered:
        value = text.capitalize() if column.kind == "boolean" else text
        if value not in map(str, column.values):
            raise UnknownNameError(f"value of {column.name!r}", text, [*map(str, column.present)])
        return np.asarray(COMPARE[sign](cells.astype(str), value))
    try:
        limit = np.datetime64(text) if column.kind == "date" else float(text)
    except ValueError as error:
        form = "a date such as 2024-12-31" if column.kind == "date" else "a number"
        raise UsageError(f"{column.name!r} is compared with {form}, not {text!r}") from error
    return np.asarray(COMPARE[sign](cells, limit))

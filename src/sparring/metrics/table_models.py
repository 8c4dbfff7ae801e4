"""Measures of synthetic tables by models: what one learns from the rows, and whether one can tell them from real ones.

For both models, the categories of a column are the 50 most frequent of the rows that it learns from; all others count
as missing. Linear models see numbers standardised, with the median for missing ones, and a column that says so.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.errors import DataError, UsageError
from sparring.metrics.estimate import around
from sparring.metrics.tables import CATEGORICAL, Kinds, check_tables, learned, to_codes, to_numbers
from sparring.seeding import Stream
from sparring.types import Estimate

if TYPE_CHECKING:
    import pandas

MAX_CATEGORIES = 50
MAX_LEARNED, MAX_TESTED = 50_000, 20_000
"""Rows that models learn from and are tested on; of larger tables, a random part."""
NUM_FOLDS = 5


def train_synthetic_test_real(
    synthetic: "pandas.DataFrame", heldout: "pandas.DataFrame", kinds: Kinds, target: str, *, seed: int = 0
) -> dict[str, Estimate]:
    """How well models that learn from synthetic rows predict a column of real rows (TSTR).

    AUC for a category: the probability that a row with it gets a higher score than one without it; of more than two
    categories, the mean over those that the held-out rows have. R² for a number or a date: 1 − Σ (y − ŷ)² / Σ (y − ȳ)².
    The same function with the training rows in place of synthetic ones gives what can be reached.

    Args:
        synthetic: rows to learn from.
        heldout: real rows that the generator was not trained on.
        kinds: what each column is.
        target: the column to predict, a category, boolean, number or date. Rows without it are left out.
        seed: of the boosting and of the choice of rows.

    Returns:
        `linear`, a logistic or linear regression, and `boosting`, of decision trees. AUC from 0 to 1, ½ for guesses;
        R² at most 1, 0 for the mean. The intervals are of means over held-out rows, for fixed models.

    Raises:
        DataError: for a table that lacks a column or rows, or a target that is missing or the same in all real rows.
        UsageError: for a target that is no column to learn.

    Source: Esteban, Hyland and Rätsch 2017, arXiv:1706.02633; for tables Xu et al. 2019, arXiv:1907.00503. The interval
        of an AUC: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837–845.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"x": range(200), "y": [False] * 100 + [True] * 100})
        >>> found = train_synthetic_test_real(rows[::2], rows[1::2], {"x": "number", "y": "boolean"}, "y")
        >>> {name: each.value for name, each in found.items()}
        {'linear': 1.0, 'boosting': 1.0}
    """
    if target not in learned(kinds):
        raise UsageError(f"{target!r} is no column that a model could predict: give one of {', '.join(learned(kinds))}")
    check_tables(kinds, synthetic=synthetic, heldout=heldout)
    synthetic, heldout = sample(synthetic, MAX_LEARNED, seed), sample(heldout, MAX_TESTED, seed)
    others = {name: kind for name, kind in kinds.items() if name != target}
    if kinds[target] in CATEGORICAL:
        (learned_y, real_y), _ = to_codes(kinds[target], synthetic[target], heldout[target])
        is_known, is_real = learned_y > 0, real_y > 0
    else:
        learned_y, real_y = (to_numbers(each[target], kinds[target]) for each in (synthetic, heldout))
        is_known, is_real = np.isfinite(learned_y), np.isfinite(real_y)
    if len(np.unique(real_y[is_real])) < 2:
        raise DataError(f"{target!r} is missing or the same in all held-out rows: give another target")
    if not is_known.any():
        raise DataError(f"{target!r} is missing in all synthetic rows, so no model can learn it")
    tables = (synthetic[is_known], heldout[is_real])
    found = {}
    for name, is_linear in (("linear", True), ("boosting", False)):
        features = _features(others, *tables, is_linear=is_linear)
        answers = learned_y[is_known], real_y[is_real]
        if kinds[target] in CATEGORICAL:
            found[name] = _test_classifier(*features, *answers, is_linear=is_linear, seed=seed)
        else:
            found[name] = _test_regression(*features, *answers, is_linear=is_linear, seed=seed)
    return found


def detector_auc(
    heldout: "pandas.DataFrame", synthetic: "pandas.DataFrame", kinds: Kinds, *, seed: int = 0
) -> Estimate:
    """How well gradient boosting tells synthetic rows from real ones: its AUC, by cross-validation in five folds.

    It learns from four fifths of equally many real and synthetic rows, and is tested on the rest, five times. The real
    rows must be held-out ones: of rows that the generator was trained on, copies look real.

    Args:
        heldout: real rows that the generator was not trained on.
        synthetic: rows with the same columns; only as many as there are real ones are used, and the other way round.
        kinds: what each column is.
        seed: of the choice of rows and the boosting.

    Returns:
        The mean of five AUCs: ½ if no row is told, 1 if all are. The interval is of means over rows, for fixed models.

    Raises:
        DataError: for a table that lacks a column, or fewer than 50 rows of a table.

    Source: Lopez-Paz and Oquab 2016, arXiv:1610.06545, who use the accuracy.

    Example:
        >>> import pandas
        >>> table = pandas.DataFrame({"x": range(200)})
        >>> detector_auc(table, table + 1000, {"x": "number"}).value > 0.99
        True
    """
    check_tables(kinds, heldout=heldout, synthetic=synthetic)
    n = min(len(heldout), len(synthetic), MAX_TESTED)
    if n < 10 * NUM_FOLDS:
        raise DataError(f"a detector takes at least {10 * NUM_FOLDS} held-out and as many synthetic rows, not {n}")
    tables = sample(heldout, n, seed), sample(synthetic, n, seed + 1)
    values, variances = [], []
    for fold in range(NUM_FOLDS):
        is_tested = np.arange(n) % NUM_FOLDS == fold  # the order of the rows is random
        learning, tested = (_concat([each[chosen] for each in tables]) for chosen in (~is_tested, is_tested))
        features = _features(kinds, learning, tested, is_linear=False)
        answers = (np.arange(len(part)) >= len(part) // 2 for part in (learning, tested))
        value = _test_classifier(*features, *(each + 1 for each in answers), is_linear=False, seed=seed)
        values.append(value.value)
        variances.append(((value.high - value.low) / 2) ** 2)
    half = (sum(variances) / NUM_FOLDS**2) ** 0.5
    mean = float(np.mean(values))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def sample(table: "pandas.DataFrame", n: int, seed: int) -> "pandas.DataFrame":
    """At most n random rows of a table, in random order."""
    return table.iloc[Stream(seed, "rows").permutation(len(table))[:n].numpy()]


def auc(scores: np.ndarray, is_positive: np.ndarray) -> tuple[float, np.ndarray]:
    """The AUC of scores [n], and how much each row adds to it: its standard error is √(mean influence² / n).

    P(score of a positive row > that of a negative one) + ½ P(they are equal).

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837–845: the means over the
        other rows, whose variances they add.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))[0]
        0.875
    """
    positives, negatives = scores[is_positive], scores[~is_positive]
    above = _share_below(np.sort(negatives), positives)  # of each positive row: the share of negative ones below it
    below = 1 - _share_below(np.sort(positives), negatives)
    value = float(above.mean())
    influence = np.empty(len(scores))
    influence[is_positive] = (above - value) * len(scores) / len(positives)
    influence[~is_positive] = (below - value) * len(scores) / len(negatives)
    return value, influence


def _share_below(in_order: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The share of sorted numbers below each of others; equal ones count half."""
    places = [np.searchsorted(in_order, numbers, side) for side in ("left", "right")]
    return (places[0] + places[1]) / (2 * len(in_order))


def _test_classifier(
    x: np.ndarray, tested_x: np.ndarray, y: np.ndarray, tested_y: np.ndarray, *, is_linear: bool, seed: int
) -> Estimate:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    scores: dict[Any, np.ndarray] = {}
    if len(known := np.unique(y)) > 1:
        model = LogisticRegression(max_iter=5000) if is_linear else HistGradientBoostingClassifier(random_state=seed)
        chances = model.fit(x, y).predict_proba(tested_x)
        scores = {each: chances[:, place] for place, each in enumerate(known)}
    there = np.unique(tested_y)
    if len(there) == 2:  # either category has the same AUC
        there = there[1:] if there[1] in scores or not scores else there[:1]
    # A category that the model never saw, or cannot tell from others, gets equal scores.
    found = [auc(scores.get(each, np.zeros(len(tested_y))), tested_y == each) for each in there]
    influence = np.mean([each for _, each in found], axis=0)
    return around(float(np.mean([value for value, _ in found])), _standard_error(influence), 0.0, 1.0)


def _test_regression(
    x: np.ndarray, tested_x: np.ndarray, y: np.ndarray, tested_y: np.ndarray, *, is_linear: bool, seed: int
) -> Estimate:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    model = Ridge() if is_linear else HistGradientBoostingRegressor(random_state=seed)
    errors = (tested_y - model.fit(x, y).predict(tested_x)) ** 2
    spread = (tested_y - tested_y.mean()) ** 2
    value = 1 - errors.mean() / spread.mean()
    influence = ((1 - value) * spread - errors) / spread.mean()
    return around(float(value), _standard_error(influence), most=1.0)


def _standard_error(influence: np.ndarray) -> float:
    return float((np.mean(influence**2) / len(influence)) ** 0.5)


def _features(
    kinds: Kinds, learning: "pandas.DataFrame", tested: "pandas.DataFrame", *, is_linear: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers for a model [n, d] of the rows that it learns from, and of those that it is tested on."""
    found: list[list[np.ndarray]] = [[np.zeros(len(each))] for each in (learning, tested)]
    for name in learned(kinds):
        if kinds[name] in CATEGORICAL:
            codes, uniques = to_codes(kinds[name], learning[name], tested[name])
            counts = np.bincount(codes[0], minlength=len(uniques) + 1)[1:]
            places = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
            parts = [[(each == 1 + place).astype(float) for place in places[counts[places] > 0]] for each in codes]
        else:
            numbers = [to_numbers(each[name], kinds[name]) for each in (learning, tested)]
            parts = [[each] for each in numbers]
            if is_linear:
                present = numbers[0][np.isfinite(numbers[0])]
                middle, scale = (np.median(present), present.std()) if len(present) else (0.0, 0.0)
                parts = [
                    [
                        np.where(np.isfinite(each), each - middle, 0.0) / (scale or 1.0),
                        (~np.isfinite(each)).astype(float),
                    ]
                    for each in numbers
                ]
        for columns, part in zip(found, parts, strict=True):
            columns += part
    return np.column_stack(found[0]), np.column_stack(found[1])


def _concat(tables: "list[pandas.DataFrame]") -> "pandas.DataFrame":
    import pandas

    return pandas.concat(tables, ignore_index=True)

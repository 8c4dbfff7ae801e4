"""Measures of synthetic tables by models: what one learns from the rows, and whether one can tell them from real ones.

For both models, the categories of a column are the 50 most frequent of the rows that it learns from; all others count
as missing. Linear models see numbers standardised, with the median for missing ones, and a column that says so.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.errors import DataError, UsageError, how_to_install
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
Score = tuple[float, np.ndarray]
"""A figure of tested rows, and the influence of each row on it: its standard error is √(mean influence² / n)."""


@dataclass(frozen=True)
class Lesson:
    """How well one model predicts held-out rows after it has learned from synthetic and from training rows."""

    synthetic: Estimate
    real: Estimate  # what can be reached
    lost: Estimate  # real − synthetic; much narrower than both, since the same rows test both


def train_synthetic_test_real(
    train: "pandas.DataFrame",
    heldout: "pandas.DataFrame",
    synthetic: "pandas.DataFrame",
    kinds: Kinds,
    target: str,
    *,
    seed: int = 0,
) -> dict[str, Lesson]:
    """How well models that learn from synthetic rows predict a column of real rows (TSTR), beside what real rows teach.

    AUC for a category: the probability that a row with it gets a higher score than one without it; of more than two
    categories, the mean over those that the held-out rows have. R² for a number or a date: 1 − Σ (y − ŷ)² / Σ (y − ȳ)².

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind that it was not trained on, for the test.
        synthetic: rows to learn from, best as many as training rows.
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
        >>> rows = pandas.DataFrame({"x": range(300), "y": [False] * 150 + [True] * 150})
        >>> tables = rows[::3], rows[1::3], rows[2::3].assign(y=True)  # nothing can be learned from the last
        >>> found = train_synthetic_test_real(*tables, {"x": "number", "y": "boolean"}, "y")["linear"]
        >>> found.real.value, found.synthetic.value, found.lost.value
        (1.0, 0.5, 0.5)
    """
    if target not in learned(kinds):
        raise UsageError(f"{target!r} is no column that a model could predict: give one of {', '.join(learned(kinds))}")
    check_tables(kinds, train=train, heldout=heldout, synthetic=synthetic)
    tables = [sample(each, MAX_LEARNED, seed) for each in (train, synthetic)] + [sample(heldout, MAX_TESTED, seed)]
    if is_category := kinds[target] in CATEGORICAL:
        answers, _ = to_codes(kinds[target], *(each[target] for each in tables))
        are_known = [each > 0 for each in answers]
    else:
        answers = [to_numbers(each[target], kinds[target]) for each in tables]
        are_known = [np.isfinite(each) for each in answers]
    tables, answers = ([each[known] for each, known in zip(all_, are_known, strict=True)] for all_ in (tables, answers))
    if len(np.unique(answers[-1])) < 2:
        raise DataError(f"{target!r} is missing or the same in all held-out rows: give another target")
    for name, table in (("training", tables[0]), ("synthetic", tables[1])):
        if not len(table):
            raise DataError(f"{target!r} is missing in all {name} rows, so no model can learn it")
    others = {name: kind for name, kind in kinds.items() if name != target}
    test, least = (_test_classifier, 0.0) if is_category else (_test_regression, -np.inf)
    found = {}
    for name, is_linear in (("linear", True), ("boosting", False)):
        real, made = (
            test(
                *_features(others, tables[place], tables[-1], is_linear=is_linear),
                answers[place],
                answers[-1],
                is_linear=is_linear,
                seed=seed,
            )
            for place in (0, 1)
        )
        lost = around(real[0] - made[0], _standard_error(real[1] - made[1]))
        by_made, by_real = (around(value, _standard_error(each), least, 1.0) for value, each in (made, real))
        found[name] = Lesson(by_made, by_real, lost)
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
    values, errors = [], []
    for fold in range(NUM_FOLDS):
        is_tested = np.arange(n) % NUM_FOLDS == fold  # the order of the rows is random
        learning, tested = (_concat([each[chosen] for each in tables]) for chosen in (~is_tested, is_tested))
        features = _features(kinds, learning, tested, is_linear=False)
        answers = (np.arange(len(part)) >= len(part) // 2 for part in (learning, tested))
        value, influence = _test_classifier(*features, *(each + 1 for each in answers), is_linear=False, seed=seed)
        values.append(value)
        errors.append(_standard_error(influence))
    return around(float(np.mean(values)), float(np.linalg.norm(errors)) / NUM_FOLDS, 0.0, 1.0)


def sample(table: "pandas.DataFrame", n: int, seed: int) -> "pandas.DataFrame":
    """At most n random rows of a table, in random order."""
    return table.iloc[Stream(seed, "rows").permutation(len(table))[:n].numpy()]


def auc(scores: np.ndarray, is_positive: np.ndarray) -> Score:
    """The AUC of scores [n], and the influence of each row on it.

    P(score of a positive row > that of a negative one) + ½ P(they are equal).

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837–845: the means over the
        other rows, whose variances they add.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))[0]
        0.875
    """
    positives, negatives = scores[is_positive], scores[~is_positive]
    above = share_below(np.sort(negatives), positives)  # of each positive row: the share of negative ones below it
    below = 1 - share_below(np.sort(positives), negatives)
    value = float(above.mean())
    influence = np.empty(len(scores))
    influence[is_positive] = (above - value) * len(scores) / len(positives)
    influence[~is_positive] = (below - value) * len(scores) / len(negatives)
    return value, influence


def share_below(in_order: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The share of sorted numbers below each of others; equal ones count half."""
    places = [np.searchsorted(in_order, numbers, side) for side in ("left", "right")]
    return (places[0] + places[1]) / (2 * len(in_order))


def _test_classifier(
    x: np.ndarray, tested_x: np.ndarray, y: np.ndarray, tested_y: np.ndarray, *, is_linear: bool, seed: int
) -> Score:
    scores: dict[Any, np.ndarray] = {}
    if len(known := np.unique(y)) > 1:
        chances = _model(is_linear, seed, is_classifier=True).fit(x, y).predict_proba(tested_x)
        scores = {each: chances[:, place] for place, each in enumerate(known)}
    there = np.unique(tested_y)
    if len(there) == 2:  # either category has the same AUC
        there = there[1:] if there[1] in scores or not scores else there[:1]
    # A category that the model never saw, or cannot tell from others, gets equal scores.
    found = [auc(scores.get(each, np.zeros(len(tested_y))), tested_y == each) for each in there]
    influence = np.mean([each for _, each in found], axis=0)
    return float(np.mean([value for value, _ in found])), influence


def _test_regression(
    x: np.ndarray, tested_x: np.ndarray, y: np.ndarray, tested_y: np.ndarray, *, is_linear: bool, seed: int
) -> Score:
    errors = (tested_y - _model(is_linear, seed, is_classifier=False).fit(x, y).predict(tested_x)) ** 2
    spread = (tested_y - tested_y.mean()) ** 2
    value = 1 - errors.mean() / spread.mean()
    influence = ((1 - value) * spread - errors) / spread.mean()
    return float(value), influence


def _model(is_linear: bool, seed: int, *, is_classifier: bool) -> Any:
    try:
        from sklearn import ensemble, linear_model
    except ImportError as error:
        raise UsageError(f"models of tables need scikit-learn ({error}): {how_to_install('tables')}") from error
    if is_linear:
        return linear_model.LogisticRegression(max_iter=5000) if is_classifier else linear_model.Ridge()
    kind = ensemble.HistGradientBoostingClassifier if is_classifier else ensemble.HistGradientBoostingRegressor
    return kind(random_state=seed)


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

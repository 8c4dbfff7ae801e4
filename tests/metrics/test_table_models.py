"""Training on synthetic rows, detection, nearest records, the membership attack, on tables of known answers."""

import numpy as np
import pandas
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from sparring import DataError, UsageError
from sparring.metrics.table_models import auc, detector_auc, train_synthetic_test_real
from sparring.metrics.table_privacy import _nearest, membership_advantage, nearest_record_ratio

KINDS = {"a": "number", "b": "number", "group": "category", "code": "category", "y": "number", "yes": "boolean"}


def rows(n: int, seed: int) -> pandas.DataFrame:
    """Two numbers, one of three groups, a number and a boolean that depend on them, and a category that does not."""
    random = np.random.default_rng(seed)
    a, b, group = random.normal(size=n), random.exponential(size=n), random.choice(["x", "y", "z"], n)
    y = 2 * a + (group == "x") + random.normal(0, 0.5, n)
    table = pandas.DataFrame({"a": a, "b": b, "group": group, "code": random.integers(0, 9, n), "y": y})
    table.loc[random.random(n) < 0.05, "b"] = np.nan
    table["yes"] = y > 0
    return table


TRAIN, HELDOUT, FRESH = rows(1200, 1), rows(600, 2), rows(1200, 3)


def test_the_area_is_scikit_learns_with_equal_scores_too() -> None:
    random = np.random.default_rng(0)
    scores, truth = random.integers(0, 5, 300).astype(float), random.random(300) < 0.3
    value, influence = auc(scores + truth, truth)
    assert value == pytest.approx(roc_auc_score(truth, scores + truth))
    assert influence.mean() == pytest.approx(0)


def test_the_intervals_of_areas_cover() -> None:
    """P(x + 1 > y) of standard normal x and y is Φ(1/√2) = .7602. 95 % intervals cover it in 178 to 199 of 200 draws
    (error probability .002)."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        truth = np.arange(200) < 80
        value, influence = auc(random.normal(size=200) + truth, truth)
        covered += abs(value - 0.7602) < 1.96 * (np.mean(influence**2) / 200) ** 0.5
    assert 178 <= covered <= 199


def test_what_synthetic_rows_teach() -> None:
    """Fresh rows teach as much as training rows, shuffled answers nothing. The AUC of 600 rows has a standard error of
    at most .024: ½ ± .1 is left with a probability of 3e-5 for each of two models."""
    kinds = KINDS | {"y": "text"}
    good = train_synthetic_test_real(TRAIN, HELDOUT, FRESH, kinds, "yes")
    shuffled = FRESH.assign(yes=FRESH["yes"].sample(frac=1.0, random_state=0).to_numpy())
    bad = train_synthetic_test_real(TRAIN, HELDOUT, shuffled, kinds, "yes")
    for name in ("linear", "boosting"):
        assert good[name].real.value == bad[name].real.value > 0.95
        assert abs(good[name].lost.value) < 0.02
        assert abs(bad[name].synthetic.value - 0.5) < 0.1
        assert bad[name].lost.value == pytest.approx(bad[name].real.value - bad[name].synthetic.value)
        assert good[name].lost.high - good[name].lost.low < good[name].real.high - good[name].real.low
    same = train_synthetic_test_real(TRAIN, HELDOUT, TRAIN, kinds, "yes")["boosting"].lost
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_numbers_and_many_categories_as_targets() -> None:
    """The linear R² is that of least squares; AUCs of three groups are means over groups."""
    x = np.column_stack([FRESH["a"], FRESH["group"] == "x", np.ones(len(FRESH))]).astype(float)
    weights = np.linalg.lstsq(x, FRESH["y"], rcond=None)[0]
    tested = np.column_stack([HELDOUT["a"], HELDOUT["group"] == "x", np.ones(len(HELDOUT))]).astype(float)
    kinds = {"a": "number", "group": "category", "y": "number"}
    found = train_synthetic_test_real(TRAIN, HELDOUT, FRESH, kinds, "y")
    assert found["linear"].synthetic.value == pytest.approx(r2_score(HELDOUT["y"], tested @ weights), abs=0.003)
    assert found["boosting"].synthetic.value > 0.9
    groups, lost, constant = (
        train_synthetic_test_real(TRAIN[:300], HELDOUT, made[:300], kinds, "group")["linear"].synthetic.value
        for made in (FRESH, FRESH[FRESH["group"] != "z"], FRESH.assign(group="x"))
    )
    assert 0.6 < lost < groups < 0.95  # an AUC of ½ for the group that was never seen
    assert constant == 0.5


def test_a_detector_knows_what_differs() -> None:
    """Fresh rows: the mean of five AUCs of 120 + 120 rows has a standard error below .017: ½ ± .1 is left with a
    probability of 1e-8. Shuffled columns are told, though each column is right."""
    assert abs(detector_auc(HELDOUT, FRESH, KINDS).value - 0.5) < 0.1
    shuffled = FRESH.assign(y=FRESH["y"].sample(frac=1.0, random_state=0).to_numpy())
    assert detector_auc(HELDOUT, shuffled, KINDS).low > 0.8
    with pytest.raises(DataError, match="at least 50 held-out"):
        detector_auc(HELDOUT[:40], FRESH, KINDS)


def test_copies_are_near_and_fresh_rows_are_not() -> None:
    """Fresh rows are held-out rows to the training: the ratio of two 5 % quantiles of 600 and 1,200 distances, and an
    advantage of two shares of 600 whose difference has a standard error below .03 (error probability 1e-4)."""
    assert nearest_record_ratio(TRAIN, HELDOUT, TRAIN, KINDS).value == 0.0
    fresh = nearest_record_ratio(TRAIN, HELDOUT, FRESH, KINDS)
    assert 0.8 < fresh.value < 1.25
    assert fresh.low < 1 < fresh.high
    assert membership_advantage(TRAIN, HELDOUT, TRAIN, KINDS).value == 1.0
    assert abs(membership_advantage(TRAIN, HELDOUT, FRESH, KINDS).value) < 0.11
    half = pandas.concat([TRAIN[:600], FRESH[:600]])
    assert 0.35 < membership_advantage(TRAIN, HELDOUT, half, KINDS).value < 0.65


def test_a_distance_counts_each_column_the_same() -> None:
    """By hand: of 0, 10, 20, 30 the ranks are ⅛, ⅜, ⅝, ⅞. The nearest to (10, "u") in (0, "u"), (20, "v") is ⅛ away."""
    train = pandas.DataFrame({"x": [0, 10, 20, 30] * 5, "c": ["u"] * 20})
    some = pandas.DataFrame({"x": [10.0, np.nan], "c": ["u", "v"]})
    others = pandas.DataFrame({"x": [0.0, 20.0], "c": ["u", "v"]})
    found = _nearest(some, others, train, {"x": "number", "c": "category"})
    assert found.tolist() == pytest.approx([0.25 / 2, (0.5 + 0.125) / 2])


def test_rows_that_repeat() -> None:
    """Where held-out rows are training rows too, copies are no nearer than these."""
    small = pandas.DataFrame({"c": ["x", "y"] * 50})
    assert nearest_record_ratio(small, small, small, {"c": "category"}).value == 1.0
    assert membership_advantage(small, small, small, {"c": "category"}).value == 0.0


def test_targets_that_nothing_can_learn() -> None:
    with pytest.raises(UsageError, match="'colour' is no column"):
        train_synthetic_test_real(TRAIN, HELDOUT, FRESH, KINDS, "colour")
    with pytest.raises(DataError, match="the same in all held-out rows"):
        train_synthetic_test_real(TRAIN, HELDOUT.assign(yes=True), FRESH, KINDS, "yes")
    with pytest.raises(DataError, match="missing in all synthetic rows"):
        train_synthetic_test_real(TRAIN, HELDOUT, FRESH.assign(y=np.nan), KINDS, "y")

"""Whether synthetic rows give away training rows: nearest records, and an attack that guesses who was among them.

Rows are compared by Gower's distance with ranks: the mean over columns of |F(a) − F(b)| for numbers and dates, where F
is the share of training rows below a value (equal ones count half), and of 0 or 1 for equal and different categories.
So each column counts the same, whatever its unit and however heavy its tail. A missing number lies in the middle, and
half a range away from all others; a missing category is a category.

Source: Gower 1971, "A general coefficient of similarity and some of its properties", Biometrics 27, 857–871; ranks
instead of ranges: Podani 1999, "Extending Gower's general coefficient of similarity to ordinal characters", Taxon 48.

Neither figure proves that rows are safe. Nearest records miss leaks that attacks find (Yao et al. 2025, "The DCR
Delusion", arXiv:2505.01524), and the attack here is a simple one.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sparring.metrics.estimate import bootstrap
from sparring.metrics.table_models import sample, share_below
from sparring.metrics.tables import (
    CATEGORICAL,
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

MAX_ROWS, MAX_REFERENCE = 5000, 20_000
"""Rows whose nearest record is looked for, and those among which; of larger tables, a random part."""
LARGEST_RATIO = 10.0


def nearest_record_ratio(
    train: "pandas.DataFrame",
    heldout: "pandas.DataFrame",
    synthetic: "pandas.DataFrame",
    kinds: Kinds,
    *,
    num_resamples: int = 100,
    seed: int = 0,
) -> Estimate:
    """How near synthetic rows come to training rows, over how near held-out rows come to them.

    The 5 % quantile of the distances of synthetic rows to their nearest training rows, divided by that of held-out
    rows. Of tables of more than 20,000 rows a random part is taken, among which copies of other rows are not seen.

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind that it was not trained on.
        synthetic: rows with the same columns.
        kinds: what each column is.
        num_resamples: of the bootstrap that gives the interval.
        seed: of the bootstrap and of the choice of rows.

    Returns:
        From 0, for copies, to 10, where larger ones are cut; about 1 for rows that are as near as held-out ones, or if
        both quantiles are 0. The interval is for fixed training rows.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: the quantile of distances: Zhao et al. 2021, "CTAB-GAN", arXiv:2102.08369; the comparison with held-out
        rows: Platzer and Reutterer 2021, "Holdout-based empirical assessment of mixed-type synthetic data", Frontiers
        in Big Data 4.

    Example:
        >>> import pandas
        >>> numbers = torch.randn(3, 300, 2, generator=torch.Generator().manual_seed(0)).numpy()
        >>> tables = [pandas.DataFrame(each, columns=["a", "b"]) for each in numbers]
        >>> kinds = {"a": "number", "b": "number"}
        >>> nearest_record_ratio(tables[0], tables[1], tables[0], kinds).value
        0.0
        >>> 0.5 < nearest_record_ratio(*tables, kinds).value < 2.0
        True
    """

    def ratio(groups: list[Tensor]) -> float:
        near, usual = (group.quantile(0.05).item() for group in groups)
        return 1.0 if near == usual == 0 else min(near / max(usual, 1e-12), LARGEST_RATIO)

    check_tables(kinds, train=train, heldout=heldout, synthetic=synthetic)
    reference = sample(train, MAX_REFERENCE, seed)
    groups = [_nearest(sample(each, MAX_ROWS, seed), reference, train, kinds) for each in (synthetic, heldout)]
    return bootstrap(ratio, groups, num_resamples, seed, least=0.0, most=LARGEST_RATIO)


def membership_advantage(
    train: "pandas.DataFrame",
    heldout: "pandas.DataFrame",
    synthetic: "pandas.DataFrame",
    kinds: Kinds,
    *,
    seed: int = 0,
) -> Estimate:
    """What an attacker gains who takes rows near a synthetic one for training rows.

    P(taken for a training row | it is one) − P(taken for one | it is held out), of equally many of both. The threshold
    of the distance is the best one for half of the rows, and the guesses are about the other half; then the other way
    round. So chance gives 0 on average.

    Args:
        train: rows that the generator was trained on.
        heldout: rows of the same kind that it was not trained on.
        synthetic: rows with the same columns: what the attacker has.
        kinds: what each column is.
        seed: of the choice of rows.

    Returns:
        From −1 to 1: 0 for no gain, 1 if each guess is right; half of it, plus ½, is the share of right guesses. The
        interval is of means over rows, for fixed thresholds and synthetic rows.

    Raises:
        DataError: for a table that lacks a column or rows.

    Source: Yeom et al. 2018, "Privacy risk in machine learning", arXiv:1709.01604, definition 4; the score: Chen et al.
        2020, "GAN-Leaks", arXiv:1909.03935, the attack by generated samples alone.

    Example:
        >>> import pandas
        >>> numbers = torch.randn(2, 300, 2, generator=torch.Generator().manual_seed(0)).numpy()
        >>> train, heldout = (pandas.DataFrame(each, columns=["a", "b"]) for each in numbers)
        >>> membership_advantage(train, heldout, train, {"a": "number", "b": "number"}).value
        1.0
    """
    check_tables(kinds, train=train, heldout=heldout, synthetic=synthetic)
    n = min(len(train), len(heldout), MAX_ROWS)
    reference = sample(synthetic, MAX_REFERENCE, seed)
    to_train, to_heldout = (
        _nearest(sample(each, n, seed), reference, train, kinds).numpy() for each in (train, heldout)
    )
    taken = [np.zeros(n, bool), np.zeros(n, bool)]
    for half in (0, 1):
        shown, asked = slice(half, None, 2), slice(1 - half, None, 2)
        threshold = _best_threshold(to_train[shown], to_heldout[shown])
        taken[0][asked], taken[1][asked] = to_train[asked] <= threshold, to_heldout[asked] <= threshold
    share, other = (float(each.mean()) for each in taken)
    return share_difference(share - other, share, n, other, n)


def _best_threshold(members: np.ndarray, others: np.ndarray) -> float:
    """The distance up to which the share of members is larger than that of others by the most."""
    places = np.sort(np.concatenate([members, others]))
    gains = [np.searchsorted(np.sort(each), places, "right") / len(each) for each in (members, others)]
    return float(places[(gains[0] - gains[1]).argmax()])


def _nearest(rows: "pandas.DataFrame", others: "pandas.DataFrame", train: "pandas.DataFrame", kinds: Kinds) -> Tensor:
    """The distance of each row to the nearest of the others, float64 [n]."""
    names = learned(kinds)
    numeric = [name for name in names if kinds[name] not in CATEGORICAL]
    places = [
        torch.from_numpy(np.concatenate([_ranks(each, train, name, kinds[name]) for name in numeric], axis=1)).float()
        if numeric
        else torch.zeros(len(each), 1)
        for each in (rows, others)
    ]
    codes = [
        [torch.from_numpy(each) for each in to_codes(kinds[name], rows[name], others[name])[0]]
        for name in names
        if kinds[name] in CATEGORICAL
    ]
    nearest = []
    for start in range(0, len(rows), 250):
        part = slice(start, start + 250)
        distances = torch.cdist(places[0][part], places[1], p=1.0)
        for mine, theirs in codes:
            distances += mine[part, None] != theirs
        nearest.append(distances.amin(1).double())
    return torch.cat(nearest) / len(names)


def _ranks(rows: "pandas.DataFrame", train: "pandas.DataFrame", name: str, kind: str) -> np.ndarray:
    """The share of training values below each value, ½ for a missing one; and ½ where it is missing, float [n, 2]."""
    known, numbers = np.sort(to_numbers(train[name], kind)), to_numbers(rows[name], kind)
    known = known[~np.isnan(known)]
    shares = share_below(known, numbers) if len(known) else np.zeros(len(numbers))
    is_missing = np.isnan(numbers)
    return np.column_stack([np.where(is_missing, 0.5, shares), 0.5 * is_missing])

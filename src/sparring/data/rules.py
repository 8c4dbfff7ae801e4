"""Rules that columns keep: one is the sum of two others, or each value of one comes with one value of another.

Who computes columns of others looks for them, and so does who counts generated rows that break them.
"""

from collections.abc import Iterator, Mapping

import numpy as np

LEAST_NONZERO = 20  # values of each summand: a column of zeros would be part of many sums
NUM_TRIED_SUMS, NUM_TRIED = 30, 500  # rows that refute most rules


def find_sums(numbers: Mapping[str, np.ndarray], tolerance: float) -> Iterator[tuple[tuple[str, str, str], float]]:
    """The names (a, b, c) of columns with a = b + c in each row that has all three, and by how much a may differ.

    Args:
        numbers: by name, float64 [n], NaN where one is missing.
        tolerance: what a may differ by, as a share of its largest magnitude.

    Example:
        >>> numbers = {"net": np.arange(100.0), "tax": np.arange(100.0) % 7, "total": np.arange(100.0) % 7}
        >>> numbers["total"] = numbers["net"] + numbers["tax"]
        >>> [names for names, _ in find_sums(numbers, 1e-9)]
        [('total', 'net', 'tax')]
    """
    names = [name for name, values in numbers.items() if np.count_nonzero(np.nan_to_num(values)) >= LEAST_NONZERO]
    if len(names) < 3:
        return
    table = np.stack([numbers[name] for name in names])
    few = table[:, :: max(1, table.shape[1] // NUM_TRIED_SUMS)]
    pairs = few[:, None] + few[None]
    for whole, limit in enumerate(tolerance * np.nanmax(np.abs(table), axis=1)):
        differs = np.abs(pairs - few[whole]) > limit  # False where one is missing
        for first, second in np.argwhere(~differs.any(-1)):
            if first < second and whole not in (first, second):
                chosen = table[[whole, first, second]]
                a, b, c = chosen[:, ~np.isnan(chosen).any(axis=0)]
                enough = min(np.count_nonzero(b), np.count_nonzero(c)) >= LEAST_NONZERO
                if enough and (np.abs(a - b - c) <= limit).all():
                    yield (names[whole], names[first], names[second]), float(limit)


def count_proofs(a: np.ndarray, b: np.ndarray) -> float:
    """How many rows would break the rule that each value of a comes with one of b, were the columns independent.

    Args:
        a: codes, int64 [n] from 0.
        b: codes of the other column.

    Returns:
        (n − pairs) (1 − Σ p²), where p are the shares of b's values: as many rows repeat a pair, and each would have
        another value of b so often. 0 if a row breaks the rule.

    Example:
        >>> town, country = np.arange(90) % 3, np.arange(90) % 3 % 2
        >>> round(count_proofs(town, country)), count_proofs(country, town)
        (39, 0.0)
    """
    joined = a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b
    for part in (slice(NUM_TRIED), slice(None)):
        num_pairs = len(np.unique(joined[part]))
        if num_pairs > len(np.unique(a[part])):
            return 0.0
    shares = np.bincount(b) / max(1, len(b))
    return float((len(a) - num_pairs) * (1 - shares @ shares))

"""Simulates the two tests that studies use: how often each is wrong, and how often it finds a true difference.

    python benchmarks/paired_tests.py [--studies 20000]

A study here is five seeds of two settings. Its figures are either normal with equal spread, as shares are, or
log-normal, with a spread in proportion to their size, as Fréchet distances are over seeds. The seed shifts both.
"""

import argparse
import math

import numpy as np
from scipy.stats import t

SEEDS, LEVEL = 5, 0.05


def p_values(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two-sided p-values of the paired t-test, one for each row."""
    differences = first - second
    statistic = differences.mean(1) / (differences.std(1, ddof=1) / math.sqrt(differences.shape[1]))
    return np.asarray(2 * t.sf(np.abs(statistic), differences.shape[1] - 1))


def main() -> None:
    """Print the shares of studies in which each test finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=20_000)
    studies = parser.parse_args().studies
    generator = np.random.default_rng(0)

    def draw(center: float, deviation: float, is_log: bool, shared: np.ndarray) -> np.ndarray:
        noise = shared + deviation * generator.standard_normal((studies, SEEDS))
        return center * np.exp(noise) if is_log else center + noise

    print("| figures | B's center over A's | differences | ratios |\n|---|---|---|---|")
    for is_log, deviations, ratio in [
        (True, (0.6, 0.6), 1.0), (True, (0.1, 0.7), 1.0), (True, (0.6, 0.6), 3.0), (True, (0.1, 0.7), 13.0),
        (False, (0.02, 0.02), 1.0), (False, (0.01, 0.05), 1.0), (False, (0.02, 0.02), 1.05),
    ]:  # fmt: skip
        shared = 0.5 * min(deviations) * generator.standard_normal((studies, SEEDS))
        first, second = draw(1.0, deviations[0], is_log, shared), draw(ratio, deviations[1], is_log, shared)
        found = [
            (p_values(*pair) < LEVEL).mean()
            for pair in ((first, second), (np.log(np.maximum(first, 1e-9)), np.log(np.maximum(second, 1e-9))))
        ]
        kind = f"{'log-normal' if is_log else 'normal around 1'}, deviations {deviations[0]} and {deviations[1]}"
        print(f"| {kind} | {ratio:g} | {found[0]:.1%} | {found[1]:.1%} |")


if __name__ == "__main__":
    main()

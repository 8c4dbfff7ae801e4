"""When to stop: step nine of the nine."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much to train; the first limit that is reached ends it.

    Args:
        steps: iterations, or None.
        images: real samples shown to the discriminator, or None.
        minutes: training time, evaluation and saving apart, or None.

    Example:
        >>> Limits(steps=200, minutes=1.0).progress(steps=50, images=0, seconds=45.0)
        0.75
    """

    steps: int | None = None
    images: int | None = None
    minutes: float | None = None

    def progress(self, steps: int, images: int, seconds: float) -> float:
        """The share of the training that is done, 0 to 1: that of the limit nearest to its end."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(steps / self.steps)
        if self.images is not None:
            shares.append(images / self.images)
        if self.minutes is not None:
            shares.append(seconds / (60 * self.minutes))
        return min(1.0, max(shares))


class Plateau:
    """Notices when a value has stopped changing.

    It compares the mean of the last `window` values with the mean of the `window` before them. Where the two
    differ by less than `tolerance`, the value has reached a plateau. In a training the values are those of the
    game, one for each line of the log: what the discriminator maximises, penalties apart.

    Args:
        window: how many values, at least 1.
        tolerance: in the units of the value (nats for minimax, where the equilibrium lies at −log 4 = −1.386).

    Example:
        >>> plateau = Plateau(window=2, tolerance=0.1)
        >>> [plateau.reached(value) for value in (4.0, 2.0, 1.0, 1.0, 1.0, 1.0)]
        [False, False, False, False, False, True]
    """

    def __init__(self, window: int, tolerance: float) -> None:
        self.window = window
        self.tolerance = tolerance
        self._values: deque[float] = deque(maxlen=2 * window)

    def reached(self, value: float) -> bool:
        """Take in the next value, and tell whether the plateau is reached."""
        self._values.append(value)
        if len(self._values) < 2 * self.window:
            return False
        values = list(self._values)
        before, after = sum(values[: self.window]), sum(values[self.window :])
        return abs(after - before) / self.window < self.tolerance

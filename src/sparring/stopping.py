"""When to stop: step nine of the nine."""

import math
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sparring.errors import UsageError

ECHO_SECONDS = 5.0
"""Within which a signal that comes again to one of several processes is the same one."""
WINDOW = 8
"""Evaluations that the search for a plateau of a metric compares with as many before them."""


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


class Goal:
    """Stops a training by what its log says: a target of any number in it, or a plateau of the distance to the data.

    On a plateau the mean distance of the last eight evaluations is not below that of the eight before by two standard
    errors of the difference. It is looked for from where the distance has fallen by a tenth for the first time.

    Args:
        text: "plateau", or NAME<NUMBER, or NAME>NUMBER, of a number in the log.

    Attributes:
        name: of the number that it waits for.

    Raises:
        UsageError: for a text that is neither.

    Example:
        >>> goal = Goal("coverage>0.9")
        >>> [goal.reached({"evaluation": {"coverage": value}}) for value in (0.5, 0.95)]
        ['', 'coverage is 0.95 (coverage>0.9)']
    """

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"\s*(\w+)\s*([<>])\s*(\S+)\s*", text)
        try:
            self._target = (match[1], match[2], float(match[3])) if match else None
        except ValueError:
            match = None
        if text != "plateau" and match is None:
            raise UsageError(f"until must be plateau, or a target such as coverage>0.9, and is {text!r}")
        self.name = "distance" if self._target is None else self._target[0]
        self._text = text
        self._first: float | None = None
        self._values: deque[float] = deque(maxlen=2 * WINDOW)

    def reached(self, line: Mapping[str, Any]) -> str:
        """Take in the next line of the log; why to stop, or nothing."""
        value = {**line, **line.get("evaluation", {})}.get(self.name)
        if value is None:
            return ""
        if self._target is not None:
            _, comparison, threshold = self._target
            reached = value < threshold if comparison == "<" else value > threshold
            return f"{self.name} is {value:.4g} ({self._text})" if reached else ""
        self._first = value if self._first is None else self._first
        if not self._values and value > self._first - 0.1 * abs(self._first):
            return ""  # it has not begun to learn
        self._values.append(value)
        values = list(self._values)
        if len(values) < 2 * WINDOW:
            return ""
        before, after = _mean_and_variance(values[:WINDOW]), _mean_and_variance(values[WINDOW:])
        improved = before[0] - after[0] > 2 * math.sqrt((before[1] + after[1]) / WINDOW)
        return "" if improved else "the distance to the data reached a plateau"


def _mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / (len(values) - 1)


@contextmanager
def signals_received() -> Iterator[list[int]]:
    """A list that the first of SIGINT, SIGTERM and SIGUSR1 is put into; a second does what it does without sparring.

    SIGUSR1 is how clusters warn of the end of a job's time.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    echo_until = math.inf  # what launchers pass on, clusters may have sent to each process too
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal echo_until
        if not received:
            received.append(number)
            echo_until = time.monotonic() + (ECHO_SECONDS if "TORCHELASTIC_RUN_ID" in os.environ else 0.0)
        elif time.monotonic() >= echo_until:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        restore()

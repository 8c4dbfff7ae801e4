"""When to stop: step nine of the algorithm."""

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
from statistics import fmean, variance
from types import FrameType
from typing import Any

from sparring.errors import ProcessError, UsageError

ECHO_SECONDS = 5.0  # with several processes, a second signal within this time is a copy of the first
WINDOW = 8  # a plateau compares this many evaluations with as many before them


@dataclass(frozen=True)
class Limits:
    """The most iterations, real samples, and minutes of training; the first limit that is reached ends it."""

    steps: int | None = None
    images: int | None = None
    minutes: float | None = None

    def progress(self, steps: int, images: int, seconds: float) -> float:
        """The finished share of the training, 0 to 1, by the nearest limit."""
        done = steps / (self.steps or math.inf), images / (self.images or math.inf)
        return min(1.0, max(*done, seconds / (60 * (self.minutes or math.inf))))

    def stop_reason(self, steps: int, images: int, seconds: float) -> str:
        """The limit that is reached, in words; empty if none is."""
        if self.steps is not None and steps >= self.steps:
            return f"reached --steps {self.steps}"
        if self.images is not None and images >= self.images:
            return f"reached --images {self.images}"
        if self.minutes is not None and seconds >= 60 * self.minutes:
            return f"reached --minutes {self.minutes:g}"
        return ""


class Goal:
    """Stops a training at a target for a number of its log (NAME<NUMBER or NAME>NUMBER), or at a "plateau".

    At a plateau, the mean distance to the data in the last eight evaluations is not two standard errors of the
    difference below the mean in the eight before. The search begins once the distance has fallen by a tenth.
    """

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"\s*(\w+)\s*([<>])\s*(\S+)\s*", text)
        try:
            self.target = (match[1], match[2], float(match[3])) if match else None
        except ValueError:
            match = None
        if text != "plateau" and match is None:
            raise UsageError(f"until must be plateau, or a target such as coverage>0.9, and is {text!r}")
        self.name = "distance" if self.target is None else self.target[0]
        self._text = text
        self._first: float | None = None
        self._values: deque[float] = deque(maxlen=2 * WINDOW)

    def stop_reason(self, line: Mapping[str, Any]) -> str:
        """Read the next line of the log; return why to stop, in words, or nothing."""
        value = {**line, **line.get("evaluation", {})}.get(self.name)
        if value is None:
            return ""
        if self.target is not None:
            _, comparison, threshold = self.target
            reached = value < threshold if comparison == "<" else value > threshold
            return f"{self.name} is {value:.4g} ({self._text})" if reached else ""
        self._first = value if self._first is None else self._first
        if not self._values and value > self._first - 0.1 * abs(self._first):
            return ""  # it has not begun to learn
        self._values.append(value)
        before, after = list(self._values)[:WINDOW], list(self._values)[WINDOW:]
        if len(after) < WINDOW:
            return ""
        error = math.sqrt((variance(before) + variance(after)) / WINDOW)
        return "" if fmean(before) - fmean(after) > 2 * error else "the distance to the data reached a plateau"


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yield a list that receives the first SIGINT, SIGTERM or SIGUSR1; a second one has its usual effect.

    Clusters send SIGUSR1 before a job's time ends.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    echo_until = math.inf  # a cluster and a launcher may both send the same signal
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
    except ProcessError:
        before[signal.SIGTERM] = signal.SIG_IGN  # by which a launcher stops this process, which has to say why first
        raise
    finally:
        restore()

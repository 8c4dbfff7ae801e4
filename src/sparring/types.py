"""Types that many modules share. Tests check the shapes (jaxtyping and beartype); otherwise they cost nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

Samples = Float[Tensor, "batch *item"]
"""Real or generated items: images [batch, channels, height, width] in [−1, 1], points [batch, 2]."""

Latents = Float[Tensor, "batch *latent"]
"""The generator's input."""

Logits = Float[Tensor, "batch *several"]
"""The discriminator's scores, [batch] or several to each sample: positive if a sample looks real."""

AnyLogits = Float[Tensor, " _"]
"""One logit for each sample, of sets of different sizes."""

Labels = Int[Tensor, "batch"] | Float[Tensor, "batch _"]
"""The class of each sample, int64 [batch] from 0; or its attributes, float32 [batch, d]."""

PerSample = Float[Tensor, "batch *several"]
"""A loss or a penalty, one value for each sample of the batch; a loss, for each logit."""

Features = Float[Tensor, "_ _"]
"""An extractor's output: d numbers for each of n samples, [n, d]."""

OnProgress = Callable[[str, float], None]
"""Called with a description of the work and the share that is done, from 0 to 1."""

Faults = dict[str, dict[str, float]]
"""What may be wrong with samples: the evidence of each fault by the name of its alarm, as numbers by name, the score
first."""

LogLine = dict[str, Any]
"""One line of `log.jsonl`: `step` and other numbers by name; if the monitor measured, `evaluation`, its figures,
`class_shares` of the samples where there are classes, and `faults` where a modality found some; `alarms`, all active
ones, if one began or ended."""

Z_95 = 1.959964
"""Half the width of a normal 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A figure that was estimated from samples, and the ends of its 95 % interval.

    Example:
        >>> print(Estimate(value=0.4301, low=0.4102, high=0.4500))
        0.430 ± 0.020
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The value ± half the interval, rounded to two digits of that half."""
        half = max(self.high - self.value, self.value - self.low)
        decimals = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
        return f"{self.value:.{decimals}f} ± {half:.{decimals}f}"


LARGE = 3 * 64 * 64  # numbers in an item


def num_at_once(most: int, item_shape: tuple[int, ...]) -> int:
    """How many items to compute on together: `most`, but fewer of large ones, which take no more memory then.

    Example:
        >>> num_at_once(50, (3, 64, 64)), num_at_once(50, (3, 256, 256)), num_at_once(50, (3, 1024, 1024))
        (50, 3, 1)
    """
    return max(1, int(most * min(1.0, LARGE / max(1, math.prod(item_shape)))))

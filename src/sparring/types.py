"""Types that many modules share. Tests check the shapes (jaxtyping and beartype); otherwise they cost nothing."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

Samples = Float[Tensor, "batch *item"]
"""Real or generated items: images [batch, channels, height, width] in [−1, 1], points [batch, 2]."""

Latents = Float[Tensor, "batch *latent"]
"""The generator's input."""

Logits = Float[Tensor, "batch"]
"""The discriminator's scores: positive if a sample looks real."""

AnyLogits = Float[Tensor, " _"]
"""Logits of sets of different sizes."""

Labels = Int[Tensor, "batch"] | Float[Tensor, "batch _"]
"""The class of each sample, int64 [batch] from 0; or its attributes, float32 [batch, d]."""

PerSample = Float[Tensor, "batch"]
"""A loss or a penalty, one value for each sample of the batch."""

Features = Float[Tensor, "_ _"]
"""An extractor's output: d numbers for each of n samples, [n, d]."""

OnProgress = Callable[[str, float], None]
"""Called with a description of the work and the share that is done, from 0 to 1."""

LogLine = dict[str, Any]
"""One line of `log.jsonl`: `step` and other numbers by name; if the monitor measured, `evaluation`, its figures, and
`class_shares` of the samples where there are classes; `alarms`, all active ones, if one began or ended."""

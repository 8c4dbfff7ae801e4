"""The shapes that the parts of a game hand to each other.

They are checked while the tests run (jaxtyping and beartype) and cost nothing otherwise.
"""

from jaxtyping import Float, Int
from torch import Tensor

Samples = Float[Tensor, "batch *item"]
"""Things of the kind that the data are: images [batch, channels, height, width] in [-1, 1], points [batch, 2]."""

Latents = Float[Tensor, "batch *latent"]
"""What the generator starts from."""

Logits = Float[Tensor, "batch"]
"""The discriminator's scores: positive for what it takes to be real."""

AnyLogits = Float[Tensor, " _"]
"""Logits of sets that need not be of one size."""

Labels = Int[Tensor, "batch"]
"""The class of each sample, int64, from 0."""

PerSample = Float[Tensor, "batch"]
"""A loss or a penalty, one value for each sample of the batch."""

Features = Float[Tensor, "_ _"]
"""What an extractor makes of samples: [n, d], d numbers each."""

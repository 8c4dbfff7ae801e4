"""A cache of the discriminator's logits and gradients, so that losses and penalties share them.

With both zero-centred penalties, a discriminator's update needs the logits of two batches and their gradients. If the
losses and each penalty computed their own, that would be four forward passes instead of two.
"""

from collections.abc import Callable
from typing import final

import torch

from sparring.types import AnyLogits, Logits, Samples

Score = Callable[[Samples], Logits]
"""The discriminator that a penalty gets: samples [batch, ...] to logits, [batch] or several to each sample."""


def one_each(logits: Logits) -> AnyLogits:
    """One logit for each sample, [batch]: the mean if there are several.

    Example:
        >>> one_each(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
        tensor([2., 5.])
    """
    return logits if logits.ndim == 1 else logits.mean(1)


@final
class LogitCache:
    """A score that remembers its results by the tensor it got; make a new one once the discriminator has changed.

    `differentiable` says whether `gradients` will be called.
    """

    def __init__(self, score: Score, *, differentiable: bool = True) -> None:
        self._score = score
        self._differentiable = differentiable
        self._results: dict[int, tuple[Samples, Samples, Logits]] = {}  # holding samples keeps their ids unique
        self._gradients: dict[int, Samples] = {}

    def __call__(self, samples: Samples) -> Logits:
        """The logits of samples [batch, ...]."""
        if id(samples) not in self._results:
            cut = self._differentiable and not samples.requires_grad
            inputs = samples.detach().requires_grad_() if cut else samples
            self._results[id(samples)] = samples, inputs, self._score(inputs)
        return self._results[id(samples)][2]

    def gradients(self, samples: Samples) -> Samples:
        """∇ₓD(x) at each sample, with a graph, so that a loss can contain it; of several logits, that of their mean."""
        if id(samples) not in self._gradients:
            logits = self(samples)
            # A sample's logit depends on that sample alone (batch normalisation aside), so the sum separates.
            (gradients,) = torch.autograd.grad(one_each(logits).sum(), self._results[id(samples)][1], create_graph=True)
            self._gradients[id(samples)] = gradients
        return self._gradients[id(samples)]


def gradients(discriminator: Score, samples: Samples) -> Samples:
    """∇ₓD(x) at each sample [batch, ...], with a graph; it does not reach back to where the samples come from."""
    cache = discriminator if isinstance(discriminator, LogitCache) else LogitCache(discriminator)
    return cache.gradients(samples.detach() if samples.requires_grad else samples)

"""A discriminator that remembers: what losses and penalties ask of the same samples is computed once.

With both zero-centred penalties a discriminator's update needs the logits of two batches and their slopes. Asked for
by the losses and by each penalty anew that would be four passes forward instead of two; and where both players move at
once, the slopes at the generated samples are what the generator learns from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from sparring.types import Logits, Samples

Score = Callable[[Samples], Logits]
"""A discriminator as a penalty sees it: samples [batch, ...] to logits [batch]."""


@dataclass
class _Seen:
    asked: Samples
    """By whose identity these are found: it must live as long as they do."""
    inputs: Samples
    logits: Logits
    gradients: Samples | None = None


@final
class Judge:
    """A score that remembers, until the discriminator's weights change: after an update, take another.

    Samples are the same where they are the same tensor.

    Args:
        score: samples [batch, ...] to logits [batch].
        differentiable: whether gradients will be asked for at the samples that are judged.

    Example:
        >>> passes = []
        >>> judge = Judge(lambda x: passes.append(len(x)) or (x**2).sum(1))
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> judge(x).item(), judge.gradients(x).tolist(), judge(x).item(), len(passes)
        (5.0, [[2.0, 4.0]], 5.0, 1)
    """

    def __init__(self, score: Score, *, differentiable: bool = True) -> None:
        self._score = score
        self._differentiable = differentiable
        self._seen: dict[int, _Seen] = {}

    def __call__(self, samples: Samples) -> Logits:
        """The logits of samples [batch, ...], [batch]."""
        return self._see(samples).logits

    def inputs(self, samples: Samples) -> Samples:
        """What the logits of these samples can be differentiated by."""
        return self._see(samples).inputs

    def gradients(self, samples: Samples) -> Samples:
        """∇ₓD(x) at each sample, with a graph, so that it can be part of a loss."""
        seen = self._see(samples)
        if seen.gradients is None:
            # A sample's logit depends on that sample alone (batch normalisation aside), so the sum separates.
            (seen.gradients,) = torch.autograd.grad(seen.logits.sum(), seen.inputs, create_graph=True)
        return seen.gradients

    def slopes(self, samples: Samples) -> Samples:
        """∇ₓD(x) at each sample as numbers: nothing to compute where the gradients were asked for."""
        seen = self._see(samples)
        if seen.gradients is not None:
            return seen.gradients.detach()
        (slopes,) = torch.autograd.grad(seen.logits.sum(), seen.inputs, retain_graph=True)
        return slopes

    def _see(self, samples: Samples) -> _Seen:
        if id(samples) not in self._seen:
            cut = self._differentiable and not samples.requires_grad
            inputs = samples.detach().requires_grad_() if cut else samples
            self._seen[id(samples)] = _Seen(samples, inputs, self._score(inputs))
        return self._seen[id(samples)]


def gradients(discriminator: Score, samples: Samples) -> Samples:
    """∇ₓD(x) at each sample [batch, ...], with a graph, so that it can be part of a loss.

    What the samples were computed from gets no gradient by it.

    Example:
        >>> gradients(lambda x: (x**2).sum(1), torch.tensor([[1.0, 2.0]]))
        tensor([[2., 4.]], grad_fn=<MulBackward0>)
    """
    judge = discriminator if isinstance(discriminator, Judge) else Judge(discriminator)
    return judge.gradients(samples.detach() if samples.requires_grad else samples)

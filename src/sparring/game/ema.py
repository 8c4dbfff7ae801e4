"""The average of the generator's weights.

The two players circle around the equilibrium. The average of the generator's path is nearer to it than any point of
the path, so samples are drawn from the average.
"""

import copy

import torch
from torch import nn


class Average:
    """An exponential moving average of a module's parameters and buffers.

    θ̄ ← β θ̄ + (1 − β) θ, with β = min(decay, (1 + t) / (10 + t)) at the t-th update: this warm-up makes the average
    forget the initial weights soon (as in TensorFlow's ExponentialMovingAverage). Integer buffers are copied.

    Args:
        module: the module to average, on its final device; the average starts from its current weights.
        decay: β after the warm-up, in [0, 1).

    Source: Yazıcı et al. 2018, "The unusual effectiveness of averaging in GAN training", arXiv:1806.04498, eq. 4.

    Example:
        >>> live = nn.Linear(1, 1)
        >>> average = Average(live, decay=0.5)
        >>> before = average.module.weight.item()
        >>> with torch.no_grad():
        ...     _ = live.weight.add_(1.0)
        >>> average.update(step=1000)
        >>> round(average.module.weight.item() - before, 4)
        0.5
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        live, averaged = module.state_dict(), self.module.state_dict()
        floating = [name for name, value in live.items() if value.is_floating_point()]
        self._live, self._averaged = [live[name] for name in floating], [averaged[name] for name in floating]
        self._copied = [(averaged[name], live[name]) for name in live.keys() - set(floating)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the module's current weights, after its update number `step`."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._live, weight)
        for averaged, live in self._copied:
            averaged.copy_(live)

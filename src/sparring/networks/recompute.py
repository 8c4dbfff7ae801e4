"""Networks that keep few activations for the backward pass, and compute the others once more: less memory, more time.

A network runs in stages, one for each size of its images. Only what goes into a stage is kept (Chen et al. 2016,
"Training deep nets with sublinear memory cost", arXiv:1604.06174). The gradients are the same to the last bit.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from sparring.errors import UsageError

Buffers = dict[str, Tensor | None]


def recompute_activations(*players: nn.Module) -> None:
    """Let networks run in stages while they train; a UsageError if one of them has no stages."""
    for player in players:
        staged = [module for module in player.modules() if hasattr(module, "recompute")]
        if not staged:
            raise UsageError(f"{type(player).__name__} has no stages to compute again: leave recompute away")
        for module in staged:
            module.recompute = True  # type: ignore[assignment]


def run_in_stages(layers: nn.Sequential, run: Callable[[nn.Sequential, Tensor], Tensor], samples: Tensor) -> Tensor:
    """What layers make of samples; all that lies within a stage is computed again in the backward pass."""
    from torch.utils.checkpoint import checkpoint  # it imports much

    every = list(layers)
    starts = [number for number, layer in enumerate(every) if number == 0 or _resizes(layer)]
    for start, end in pairwise([*starts, len(every)]):
        stage = nn.Sequential(*every[start:end])
        samples = checkpoint(run, stage, samples, use_reentrant=False, context_fn=partial(_contexts, stage))
    return samples


def _contexts(stage: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Those of the first time, which begins now, and of each further time."""
    return nullcontext(), _BuffersOfNow(stage)


def _resizes(layer: nn.Module) -> bool:
    """Whether a layer makes images of another size, so that a stage begins with it."""
    strides = isinstance(layer, nn.Conv2d) and max(layer.stride) > 1
    return strides or isinstance(layer, nn.ConvTranspose2d | nn.Upsample | nn.AvgPool2d)


class _BuffersOfNow(AbstractContextManager[None]):
    """Inside it, a stage has the buffers of the moment when this was made; afterwards those that it had before.

    Otherwise batch normalisation would count its batch twice, and spectral normalisation divide by another number.
    """

    def __init__(self, stage: nn.Module) -> None:
        self._then = [(module, _copy(module._buffers)) for module in stage.modules() if module._buffers]
        self._before: list[Buffers] = []

    def __enter__(self) -> None:
        self._before = [module._buffers for module, _ in self._then]
        for module, buffers in self._then:
            module._buffers = _copy(buffers)

    def __exit__(self, *error: object) -> None:
        for (module, _), buffers in zip(self._then, self._before, strict=True):
            module._buffers = buffers


def _copy(buffers: Buffers) -> Buffers:
    return {name: None if value is None else value.clone() for name, value in buffers.items()}

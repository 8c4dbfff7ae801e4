"""How much memory a training needs, known before its first step.

Two steps of the game itself are played on PyTorch's device "meta", whose tensors have shapes and no contents, and every
tensor is counted from its making to its end: weights, gradients, activations, second derivatives. Nothing is computed,
so it takes no memory, and the same time for images of every size.
"""

import math
import os
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sparring.distributed.collectives import without_peers, world_size
from sparring.errors import UsageError
from sparring.game.ema import Average
from sparring.generator.config import Config
from sparring.modalities.modality import Modality
from sparring.training.build import build_game, choose_device, goes_both_ways
from sparring.training.parts import Parts
from sparring.training.recipe import Recipe
from sparring.types import num_at_once

# Fitted to the peaks of five trainings that benchmarks/memory.py --predict measured: see docs/scale.md.
PROCESS = 0.62e9  # bytes of Python, PyTorch, and what opens pictures and measures samples
ALLOCATED = 1.58  # what is allocated on a CPU, as a multiple of the tensors: freed memory is seldom used again in full
ON_GPU = 1.2  # likewise on a GPU; not measured yet
LARGE = 2**23  # numbers in a batch, times the width of the networks
LEAST_RECOMPUTED = 256  # pixels
VIEWS = 4  # samples that an evaluation holds at once, as a multiple of those it draws
NUM_MEASURED, LEAST_MEASURED = 500, 100
LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 1.0 if args[0].is_floating_point() else 1  # the number in a tensor without contents
        made = operation(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:  # views share their storage
            self._known.add(key)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def predict_memory(recipe: Recipe, modality: Modality, num_classes: int = 0, parts: Parts = Parts()) -> float:
    """The largest memory of a process that trains by a recipe, in bytes; on a GPU, of the GPU.

    It leaves out what the system can take back at once, such as the pages of data in files.

    Args:
        recipe: complete.
        modality: of the items.
        num_classes: of the labels or clusters, 0 for none.
        parts: the caller's own networks and losses.

    Example:
        >>> from sparring.modalities.images import Images
        >>> from sparring.training.recipe import Recipe
        >>> recipe = Recipe(data="a folder", network="resnet", width=8, penalty="r1", batch_size=16)
        >>> large, small = (predict_memory(recipe, Images((3, side, side))) for side in (512, 256))
        >>> large > 2 * small
        True
    """
    shares = tuple(1 / num_classes for _ in range(num_classes))
    translates, both_ways = recipe.source is not None, goes_both_ways(recipe)
    sizes = recipe.network, recipe.latent_dim, recipe.prior, recipe.width
    config = Config(modality, *sizes, class_shares=shares, source=modality if translates else None, both_ways=both_ways)
    parts_played = min(2, recipe.accumulate)  # the third takes no more than the second
    part = recipe.batch_size // world_size() // recipe.accumulate
    # The device "meta" knows no autocast: in bfloat16 a training takes less.
    planned = replace(recipe, compile=False, accumulate=parts_played, precision="float32")
    size = part * parts_played
    counter = _Counter()
    with without_peers(), counter, torch.device("meta"):
        game = build_game(planned, config, parts, device="meta")
        average = Average(game.generator, recipe.average_decay)
        real = [torch.zeros(size, *modality.item_shape)] * recipe.discriminator_steps
        labels = torch.zeros(size, dtype=torch.int64) if num_classes else None
        for _ in range(2):  # the first one also makes the optimisers' state
            game.step(real, labels)
        most, counter.peak = counter.peak, counter.alive
        num = num_at_once(NUM_MEASURED, modality.item_shape)
        inputs = [torch.zeros(num, *config.input_shape), torch.zeros(num, dtype=torch.int64)]
        with torch.no_grad():  # an evaluation
            samples = average.module(*inputs[: 2 if config.label_size and not translates else 1])
            game.logits(samples, inputs[1] if config.label_size else None)
    most += 8 * (recipe.accumulate - parts_played) * part * math.prod(modality.item_shape)
    if choose_device(recipe.device) != "cpu":
        return ON_GPU * max(most, counter.peak)
    num_drawn = min(NUM_MEASURED, max(LEAST_MEASURED, 4 * num))
    views = 4 * VIEWS * num_drawn * math.prod(modality.item_shape)
    return PROCESS + ALLOCATED * max(most, counter.peak + views)


def is_large(recipe: Recipe, modality: Modality) -> bool:
    """Whether a training may need more memory than a small computer has; to predict it takes a second."""
    return recipe.batch_size * math.prod(modality.item_shape) * recipe.width >= LARGE


def suit_memory(recipe: Recipe, modality: Modality, num_classes: int, parts: Parts, *, is_open: bool) -> Recipe:
    """The recipe, if the machine has the memory; where it is open, perhaps one that computes activations again.

    Raises:
        UsageError: if it takes more than the machine has.
    """
    if not is_large(recipe, modality):
        return recipe
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if choose_device(recipe.device) == "cpu" else 1
    there_is, needed = machine_memory(recipe.device), 0.0
    can_be_recomputed = is_open and max(modality.item_shape[1:], default=0) >= LEAST_RECOMPUTED and not recipe.compile
    for each in [recipe, replace(recipe, recompute=True)] if can_be_recomputed else [recipe]:
        try:
            needed = num_processes * predict_memory(each, modality, num_classes, parts)
        except UsageError:  # a network of one's own that has no stages
            break
        except (RuntimeError, TypeError, ValueError):  # or one that computes with the contents of tensors
            return recipe
        if needed <= there_is:
            return each
    per_part = recipe.batch_size // world_size() // recipe.accumulate
    less = [f"--accumulate {2 * recipe.accumulate}"] if per_part % 2 == 0 else []
    raise UsageError(
        f"this training needs about {needed / 1e9:.1f} GB of memory, and there are {there_is / 1e9:.1f}: give "
        f"{' or '.join([*less, 'a smaller --batch-size, --width or --size'])}"
    )


def machine_memory(device: str) -> float:
    """The bytes of memory of this machine, or of this process's GPU, as far as a container may use them."""
    if choose_device(device) != "cpu":
        return float(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    memory = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in LIMITS:
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            memory = min(memory, float(file.read_text()))
    return memory

"""Measures how the time and memory of a step grow with batch, width, resolution, and the number of items.

    python benchmarks/speed.py --only growth

Each size is measured in a process of its own, with the default recipe for images without labels. The table compares
the measured exponents with those of the arithmetic. For the time, these are the counted multiply-adds; for the memory,
the weights with their gradients and moments, and what is kept for the backward passes.
"""

import math
import mmap
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from sparring.data import Items
from sparring.seeding import Stream
from sparring.training.build import build
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve


@dataclass(frozen=True)
class Size:
    """The size of a training.

    Args:
        batch: images a step.
        width: of the networks.
        side: of the images, in pixels.
        items: in the data set, which is mapped from a file.
    """

    batch: int = 32
    width: int = 32
    side: int = 28
    items: int = 1000


GROWTHS: dict[str, list[Size]] = {
    "batch": [Size(batch=batch) for batch in (16, 32, 64, 128, 256)],
    "width": [Size(width=width) for width in (16, 32, 64, 128)],
    "side": [Size(batch=16, side=side) for side in (28, 64, 128, 256)],
    "items": [Size(items=10**power) for power in (3, 4, 5, 6, 7)],
}


@dataclass(frozen=True)
class Cost:
    """The cost of a step, measured and by arithmetic.

    Args:
        seconds: the median of the steps.
        megabytes: the most that the process held, less what it held before.
        multiply_adds: in a step.
        tensors: bytes of weights, gradients and moments, and of what is kept for the backward passes.
    """

    seconds: float
    megabytes: float
    multiply_adds: float
    tensors: float


def measure(size: Size, seconds: float = 2.0) -> Cost:
    """The cost of a step, in a new process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (size.items, 1, size.side, size.side)).flush()  # all black
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_measure, (size, path, seconds))


def _measure(size: Size, path: Path, seconds: float) -> Cost:
    array = np.load(path, mmap_mode="r+")
    array._mmap.madvise(mmap.MADV_RANDOM)  # else each read brings the neighbours along, a thousand times as slow
    items = Items(torch.from_numpy(array))
    settings = {
        "batch_size": size.batch,
        "width": size.width,
        "evaluation_share": 0.0,
        "conditional": False,
        "num_clusters": 1,
    }
    recipe, digits = resolve(make_request("digits", **settings))
    modality = digits.modality.with_size((size.side, size.side))
    dataset = replace(digits, train=items, heldout=items, modality=modality)
    Path("/proc/self/clear_refs").write_text("5")  # forget the most that was held before
    before = _held("VmRSS")
    game = build(replace(recipe, size=(size.side, size.side)), dataset).game
    parameters = [value for player in (game.generator, game.discriminator) for value in player.parameters()]

    def step() -> None:
        game.step(items.batch(size.batch, Stream(0, "data", game.steps)))

    step()
    multiply_adds, kept = _count(step, {value.untyped_storage().data_ptr() for value in parameters})
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    weights = sum(value.nbytes for value in parameters)
    return Cost(float(np.median(times)), _held("VmHWM") - before, multiply_adds, kept + 4 * weights)


def _count(step: Callable[[], None], weights: set[int]) -> tuple[float, float]:
    """Multiply-adds of a step, and bytes that its backward passes keep besides weights, if none were freed."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # kept alive, so that no other gets its address
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return counter.get_total_flops() / 2, sum(storage.nbytes() for storage in kept.values())


def _held(name: str) -> float:
    """Megabytes of this process: VmRSS is what it holds, VmHWM the most that it held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def print_table() -> None:
    """Every growth: each size, then the exponents between the last two sizes."""
    print("| what grows | ms a step | MB | multiply-adds, millions | MB by arithmetic |")
    print("|---|---|---|---|---|")
    for name, sizes in GROWTHS.items():
        costs = [measure(size) for size in sizes]
        for size, cost in zip(sizes, costs, strict=True):
            print(
                f"| {name} {getattr(size, name):,} | {1e3 * cost.seconds:.1f} | {cost.megabytes:.0f} | "
                f"{cost.multiply_adds / 1e6:,.0f} | {cost.tensors / 2**20:.0f} |", flush=True
            )  # fmt: skip
        ways = [math.log(getattr(after, name) / getattr(before, name)) for before, after in pairwise(sizes)]
        exponents = [
            math.log(getattr(costs[-1], field) / getattr(costs[-2], field)) / ways[-1]
            for field in ("seconds", "megabytes", "multiply_adds", "tensors")
        ]
        print(f"| {name}, exponent at the end | {' | '.join(f'{exponent:.2f}' for exponent in exponents)} |")

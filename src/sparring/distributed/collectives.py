"""The collective operations that a training needs, on top of `torch.distributed`."""

import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad

from sparring.errors import ProcessError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)  # for another process, which may be measuring or saving, before it counts as dead
LONG_TIMEOUT = timedelta(days=7)  # for preparations, such as packing data; a dead process is noticed at once anyway
POLL_SECONDS = 0.02
SMALL_BYTES = 2**20  # gather and sum tensors up to this size, over all processes: gloo's sum needs many more messages

_ALONE: list[None] = []  # not empty inside `without_peers`
_LONG_GROUP: list[dist.ProcessGroup] = []  # of all processes, with the long timeout, inside `process_group`


def rank() -> int:
    """The number of this process, from 0; only rank 0 writes files."""
    return dist.get_rank() if world_size() > 1 else 0


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if not _ALONE and dist.is_available() and dist.is_initialized() else 1


@contextmanager
def without_peers() -> Iterator[None]:
    """Inside it, this process computes by itself: the collective operations are the identity."""
    _ALONE.append(None)
    try:
        yield
    finally:
        _ALONE.pop()


@contextmanager
def process_group() -> Iterator[None]:
    """Inside it, this process trains together with those that `torchrun` started beside it, if it did."""
    if world_size() > 1 or "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    if (local := int(os.environ.get("LOCAL_RANK", "0"))) < torch.cuda.device_count():
        torch.cuda.set_device(local)
    # Imported later, by optimisers, it would keep the group until Python ends, whose threads then abort now and then.
    importlib.import_module("torch.distributed.nn")
    with _process_errors():
        store, rank, processes = next(dist.rendezvous("env://", timeout=TIMEOUT))  # type: ignore[attr-defined]
        store = dist.PrefixStore(_name_of_start(store, rank, processes), store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=TIMEOUT)
        _LONG_GROUP.append(cast(dist.ProcessGroup, dist.new_group(timeout=LONG_TIMEOUT, backend="gloo")))
    try:
        yield
        with _process_errors():
            dist.barrier()  # rank 0 may still be saving
    finally:
        _LONG_GROUP.clear()
        with suppress(RuntimeError):  # where another process died
            dist.destroy_process_group()


def _name_of_start(store: dist.Store, rank: int, processes: int) -> str:  # type: ignore[name-defined]
    """A name that the processes of this start share, and no earlier start had.

    The launcher's store outlives a restart, with all that dead processes left in it, and several hosts count restarts
    differently. So every other rank calls by a unique name, and rank 0 answers every call until all have confirmed its
    answer. It answers calls of dead processes too, but those are never confirmed.
    """
    own = uuid4().hex
    if rank > 0:
        store.set(f"call/{rank}", own)
        start = cast(bytes, store.get(f"answer/{own}")).decode()
        store.set(f"confirmed/{start}/{rank}", "")
        return start
    missing, until = set(range(1, processes)), time.monotonic() + TIMEOUT.total_seconds()
    while missing:
        if time.monotonic() > until:
            raise RuntimeError(f"{len(missing)} of {processes} processes did not start")
        for other in missing:
            if store.check([f"call/{other}"]):
                store.set(f"answer/{store.get(f'call/{other}').decode()}", own)
        missing = {other for other in missing if not store.check([f"confirmed/{own}/{other}"])}
        time.sleep(POLL_SECONDS)
    return own


def is_restarted() -> bool:
    """Whether `torchrun` starts this training again, on any host."""
    return maximum([float(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))]) != [0.0]


def barrier() -> None:
    """Wait until all processes are here, even if one prepares for hours."""
    if world_size() > 1:
        with _process_errors():
            dist.barrier(_LONG_GROUP[0] if _LONG_GROUP else None)


def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean of each tensor over the processes, by one operation for them all."""
    if world_size() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    sum_in_place(flat)
    parts = torch.split(flat / world_size(), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


def deviation(values: Tensor) -> Tensor:
    """The standard deviation of all numbers of the global batch, of which each process holds an equal part."""
    if world_size() == 1:
        return values.std()
    _, variance, n = global_moments(values, list(range(values.ndim)))
    return (variance * n / (n - 1)).sqrt()


def global_moments(values: Tensor, axes: list[int]) -> tuple[Tensor, Tensor, int]:
    """Mean and variance over axes of the values of all processes, and how many each is of; with a graph."""
    moments = torch.stack(torch.var_mean(values, axes, correction=0))
    place = (*[0, 0] * moments.ndim, rank(), world_size() - 1 - rank())
    # The moments of each process, [processes, 2, ...]: a sum in which each process fills its own row.
    variances, means = _Sum.apply(pad(moments[None], place)).unbind(1)  # type: ignore[no-untyped-call]
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    return mean, variance, values.numel() // mean.numel() * world_size()


def maximum(numbers: Sequence[float]) -> list[float]:
    """The maximum of each number over the processes, so that all of them decide alike."""
    if world_size() == 1:
        return list(numbers)
    return cast(list[float], _gather(torch.tensor(numbers, dtype=torch.float64)).amax(0).tolist())


def on_rank_zero(make: Callable[[], T], *, may_take_hours: bool = False) -> T:
    """Call a function on rank 0 and give what it returns to all processes; if it fails, all of them raise an error."""
    if world_size() == 1:
        return make()
    result: list[Any] = [None, None]  # and the exit code where it failed
    group = _LONG_GROUP[0] if may_take_hours and _LONG_GROUP else None
    share = partial(dist.broadcast_object_list, result, group=group, device=torch.device("cpu"))
    if rank() == 0:
        try:
            result[0] = make()
        except BaseException as error:
            result[1] = getattr(error, "exit_code", 1)
            with suppress(RuntimeError):
                share()
            raise
    with _process_errors():
        share()
    if result[1] is not None:
        raise ProcessError("process 0 failed: see its message", result[1])
    return cast(T, result[0])


def broadcast_weights(network: nn.Module) -> None:
    """Give all processes the weights and buffers of rank 0."""
    if world_size() > 1:
        with _process_errors(), torch.no_grad():
            for value in network.state_dict().values():
                dist.broadcast(value, 0)


def sum_in_place(values: Tensor) -> None:
    """Σ over the processes, in place; in the same order in all of them, so that they have the same bits."""
    if values.is_cpu and values.nbytes * world_size() <= SMALL_BYTES:
        values.copy_(_gather(values).sum(0))
        return
    with _process_errors():
        dist.all_reduce(values)


class _Sum(torch.autograd.Function):
    """Σ over the processes, whose gradient is the sum of the gradients there."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.clone()
        sum_in_place(total)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Any:
        return _Sum.apply(gradients[0])  # type: ignore[no-untyped-call]


def _gather(values: Tensor) -> Tensor:
    rows = values.new_empty(world_size(), *values.shape)
    with _process_errors():
        dist.all_gather(list(rows), values.contiguous())
    return rows


@contextmanager
def _process_errors() -> Iterator[None]:
    """torch.distributed's errors as ours."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(f"another process of this training ended, or cannot be reached ({error})") from error

"""Several processes, one training: the few collective operations that it takes.

Each process plays the same step on its own rows of the same global batch (`seeding.Stream.shared`), and the gradients
are averaged by one operation for each player, before anything looks at them. So every process makes the same update,
and nothing wraps the networks: penalties differentiate twice, players are frozen, as if one process played.

Where batch normalisation stands, its statistics are those of the global batch (`synchronize`).

The processes are those of `torch.distributed`. Alone, where it is not initialised, each of these functions is the
identity.
"""

import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad

from sparring.errors import ProcessError, UsageError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""So long a process waits for another, which may be measuring or saving, before it takes it for dead."""
PREPARING = timedelta(days=7)
"""So long it waits for one that prepares: packing a large set takes hours. One that dies is noticed at once anyway."""
LOOKING_SECONDS = 0.02
SAVING_SECONDS = 300
"""So long a process that was told to stop has for it."""
SMALL_BYTES = 2**20
"""So much, of all processes together, is gathered and added up by each: gloo's sum sends many more messages for it."""


def launch(processes: int, *arguments: str) -> int:
    """Run a Python command in several processes of this machine, by torchrun's own launcher.

    They share the cores. A signal goes on to them all.

    Args:
        processes: how many, at least 2.
        arguments: of the Python interpreter.

    Returns:
        The exit code: of the process that failed first, or of a signal.

    Raises:
        ProcessError: if a signal ended one of them alone.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes say what happens to them
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVING_SECONDS))
    folder = TemporaryDirectory()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(log_dir=folder.name),
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    )
    try:
        with folder:
            elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        for rank, failure in error.failures.items():
            if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:  # by which the launcher ends the others
                name = signal.Signals(-failure.exitcode).name
                raise ProcessError(f"process {rank} was ended by {name}: go on with `sparring resume`") from None
        first = min(error.failures.values(), key=lambda failure: (failure.timestamp, -failure.exitcode))
        return 1 if first.exitcode < 0 else first.exitcode
    except SignalException as error:
        return 0 if error.sigval == signal.SIGUSR1 else 128 + error.sigval
    return 0


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank() -> int:
    """The number of this process, from 0; the first one writes."""
    return dist.get_rank() if count() > 1 else 0


def count() -> int:
    """How many processes play one game."""
    return dist.get_world_size() if not _APART and dist.is_available() and dist.is_initialized() else 1


_APART: list[None] = []
_PREPARING: list[dist.ProcessGroup] = []  # of all processes, where `joined` made it


@contextmanager
def apart() -> Iterator[None]:
    """While it lasts, this process plays alone, and the others wait for what it does."""
    _APART.append(None)
    try:
        yield
    finally:
        _APART.pop()


@contextmanager
def joined() -> Iterator[None]:
    """While it lasts, this process plays with those that `torchrun` started beside it, if it did."""
    if count() > 1 or not {"RANK", "WORLD_SIZE"} <= os.environ.keys() or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    if (local := int(os.environ.get("LOCAL_RANK", "0"))) < torch.cuda.device_count():
        torch.cuda.set_device(local)
    # Imported later, as optimisers do, it would keep the group for ever as a default argument; and threads of a group
    # that lives until Python ends abort the process now and then.
    importlib.import_module("torch.distributed.nn")
    with _reaching_others():
        store, rank, processes = next(dist.rendezvous("env://", timeout=PATIENCE))  # type: ignore[attr-defined]
        store = dist.PrefixStore(_name_of_start(store, rank, processes), store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=PATIENCE)
        _PREPARING.append(cast(dist.ProcessGroup, dist.new_group(timeout=PREPARING, backend="gloo")))
    try:
        yield
        with _reaching_others():
            dist.barrier()  # the first one may still be saving
    finally:
        _PREPARING.clear()
        with suppress(RuntimeError):  # where another one died
            dist.destroy_process_group()


def _name_of_start(store: dist.Store, rank: int, processes: int) -> str:  # type: ignore[name-defined]
    """A name that the processes of this start share, and none of an earlier one.

    The launcher's store outlives a restart, with what the dead have left in it, and the launchers of several hosts do
    not count restarts alike. So each of the others calls by a name of its own, and the first one answers every call
    until all have come: to those of the dead too, whom nobody confirms.
    """
    own = uuid4().hex
    if rank > 0:
        store.set(f"call/{rank}", own)
        start = cast(bytes, store.get(f"answer/{own}")).decode()
        store.set(f"confirmed/{start}/{rank}", "")
        return start
    missing, until = set(range(1, processes)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        if time.monotonic() > until:
            raise RuntimeError(f"{len(missing)} of {processes} processes did not come")
        for other in missing:
            if store.check([f"call/{other}"]):
                store.set(f"answer/{store.get(f'call/{other}').decode()}", own)
        missing = {other for other in missing if not store.check([f"confirmed/{own}/{other}"])}
        time.sleep(LOOKING_SECONDS)
    return own


def is_restarted() -> bool:
    """Whether `torchrun` starts this training again: on the host of one that died, which counts it."""
    return largest([float(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))]) != [0.0]


def meet_prepared() -> None:
    """Wait for all processes, which are preparing."""
    if count() > 1:
        with _reaching_others():
            dist.barrier(_group(preparing=True))


def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean of each tensor over the processes, by one operation for them all."""
    if count() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    _add_up(flat)
    parts = torch.split(flat / count(), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


def deviation(values: Tensor) -> Tensor:
    """The standard deviation of all numbers of a batch, whose rows the processes hold equal parts of.

    Example:
        >>> deviation(torch.tensor([[1.0, 3.0]])).item() == torch.tensor([1.0, 3.0]).std().item()
        True
    """
    if count() == 1:
        return values.std()
    variances, means = _of_all(torch.stack(torch.var_mean(values, correction=0))).unbind(1)
    variance = (variances + (means - means.mean()).square()).mean()
    n = values.numel() * count()
    return (variance * n / (n - 1)).sqrt()


def largest(numbers: Sequence[float]) -> list[float]:
    """Of each number the largest that a process has, so that all decide alike."""
    if count() == 1:
        return list(numbers)
    return cast(list[float], _gathered(torch.tensor(numbers, dtype=torch.float64)).amax(0).tolist())


def by_the_first(make: Callable[[], T], *, preparing: bool = False) -> T:
    """What the first process makes, in all of them.

    Args:
        make: is called there.
        preparing: whether it may take hours.

    Raises:
        ProcessError: in the others, if the first one failed; there its own error is raised.
    """
    if count() == 1:
        return make()
    made: list[Any] = [None, None]  # and the exit code where it failed
    if rank() == 0:
        try:
            made[0] = make()
        except BaseException as error:
            made[1] = getattr(error, "exit_code", 1)
            with suppress(ProcessError):
                _give_out(made, preparing)
            raise
    _give_out(made, preparing)
    if made[1] is not None:
        raise ProcessError("the first process failed, and says why", made[1])
    return cast(T, made[0])


def start_alike(network: nn.Module) -> None:
    """Give all processes the weights and buffers that the first one has."""
    if count() > 1:
        with _reaching_others(), torch.no_grad():
            for value in network.state_dict().values():
                dist.broadcast(value, 0)


def synchronize(network: nn.Module) -> None:
    """Make a network's batch normalisation go by the statistics of the global batch, where several processes play.

    Its parameters and buffers stay, under the same names.

    Raises:
        UsageError: for a layer without weights or running statistics of its own.
    """
    if count() == 1:
        return
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            if not (child.affine and child.track_running_stats and child.momentum is not None):
                raise UsageError(f"cannot synchronize the layer {name!r}: {child}")
            layer = _SynchronizedBatchNorm(child.num_features, child.eps, child.momentum)
            layer._parameters, layer._buffers = child._parameters, child._buffers
            setattr(network, name, layer.train(child.training))
        else:
            synchronize(child)


class _SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose mean and variance are those of all processes' rows together.

    torch.nn.SyncBatchNorm does it on CUDA alone.
    """

    def _check_input_dim(self, samples: Tensor) -> None:
        """Any shape [batch, features, ...]."""

    def forward(self, samples: Tensor) -> Tensor:
        """The normalised batch."""
        if not self.training:
            return super().forward(samples)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        given = samples.dtype
        samples = samples.to(self.weight.dtype)  # under autocast sums of bfloat16 would lose digits
        each = [0, *range(2, samples.ndim)]
        shape = (1, -1, *[1] * (samples.ndim - 2))
        variances, means = _of_all(torch.stack(torch.var_mean(samples, each, correction=0))).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        n = samples.numel() // samples.shape[1] * count()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul((self.bias - mean * scale).view(shape), samples, scale.view(shape)).to(given)


class _Sum(torch.autograd.Function):
    """Σ over the processes, whose slope is the sum of the slopes there."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.clone()
        _add_up(total)
        return total

    @staticmethod
    def backward(ctx: object, *slopes: Tensor) -> Any:
        return _Sum.apply(slopes[0])  # type: ignore[no-untyped-call]


def _of_all(values: Tensor) -> Tensor:
    """What each process has, [processes, ...], with a graph: a sum in which each fills its own row."""
    rows: Tensor = _Sum.apply(pad(values[None], (*[0, 0] * values.ndim, rank(), count() - 1 - rank())))  # type: ignore[no-untyped-call]
    return rows


def _add_up(values: Tensor) -> None:
    """Σ over the processes, in place; in the same order in all of them, so that they have the same bits."""
    if values.is_cpu and values.nbytes * count() <= SMALL_BYTES:
        values.copy_(_gathered(values).sum(0))
        return
    with _reaching_others():
        dist.all_reduce(values)


def _gathered(values: Tensor) -> Tensor:
    """What each process has, [processes, ...]."""
    rows = values.new_empty(count(), *values.shape)
    with _reaching_others():
        dist.all_gather(list(rows), values.contiguous())
    return rows


def _give_out(made: list[Any], preparing: bool) -> None:
    with _reaching_others():
        dist.broadcast_object_list(made, group=_group(preparing), device=torch.device("cpu"))


def _group(preparing: bool) -> dist.ProcessGroup | None:
    """Of all processes, and how long they wait: the usual one where somebody else made it."""
    return _PREPARING[0] if preparing and _PREPARING else None


@contextmanager
def _reaching_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(f"another process of this training ended, or cannot be reached ({error})") from error

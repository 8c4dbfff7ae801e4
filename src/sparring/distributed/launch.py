"""Starting several processes on this machine."""

import logging
import os
import signal
import sys
from tempfile import TemporaryDirectory

from sparring.errors import ProcessError, UsageError

SHUTDOWN_SECONDS = 300  # how long a process has to save and end after a signal


def launch(processes: int, *arguments: str) -> int:
    """Run a Python command in processes that share the cores and get all signals, by torchrun's own launcher.

    Returns:
        The exit code: of the process that failed first, or of a signal.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes report their own errors
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    try:
        with TemporaryDirectory() as folder:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
                run_id=str(os.getpid()),
                rdzv_backend="c10d",
                rdzv_endpoint="127.0.0.1:0",
                max_restarts=0,
                signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
            )
            elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        for rank, failure in error.failures.items():
            if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:  # the launcher ends the others by SIGTERM
                name = signal.Signals(-failure.exitcode).name
                raise ProcessError(f"process {rank} was killed by {name}: continue with `sparring resume`") from None
        first = min(error.failures.values(), key=lambda failure: (failure.timestamp, -failure.exitcode))
        return 1 if first.exitcode < 0 else first.exitcode
    except SignalException as error:
        return 0 if error.sigval == signal.SIGUSR1 else 128 + error.sigval
    return 0


def launch_if_several(processes: int, arguments: list[str]) -> int | None:
    """Run the command in processes of its own and return the exit code; None if this process should run it itself."""
    if processes < 1:
        raise UsageError(f"--processes must be at least 1, not {processes}")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if 1 < world_size != processes > 1:
        raise UsageError(f"torchrun started {world_size} processes: omit --processes {processes}")
    if world_size > 1 or processes == 1:
        return None
    return launch(processes, "-P", "-m", "sparring", *arguments)


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

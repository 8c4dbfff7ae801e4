"""Where a study's trials run: on this machine's cores, or on a Ray cluster. Each trial is a process of its own."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sparring.distributed.launch import num_cores
from sparring.errors import UsageError, how_to_install

CONNECT_SECONDS = 10.0


@runtime_checkable
class Engine(Protocol):
    """Where trials run."""

    num_slots: int  # how many trials run at once
    num_threads: int  # of each trial
    description: str  # of the place, in words

    def start(self, folder: Path) -> Any:
        """Start or resume the trial in a folder, and return a handle for the other two methods."""

    def exit_code(self, trial: Any) -> int | None:
        """The trial's exit code: None while it runs, negative where a signal killed it."""

    def stop(self, trial: Any) -> None:
        """Tell the trial to save and stop."""


class Local:
    """Runs trials on this machine: `workers` at once, one per core if None, each with its share of the cores."""

    def __init__(self, workers: int | None = None) -> None:
        cores = num_cores()
        if workers is not None and workers < 1:
            raise UsageError(f"--workers must be at least 1, and is {workers}")
        self.num_slots = workers or cores
        self.num_threads = max(1, cores // self.num_slots)
        self.description = f"{self.num_slots} at once on {cores} core{'s' * (cores > 1)} here"

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start the trial's process."""
        return start_process(folder, self.num_threads)

    def exit_code(self, trial: subprocess.Popen[bytes]) -> int | None:
        """The exit code of its process."""
        code = trial.poll()
        if code is not None and trial.stdin is not None:
            trial.stdin.close()
        return code

    def stop(self, trial: subprocess.Popen[bytes]) -> None:
        """Send it SIGTERM."""
        trial.send_signal(signal.SIGTERM)


class Cluster:
    """Runs trials on the Ray cluster at an address, whose machines must see the study's folder under the same path."""

    num_threads = 1

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError(f"--ray needs Ray: {how_to_install('study')}") from None
        host, _, port = address.rpartition(":")
        try:
            if host and port.isdigit() and "/" not in host:  # Ray itself would try for many minutes
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(f"there is no Ray cluster at {address}: {error}") from error
        self._ray: Any = ray
        # The study restarts trials itself, and counts their crashes, so Ray must not.
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(_run_task)
        self.num_slots = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self.description = f"{self.num_slots} at once on the Ray cluster at {address}"

    def start(self, folder: Path) -> Any:
        """Submit a task."""
        return self._task.remote(folder)

    def exit_code(self, trial: Any) -> int | None:
        """The exit code of its process; that of SIGKILL if the machine died."""
        done, _ = self._ray.wait([trial], timeout=0)
        try:
            return int(self._ray.get(trial)) if done else None
        except self._ray.exceptions.TaskCancelledError:
            return 128 + signal.SIGTERM
        except self._ray.exceptions.RayTaskError as error:  # before there was a process
            reason = str(error).strip().splitlines()[-1]
            raise UsageError(f"a machine of the Ray cluster cannot run trials: {reason}") from error
        except self._ray.exceptions.RayError:
            return -signal.SIGKILL

    def stop(self, trial: Any) -> None:
        """Cancel its task."""
        self._ray.cancel(trial)


def _run_task(folder: Path) -> int:
    """Run a trial's process on a machine of the cluster. An interrupt, which cancels a task, stops the trial."""
    with start_process(folder, Cluster.num_threads) as process:
        assert process.stdin is not None
        close = process.stdin.close
        before = signal.signal(signal.SIGINT, lambda number, frame: close())
        try:
            return process.wait(math.inf)  # with a timeout, Python wakes up often, and handles signals
        finally:
            signal.signal(signal.SIGINT, before)


def start_process(folder: Path, num_threads: int) -> subprocess.Popen[bytes]:
    """Start or resume the trial in a folder; its output goes to output.txt."""
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sparring.study.trial", str(folder)],
            stdin=subprocess.PIPE,  # closed when the study dies, however it dies; then the trial saves and stops
            stdout=output,
            stderr=output,
            env=os.environ | {"OMP_NUM_THREADS": str(num_threads)},
            start_new_session=True,  # so that the study alone gets Ctrl-C, and passes it on
        )

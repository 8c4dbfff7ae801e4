"""Where a study's trials are played: on this machine's cores, or on a Ray cluster. Each trial is a process."""

import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from sparring.distributed import num_cores
from sparring.errors import UsageError

CONNECTING_SECONDS = 10.0
LOOKING_SECONDS = 0.5
"""How often a task on a cluster looks whether it is to stop."""
STOP = "stop"
"""The file in a trial's folder that says so."""


@runtime_checkable
class Engine(Protocol):
    """Where trials are played.

    Attributes:
        places: how many at once.
        threads: of each.
        description: in words.
    """

    places: int
    threads: int
    description: str

    def start(self, folder: Path) -> Any:
        """Begin or go on with the trial in a folder; what the other two take."""

    def ended(self, trial: Any) -> int | None:
        """Its exit code; None while it plays, below 0 where a signal ended it."""

    def stop(self, trial: Any) -> None:
        """Have it save and stop."""


class Local:
    """This machine.

    Args:
        places: how many trials at once, at least 1; one for each core if None. They share the cores.
    """

    def __init__(self, places: int | None = None) -> None:
        cores = num_cores()
        if places is not None and places < 1:
            raise UsageError(f"--workers must be at least 1, and is {places}")
        self.places = places or cores
        self.description = f"{self.places} at once on the {cores} cores here"
        self.threads = max(1, cores // self.places)

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """Begin a process."""
        return begin(folder, self.threads)

    def ended(self, trial: subprocess.Popen[bytes]) -> int | None:
        """Its exit code."""
        code = trial.poll()
        if code is not None and trial.stdin is not None:
            trial.stdin.close()
        return code

    def stop(self, trial: subprocess.Popen[bytes]) -> None:
        """By SIGTERM."""
        trial.send_signal(signal.SIGTERM)


class Cluster:
    """A Ray cluster, whose machines see the study's folder under the same path.

    Args:
        address: as `ray.init` takes it: "auto", or HOST:PORT.
        threads: of each trial.

    Raises:
        UsageError: if Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str, threads: int = 1) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("--ray needs Ray: pip install 'sparring[study]'") from None
        host, _, port = address.rpartition(":")
        try:
            if host and port.isdigit() and "/" not in host:  # Ray itself would try for many minutes
                socket.create_connection((host, int(port)), CONNECTING_SECONDS).close()
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(f"there is no Ray cluster at {address}: {error}") from error
        self._ray = ray
        self.places = max(1, int(cast(Any, ray).cluster_resources().get("CPU", 1)) // threads)
        self.description = f"{self.places} at once on the Ray cluster at {address}"
        # Not again by itself: the study does so, and knows how often.
        self._play = ray.remote(num_cpus=threads, max_retries=0)(_play_there)
        self.threads = threads

    def start(self, folder: Path) -> tuple[Any, Path]:
        """Begin a task."""
        (folder / STOP).unlink(missing_ok=True)
        return self._play.remote(folder, self.threads), folder

    def ended(self, trial: tuple[Any, Path]) -> int | None:
        """Its exit code; that of SIGKILL where its machine died.

        Raises:
            UsageError: where a machine does not see the study's folder, or has no sparring.
        """
        task, _ = trial
        done, _ = self._ray.wait([task], timeout=0)
        if not done:
            return None
        try:
            return int(self._ray.get(task))
        except self._ray.exceptions.TaskCancelledError:
            return 128 + signal.SIGTERM
        except self._ray.exceptions.RayTaskError as error:  # before it began a process
            reason = str(error).strip().splitlines()[-1]
            raise UsageError(f"a machine of the Ray cluster cannot play: {reason}") from error
        except self._ray.exceptions.RayError:
            return -signal.SIGKILL

    def stop(self, trial: tuple[Any, Path]) -> None:
        """By a file that the task looks for; one that has not begun is cancelled."""
        task, folder = trial
        (folder / STOP).touch()
        self._ray.cancel(task)


def _play_there(folder: Path, threads: int) -> int:
    with begin(folder, threads) as process:
        assert process.stdin is not None
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a cancelled task's, which could hit any line here
        try:
            while True:
                try:
                    return process.wait(LOOKING_SECONDS)
                except subprocess.TimeoutExpired:
                    with suppress(OSError):  # the next look may do better
                        if (folder / STOP).exists():
                            process.stdin.close()
        finally:
            signal.signal(signal.SIGINT, before)


def begin(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    """Begin or go on with the trial in a folder; what it prints is in output.txt."""
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sparring.study.trial", str(folder)],
            stdin=subprocess.PIPE,  # closed when the study dies, however it dies
            stdout=output,
            stderr=output,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            start_new_session=True,  # Ctrl-C is the study's to pass on
        )

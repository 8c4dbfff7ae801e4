"""One warm interpreter that forks: processes of their own, without the seconds in which each would import PyTorch."""

import multiprocessing
import os
import pkgutil
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

import sparring

MAIN = "from sparring.cli.main import main; main()"
WARM = [
    *(module.name for module in pkgutil.walk_packages(sparring.__path__, "sparring.") if module.name[-1] != "_"),
    # Functions import them. Pandas, scikit-learn and onnxruntime are left out: they start threads.
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "onnxscript", "rich.markdown", "scipy.stats"),
    *("torch._dynamo", "torch.distributed.run", "torch.onnx._internal.exporter._core"),
]
PRINTED = "output", "errors"

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(WARM)


class Process:
    """A fork of the warm interpreter, used as `subprocess.Popen` is: signals, limits and crashes are its own.

    What it prints goes into files, so that nobody has to read along; its input is empty.

    Args:
        arguments: what it finds in sys.argv.
        cwd: the folder it starts in.
        env: its environment.
        code: what it runs.
    """

    def __init__(self, *arguments: str, cwd: Path, env: Mapping[str, str] = os.environ, code: str = MAIN) -> None:
        self.args = arguments
        self._printed = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._printed)
        for name in PRINTED:
            (self._printed / name).touch()
        given = code, arguments, str(cwd), dict(env), str(self._printed)
        self._process = _forks.Process(target=_run, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, negative after a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Its exit code so far."""
        return self._process.exitcode

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and read what it printed."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        output, errors = ((self._printed / name).read_text() for name in PRINTED)
        return output, errors


def start_together(
    processes: int, *arguments: str, cwd: Path, env: Mapping[str, str] = os.environ, code: str = MAIN
) -> list[Process]:
    """Forks that train together, as those that `torchrun` starts."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes))
    return [Process(*arguments, cwd=cwd, env={**env, **shared, **rank}, code=code) for rank in ranks]


def _run(code: str, arguments: tuple[str, ...], folder: str, environment: dict[str, str], printed: str) -> None:
    for descriptor, name in enumerate(PRINTED, 1):
        os.dup2(os.open(Path(printed) / name, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[attr-defined]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})

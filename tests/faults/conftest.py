"""Real trainings of small networks in processes of their own, which things are done to."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from warm import MAIN, Process, start_together

TRAIN = ("train", "ring", "--width", "8", "--batch-size", "16", "--set", "evaluation_steps=40", "--set", "log_steps=10")
TOGETHER = "import os; from sparring.cli import main; main.RANK = int(os.environ['RANK']); main.main()"

Started = subprocess.Popen[str] | Process
Start = Callable[..., Started]


def environment() -> dict[str, str]:
    """Of the test, with a wide terminal."""
    return {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command in the test's folder, by another command where a prefix names one.

    What still runs after the test is killed.
    """
    started: list[Started] = []

    def start(*arguments: str, code: str = MAIN, prefix: tuple[str, ...] = ()) -> Started:
        if prefix:
            process: Started = subprocess.Popen(
                [*prefix, sys.executable, "-c", code, *arguments],
                cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        else:
            process = Process(*arguments, code=code, cwd=tmp_path, env=environment())
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def end(process: Started) -> subprocess.CompletedProcess[str]:
    """Wait for it, and take what it printed."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def train_together(folder: Path, processes: int, *arguments: str) -> None:
    """The command in several processes, to a good end."""
    for process in start_together(processes, *arguments, code=TOGETHER, cwd=folder, env=environment()):
        ended = end(process)
        assert (ended.returncode, ended.stderr) == (0, "")

"""Real trainings of small networks in processes of their own, which things are done to."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
TRAIN = ("train", "ring", "--width", "8", "--batch-size", "16", "--set", "evaluation_steps=40", "--set", "log_steps=10")

MAIN = "from sparring.cli import main; main()"
Start = Callable[..., subprocess.Popen[str]]


def begin(folder: Path, *arguments: str, code: str = MAIN, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """The command in a process of its own, in a folder."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code, *arguments],
        cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command in the test's folder; what still runs after the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, code: str = MAIN, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = begin(tmp_path, *arguments, code=code, prefix=prefix)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def end(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for it, and take what it printed."""
    output, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

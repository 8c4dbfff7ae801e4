"""Faults 10 to 12: several processes train together, and one dies, is told to stop, or is no longer there."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sparring.training.run_folder import Run

from .conftest import TRAIN, Start, end, train_together
from .test_kills import contents

TORCHRUN = "from torch.distributed.run import main; main()"
STEPS = 120
OPTIONS = (
    *TRAIN, "--steps", str(STEPS), "--seed", "3", "--set", "sample_steps=30", "--set", "checkpoint_steps=30",
    "--out", "run",
)  # fmt: skip
AT_STEP_70 = """
import os, signal
from sparring.game.game import Game
from sparring.cli.main import main
step = Game.step
def disturbed(self, *args):
    chosen = os.environ["RANK"] == "{rank}" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if chosen and self.steps == 70:
        os.kill(os.getpid(), signal.{name})
    return step(self, *args)
Game.step = disturbed
main()
"""
"""What happens to one of the processes."""
AT_THE_FIRST_CHECKPOINT = """
import os, pathlib, signal
from sparring.training import checkpoint
from sparring.cli.main import main
save, killed = checkpoint.save, pathlib.Path("killed")
def disturbed(*args):
    if not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return save(*args)
checkpoint.save = disturbed
main()
"""
LIMIT_SECONDS = 120
"""In which all processes end after one died, on busy machines too."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What two processes make of the training."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train_together(folder, 2, *OPTIONS)
    return dict(contents(folder / "run"))


def torchrun(start: Start, folder: Path, rank: int, name: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """Two processes, of which one sends itself a signal."""
    script = folder / "disturbed.py"
    script.write_text(AT_STEP_70.format(rank=rank, name=name))
    options = ("--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}")
    return end(start(*options, str(script), *OPTIONS, code=TORCHRUN))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_dies(rank: int, start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 10: the others end too, and say what to do; the bytes are those of a training that nobody died in."""
    began = time.monotonic()
    ended = torchrun(start, tmp_path, rank, "SIGKILL")
    assert time.monotonic() - began < LIMIT_SECONDS
    assert ended.returncode == 1
    if rank == 1:  # else nobody is left who knows the run
        assert "sparring: another process of this training ended, or cannot be reached" in ended.stderr
        assert "go on with `sparring resume run`" in ended.stderr
        assert Run(tmp_path / "run").summary().status == "failed"
    ended = end(start("resume", "run", "--processes", "2", "--exact"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_torchrun_starts_it_again(start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 10: the same command, started again, goes on with the run that it finds; of two hosts in test_hosts.py."""
    ended = torchrun(start, tmp_path, rank=0, name="SIGKILL", restarts=1)
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_one_dies_before_the_first_checkpoint(start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """There is nothing to go on from: it begins anew."""
    (tmp_path / "disturbed.py").write_text(AT_THE_FIRST_CHECKPOINT)
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1", "disturbed.py")
    ended = end(start(*options, *OPTIONS, code=TORCHRUN))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_a_restart_takes_no_other_run_over(start: Start, tmp_path: Path) -> None:
    """What stood in the folder before is refused the second time as it is the first."""
    assert end(start(*OPTIONS)).returncode == 0
    before = contents(tmp_path / "run")
    ended = torchrun(start, tmp_path, rank=0, name="SIGKILL", restarts=1)
    assert ended.returncode == 1
    assert ended.stderr.count("run is not empty") == 2
    assert contents(tmp_path / "run") == before


@pytest.mark.slow
def test_a_restart_must_find_the_run(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("from sparring.cli.main import main; main()")
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1", str(script))
    ended = end(start(*options, *OPTIONS[:-2], code=TORCHRUN))
    assert ended.returncode == 1
    assert "torchrun --max-restarts must find the run again: give --out" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_one_is_told_to_stop(name: str, start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 11: the others hear of it, and all end after the same step."""
    ended = torchrun(start, tmp_path, rank=1, name=name)
    assert ended.returncode == (0 if name == "SIGUSR1" else 1)
    assert "sparring: " not in ended.stderr
    summary = Run(tmp_path / "run").summary()
    assert (summary.status, summary.steps) == ("stopped", 71)
    assert (tmp_path / "run/samples/step-000071.png").exists()
    train_together(tmp_path, 2, "resume", "run", "--exact")
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.parametrize(
    "name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow), pytest.param("SIGUSR1", marks=pytest.mark.slow)]
)
def test_all_are_told_to_stop(name: str, start: Start, tmp_path: Path) -> None:
    """Faults 8 and 9, of several: clusters signal each process, and the command passes on what it gets as well."""
    number = getattr(signal, name)
    endless = [option if option != str(STEPS) else "1000000" for option in OPTIONS]
    process = start(*endless, "--processes", "2")
    log = tmp_path / "run/log.jsonl"
    while not (log.exists() and log.stat().st_size):  # the first line of the log
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"--processes" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(workers) == 2
    for worker in [process.pid, *workers]:
        os.kill(worker, number)
    ended = end(process)
    assert ended.returncode == (0 if name == "SIGUSR1" else 128 + number), ended.stderr
    assert Run(tmp_path / "run").summary().status == "stopped"


@pytest.mark.slow
def test_another_number_of_processes_goes_on(start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 12: equal up to the order of sums, which --exact does not permit."""
    assert torchrun(start, tmp_path, rank=0, name="SIGUSR1").returncode == 0
    refused = end(start("resume", "run", "--exact"))
    assert refused.returncode == 2
    assert "leave --exact away, or give --processes 2" in refused.stderr
    ended = end(start("resume", "run"))
    assert ended.returncode == 0
    assert "warning: 2 processes began this run and 1 go on" in ended.stderr
    log, expected = contents(tmp_path / "run")["log"], undisturbed["log"]
    assert isinstance(log, list)
    assert isinstance(expected, list)
    assert [line["step"] for line in log] == [line["step"] for line in expected]
    for name in ("discriminator_loss", "generator_loss"):
        assert log[-1][name] == pytest.approx(expected[-1][name], rel=1e-3)


@pytest.mark.parametrize("arguments", [("--objective", "wassertein"), ("--batch-size", "15")])
def test_what_is_wrong_is_said_once(arguments: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    ended = end(start("train", "ring", *arguments, "--out", "run", "--processes", "2"))
    assert ended.returncode == 2
    assert ended.stderr.count("sparring: ") == 1
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()

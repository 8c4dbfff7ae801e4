"""Disks that are full, and folders that may not be written to."""

import json
import os
import shutil
from pathlib import Path

import pytest

from .conftest import TRAIN, Start, end

LIMITED = """
import resource, sys
from sparring.cli.main import main
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # writing more fails, as on a full disk
main()
"""
OPTIONS = (*TRAIN, "--set", "checkpoint_steps=50", "--out", "run")
AS_A_USER = ("setpriv", "--inh-caps", "-dac_override", "--bounding-set", "-dac_override") if os.getuid() == 0 else ()
"""What root needs to be refused anything."""


def test_the_log_and_the_pictures_cannot_be_written(start: Start, tmp_path: Path) -> None:
    """Fault 6: one warning for each kind of file, and no half line."""
    ended = end(start("20000", *OPTIONS, "--steps", "120", "--set", "log_steps=1", code=LIMITED))
    assert ended.returncode == 0, ended.stderr
    assert "after 120 steps" in ended.stdout
    assert ended.stderr.count("cannot write run/log.jsonl: File too large; the training goes on without") == 1
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert 10 < len(lines) < 120
    assert [json.loads(line)["step"] for line in lines] == list(range(1, len(lines) + 1))


def test_the_pictures_cannot_be_written(start: Start, tmp_path: Path) -> None:
    """Fault 6: nor the best generator, and none of them matters to the training."""
    assert end(start(*OPTIONS, "--steps", "60", "--set", "sample_steps=10")).returncode == 0
    for name in ("samples", "best", "frames"):
        shutil.rmtree(tmp_path / "run" / name)
        (tmp_path / "run" / name).write_text("no folder")
    ended = end(start("resume", "run", "--steps", "120"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("cannot write run/samples: ") == 1
    assert ended.stderr.count("cannot write run/frames: ") == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 120


def test_a_checkpoint_cannot_be_written(start: Start, tmp_path: Path) -> None:
    """Fault 5: the one before stays, the training goes on, and says at its end that it could not be saved."""
    assert end(start(*OPTIONS, "--steps", "60")).returncode == 0
    ended = end(start("9000", "resume", "run", "--steps", "120", code=LIMITED))
    assert ended.returncode == 1
    assert "warning: cannot write run/checkpoints: File too large; the training goes on without" in ended.stderr
    assert "free some space, then go on with `sparring resume`" in ended.stderr
    assert "Traceback" not in ended.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("failed", 120)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-000050", "step-000060"]
    assert end(start("resume", "run")).returncode == 0


@pytest.mark.parametrize("command", ["train", "resume"])
def test_a_folder_that_may_not_be_written_to(command: str, start: Start, tmp_path: Path) -> None:
    """Fault 7: refused before the first step, and nothing is made."""
    if command == "resume":
        assert end(start(*OPTIONS, "--steps", "20")).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    arguments = ("resume", "run", "--steps", "40") if command == "resume" else (*OPTIONS, "--steps", "20")
    ended = end(start(*arguments, prefix=AS_A_USER))
    tmp_path.chmod(0o755)  # so that it can be cleared away
    assert ended.returncode == 2, ended.stderr
    assert "cannot" in ended.stderr
    assert "Permission denied" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

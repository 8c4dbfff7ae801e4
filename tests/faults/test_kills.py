"""Killed at any moment, a training goes on to the bytes that it would have come to."""

import json
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

import sparring
from sparring.training.run_folder import Run

from .conftest import TRAIN, Start, end

STEPS = 120


def contents(run: Path) -> dict[str, bytes | list[dict[str, object]]]:
    """What a training leaves, without its times."""
    kept = {
        str(path.relative_to(run)): path.read_bytes()
        for path in [
            *run.glob("samples/*"),
            *run.glob("generator/*"),
            *run.glob(f"checkpoints/step-{STEPS:06d}/state*"),
        ]
    }
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for line in log:
        line.pop("seconds")
        line.get("evaluation", {}).pop("seconds", None)
    return kept | {"log": log}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    settings = {"evaluation_steps": 40, "log_steps": 10, "sample_steps": 30, "checkpoint_steps": 30, "seed": 3}
    sparring.train("ring", width=8, batch_size=16, steps=STEPS, out=run, **settings)
    return dict(contents(run))


OPTIONS = (
    *TRAIN, "--steps", str(STEPS), "--seed", "3", "--set", "sample_steps=30", "--set", "checkpoint_steps=30",
    "--out", "run",
)  # fmt: skip

KILL_AFTER_STEPS = """
import os, signal, sys
from sparring.game.game import Game
from sparring.cli.main import main
limit, step = int(sys.argv.pop(1)), Game.step
def killed(self, *args):
    if self.steps == limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)
Game.step = killed
main()
"""

KILL_AT_FILE = """
import os, signal, sys
from sparring.cli.main import main
name, which, limit, count = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1)), 0
operation = getattr(os, name)
def counted(*args, **more):
    global count
    count += any(which in str(arg) for arg in args)
    if count == limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return operation(*args, **more)
setattr(os, name, counted)
main()
"""
"""Killed before an operation on a path with something in it, the so many-th time."""

KILL_AFTER_FILES = """
import os, signal, sys
from sparring.cli.main import main
limit, count = int(sys.argv.pop(1)), 0
def counted(operation):
    def call(*args, **more):
        global count
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*args, **more)
    return call
for name in ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
main()
"""
"""Killed before the so many-th operation on files of all."""


@pytest.mark.parametrize("step", [0, 1, *random.Random(0).sample(range(2, STEPS), 3)])
def test_killed_at_a_step(step: int, start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 1; also before the first checkpoint that an interval asks for."""
    assert end(start(str(step), *OPTIONS, code=KILL_AFTER_STEPS)).returncode == -signal.SIGKILL
    go_on(start, tmp_path / "run")
    assert contents(tmp_path / "run") == undisturbed


FILES = (
    ("mkdir", "step-000030", 1),
    ("replace", "manifest.json", 2),
    ("replace", "step-000060", 1),
    ("replace", "step-000120", 2),  # saved a second time, the first one is set aside
    ("replace", "step-000120", 3),
    ("rmdir", "step-000000", 1),  # pruned
    ("unlink", "model.safetensors", 2),
    ("replace", "config.json", 3),
    ("replace", "model.safetensors", 3),
    ("replace", "step-000030.png", 1),
    ("replace", "summary.json", 2),
    ("replace", "curves.png", 1),
    ("replace", "measured.json", 1),
)


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "which", "limit"), FILES)
def test_killed_at_a_file(
    operation: str, which: str, limit: int, start: Start, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    """Fault 2: in the middle of saving a checkpoint, a generator, a picture, the summary; after its last step, too."""
    ended = end(start(operation, which, str(limit), *OPTIONS, code=KILL_AT_FILE))
    assert ended.returncode == -signal.SIGKILL
    go_on(start, tmp_path / "run")
    assert contents(tmp_path / "run") == undisturbed
    assert not list((tmp_path / "run").rglob(".*.tmp*"))
    assert not list((tmp_path / "run").rglob(".*.old"))


@pytest.mark.slow
@pytest.mark.parametrize("count", random.Random(1).sample(range(32, 170), 3))
def test_killed_while_resuming(count: int, start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 2 again, by the number of operations; and a second time while it goes on."""
    for arguments in ((str(count), *OPTIONS), (str(count % 29 + 1), "resume", "run")):
        assert end(start(*arguments, code=KILL_AFTER_FILES)).returncode == -signal.SIGKILL
    go_on(start, tmp_path / "run")
    assert contents(tmp_path / "run") == undisturbed


def go_on(start: Start, run: Path) -> None:
    ended = end(start("resume", str(run)))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_asked_to_stop(name: str, start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Faults 8 and 9: the step is finished and saved; a cluster's warning is answered by "resume me"."""
    number = getattr(signal, name)
    code = KILL_AFTER_STEPS.replace("SIGKILL", name)
    ended = end(start("70", *OPTIONS, code=code))
    assert ended.returncode == (0 if name == "SIGUSR1" else 128 + number)
    assert ("resume me: sparring resume run" in ended.stdout) is (name == "SIGUSR1")
    summary = Run(tmp_path / "run").summary()
    assert (summary.status, summary.steps) == ("stopped", 71)
    assert (tmp_path / "run/samples/step-000071.png").exists()
    go_on(start, tmp_path / "run")
    assert contents(tmp_path / "run") == undisturbed


def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    """Fault 8: what is saved stays."""
    code = KILL_AFTER_STEPS.replace(
        "os.kill(os.getpid(), signal.SIGKILL)",
        "[os.kill(os.getpid(), signal.SIGTERM) for _ in range(2)]",
    )
    assert end(start("70", *OPTIONS, code=code)).returncode == -signal.SIGTERM
    go_on(start, tmp_path / "run")


def test_a_moved_run_is_gone_on_with(start: Start, undisturbed: dict[str, object], tmp_path: Path) -> None:
    """Fault 25."""
    end(start("60", *OPTIONS, code=KILL_AFTER_STEPS))
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    go_on(start, tmp_path / "elsewhere")
    assert contents(tmp_path / "elsewhere") == undisturbed


def test_the_lock_of_a_dead_process_is_taken_over(start: Start, tmp_path: Path) -> None:
    """Fault 17: while it lives, the second is refused."""
    code = KILL_AFTER_STEPS.replace("SIGKILL", "SIGSTOP")
    process = start("60", *OPTIONS, code=code)
    while "State:\tT" not in Path(f"/proc/{process.pid}/status").read_text():  # until it is stopped
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    second = end(start("resume", "run"))
    assert "another process is training" in second.stderr
    assert second.returncode == 2
    process.kill()
    end(process)
    go_on(start, tmp_path / "run")


@pytest.mark.parametrize(("damage", "code"), [(1, 0), (2, 1)])
def test_damaged_checkpoints_are_named(damage: int, code: int, start: Start, tmp_path: Path) -> None:
    """Faults 3 and 4: the one before is used; where none is whole, nothing starts from zero."""
    end(start("110", *OPTIONS, code=KILL_AFTER_STEPS))
    checkpoints = sorted((tmp_path / "run" / "checkpoints").iterdir(), reverse=True)
    assert len(checkpoints) == 2
    for path in checkpoints[:damage]:
        (path / "state.safetensors").write_bytes((path / "state.safetensors").read_bytes()[:-1])
    ended = end(start("resume", "run"))
    assert ended.returncode == code
    named = re.findall(r"(step-\d+) is damaged", ended.stderr)
    assert named == [path.name for path in checkpoints[:damage]]
    assert "Traceback" not in ended.stderr
    assert ("after 120 steps" in ended.stdout) is (code == 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 5e-4, "warning: the recipe was changed after step 90: learning_rate 0.001 → 0.0005"),
        ("width", 16, "width was 8 and is 16, but a run cannot be resumed with another width"),
    ],
)
def test_a_changed_recipe(field: str, value: float, message: str, start: Start, tmp_path: Path) -> None:
    """Fault 18: shown and logged, or refused."""
    end(start("110", *OPTIONS, code=KILL_AFTER_STEPS))
    file = tmp_path / "run" / "recipe.json"
    written = json.loads(file.read_text())
    written["recipe"][field] = value
    file.write_text(json.dumps(written))
    ended = end(start("resume", "run"))
    assert message in ended.stderr
    changes = [line["changed"] for line in Run(tmp_path / "run").log() if "changed" in line]
    if "warning" in message:
        assert (ended.returncode, changes) == (0, [{field: [0.001, value]}])
    else:
        assert (ended.returncode, changes) == (2, [])

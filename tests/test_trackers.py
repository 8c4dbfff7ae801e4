"""Trackers get what a run's folder has, and nothing that happens to them reaches the training.

Stand-ins take the place of the four packages here, which are large; another test compares their parameters with those
of the packages, where these are installed. On 27 November 2026 trainings of the ring were tracked for real, resumed,
and read back: tensorboard 2.21.0 with torch 2.13.0 (by its EventAccumulator), wandb 0.31.0 offline (from its .wandb
files), mlflow-skinny 3.17.2 with SQLite (by its client), and trackio 0.43.0 (from its SQLite file). Numbers, pictures,
steps and the outcome were those of the run's folder, the weights those without a tracker. Also tried: Ctrl-C with three
of them, SIGKILL and a resume with tensorboard and mlflow, wandb without a key, and servers that do not answer.
"""

import errno
import importlib
import inspect
import io
import json
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sparring
from sparring import TRACKERS, Alarm, Run, SparringWarning, Tracker, UsageError
from sparring.cli.main import main
from sparring.training.loop import Listener, Outcome, Report, Training
from sparring.training.trackers import Writer

SMALL: dict[str, Any] = {"width": 8, "batch_size": 16, "progress": False}
NAMES = ["tensorboard", "wandb", "mlflow", "trackio"]
ALARM = Alarm("collapse", "problem", 3, "the samples are alike", {"diversity": 0.1}, "train again")


@dataclass
class Seen:
    """What arrived at a stand-in."""

    numbers: dict[int, dict[str, float]] = field(default_factory=dict)
    pictures: dict[int, tuple[int, int]] = field(default_factory=dict)  # the sizes
    recipe: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    def log(self, step: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, Image.Image):
                self.pictures[step] = value.size
            elif name.startswith("best/"):
                self.best[name] = value
            elif name == "status":
                self.ended.append(value)
            elif name != "reason":
                self.numbers.setdefault(step, {})[name] = value


SEEN = Seen()


class SummaryWriter:
    """Stands for that of torch.utils.tensorboard."""

    def __init__(self, log_dir: str, purge_step: int | None = None) -> None:
        Path(log_dir).mkdir(exist_ok=True)
        self.log_dir = log_dir
        SEEN.opened.append((Path(log_dir).name, purge_step))

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float) -> None:
        assert 1.7e9 < walltime < 1e11
        SEEN.log(global_step, {tag: scalar_value})

    def add_image(self, tag: str, img_tensor: Any, global_step: int, dataformats: str) -> None:
        assert (tag, dataformats) == ("samples", "HWC")
        SEEN.log(global_step, {tag: Image.fromarray(img_tensor)})

    def add_text(self, tag: str, text_string: str, global_step: int) -> None:
        if tag.startswith("alarms/"):
            SEEN.alarms.append(f"{tag[7:]} {global_step} {text_string}")
        if tag == "outcome":
            SEEN.ended.append(text_string.partition(":")[0])

    def add_hparams(self, hparam_dict: dict[str, Any], metric_dict: dict[str, float], run_name: str) -> None:
        assert run_name == "."
        SEEN.recipe = hparam_dict
        SEEN.log(0, metric_dict)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class WandbRun:
    """Stands for a run of wandb."""

    def __init__(self) -> None:
        self.config = types.SimpleNamespace(update=self._configure)
        self.summary = types.SimpleNamespace(update=lambda values: SEEN.log(0, values))

    def _configure(self, d: dict[str, Any], allow_val_change: bool) -> None:
        assert allow_val_change
        SEEN.recipe = d

    def log(self, data: dict[str, Any], step: int) -> None:
        SEEN.log(step, data)

    def alert(self, title: str, text: str, level: str) -> None:
        assert level == "WARN"
        SEEN.alarms.append(f"{title} {text.removeprefix('step ').replace(':', '', 1)}")

    def finish(self, exit_code: int) -> None:
        assert exit_code == 0


def init_wandb(project: str, id: str, name: str, dir: str, resume: str, reinit: str) -> WandbRun:  # noqa: A002
    assert (project, name, Path(dir).name, resume, reinit) == ("sparring", "run", "run", "allow", "create_new")
    SEEN.opened.append(id)
    return WandbRun()


def log_in(verify: bool) -> bool:
    assert not verify  # which needs the network
    return True


@dataclass
class Metric:
    """Stands for that of mlflow.entities."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class Param:
    """Stands for that of mlflow.entities."""

    key: str
    value: str


class MlflowClient:
    """Stands for that of mlflow."""

    def get_experiment_by_name(self, name: str) -> None:
        assert name == "sparring"

    def create_experiment(self, name: str) -> str:
        return "7"

    def create_run(self, experiment_id: str, run_name: str) -> Any:
        assert (experiment_id, run_name) == ("7", "run")
        SEEN.opened.append("abc")
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

    def get_run(self, run_id: str) -> Any:
        SEEN.opened.append(run_id)
        return types.SimpleNamespace(data=types.SimpleNamespace(params=SEEN.recipe))

    def update_run(self, run_id: str, status: str) -> None:
        assert (run_id, status) == ("abc", "RUNNING")

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        for metric in metrics:
            assert 1.7e12 < metric.timestamp < 1e14
            SEEN.log(metric.step, {metric.key: metric.value})
        SEEN.recipe |= {param.key: param.value for param in params}

    def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
        SEEN.log(step, {key: value})

    def log_image(self, run_id: str, image: Image.Image, key: str, step: int) -> None:
        SEEN.log(step, {key: image})

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        if key.startswith("alarm."):
            SEEN.alarms.append(f"{key[6:]} {value.removeprefix('step ').replace(':', '', 1)}")
        if key.startswith("changed."):
            SEEN.recipe[key[8:]] = value

    def set_terminated(self, run_id: str, status: str) -> None:
        SEEN.ended.append(status.lower())


class TrackioRun:
    """Stands for a run of trackio."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        SEEN.log(step, metrics)

    def alert(self, title: str, text: str, step: int) -> None:
        SEEN.alarms.append(f"{title} {step} {text}")

    def finish(self) -> None:
        pass


def init_trackio(project: str, name: str, config: dict[str, Any], resume: str, embed: bool) -> TrackioRun:
    assert (project, resume, embed) == ("sparring", "allow", False)
    SEEN.opened.append(name)
    SEEN.recipe = config
    return TrackioRun()


# By module: names in it, and what stands for them.
STAND_INS: dict[str, dict[str, Any]] = {
    "torch.utils.tensorboard": {"SummaryWriter": SummaryWriter},
    "wandb": {"init": init_wandb, "login": log_in, "Image": lambda data_or_path: data_or_path, "Run": WandbRun},
    "mlflow": {"MlflowClient": MlflowClient, "entities": types.SimpleNamespace(Metric=Metric, Param=Param)},
    "trackio": {"init": init_trackio, "Image": lambda value: value, "Run": TrackioRun},
}


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SEEN", Seen())
    for name in ("WANDB_PROJECT", "WANDB_DIR", "MLFLOW_EXPERIMENT_NAME", "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name, entries in STAND_INS.items():
        module = types.ModuleType(name)
        vars(module).update(entries)
        monkeypatch.setitem(sys.modules, name, module)


class Alarmed(Listener):
    """Raises an alarm at step 3."""

    def stepped(self, training: Training, report: Report | None) -> None:
        if training.game.steps == 3:
            training.alarms = [ALARM]


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("name", NAMES)
def test_a_tracker_gets_what_the_folder_has(name: str, tmp_path: Path) -> None:
    """A resumed run goes on in the same place."""
    settings = SMALL | {"log_steps": 2, "sample_steps": 2, "evaluation_steps": 4, "out": tmp_path / "run"}
    run = sparring.train("ring", steps=5, listeners=[Alarmed(), Tracker(name)], **settings)
    run = sparring.resume(run, steps=8, listeners=[Tracker(name)], progress=False)
    expected = {line["step"]: {key: value for key, value in line.items() if key != "step"} for line in run.log()}
    assert set(expected) == {2, 4, 5, 6, 8}
    for line in expected.values():
        line |= {f"evaluation/{key}": value for key, value in line.pop("evaluation", {}).items()}
        line.pop("changed", None)
        line.pop("alarms", None)
        line.pop("measured_by", None)  # a name
    assert SEEN.numbers == expected
    pictures = {step: Image.open(io.BytesIO(path.read_bytes())).size for step, path in run.sample_paths().items()}
    assert {5: pictures[8]} | pictures == SEEN.pictures
    assert {*pictures} == {0, 2, 4, 6, 8}
    assert (SEEN.recipe["objective"], str(SEEN.recipe["steps"])) == ("relativistic", "8")
    assert SEEN.alarms == ["collapse 3 the samples are alike: train again"]
    assert SEEN.ended == ["finished", "finished"]
    best = run.best_line()
    assert (SEEN.best["best/step"], SEEN.best["best/distance"]) == (best["step"], best["evaluation"]["distance"])
    if name == "tensorboard":
        assert SEEN.opened == [("tensorboard", None), ("tensorboard", 6)]
    else:
        assert SEEN.opened[0] == SEEN.opened[1] == json.loads((run.path / "trackers.json").read_text())[name]


@pytest.mark.usefixtures("stand_ins")
def test_the_option_takes_several(tmp_path: Path) -> None:
    out, small = str(tmp_path / "run"), ["--width", "8", "--batch-size", "16"]
    assert run_command("train", "ring", *small, "--steps", "2", "--track", "wandb,trackio", "--out", out) == 0
    first = json.loads((tmp_path / "run" / "trackers.json").read_text())
    assert set(first) == {"wandb", "trackio"}
    assert SEEN.ended == ["finished", "finished"]
    assert run_command("resume", out, "--steps", "4", "--track", "trackio, tensorboard") == 0
    assert json.loads((tmp_path / "run" / "trackers.json").read_text()) == first
    assert [*SEEN.opened[2:]] == [first["trackio"], ("tensorboard", 3)]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_said_before_the_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, TRACKERS[name].needs[0], None)  # type: ignore[arg-type]
    out = tmp_path / "run"
    for more in ([], ["--dry-run"]):
        assert run_command("train", "ring", "--track", name, "--out", str(out), *more) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"sparring: the tracker {name} cannot be used (")
        assert told.endswith(f"): pip install {name}\n")
    assert not out.exists()
    monkeypatch.setitem(sys.modules, TRACKERS[name].needs[0], types.ModuleType(name))  # a folder of that name
    with pytest.raises(UsageError, match=f"pip install {name}"):
        Tracker(name)


@pytest.mark.usefixtures("stand_ins")
def test_what_else_keeps_a_tracker_from_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(verify: bool) -> None:
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(sys.modules["wandb"], "login", refuse)
    with pytest.raises(UsageError, match=r"wandb cannot be used .No API key configured.*mend that, or leave"):
        Tracker("wandb")
    assert run_command("train", "ring", "--track", "wandv") == 2
    assert "unknown tracker 'wandv': did you mean 'wandb'?" in capsys.readouterr().err


class Own(Writer):
    """A tracker of the caller's, which fails where it is told to."""

    name = "own"
    summary = "a tracker of the tests"
    package = "own"
    needs = "sys", "path"
    fails_at = ""
    error: BaseException | None = None
    act: Callable[[], object] = staticmethod(lambda: None)
    calls: list[str]

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_at:
            self.act()
            if self.error:
                raise self.error

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        self._note("open")
        return ""

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self._note("write_numbers")

    def write_picture(self, step: int, picture: Image.Image) -> None:
        self._note("write_picture")

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        self._note("close")


def train_tracked(out: Path, *listeners: Listener) -> bytes:
    settings = SMALL | {"log_steps": 1, "sample_steps": 2}
    run = sparring.train("ring", steps=4, listeners=listeners, out=out, **settings)
    assert run.summary().status == "finished"
    assert len(run.log()) == 4
    return (run.generator / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training without a tracker."""
    return train_tracked(tmp_path_factory.mktemp("untracked"))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("open", SystemExit(3)),
        ("open", OSError(errno.ENOSPC, "No space left")),
        ("write_numbers", RuntimeError("a\nb")),
        ("write_numbers", SystemExit(3)),
        ("write_picture", OSError(errno.ENOSPC, "No space left")),
        ("close", RuntimeError("a\nb")),
    ],
)
def test_a_tracker_that_fails_changes_nothing(
    where: str, error: BaseException, untracked: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "own", type("Failing", (Own,), {"fails_at": where, "error": error, "calls": []}))
    with pytest.warns(SparringWarning) as warned:
        assert train_tracked(tmp_path, Tracker("own")) == untracked
    (message,) = [str(each.message) for each in warned if "tracker" in str(each.message)]
    assert message.startswith("the tracker own failed, and the training goes on without it: ")
    assert message.endswith(f"{type(error).__name__}: {str(error).splitlines()[0]}")


def test_a_tracker_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow but gets on is waited for."""
    release = threading.Event()
    monkeypatch.setattr("sparring.training.trackers.PATIENCE_SECONDS", 0.2)
    hanging = {"fails_at": "write_numbers", "act": staticmethod(release.wait), "calls": []}
    monkeypatch.setitem(TRACKERS, "own", type("Hanging", (Own,), hanging))
    with pytest.warns(SparringWarning, match=r"without it: TimeoutError: it has not answered for 0\.2 seconds"):
        train_tracked(tmp_path / "hanging", Tracker("own"))
    release.set()
    calls: list[str] = []
    slow = {"fails_at": "write_numbers", "act": staticmethod(lambda: threading.Event().wait(0.1)), "calls": calls}
    monkeypatch.setitem(TRACKERS, "own", type("Slow", (Own,), slow))
    train_tracked(tmp_path / "slow", Tracker("own"))
    assert [calls.count(name) for name in ("open", "write_picture", "write_numbers", "close")] == [1, 3, 4, 1]
    assert calls[-1] == "close"


@pytest.mark.parametrize("module", [*STAND_INS])
def test_the_packages_take_what_the_stand_ins_take(module: str) -> None:
    """Where they are installed: every parameter that a stand-in has, and no other one must be given."""
    real = pytest.importorskip(module, exc_type=ImportError)
    called = {name: own for name, own in STAND_INS[module].items() if name not in ("Run", "entities")}
    for name, own in STAND_INS[module].items():
        called |= {f"{name}.{key}": value for key, value in vars(own).items() if key[0] != "_"}
    for name, own in called.items():
        parameters = inspect.signature(attrgetter(name)(real)).parameters
        given = {*inspect.signature(own).parameters}
        assert given <= {*parameters}, name
        variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        needed = (each for each in parameters.values() if each.default is each.empty and each.kind not in variadic)
        assert {each.name for each in needed} <= given, name


def test_the_stand_ins_are_of_every_tracker() -> None:
    assert {TRACKERS[name].needs[0] for name in NAMES} == {*STAND_INS}
    assert [*TRACKERS] == NAMES
    assert importlib.import_module("sparring").TRACKERS is TRACKERS

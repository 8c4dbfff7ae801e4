"""What callers in Python bring: numbers of numpy, runs as paths, torch in other states, threads, Ctrl-C, notebooks."""

import errno
import json
import shutil
import signal
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring import Listener, Report, Run, SparringWarning, TrainingError, UsageError
from sparring.training.loop import Training
from sparring.training.recipe import check_setting

SMALL = {"steps": 4, "width": 8, "batch_size": 16}


def weights(run: Run) -> bytes:
    return (run.generator / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "given", "plain"),
    [
        ("learning_rate", np.float32(0.5), 0.5),
        ("learning_rate", torch.tensor(0.25), 0.25),
        ("steps", np.int64(5), 5),
        ("steps", torch.tensor(5), 5),
        ("steps", np.array(5), 5),
        ("seed", np.uint8(7), 7),
        ("simultaneous", np.bool_(True), True),
        ("objective", np.str_("hinge"), "hinge"),
        ("size", (np.int64(32), np.int64(64)), (32, 64)),
        ("size", [32, 64], (32, 64)),
        ("size", np.array([32, 64]), (32, 64)),
        ("size", np.int32(32), (32, 32)),
        ("labels", Path("labels.csv"), "labels.csv"),
        ("device", torch.device("cpu"), "cpu"),
    ],
)
def test_settings_become_plain_python(name: str, given: object, plain: object) -> None:
    """Of exactly that type: the recipe is written as JSON."""
    checked = check_setting(name, given)
    assert checked == plain
    assert type(checked) is type(plain)
    assert json.loads(json.dumps(checked)) == (list(plain) if isinstance(plain, tuple) else plain)


def test_what_is_no_listener_is_refused(tmp_path: Path) -> None:
    listener: Any = sparring.Listener()
    listener.ended = None
    with pytest.raises(UsageError, match=r"is no listener, since it has no ended: inherit sparring\.Listener"):
        sparring.train("ring", steps=2, width=4, out=tmp_path / "run", progress=False, listeners=[listener])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "given"), [("steps", np.float32(5)), ("steps", np.array([5, 6])), ("mirror", 1)])
def test_settings_of_another_type_are_refused(name: str, given: object) -> None:
    with pytest.raises(UsageError, match=f"{name}="):
        check_setting(name, given)


def test_a_run_stands_for_its_path(tmp_path: Path) -> None:
    run = sparring.train("ring", out=tmp_path / "run", progress=False, **SMALL)
    assert sparring.load(run).sample(3).shape == (3, 2)
    assert sparring.evaluate(run, n=50, only="coverage", progress=False).data == "ring"
    assert sparring.diagnose(run).parent == run.path
    assert sparring.resume(run, steps=np.int64(6), progress=False).summary().steps == 6
    assert Run(str(run.path)).log() == run.log()


@pytest.mark.parametrize("settings", [{"steps": -5}, {"minutes": float("nan")}, {"images": 1.5}, {"steps": "8"}])
def test_resume_checks_its_limits(settings: dict[str, Any], tmp_path: Path) -> None:
    run = sparring.train("ring", out=tmp_path / "run", progress=False, **SMALL)
    before = (run.path / "recipe.json").read_bytes()
    with pytest.raises(UsageError, match=f"{next(iter(settings))}="):
        sparring.resume(run, progress=False, **settings)
    assert (run.path / "recipe.json").read_bytes() == before


def test_resume_to_a_step_that_is_past_says_so(tmp_path: Path) -> None:
    run = sparring.train("ring", out=tmp_path / "run", progress=False, **SMALL)
    with pytest.raises(UsageError, match=r"is already at step 4, after .*: to go further, give more than that"):
        sparring.resume(run, steps=3, progress=False)
    assert run.recipe().steps == 4


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "state",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: default_dtype(torch.float64),
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["no_grad", "inference_mode", "float64", "device", "autocast"],
)
@pytest.mark.usefixtures("short_divergence")
def test_whatever_state_torch_is_in(state: Callable[[], AbstractContextManager[object]], tmp_path: Path) -> None:
    """The same bytes as in its usual state, and the state is as before."""

    def train(name: str) -> tuple[bytes, sparring.Card]:
        run = sparring.train("digits", out=tmp_path / name, progress=False, **SMALL)
        run = sparring.resume(run, steps=6, progress=False)
        return weights(run), sparring.evaluate(run, n=100, only="divergence", progress=False)

    usual = train("usual")
    with state():
        before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
        assert train("other") == usual
        assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()) == before


def test_a_training_in_a_thread(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(sparring.train, "ring", out=tmp_path / name, **SMALL) for name in ("a", "b")]
        first, second = (weights(run.result()) for run in runs)
    assert first == second == weights(sparring.train("ring", out=tmp_path / "c", **SMALL))


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("sparring.training.train.Meter", OSError),
        ("sparring.training.run_folder.Run.write_recipe", OSError),
        ("sparring.training.recorder.checkpoint.save", TrainingError),
        ("sparring.training.loop.play_step", None),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(
    where: str, error: type[Exception] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But one that has saved its networks stays, and can be resumed."""
    with monkeypatch.context() as broken:
        broken.setattr(where, fail)
        with pytest.raises(error or TrainingError):
            sparring.train("ring", out=tmp_path / "run", progress=False, **SMALL)
    assert (tmp_path / "run").exists() is (error is None)
    if error is None:
        assert sparring.resume(tmp_path / "run", progress=False).summary().steps == 4


class AtStep(Listener):
    """Does something after a step."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.step, self.act = step, act

    def stepped(self, training: Training, report: Report | None) -> None:
        if training.game.steps == self.step:
            self.act()


@pytest.mark.parametrize("every", ["log_steps", "sample_steps", "checkpoint_steps", "evaluation_steps", "none"])
def test_a_folder_that_is_deleted_during_the_training(every: str, tmp_path: Path) -> None:
    """Whatever is written next says so, and does not make it again."""
    listener = AtStep(2, lambda: shutil.rmtree(tmp_path / "run"))
    options = SMALL | ({} if every == "none" else {every: 1})
    with pytest.raises(TrainingError, match="run was deleted or moved during the training"):
        sparring.train("ring", out=tmp_path / "run", listeners=[listener], progress=False, **options)
    assert not (tmp_path / "run").exists()


def test_another_number_of_threads_is_said(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """It decides how sums are rounded, as the number of processes does; older runs do not say it."""
    run = sparring.train("ring", out=tmp_path / "run", progress=False, **SMALL)
    threads, path = torch.get_num_threads(), run.path / "recipe.json"
    assert run.recipe_file().threads == threads

    def set_threads(number: int) -> None:
        path.write_text(json.dumps(asdict(run.recipe_file()) | {"threads": number}))

    set_threads(threads + 1)
    text = f"{threads + 1} threads began this run and {threads} go on, so sums are rounded differently"
    with pytest.raises(UsageError, match=f"{text}: leave --exact away, or set OMP_NUM_THREADS={threads + 1}"):
        sparring.resume(run, steps=5, exact=True, progress=False)
    with pytest.warns(SparringWarning, match=text):
        sparring.resume(run, steps=5, progress=False)
    set_threads(0)
    assert sparring.resume(run, steps=6, exact=True, progress=False).summary().steps == 6


def test_an_interrupt_names_the_run(tmp_path: Path) -> None:
    """Of a training and of one that is resumed."""
    listener = AtStep(3, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as stopped:
        sparring.train("ring", out=tmp_path / "run", listeners=[listener], progress=False, **SMALL | {"steps": 100})
    where = f"sparring.resume('{tmp_path / 'run'}')"
    assert str(stopped.value) == f"stopped at step 3; everything is saved: {where} goes on"
    listener = AtStep(7, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="stopped at step 7"):
        sparring.resume(tmp_path / "run", listeners=[listener], progress=False)


def test_the_summary_follows_the_checkpoints(tmp_path: Path) -> None:
    """It said `steps: 0` as long as a training ran."""
    steps = []
    listener = AtStep(3, lambda: steps.append(Run(tmp_path / "run").summary().steps))
    sparring.train("ring", out=tmp_path / "run", listeners=[listener], checkpoint_steps=1, progress=False, **SMALL)
    assert steps == [3]


class Notebook:
    """Stands for IPython's display: the outputs of a cell, each as last updated."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []

    def display(self, *contents: Any, raw: bool = False, display_id: bool = False) -> Any:
        number = len(self.outputs)
        self.outputs += contents

        def update(content: Any, raw: bool) -> None:
            self.outputs[number] = content

        return types.SimpleNamespace(update=update)


def test_in_a_notebook_one_line_changes_and_the_run_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    module = types.ModuleType("IPython.display")
    module.display = notebook.display  # type: ignore[attr-defined]
    package = types.ModuleType("IPython")
    package.version_info = (9, 0)  # type: ignore[attr-defined]  # matplotlib asks for it with its first figure
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("sparring.training.progress.BAR_SECONDS", 0.0)
    listener = AtStep(3, lambda: signal.raise_signal(signal.SIGINT))
    run = sparring.train("ring", out=tmp_path / "run", listeners=[listener], **SMALL | {"steps": 100})
    assert (run.summary().status, run.summary().steps) == ("stopped", 3)
    lines = [output["text/plain"] for output in notebook.outputs if isinstance(output, dict)]
    assert lines == ["  3%  stopped"]
    assert len(notebook.outputs) > 2  # what is trained, and how to go on
    shown = run._repr_html_()
    assert 'srcdoc="' in shown
    assert "stopped after 3 steps" in shown
    shown = sparring.load(run)._repr_html_()
    assert 'srcdoc="' in shown
    assert shown.endswith("10 latents to points (points of 2 dimensions)")
    notebook.outputs.clear()
    sparring.train("ring", out=tmp_path / "quiet", progress=False, **SMALL)
    assert notebook.outputs == []


def test_progress_goes_to_the_standard_error_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sparring.train("ring", out=tmp_path / "run", **SMALL)
    output, errors = capsys.readouterr()
    assert output == ""
    assert f"into {run.path}, to 4 steps; Ctrl-C saves and stops" in errors
    assert "finished after 4 steps" in errors
    sparring.resume(run, steps=5, progress=False)
    sparring.evaluate(run, n=50, only="coverage")
    assert capsys.readouterr() == ("", "")


def test_what_objects_say_of_themselves(tmp_path: Path) -> None:
    run = sparring.train("digits", out=tmp_path / "run", progress=False, **SMALL)
    name = f"Run('{tmp_path / 'run'}')"
    assert repr(run).startswith(f"{name}: finished after 4 steps")
    assert sparring.__version__ == run.recipe_file().versions["sparring"]
    assert "Generator('conv', width 8): 64 latents to images (28×28 px, grey) of the classes 0, 1, 2" in repr(
        sparring.load(run)
    )
    card = sparring.evaluate(run, n=100, only="coverage", progress=False)
    assert repr(card).startswith("Card of 100 samples against digits: ")
    assert "coverage" in repr(card)
    assert "coverage" in repr(run)
    shutil.rmtree(run.path)
    assert repr(run) == name

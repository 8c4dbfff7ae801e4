"""The loop: limits, log, checkpoints, and going on to the same bytes."""

import json
import math
import shutil
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sparring
from sparring import Generator, Report, RunFolderError, SparringWarning, UsageError
from sparring.game.sources import Source
from sparring.modalities.images import Images
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.training import checkpoint
from sparring.training.build import build
from sparring.training.loop import MAX_LEFT_OUT, Listener, Outcome, Training, play
from sparring.training.recipe import Recipe, make_request
from sparring.training.resolve import resolve
from sparring.training.run_folder import Run
from sparring.types import Samples

SMALL = {"width": 4, "batch_size": 16}


def model(run: Run) -> bytes:
    return (run.path / "generator" / "model.safetensors").read_bytes()


def log(run: Run) -> list[dict[str, float]]:
    """The log without its times, and without evaluations, for which there is time or not."""
    left_out = ("seconds", "evaluation", "measured_by", "class_shares", "alarms")
    return [{name: value for name, value in line.items() if name not in left_out} for line in run.log()]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        sparring.train("digits", steps=50, seed=seed, out=tmp_path / name, **SMALL)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert model(first) == model(second)
    assert log(first) == log(second)
    assert model(first) != model(other)


@pytest.mark.parametrize("stop", [37, 40])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(stop: int, tmp_path: Path) -> None:
    """Whether or not it was stopped at a line of the log."""
    options = {**SMALL, "penalty": "r1", "penalty_interval": 3, "schedule": "constant", "checkpoint_steps": stop}
    options["evaluation_share"] = 0.0
    whole = sparring.train("digits", steps=60, out=tmp_path / "whole", **options)
    sparring.train("digits", steps=stop, out=tmp_path / "parts", **options)
    parts = sparring.resume(tmp_path / "parts", steps=60)
    assert model(whole) == model(parts)
    assert [line["step"] for line in parts.log()] == sorted({20, stop, 40, 60})
    assert log(whole)[-1] == pytest.approx(log(parts)[-1])


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "gradient_penalty", "penalty_final": 0.1, "discriminator_steps": 2},
        {"penalty": "spectral_norm", "optimizer": "rmsprop", "schedule": "cosine", "generator_steps": 2},
        {"conditional": False, "objective": "relativistic", "penalty": "r1r2", "simultaneous": True},
    ],
    ids=["wgan-gp", "spectral-norm", "relativistic"],
)
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(options: dict[str, object], tmp_path: Path) -> None:
    """Its schedules and all: the newest checkpoint is gone, as if it had not been reached."""
    run = sparring.train("digits", steps=24, checkpoint_steps=8, out=tmp_path, **SMALL, **options)
    expected, expected_log = model(run), log(run)
    (run.checkpoints / "step-000024").rename(tmp_path / "gone")
    resumed = sparring.resume(tmp_path)
    assert model(resumed) == expected
    assert log(resumed) == expected_log


def test_half_a_line_at_the_end_of_the_log_is_no_hindrance(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=4, log_steps=2, width=8, out=tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "ima')
    assert [line["step"] for line in run.log()] == [2, 4]
    assert [line["step"] for line in sparring.resume(tmp_path, steps=6).log()] == [2, 4, 6]


def test_lines_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    run = sparring.train(
        "digits", steps=40, log_steps=10, checkpoint_steps=20, schedule="constant", out=tmp_path, **SMALL
    )
    before = log(run)
    newest = run.checkpoints / "step-000040"
    newest.rename(tmp_path / "gone")
    again = sparring.resume(tmp_path)
    assert log(again) == before


def test_with_and_without_labels(tmp_path: Path) -> None:
    with_labels = sparring.train("digits", steps=2, out=tmp_path / "with", **SMALL)
    assert sparring.load(with_labels.path).config.class_shares == pytest.approx((0.1,) * 10, abs=0.02)
    without = sparring.train("digits", steps=2, conditional=False, out=tmp_path / "without", **SMALL)
    assert sparring.load(without.path).config.known_labels == {}
    assert len(sparring.load(without.path).config.class_shares) == 50  # clusters
    options = SMALL | {"conditional": False, "num_clusters": 1}
    told_nothing = sparring.train("digits", steps=2, out=tmp_path / "nothing", **options)
    assert sparring.load(told_nothing.path).config.class_shares == ()


def test_other_images_have_other_clusters(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), np.uint8)
    np.save(tmp_path / "images.npy", images)
    data = str(tmp_path / "images.npy")
    run = sparring.train(data, steps=2, evaluation_share=0.0, out=tmp_path / "run", **SMALL)
    assert sparring.resume(run.path, steps=4).summary().steps == 4
    np.save(tmp_path / "images.npy", images[:-20])
    with pytest.raises(sparring.UsageError, match="not those that the run began with"):
        sparring.resume(run.path, steps=6)


def test_limits_by_images_and_minutes(tmp_path: Path) -> None:
    by_images = sparring.train("digits", images=330, out=tmp_path / "images", **SMALL).summary()
    assert (by_images.steps, by_images.images) == (21, 336)
    by_minutes = sparring.train("digits", minutes=0.02, out=tmp_path / "minutes", **SMALL).summary()
    assert by_minutes.seconds >= 1.2


def test_what_a_run_leaves(tmp_path: Path) -> None:
    run = sparring.train("digits", steps=25, sample_steps=10, out=tmp_path, seed=9, **SMALL)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["recipe"]["seed"] == 9
    assert recipe["recipe"]["network"] == "conv"
    assert recipe["versions"]["torch"] == torch.__version__
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        f"step-{step:06d}.png" for step in (0, 10, 20, 25)
    ]
    assert [line["step"] for line in run.log()] == [20, 25]
    assert {"images", "seconds", "discriminator_loss", "generator_loss"} <= run.log()[0].keys()
    with Image.open(tmp_path / "curves.png") as curves:
        assert curves.size == (800, 600)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() == {"status", "steps", "images", "seconds", "reason", "metrics", "health"}
    assert not list(tmp_path.rglob("*.tmp*"))


def test_checkpoints_are_kept_few(tmp_path: Path) -> None:
    run = sparring.train("digits", steps=30, checkpoint_steps=5, keep_checkpoints=2, out=tmp_path, **SMALL)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000025", "step-000030"]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    sparring.train("ring", steps=2, width=8, out=tmp_path)
    with pytest.raises(UsageError, match="is finished at step 2"):
        sparring.resume(tmp_path)


def test_a_diverging_run_says_so_and_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    options = {"objective": "wasserstein", "penalty": "none", "optimizer": "sgd", "learning_rate": 10.0}
    with pytest.warns(SparringWarning), pytest.raises(sparring.DivergenceError, match="diverged at step"):
        sparring.train("ring", steps=500, checkpoint_steps=1, width=8, out=tmp_path, **options)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "diverged" in summary["reason"]
    manifest, state = checkpoint.load_latest(tmp_path / "checkpoints")
    assert manifest.step == summary["steps"] - (MAX_LEFT_OUT - 1) > 0  # of what led to it nothing is kept
    assert all(torch.isfinite(value).all() for value in state.values())


class Poisoned(Source):
    """Points, some batches of which are not finite."""

    def __init__(self, source: Source, steps: Collection[int]) -> None:
        self.source, self.steps = source, steps
        self.item_shape, self.num_items = source.item_shape, source.num_items

    def batch(self, size: int, stream: Stream) -> Samples:
        return self.source.batch(size, stream) * (math.nan if stream.step in self.steps else 1.0)


def poison(steps: Collection[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def build_poisoned(recipe: Recipe, dataset: Dataset, *others: Any, **named: Any) -> Training:
        training = build(recipe, dataset, *others, **named)
        training.data = Poisoned(training.data, steps)
        return training

    monkeypatch.setattr("sparring.training.train.build", build_poisoned)


OPTIONS = {"steps": 40, "width": 8, "batch_size": 16, "checkpoint_steps": 10, "log_steps": 10, "evaluation_share": 0.0}


def test_an_update_that_is_not_finite_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 13: the training goes on with the next batch."""
    poison({12, 13, 20}, monkeypatch)
    with pytest.warns(SparringWarning, match="The update was left out") as warned:
        run = sparring.train("ring", out=tmp_path / "run", **OPTIONS)
    assert len(warned) == 3
    assert [line["step"] for line in run.log()] == [10, 20, 30, 40]
    assert run.recipe().learning_rate == resolve(make_request("ring"))[0].learning_rate
    (run.checkpoints / "step-000040").rename(tmp_path / "gone")
    before = log(run)
    assert log(sparring.resume(run.path)) == before


@pytest.mark.parametrize(("bad", "succeeds"), [(3, True), (99, False)])
def test_three_of_them_in_a_row_go_back_with_a_smaller_rate(
    bad: int, succeeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 13: to the last checkpoint, three times at most."""
    steps = set(range(22, 22 + bad))
    poison(steps, monkeypatch)
    if succeeds:

        def play_then_cure(training: Training, listeners: Sequence[Listener]) -> Outcome:
            try:
                return play(training, listeners)
            except sparring.DivergenceError:
                steps.clear()
                raise

        monkeypatch.setattr("sparring.training.train.play", play_then_cure)
    ending = nullcontext() if succeeds else pytest.raises(sparring.DivergenceError, match="diverged at step 25")
    with pytest.warns(SparringWarning) as warned, ending:
        sparring.train("ring", out=tmp_path / "run", **OPTIONS)
    back = [str(each.message) for each in warned if "Gone back" in str(each.message)]
    rate = resolve(make_request("ring"))[0].learning_rate
    assert len(back) == (1 if succeeds else 3)
    for number, text in enumerate(back):
        assert f"Gone back to step 10, with the learning rate {rate / 2 ** (number + 1):g}" in text
    run = Run(tmp_path / "run")
    assert run.recipe().learning_rate == rate / (2 if succeeds else 8)
    if succeeds:
        assert [line.get("changed") for line in run.log()] == [None, {"learning_rate": [rate, rate / 2]}, None, None]


def test_a_restart_leaves_a_run_alone_whose_checkpoints_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the second try of `torchrun --max-restarts` that finds a finished run, and takes it for its own."""
    settings = {"steps": 3, "width": 8, "out": tmp_path / "run"}
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    run = sparring.train("ring", **settings)
    shutil.rmtree(run.checkpoints)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert sparring.train("ring", **settings).summary().status == "finished"
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    (run.path / "generator").rename(run.path / "elsewhere")  # now it is like one that was killed before the first one
    sparring.train("ring", **settings)
    assert checkpoint.list_checkpoints(run.checkpoints)
    assert not (run.path / "elsewhere").exists()


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=2, width=8, out=tmp_path)
    with pytest.raises(RunFolderError, match="sparring resume"):
        sparring.train("ring", steps=2, width=8, out=tmp_path)
    run.lock()
    with pytest.raises(RunFolderError, match="another process"):
        sparring.resume(tmp_path, steps=3)
    run.unlock()
    assert sparring.resume(tmp_path, steps=3).summary().steps == 3


def evaluated(run: Run) -> list[dict[str, Any]]:
    return [line for line in run.log() if "evaluation" in line]


@pytest.mark.slow
def test_the_best_generator_is_kept_beside_the_last(tmp_path: Path) -> None:
    """The samples of a training whose rate is far too high become worse in the end."""
    run = sparring.train(
        "digits", steps=120, learning_rate=0.4, evaluation_steps=20, seed=2, out=tmp_path / "run", **SMALL
    )
    distances = {line["step"]: line["evaluation"]["distance"] for line in evaluated(run)}
    assert list(distances) == [20, 40, 60, 80, 100, 120]
    best = min(distances, key=lambda step: distances[step])
    assert best != 120
    until = sparring.train(
        "digits", steps=120, learning_rate=0.4, evaluation_steps=20, seed=2, out=tmp_path / "until",
        until=f"step>{best - 1}", **SMALL,
    )  # fmt: skip
    assert until.summary().steps == best
    assert model(until) == (run.best / "model.safetensors").read_bytes()
    assert sparring.load(run.best).sample(2).shape == (2, 28, 28)


def test_alarms_stand_in_the_log_and_the_summary(tmp_path: Path) -> None:
    """Also in the summary of a training that still runs."""
    agrees = []

    class Look(Listener):
        def stepped(self, training: Training, report: Report | None) -> None:
            if training.alarms:
                summary = Run(tmp_path / "run").summary()
                agrees.append(summary.status == "running" and summary.health == training.alarms)

    run = sparring.train(
        "digits", steps=330, evaluation_steps=110, schedule="constant", learning_rate=1e-9,
        out=tmp_path / "run", listeners=[Look()], **SMALL,
    )  # fmt: skip
    assert agrees
    assert all(agrees)
    names = [{alarm["name"] for alarm in line["alarms"]} for line in run.log() if "alarms" in line]
    assert "collapse" in names[-1]  # the grey of an untrained generator, which doesn't change
    assert "collapse" in {alarm.name for alarm in run.summary().health}


@pytest.mark.slow
def test_a_resumed_training_remembers_its_evaluations(tmp_path: Path) -> None:
    """Its alarms, its best generator and the way to its goal, all from the log."""
    options = {"evaluation_steps": 30, "checkpoint_steps": 60, "keep_checkpoints": 9, "schedule": "constant"} | SMALL
    whole = sparring.train("digits", steps=120, out=tmp_path / "whole", **options)
    sparring.train("digits", steps=60, out=tmp_path / "parts", **options)
    parts = sparring.resume(tmp_path / "parts", steps=120)

    def figures(run: Run) -> list[dict[str, float]]:
        return [line["evaluation"] | {"seconds": 0} for line in evaluated(run)]

    assert figures(whole) == figures(parts)
    assert whole.summary().health == parts.summary().health
    assert (whole.best / "model.safetensors").read_bytes() == (parts.best / "model.safetensors").read_bytes()


def test_a_goal_ends_the_training(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=500, evaluation_steps=50, until="diversity>0.5", out=tmp_path / "run", width=16)
    assert run.summary().steps < 500
    assert run.summary().status == "finished"
    assert run.summary().reason.startswith("diversity is ")
    with pytest.raises(UsageError, match="--until plateau needs evaluations"):
        sparring.train("ring", steps=5, until="plateau", evaluation_share=0.0, out=tmp_path / "none")
    with pytest.raises(UsageError, match="unknown figure 'covrage'"):
        sparring.train("ring", steps=5, until="covrage>0.9", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_training_goes_on_beyond_its_goal(tmp_path: Path) -> None:
    options = {"steps": 100, "evaluation_steps": 20, "width": 8, "until": "step>30"}
    run = sparring.train("ring", out=tmp_path / "run", **options)
    assert run.summary().steps == 40
    with pytest.raises(UsageError, match=r"is finished at step 40, .*since step is 40"):
        sparring.resume(run.path)
    assert sparring.resume(run.path, steps=80).summary().steps == 80


@pytest.mark.slow
def test_the_best_generator_outlives_a_kill(tmp_path: Path) -> None:
    """Measured after the last checkpoint, its line is cut from the log; it stays the best all the same."""
    options = {"evaluation_steps": 20, "checkpoint_steps": 60, "schedule": "constant"} | SMALL
    run = sparring.train("digits", steps=60, out=tmp_path / "run", **options)
    measured = json.loads((run.best / "measured.json").read_text())
    assert measured["step"] in (20, 40, 60)
    measured["evaluation"]["distance"] = -1.0
    (run.best / "measured.json").write_text(json.dumps(measured))
    before = (run.best / "model.safetensors").read_bytes()
    sparring.resume(run.path, steps=100)
    assert (run.best / "model.safetensors").read_bytes() == before


def test_a_number_that_is_not_finite_is_an_alarm(tmp_path: Path) -> None:
    ending = pytest.raises(sparring.DivergenceError, match="the first tensor that is not finite is the")
    with pytest.warns(SparringWarning), ending:
        sparring.train("ring", steps=500, learning_rate=1e30, optimizer="sgd", out=tmp_path, width=16)
    summary = Run(tmp_path).summary()
    assert summary.status == "failed"
    assert [(alarm.name, alarm.severity) for alarm in summary.health] == [("divergence", "problem")]
    assert "the first tensor that is not finite" in summary.health[0].meaning


def test_pictures_have_a_row_for_each_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three classes three rows of ten, each of one class: red where a row holds two."""
    asked: list[Any] = []
    drawn: list[int | None] = []
    inputs, picture = Generator.inputs, Images.picture

    def draw_inputs_and_tell(self: Generator, n: int, seed: int, dataset: Dataset, labels: Any = None) -> Any:
        asked.append(labels)
        return inputs(self, n, seed, dataset, labels)

    def draw_and_tell(self: Images, items: np.ndarray, columns: int | None = None) -> Image.Image:
        drawn.append(columns)
        return picture(self, items, columns)

    monkeypatch.setattr(Generator, "inputs", draw_inputs_and_tell)
    monkeypatch.setattr(Images, "picture", draw_and_tell)
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    sparring.train(
        images, labels=[number % 3 for number in range(60)], steps=1, evaluation_share=0.0, out=tmp_path, **SMALL
    )
    assert asked[-1] == ["0"] * 10 + ["1"] * 10 + ["2"] * 10
    assert drawn[-1] == 10


class Calls(Listener):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.lines: list[int] = []

    def started(self, training: Training) -> None:
        self.told.append(f"started at {training.game.steps}")

    def stepped(self, training: Training, report: Report | None) -> None:
        self.told.append(f"stepped {report.step if report else 'without an update'}")
        if training.line:
            self.lines.append(training.line["step"])

    def ended(self, training: Training, outcome: Outcome) -> None:
        self.told.append(f"ended {outcome.status}, since {outcome.reason}")


def test_listeners_are_told_of_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those left out, after a resume, and of a failure; lines of the log come with their steps."""
    calls = Calls()
    run = sparring.train("ring", steps=3, log_steps=2, width=8, out=tmp_path / "run", listeners=[calls])
    assert calls.told == [
        "started at 0", "stepped 1", "stepped 2", "stepped 3", "ended finished, since reached --steps 3",
    ]  # fmt: skip
    assert calls.lines == [line["step"] for line in run.log()][: len(calls.lines)]
    again = Calls()
    sparring.resume(run.path, steps=4, listeners=[again])
    assert again.told == ["started at 3", "stepped 4", "ended finished, since reached --steps 4"]
    poison({0, 1, 2}, monkeypatch)
    failing = Calls()
    with pytest.warns(SparringWarning), pytest.raises(sparring.DivergenceError):
        sparring.train("ring", out=tmp_path / "failing", listeners=[failing], **OPTIONS | {"steps": 5})
    assert failing.told[:3] == ["started at 0", "stepped without an update", "stepped without an update"]
    assert failing.told[-1].startswith("ended failed, since the discriminator diverged")

"""A training that starts with another run's networks, and a run that goes on with other settings."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring import SparringWarning, UsageError
from sparring.modalities import keep
from sparring.seeding import Stream
from sparring.training.build import build
from sparring.training.checkpoint import load, load_latest
from sparring.training.loop import Training
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve
from sparring.training.start_from import open_start

SMALL: dict[str, Any] = {
    "width": 2, "batch_size": 8, "evaluation_share": 0.0, "sample_steps": 1000, "augment": 0.0,
}  # fmt: skip


def images(names: list[str], side: int = 16, seed: int = 0) -> Path:
    """Twelve random images of each class, or 24 without labels."""
    pixels = Stream(seed, "images").integers(256, 12 * (len(names) or 2), side, side).numpy().astype(np.uint8)
    return keep(pixels, labels=[name for name in names for _ in range(12)] or None)


def train(data: str | Path, out: Path, **settings: Any) -> sparring.Run:
    return sparring.train(data, out=out, progress=False, **{"steps": 3, **SMALL, **settings})


def start(data: str | Path, run: Path | sparring.Run, **settings: Any) -> Training:
    """The training before its first step."""
    small = {name: value for name, value in SMALL.items() if name != "width"}
    recipe, dataset = resolve(make_request(str(data), start_from=run, **{"steps": 3, **small, **settings}))
    assert recipe.start_from is not None
    return build(recipe, dataset, start=open_start(recipe.start_from))


def test_it_starts_where_the_other_run_ended(tmp_path: Path) -> None:
    """Both players and the average; the optimisers begin anew."""
    run = train("ring", tmp_path / "a")
    state, before = start("ring", run).state(), load_latest(run.checkpoints)[1]
    names = [name for name in before if name.startswith(("generator.", "discriminator.", "average."))]
    assert all(torch.equal(state[name], before[name]) for name in names)
    assert not any(name.startswith(("generator_optimizer.", "discriminator_optimizer.")) for name in state)


def test_an_earlier_checkpoint_can_be_sampled_and_started_from(tmp_path: Path) -> None:
    """Red where the newest one is taken, or the weights that are not averaged."""
    constant = {"schedule": "constant", "penalty_final": 1.0}
    run = train("ring", tmp_path / "a", checkpoint_steps=2, steps=4, **constant)
    early = run.checkpoints / "step-000002"
    expected = sparring.load(train("ring", tmp_path / "b", steps=2, **constant)).sample(5)
    assert np.array_equal(sparring.load(early).sample(5), expected)
    assert not np.array_equal(sparring.load(run).sample(5), expected)
    average = load(early)[1]["average.1.weight"]
    assert torch.equal(start("ring", early).state()["average.1.weight"], average)


@pytest.mark.parametrize("penalty", ["none", "spectral_norm"])
@pytest.mark.parametrize("network", ["conv", "dcgan", "resnet", "mlp"])
def test_classes_are_matched_by_name(network: str, penalty: str, tmp_path: Path) -> None:
    """Both networks give the same for a class of that name, whatever its number is; a new one has the mean's weights.

    Spectral normalisation is part of the function that the discriminator starts with.
    """
    run = train(images(["cat", "dog", "owl"]), tmp_path / "a", network=network, penalty=penalty, conditional=True)
    with pytest.warns(SparringWarning, match="1 of 3 classes are new and start with the mean of the others .ant.$"):
        training = start(images(["ant", "dog", "cat"]), run)
    before = open_start(str(run.path))
    assert (before.config.class_names, training.config.class_names) == (("cat", "dog", "owl"), ("ant", "cat", "dog"))
    old, new = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 2, 2])
    latents, samples = torch.randn(4, training.recipe.latent_dim), torch.randn(4, *training.config.modality.item_shape)
    for mine, other, inputs in (
        (training.game.generator, before.generator, latents),
        (training.average.module, before.average, latents),
        (training.game.discriminator, before.discriminator, samples),
    ):
        torch.testing.assert_close(mine.eval()(inputs, new), other.eval()(inputs, old), rtol=0, atol=1e-5)
    assert before.discriminator.classes is not None
    rows = before.discriminator.classes.weight
    torch.testing.assert_close(training.game.discriminator.classes.weight[0], rows.mean(0))  # type: ignore[union-attr, index]


def test_another_size_keeps_the_layers_that_fit(tmp_path: Path) -> None:
    """The layers next to the images; those next to the latents and the logit are new."""
    run = train(images([]), tmp_path / "a", num_clusters=1)
    with pytest.warns(SparringWarning, match=r"of \d+ tensors are new, since their shapes differ .16×16 px.* → 32×32"):
        training = start(images([], seed=1), run, size=(32, 32))
    before, now = load_latest(run.checkpoints)[1], training.state()
    assert torch.equal(now["discriminator.features.0.weight"], before["discriminator.features.0.weight"])
    for part in ("generator", "average"):
        last = [max(int(n.split(".")[1]) for n in each if n.startswith(f"{part}.")) for each in (before, now)]
        assert last[1] > last[0]  # it has more layers
        assert torch.equal(now[f"{part}.{last[1]}.weight"], before[f"{part}.{last[0]}.weight"])
    assert start(images([], seed=1), run).recipe.size == (16, 16)  # the other run's, if none is given


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ("labelled", {"width": 3}, "width is 2 in .*run, and 3 was asked for"),
        ("labelled", {"network": "mlp"}, "network is conv in .*run, and mlp was asked for"),
        ("labelled", {"latent_dim": 8}, "latent_dim is 64 in .*run, and 8 was asked for"),
        ("ring", {}, "makes images, and ring holds points"),
        ("labelled", {"conditional": False, "num_clusters": 1}, "was trained with labels, and this .* be without"),
        ("labelled", {"start_from": "nowhere"}, "holds no run"),
    ],
)
def test_what_does_not_fit_is_refused(data: str, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = train(labelled := images(["a", "b"]), tmp_path / "run")
    options = {"start_from": run, "steps": 1, "batch_size": 8, "out": tmp_path / "new", "progress": False, **settings}
    with pytest.raises(UsageError, match=message):
        sparring.train(labelled if data == "labelled" else data, **options)
    assert not (tmp_path / "new").exists()


def test_with_and_without_labels(tmp_path: Path) -> None:
    """Few images without labels get two clusters, since the other run's networks take classes."""
    without = train(images([]), tmp_path / "without", num_clusters=1)
    labelled = images(["a", "b"])
    with pytest.warns(SparringWarning, match="labels of .* are not used, since .*without was trained without labels"):
        assert start(labelled, without).config.label_size == 0
    with pytest.raises(UsageError, match="without was trained without labels, and this training would be with some"):
        start(labelled, without, conditional=True)
    labels = train(labelled, tmp_path / "with")
    assert start(images([]), labels).recipe.num_clusters == 2
    assert resolve(make_request(str(labelled), "wgan", start_from=labels, batch_size=8))[0].conditional


def test_the_other_run_is_not_needed_any_more(tmp_path: Path) -> None:
    """A run that was stopped goes on to the same bytes after the other one is gone."""
    other = train("ring", tmp_path / "other")
    whole, stopped = (
        sparring.train("ring", start_from=other, out=tmp_path / name, steps=steps, progress=False, schedule="constant",
                       penalty_final=1.0)
        for name, steps in (("whole", 6), ("stopped", 3))
    )  # fmt: skip
    assert stopped.recipe().start_from == str(other.path.resolve())
    shutil.rmtree(other.path)
    sparring.resume(stopped, steps=6, progress=False)
    (_, expected), (_, found) = (load_latest(run.checkpoints) for run in (whole, stopped))
    assert all(torch.equal(expected[name], found[name]) for name in expected if not name.startswith("log"))


def test_a_run_goes_on_with_other_settings(tmp_path: Path) -> None:
    """They are in recipe.json and in the log; the training with them is the one of an edited recipe.json."""
    data, more = images(["a", "b"]), images(["a", "b"], seed=1)
    run, edited = (train(data, tmp_path / name, log_steps=1) for name in ("run", "edited"))
    changes: dict[str, Any] = {"data": str(more), "batch_size": 12, "learning_rate": 1e-4}
    edited.write_recipe(replace(edited.recipe(), **changes))
    for each, settings in ((run, {**changes, "data": more}), (edited, {})):
        with pytest.warns(SparringWarning, match="batch_size 8 → 12"):
            sparring.resume(each, steps=5, progress=False, **settings)
    assert changes.items() <= vars(run.recipe()).items()
    assert run.log()[3]["changed"]["batch_size"] == [8, 12]
    assert run.log()[-1]["images"] == 3 * 8 + 2 * 12
    (_, expected), (_, found) = (load_latest(each.checkpoints) for each in (edited, run))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": ["a", "c"]}, "their classes are not those that the run began with.*--start-from"),
        ({"data": ["a", "b", "c"]}, "their classes are not those that the run began with"),
        ({"width": 3}, "width was 2 and is 3, but a run cannot be resumed with another width"),
        ({"batch_size": 0}, "batch_size=0: must be greater"),
        ({"batch_size": 100}, "fewer than a batch of 100"),
        ({"data": "/no/such/place.npz"}, r"no file or folder.*sparring resume \S+run\S* --data NEW"),
    ],
)
def test_a_run_does_not_go_on_with_what_does_not_fit(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = train(images(["a", "b"]), tmp_path / "run")
    before = (run.path / "recipe.json").read_bytes()
    if isinstance(names := settings.get("data"), list):
        settings = {"data": images(names)}
    with pytest.raises(sparring.SparringError, match=message):
        sparring.resume(run, steps=5, progress=False, **settings)
    assert (run.path / "recipe.json").read_bytes() == before

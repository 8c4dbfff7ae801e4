"""The metric card: repeatable to the byte, honest about its floor, and refused where it would mean nothing."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import sparring
from sparring import UsageError, evaluate
from sparring.data import open_dataset
from sparring.display import show_card
from sparring.evaluation import Figure
from sparring.metrics import Estimate, Extractor, are_digits, extractor_for, neutral_extractor_for


@pytest.mark.usefixtures("short_divergence")
def test_twice_the_same_card(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    card = evaluate(run.path, n=100)
    first = (run.path / "card.json").read_bytes()
    assert evaluate(run.path, n=100) == card
    assert (run.path / "card.json").read_bytes() == first
    assert evaluate(run.path, n=100, seed=1).figures != card.figures
    written = json.loads(first)
    assert written["num_generated"] == written["num_real"] == written["num_heldout"] == 100


def test_a_card_of_three_steps_is_bad_and_its_floor_good(tmp_path: Path) -> None:
    """Nothing is learnt in three steps, so each figure must tell the samples from the held-out digits, its intervals
    apart: a figure that is swapped, or taken between the wrong sets, doesn't."""
    run = sparring.train("digits", steps=3, width=8, out=tmp_path / "run")
    card = evaluate(run.path, n=1200)
    figures = card.figures
    assert set(card.extractors) == {"digit classifier", "random convolutions"}
    assert (card.num_real, card.num_generated, card.num_heldout) == (1200, 1200, 1000)
    for name in ("frechet_distance", "kernel_distance", "divergence", "class_distance"):
        assert figures[name].generated.low > figures[name].floor.high, name
        assert figures[name].matched.low > figures[name].floor.high, name
    for name in ("precision", "recall", "density", "coverage", "class_entropy", "class_agreement"):
        assert figures[name].generated.high < figures[name].floor.low, name
    assert figures["divergence"].floor.low < 0.01
    assert figures["memorization"].floor.low < 0.0 < figures["memorization"].floor.high
    assert figures["memorization"].extractor == "random convolutions"
    assert run.summary().metrics["recall"] == figures["recall"].generated.value


@pytest.mark.usefixtures("short_divergence")
def test_each_class_has_figures_of_its_own(tmp_path: Path) -> None:
    """Folders of dark, bright and few images: the floor of each class is good, and too small a class is left out."""
    generator = np.random.default_rng(0)
    for name, count, level in (("dark", 600, 40), ("bright", 700, 200), ("few", 30, 120)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.normal(level, 20, (28, 28)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    run = sparring.train(str(tmp_path / "images"), steps=3, width=8, out=tmp_path / "run")
    card = evaluate(run.path, n=400)
    assert list(card.classes) == ["bright", "dark"]
    for figures in card.classes.values():
        floor = figures["class_agreement"].floor
        assert floor is not None
        assert (floor.value, figures["class_agreement"].extractor) == (1.0, "random convolutions")
        assert figures["precision"].generated.high < figures["precision"].floor.low
    unconditional = sparring.train(
        str(tmp_path / "images"), steps=3, width=8, conditional=False, out=tmp_path / "without"
    )
    assert evaluate(unconditional.path, n=400).classes == {}


@pytest.mark.usefixtures("short_divergence")
def test_points_are_drawn_anew_for_the_floor(tmp_path: Path) -> None:
    """A mixture is its own held-out set: drawn by the same stream, the floor would be perfect, and all of it copies."""
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    figures = evaluate(run.path, n=400).figures
    assert 0.8 < figures["coverage"].floor.value < 1.0
    assert figures["memorization"].floor.low < 0.5
    assert figures["frechet_distance"].matched == figures["frechet_distance"].generated


@pytest.mark.usefixtures("short_divergence")
def test_the_card_of_a_mixture_counts_its_modes(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    figures = evaluate(run.path, n=1000).figures
    assert (figures["modes"].floor.value, figures["modes"].generated.value) == (8, 0)
    assert figures["high_quality"].floor.low < 1 - np.exp(-4.5) < figures["high_quality"].floor.high
    assert figures["reverse_kl"].generated.low > figures["reverse_kl"].floor.high


def test_fid_is_refused_where_it_means_nothing(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="FID is of images"):
        evaluate(run.path, n=3000, fid=True)


@pytest.mark.usefixtures("short_divergence")
def test_fid_takes_more_samples_than_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another network in Inception's place."""
    inception = Extractor("inception", nn.Sequential(nn.Flatten(), nn.Linear(784, 20)))
    monkeypatch.setattr("sparring.evaluation.inception_features", lambda: inception)
    run = sparring.train("digits", steps=3, width=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="FID takes more than 2,048 samples"):
        evaluate(run.path, n=2048, fid=True)
    monkeypatch.setattr("sparring.evaluation.NUM_INCEPTION_FEATURES", 20)  # as the network below
    card = evaluate(run.path, n=1100, fid=True)
    assert card.figures["fid"].extractor == "inception"
    assert card.extractors["inception"] == inception.hash
    assert card.figures["fid"].floor is not None
    monkeypatch.setattr("sparring.evaluation.NUM_INCEPTION_FEATURES", 1000)
    fid = evaluate(run.path, n=1100, fid=True).figures["fid"]
    assert (fid.matched, fid.floor) == (None, None)  # of a thousand held-out digits


@pytest.mark.usefixtures("short_divergence")
def test_the_best_generator_has_a_card_of_its_own(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=100, evaluation_steps=50, out=tmp_path / "run")
    evaluate(run.best, n=100)
    assert (run.best / "card.json").exists()
    assert not (run.path / "card.json").exists()
    assert run.summary().metrics == {}


@pytest.mark.usefixtures("short_divergence")
def test_the_card_fits_into_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    card = evaluate(run.path, n=200)
    figures = {"class_agreement": 0.5, "precision": 0.25, "coverage": 0.125}
    line = {name: Figure("coordinates", *[Estimate(value, 0.0, 1.0)] * 3) for name, value in figures.items()}
    card = dataclasses.replace(card, classes={f"{number} with a long name": line for number in range(30)})
    show_card(card)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name.replace("_", " ") in shown for name in card.figures)
    assert card.extractors["coordinates"] in shown
    assert "and 10 classes more" in shown


def test_each_kind_of_data_has_extractors_that_fit() -> None:
    digits, large, stacked = open_dataset("digits"), open_dataset("digits", size=32), open_dataset("stacked-digits")
    assert [are_digits(dataset) for dataset in (digits, large, stacked)] == [True, False, False]
    assert extractor_for(digits).name == "digit classifier"
    assert extractor_for(large).name == neutral_extractor_for(digits).name == "random convolutions"
    assert extractor_for(open_dataset("grid")).name == "coordinates"


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="at least 50 samples"):
        evaluate(run.path, n=49)
    sick = sparring.load(run.path)
    for parameter in sick.module.parameters():
        parameter.fill_(np.nan)
    sick.save(run.generator)
    with pytest.raises(UsageError, match="are not finite: its training diverged"):
        evaluate(run.path, n=50)
    (run.path / "generator" / "config.json").unlink()
    with pytest.raises(UsageError, match="there is no generator"):
        evaluate(run.path)
    with pytest.raises(UsageError, match="holds no run"):
        evaluate(tmp_path / "elsewhere")


def test_few_data_and_data_that_changed_since_the_training(tmp_path: Path) -> None:
    file = tmp_path / "points.npy"
    np.save(file, np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32))
    run = sparring.train(str(file), steps=2, width=8, batch_size=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="has 90 and 10, and 100 are to be generated"):
        evaluate(run.path, n=100)
    np.save(file, np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    with pytest.raises(UsageError, match="the data have changed"):
        evaluate(run.path, n=100)
    file.unlink()
    with pytest.raises(UsageError, match=r"points\.npy"):
        evaluate(run.path, n=100)

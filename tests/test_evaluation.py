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
from sparring.cli.terminal import show_card
from sparring.evaluation.card import Row, check_figure
from sparring.evaluation.figures import FIGURES
from sparring.files import read_json
from sparring.metrics import Estimate, Extractor
from sparring.modalities import images as image_modality
from sparring.modalities import open_dataset

MET_BY_DIGITS, MET_BY_RING = ("", "heldout", "labels", "classifier", "detail", "specks"), ("", "heldout", "mixture")


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


@pytest.mark.slow
@pytest.mark.usefixtures("short_divergence")
def test_a_card_of_three_steps_is_bad_and_its_floor_good(tmp_path: Path) -> None:
    """Nothing is learnt in three steps, so each figure must tell the samples from the held-out digits, its intervals
    apart: a figure that is swapped, or taken between the wrong sets, doesn't."""
    run = sparring.train("digits", steps=3, width=8, out=tmp_path / "run")
    card = evaluate(run.path, n=1200)
    figures = card.figures
    assert set(card.extractors) == {"digit classifier", "random convolutions"}
    assert (card.num_real, card.num_generated, card.num_heldout) == (1200, 1200, 1000)
    assert list(figures) == [name for name, each in FIGURES.items() if each.in_card and each.needs in MET_BY_DIGITS]
    for name in ("frechet_distance", "kernel_distance", "divergence", "class_distance"):
        assert figures[name].generated.low > figures[name].floor.high, name
        assert figures[name].matched.low > figures[name].floor.high, name
    for name in ("precision", "recall", "density", "coverage", "class_entropy", "class_agreement"):
        assert figures[name].generated.high < figures[name].floor.low, name
    assert figures["divergence"].floor.low < 0.01
    assert figures["memorization"].floor.low < 0.0 < figures["memorization"].floor.high
    assert figures["memorization"].extractor == "random convolutions"
    assert run.summary().metrics["recall"] == figures["recall"].generated.value
    for name in ("frechet_distance", "kernel_distance", "divergence"):
        assert card.neutral[name].generated.low > card.neutral[name].floor.high, name


@pytest.mark.usefixtures("short_divergence")
def test_a_card_shows_both_extractors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coloured card has every figure of features twice; one of points, with the neutral extractor alone, has not."""
    monkeypatch.setattr(image_modality, "LEAST_SEEN_SIDE", 28)
    run = sparring.train("stacked-digits", steps=1, width=8, evaluation_share=0.0, out=tmp_path / "run")
    card = evaluate(run.path, n=100)
    assert list(card.extractors) == ["EfficientNet-Lite0", "random convolutions"]
    assert {row.extractor for row in card.neutral.values()} == {"random convolutions"}
    assert set(card.neutral) == {name for name, each in FIGURES.items() if each.in_card and not each.needs}
    assert {card.figures[name].extractor for name in card.neutral} == {"EfficientNet-Lite0"}
    assert card.figures["kernel_distance"].generated != card.neutral["kernel_distance"].generated
    show_card(card)
    shown = capsys.readouterr().out
    own, neutral = shown.split("by random convolutions")
    assert own.count("kernel distance") == neutral.count("kernel distance") == 1
    assert "fid" not in shown.lower()
    assert read_json(run.path / "card.json", type(card)) == card
    written = json.loads((run.path / "card.json").read_text())
    del written["neutral"]  # a card of before
    (run.path / "card.json").write_text(json.dumps(written))
    assert read_json(run.path / "card.json", type(card)).neutral == {}
    points = sparring.train("ring", steps=1, width=8, out=tmp_path / "points")
    assert evaluate(points.path, n=100).neutral == {}


@pytest.mark.slow
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
    assert list(figures) == [name for name, each in FIGURES.items() if each.in_card and each.needs in MET_BY_RING]
    assert (figures["modes"].floor.value, figures["modes"].generated.value) == (8, 0)
    assert figures["high_quality"].floor.low < 1 - np.exp(-4.5) < figures["high_quality"].floor.high
    assert figures["reverse_kl"].generated.low > figures["reverse_kl"].floor.high


def test_fid_is_refused_where_it_means_nothing(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, width=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="FID is of images"):
        evaluate(run.path, n=3000, fid=True)


@pytest.mark.slow
@pytest.mark.usefixtures("short_divergence")
def test_fid_takes_more_samples_than_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another network in Inception's place."""
    inception = Extractor("inception", nn.Sequential(nn.Flatten(), nn.Linear(784, 20)))
    monkeypatch.setattr("sparring.modalities.images.inception_features", lambda: inception)
    run = sparring.train("digits", steps=3, width=8, out=tmp_path / "run")
    with pytest.raises(UsageError, match="FID takes more than 2,048 samples"):
        evaluate(run.path, n=2048, fid=True)

    def set_number(number: int) -> None:
        for module in ("card", "figures"):
            monkeypatch.setattr(f"sparring.evaluation.{module}.NUM_INCEPTION_FEATURES", number)

    set_number(20)  # as the network above
    card = evaluate(run.path, n=100, fid=True)
    assert card.figures["fid"].extractor == "inception"
    assert card.extractors["inception"] == inception.hash
    assert card.figures["fid"].floor is not None
    set_number(1000)
    fid = evaluate(run.path, n=1100, fid=True).figures["fid"]
    assert (fid.matched, fid.floor) == (None, None)  # of a thousand held-out digits


@pytest.mark.slow
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
    line = {name: Row("coordinates", *[Estimate(value, 0.0, 1.0)] * 3) for name, value in figures.items()}
    card = dataclasses.replace(card, classes={f"{number} with a long name": line for number in range(30)})
    show_card(card)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name.replace("_", " ") in shown for name in card.figures)
    assert card.extractors["coordinates"] in shown
    assert "and 10 more classes" in shown


def test_every_figure_has_one_line_and_a_teller() -> None:
    page = Path("docs/health.md").read_text(encoding="utf-8")
    for name, figure in FIGURES.items():
        assert name == figure.name
        assert figure.summary
        assert figure.in_card or figure.in_monitor
        assert not figure.in_monitor or f"`{name}`" in page, name


def test_a_study_is_told_before_it_begins_which_figures_there_will_not_be() -> None:
    digits, ring = open_dataset("digits"), open_dataset("ring")
    check_figure("class_agreement", 1000, conditional=True, dataset=digits)
    check_figure("class_entropy", 1000, conditional=False, dataset=digits)
    check_figure("modes", 1000, conditional=False, dataset=ring)
    with pytest.raises(UsageError, match="class_agreement needs labels"):
        check_figure("class_agreement", 1000, conditional=False, dataset=digits)
    with pytest.raises(UsageError, match="class_entropy needs a trained classifier, and ring comes with none"):
        check_figure("class_entropy", 1000, conditional=False, dataset=ring)
    with pytest.raises(UsageError, match="modes needs a mixture of Gaussians"):
        check_figure("modes", 1000, conditional=False, dataset=digits)
    with pytest.raises(UsageError, match="at least 97 training, held-out and generated"):
        check_figure("recall", 96, conditional=False, dataset=digits)


def test_each_kind_of_data_has_extractors_that_fit() -> None:
    digits, large, stacked = open_dataset("digits"), open_dataset("digits", (32, 32)), open_dataset("stacked-digits")
    classifiers = [dataset.trained_classifier for dataset in (digits, large, stacked)]
    assert [classifier is not None for classifier in classifiers] == [True, False, False]
    assert digits.extractor().name == "digit classifier"
    assert large.extractor().name == digits.modality.neutral_extractor().name == "random convolutions"
    assert open_dataset("grid").extractor().name == "coordinates"
    assert [each.name for each in stacked.extractors()] == ["random convolutions", "EfficientNet-Lite0"]
    assert [each.name for each in digits.extractors()][:2] == ["digit classifier", "random convolutions"]


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
    with pytest.raises(UsageError, match="there is no generator"):
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

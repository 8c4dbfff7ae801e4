"""The classifier of a data set's own labels: what it learns, that it is trained once, and that cards use it."""

from pathlib import Path

import numpy as np
import pytest

import sparring
from sparring.data.vowels import sing_vowels
from sparring.evaluation import classifier
from sparring.evaluation.classifier import count_categories, with_classifier
from sparring.modalities import Dataset
from sparring.seeding import Stream


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "STEPS", 100)


def sing(folder: Path) -> Dataset:
    """Vowels, each louder or softer, with both as attributes."""
    waves, labels = sing_vowels(700)
    loud = (np.arange(700) % 7 < 3).astype(int)
    np.savez(
        folder / "sung.npz",
        sounds=waves * np.where(loud, 1.0, 0.1)[:, None].astype(np.float32),
        sample_rate_hz=8000,
        **{"labels:vowel": np.array([*"ieaou"])[labels], "labels:voice": np.array(["soft", "loud"])[loud]},
    )
    return sparring.open_dataset(str(folder / "sung.npz"))


def test_it_tells_the_classes_of_sounds_that_it_never_heard() -> None:
    dataset = with_classifier(sparring.open_dataset("vowels"))
    samples, labels = (draw(100, Stream(0, "x")) for draw in (dataset.heldout.batch, dataset.heldout.labels))
    assert dataset.classifier is not None
    assert labels is not None
    assert (dataset.classifier.classify(samples) == labels).double().mean() > 0.95
    assert dataset.extractor()(samples).shape == (100, 64)


def test_it_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_classifier(sparring.open_dataset("vowels"))
    monkeypatch.delattr(classifier, "train")
    assert with_classifier(sparring.open_dataset("vowels")).extractor().hash == first.extractor().hash


def test_no_classifier_without_labels_or_beside_one_that_comes_with_the_data() -> None:
    for name in ("digits", "ring"):
        dataset = sparring.open_dataset(name)
        assert with_classifier(dataset) is dataset


def test_each_combination_of_attributes_is_a_class_of_the_card(tmp_path: Path) -> None:
    dataset = with_classifier(sing(tmp_path))
    assert count_categories(dataset) == [5, 2]
    run = sparring.train(
        tmp_path / "sung.npz", steps=2, width=4, batch_size=4, out=tmp_path / "run", evaluation_share=0, progress=False
    )
    assert [each.values for each in dataset.attributes] == [("a", "e", "i", "o", "u"), ("loud", "soft")]
    samples, vectors = (draw(200, Stream(0, "x")) for draw in (dataset.train.batch, dataset.train.labels))
    assert dataset.classifier is not None
    assert vectors is not None
    expected = 2 * vectors[:, :5].argmax(1) + vectors[:, 5:].argmax(1)
    assert (dataset.classifier.classify(samples) == expected).double().mean() > 0.8
    agreement = sparring.evaluate(run, n=1000, only="class_agreement").figures["class_agreement"]
    assert agreement.generated.value < 0.5  # the generator has learned nothing yet
    assert agreement.floor is not None
    assert agreement.floor.value > 0.5

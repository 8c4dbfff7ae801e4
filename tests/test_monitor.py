"""The monitor: its figures on known generators, its budget, and that it changes nothing."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.data import Items, to_float
from sparring.data.corruptions import add_specks, blur
from sparring.errors import SparringWarning, UsageError
from sparring.evaluation.figures import FIGURES
from sparring.evaluation.health import CLEAR_COPIES, RULES
from sparring.evaluation.monitor import Monitor, can_monitor
from sparring.game.ema import Average
from sparring.metrics import memorization
from sparring.modalities import images as image_modality
from sparring.modalities import open_dataset
from sparring.modalities.images import Images
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.training.build import build
from sparring.training.loop import Training, play_step
from sparring.training.meter import Meter, does_evaluate
from sparring.training.recipe import make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import resolve
from sparring.training.run_folder import COUNTERS, NUMBERS, create_run
from sparring.types import LogLine

GROWTHS = {"generator_growth", "discriminator_growth", "seconds"}


class Copies(nn.Module):
    """Gives one of its items, by the latents."""

    def __init__(self, items: Tensor) -> None:
        super().__init__()
        self.items = items
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        index = (latents.abs().sum(1) * 1e4).long() % len(self.items)
        return self.items[index].float() / 127.5 - 1 + 0 * self.weight


def begin(data: str = "digits", dataset: Dataset | None = None, **settings: object) -> Training:
    recipe, opened = resolve(make_request(data, None, steps=5, width=8, **settings))
    return build(recipe, dataset or opened)


def measure(training: Training) -> dict[str, float]:
    return Monitor(training.game, training.dataset).measure(training.generator())


def measure_items(items: Tensor) -> dict[str, float]:
    """The figures of a generator that gives these items."""
    training = begin()
    training.average = Average(Copies(items), 0.0)
    return measure(training)


def measure_shares(items: Tensor) -> list[float]:
    """The shares of the classes among these items."""
    training = begin()
    training.average = Average(Copies(items), 0.0)
    monitor = Monitor(training.game, training.dataset)
    monitor.measure(training.generator())
    return monitor.class_shares


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset("digits")


def test_held_out_digits_are_good_samples(digits: Dataset) -> None:
    """Five standard errors: red by chance in less than one of a million seeds, and the seed is fixed."""
    assert isinstance(digits.heldout, Items)
    figures = measure_items(digits.heldout.items)
    assert abs(figures["distance"]) < 5 * figures["distance_error"]
    assert figures["coverage"] > 0.8
    assert figures["precision"] > 0.6
    assert 0.9 < figures["diversity"] < 1.1
    assert figures["missing"] == 0.0
    # They are the held-out items that training items are compared with: the nearest to each is itself.
    assert figures["memorization"] < -5


def test_copies_are_found(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    figures = measure_items(digits.train.items)
    assert figures["memorization"] == 1.0
    assert figures["coverage"] > 0.9


def test_one_class_and_one_image_are_found(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    assert digits.train.item_labels is not None
    threes = measure_items(digits.train.items[digits.train.item_labels == 3])
    assert threes["missing"] == pytest.approx(0.9, abs=0.05)
    assert threes["diversity"] > 0.3
    shares = measure_shares(digits.train.items[digits.train.item_labels == 3])
    assert len(shares) == 10
    assert shares[3] == max(shares) > 0.9
    assert sum(shares) == pytest.approx(1)
    one = measure_items(digits.train.items[:1])
    assert one["diversity"] == pytest.approx(0.0, abs=1e-4)
    assert one["missing"] == pytest.approx(0.9, abs=0.05)


def test_specks_and_blur_are_found(digits: Dataset) -> None:
    """Two sets of 500 of one distribution lie .45 apart with a probability below 2 exp(−2 · 250 · .45²) = 1e-43."""
    assert isinstance(digits.heldout, Items)
    good = measure_items(digits.heldout.items)
    assert max(good["detail_distance"], good["speck_distance"]) < 0.45
    images = digits.heldout.items[:, 0].numpy()
    specked = measure_items(torch.from_numpy(add_specks(images, 0.02, Stream(0, "specks")))[:, None])
    assert specked["speck_distance"] > RULES["artefacts"].threshold
    blurred = measure_items(torch.from_numpy(blur(images, 3))[:, None])
    assert blurred["detail_distance"] > RULES["artefacts"].threshold


def test_a_resumed_run_is_measured_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its log names; by what an older sparring used where it names nothing; or not at all if that is gone."""
    monkeypatch.setattr(image_modality, "LEAST_SEEN_SIDE", 28)
    training = begin("stacked-digits")
    meter = Meter(training)
    assert meter.monitor is not None
    assert meter.monitor.extractor.name == "EfficientNet-Lite0"
    old: LogLine = {"step": 1, "seconds": 1.0, "progress": 0.1, "evaluation": {"seconds": 0.1}}
    old |= dict.fromkeys(NUMBERS, 0.5)
    for names, line in (
        (["random convolutions"], old),
        (["random convolutions"], old | {"measured_by": "random convolutions"}),
        (["EfficientNet-Lite0"], old | {"measured_by": "EfficientNet-Lite0"}),
    ):
        monitor = Meter(training, [line]).monitor
        assert monitor is not None
        assert [monitor.extractor.name] == names
    with pytest.raises(UsageError, match="another network, which has measured this run, is missing: pip install"):
        Meter(training, [old | {"measured_by": "another network"}])
    digits = Meter(begin(), [old]).monitor
    assert digits is not None
    assert digits.extractor.name == "digit classifier"


def test_the_log_says_what_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_modality, "LEAST_SEEN_SIDE", 28)
    training, run = begin("stacked-digits", evaluation_steps=1), create_run(tmp_path, "stacked")
    meter = Meter(training)
    report = play_step(training)
    meter.stepped(training, report)
    assert training.line is not None
    assert training.line["measured_by"] == "EfficientNet-Lite0"
    run.append(training.line)
    assert run.log()[0]["measured_by"] == "EfficientNet-Lite0"


class ByMean(nn.Module):
    """A discriminator that gives the mean of the pixels: its logits are known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.weight * images.mean((1, 2, 3))


def test_separation_and_overfitting_by_hand() -> None:
    """Training images at 0.5, held-out ones at 0, generated ones at −0.5, with a spread of ±0.1."""

    def flat(center: float) -> Tensor:
        values = (
            center + 0.1 * torch.linspace(-1, 1, 100)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
        )
        return values[:, None, None, None].expand(100, 1, 28, 28).clone()

    dataset = Dataset("flat", Images((1, 28, 28)), Items(flat(0.5)), Items(flat(0.0)))
    training = begin(dataset=dataset, conditional=False)
    training.game.discriminator = ByMean()
    training.game.generator = Copies((flat(-0.5) + 1) * 127.5)
    figures = measure(training)
    assert figures["separation"] == 1.0
    assert figures["overfitting"] == pytest.approx(0.5, abs=0.02)
    assert figures["overfitting_error"] == pytest.approx((2 * 0.1**2 / 3 / 100) ** 0.5, rel=0.1)


def test_measuring_changes_nothing() -> None:
    """Neither the game's state (batch statistics, the discriminator's mode) nor the numbers it draws next."""
    first, second = begin(), begin()
    first.game.discriminator.train()
    measure(first)
    assert first.game.discriminator.training
    one, other = first.game.state(), second.game.state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert play_step(first) == play_step(second)


def test_twice_the_same_figures() -> None:
    training = begin()
    monitor = Monitor(training.game, training.dataset)
    one, other = (monitor.measure(training.generator()) for _ in range(2))
    assert one | {"seconds": 0} == other | {"seconds": 0}


@pytest.mark.parametrize("data", ["ring", "grid", "stacked-digits"])
def test_every_kind_of_data_is_measure_items(data: str) -> None:
    figures = measure(begin(data))
    assert {"distance", "coverage", "diversity", "missing", "separation"} <= figures.keys()
    assert figures.keys() <= {"seconds"} | {name for name, figure in FIGURES.items() if figure.in_monitor}
    assert ("modes" in figures) == (data != "stacked-digits")
    assert "memorization" not in figures  # these draw every sample anew
    assert 0 <= figures["missing"] <= 1


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_a_generator_that_is_not_finite_has_no_figures(data: str) -> None:
    """Also where its images would be black, since bytes know no NaN."""
    training = begin(data)
    with torch.no_grad():
        for parameter in training.average.module.parameters():
            parameter.fill_(torch.nan)
    assert measure(training).keys() == GROWTHS


def test_the_budget_is_enough_for_the_last_evaluation() -> None:
    """Evaluations of one second each within 5 % of 100 seconds: the first is expected to cost a quarter of one; those
    of the second half leave time for the one at the end."""
    monitor = Monitor(begin("ring").game, open_dataset("ring"), share=0.05)
    steps = []
    for step in range(1, 1001):
        if monitor.is_due(step, step / 10, step / 1000):
            monitor.note(step, step / 10, {"seconds": 1.0})
            steps.append(step)
    assert steps == [50, 400, 800, 1000]


def test_cheap_evaluations_are_spaced() -> None:
    """At 0.02 seconds each the budget would allow one at every step for a while; each comes a fiftieth later."""
    monitor = Monitor(begin("ring").game, open_dataset("ring"), share=0.05)
    times = []
    for step in range(1, 10_001):
        if monitor.is_due(step, step / 100, 0.0):
            monitor.note(step, step / 100, {"seconds": 0.02})
            times.append(step / 100)
    gaps = [(after - before) / after for before, after in pairwise(times)]
    assert min(gaps) >= 0.02
    assert len(times) > 100  # and not less often than that allows


def test_evaluations_by_steps() -> None:
    monitor = Monitor(begin("ring").game, open_dataset("ring"), interval_steps=50)
    due = []
    for step in range(1, 241):
        if monitor.is_due(step, 0.1, step / 240):
            monitor.note(step, 0.1, {"seconds": 9.0})
            due.append(step)
    assert due == [50, 100, 150, 200, 240]


def test_the_best_is_the_least_distance(tmp_path: Path) -> None:
    training, run = begin("ring"), create_run(tmp_path, "ring")
    recorder, best = Recorder(run), []
    distances: list[dict[str, float]] = [{"distance": 3.0}, {"distance": 4.0}, {}, {"distance": 2.0}, {"distance": 2.0}]
    for step, distance in enumerate(distances):
        counters = dict.fromkeys((*COUNTERS, *NUMBERS), 0.0) | {"step": step}
        training.line = {**counters, "evaluation": {"seconds": 0.1, **distance}}
        recorder.stepped(training, None)
        best.append(json.loads((run.best / "measured.json").read_text())["step"])
    assert best == [0, 0, 0, 3, 3]


def test_few_items_are_not_monitored(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    few = replace(digits, train=Items(digits.train.items[:5]))
    assert not can_monitor(few)
    assert can_monitor(digits)
    recipe = begin().recipe
    assert not does_evaluate(recipe, few)
    assert does_evaluate(recipe, digits)
    assert not does_evaluate(replace(recipe, evaluation_share=0.0), digits)


@pytest.mark.parametrize("num_items", [9000, 1400, 999, 60])
def test_copies_are_found_in_any_number_of_items(num_items: int, digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    train = Items(digits.train.items[::2][:num_items] if num_items < 4500 else digits.train.items)
    training = begin(dataset=replace(digits, train=train), conditional=False)
    training.average = Average(Copies(train.items), 0.0)
    assert measure(training)["memorization"] == 1.0


@pytest.mark.parametrize("num_train", [17, 6])
def test_copies_of_very_few_items_are_found_beside_a_single_held_out_one(num_train: int, digits: Dataset) -> None:
    """With 17 and 1 digits, other digits are taken for copies in 11 % of the cases (200 random choices)."""
    assert isinstance(digits.train, Items)
    assert isinstance(digits.heldout, Items)
    few = replace(digits, train=Items(digits.train.items[:num_train]), heldout=Items(digits.heldout.items[:1]))
    training = begin(dataset=few, conditional=False)
    training.average = Average(Copies(few.train.items), 0.0)
    figures = measure(training)
    assert figures["memorization"] == 1.0
    assert figures["diversity"] > 0.5
    training.average = Average(Copies(few.heldout.items.repeat(2, 1, 1, 1)), 0.0)
    assert measure(training)["memorization"] < 0


def test_other_digits_are_seldom_taken_for_copies_beside_a_single_held_out_one(digits: Dataset) -> None:
    """For 200 random choices of 17 and 1 digits: above the usual threshold there are about 22 of them."""
    assert isinstance(digits.train, Items)
    features = digits.modality.thumbnails()(to_float(digits.train.items[:3000]))
    scores = []
    for turn in range(200):
        order = Stream(0, "choice", turn).permutation(3000)
        train, heldout, others = (features[order[part]] for part in (slice(17), slice(17, 18), slice(1000, 1500)))
        scores.append(memorization(train, heldout, others).value)
    assert sum(score > CLEAR_COPIES for score in scores) <= 4
    assert sum(score > RULES["memorization"].threshold for score in scores) > 10


def test_a_run_of_eighteen_images_says_so_and_raises_the_alarm_of_copies(digits: Dataset, tmp_path: Path) -> None:
    assert isinstance(digits.train, Items)
    np.save(tmp_path / "a.npy", digits.train.items[:18, 0].numpy())
    training = begin(str(tmp_path / "a.npy"), batch_size=8)
    assert isinstance(training.dataset.train, Items)
    training.average = Average(Copies(training.dataset.train.items), 0.0)
    with pytest.warns(
        SparringWarning, match="has 17 items to train on and 1 held out: the samples .* measured roughly"
    ):
        meter = Meter(training)
    assert meter.monitor is not None
    losses = {"discriminator_loss": 1.0, "generator_loss": 1.0, "penalty": 0.0}
    for step in (2000, 4000, 6000):
        line = {"step": step, "progress": step / 6000, "evaluation": meter.monitor.measure(training.generator())}
        alarms = meter.doctor.see(line | losses | {"real_probability": 0.6, "fake_probability": 0.4})
    assert "memorization" in {alarm.name for alarm in alarms}


def test_what_is_too_little_to_be_measured_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8))
    with pytest.warns(
        SparringWarning, match="has 5 items to train on and 1 held out: the samples will not be measured"
    ):
        assert Meter(begin(str(tmp_path / "a.npy"), batch_size=4)).monitor is None


def test_a_class_that_only_held_out_items_have(digits: Dataset) -> None:
    """The discriminator does not know it, and is given no such item."""
    assert isinstance(digits.train, Items)
    assert digits.train.item_labels is not None
    known = digits.train.item_labels < 9
    train = Items(digits.train.items[known], digits.train.item_labels[known])
    assert "separation" in measure(begin(dataset=replace(digits, train=train)))


def test_data_that_are_all_the_same_have_no_figures() -> None:
    flat = torch.full((60, 1, 28, 28), 128, dtype=torch.uint8)
    dataset = Dataset("flat", Images((1, 28, 28)), Items(flat), Items(flat))
    assert measure(begin(dataset=dataset, conditional=False)).keys() == GROWTHS

"""The cheap evaluation: its figures on generators that are known, its budget, and that it changes nothing."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from sparring.build import build, resolve
from sparring.data import Dataset, Items, open_dataset
from sparring.ema import Average
from sparring.monitor import FIGURES, Monitor
from sparring.recipes import recipe_for
from sparring.trainer import Trainer


class Copies(nn.Module):
    """Gives one of its items, by the latents."""

    def __init__(self, items: Tensor) -> None:
        super().__init__()
        self.items = items
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        index = (latents.abs().sum(1) * 1e4).long() % len(self.items)
        return self.items[index].float() / 127.5 - 1 + 0 * self.weight


def trainer(data: str = "digits", dataset: Dataset | None = None, **settings: object) -> Trainer:
    recipe, opened = resolve(recipe_for(data, steps=5, width=8, **settings))
    return build(recipe, dataset or opened)


def measured(items: Tensor) -> dict[str, float]:
    """The figures of a generator that gives these items."""
    player = trainer()
    player.average = Average(Copies(items), 0.0)
    assert player.monitor is not None
    return player.monitor.measure(player.generator())


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset("digits")


def test_held_out_digits_are_good_samples(digits: Dataset) -> None:
    """Five standard errors: red by chance in less than one of a million seeds, and the seed is fixed."""
    assert isinstance(digits.heldout, Items)
    figures = measured(digits.heldout.items)
    assert abs(figures["distance"]) < 5 * figures["distance_error"]
    assert figures["coverage"] > 0.8
    assert figures["precision"] > 0.6
    assert 0.9 < figures["diversity"] < 1.1
    assert figures["missing"] == 0.0
    # They are the held-out items that training items are compared with: each has itself for its nearest.
    assert figures["memorization"] < -5


def test_copies_are_told(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    figures = measured(digits.train.items)
    assert figures["memorization"] == 1.0
    assert figures["coverage"] > 0.9


def test_one_class_and_one_image_are_told(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    assert digits.train.item_labels is not None
    threes = measured(digits.train.items[digits.train.item_labels == 3])
    assert threes["missing"] == pytest.approx(0.9, abs=0.05)
    assert threes["diversity"] > 0.3
    one = measured(digits.train.items[:1])
    assert one["diversity"] == pytest.approx(0.0, abs=1e-4)
    assert one["missing"] == pytest.approx(0.9, abs=0.05)


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

    dataset = Dataset("flat", Items(flat(0.5)), Items(flat(0.0)))
    player = trainer(dataset=dataset, conditional=False)
    player.game.discriminator = ByMean()
    player.game.generator = Copies((flat(-0.5) + 1) * 127.5)
    assert player.monitor is not None
    figures = player.monitor.measure(player.generator())
    assert figures["separation"] == 1.0
    assert figures["overfitting"] == pytest.approx(0.5, abs=0.02)
    assert figures["overfitting_error"] == pytest.approx((2 * 0.1**2 / 3 / 100) ** 0.5, rel=0.1)


def test_measuring_changes_nothing() -> None:
    """Neither the game's state (batch statistics, the discriminator's mode) nor the numbers it draws next."""
    first, second = trainer(), trainer()
    assert first.monitor is not None
    first.game.discriminator.train()
    first.monitor.measure(first.generator())
    assert first.game.discriminator.training
    one, other = first.game.state(), second.game.state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert first._play() == second._play()


def test_twice_the_same_figures() -> None:
    player = trainer()
    assert player.monitor is not None
    one, other = (player.monitor.measure(player.generator()) for _ in range(2))
    assert one | {"seconds": 0} == other | {"seconds": 0}


@pytest.mark.parametrize("data", ["ring", "grid", "stacked-digits"])
def test_every_kind_of_data_is_measured(data: str) -> None:
    player = trainer(data)
    assert player.monitor is not None
    figures = player.monitor.measure(player.generator())
    assert {"distance", "coverage", "diversity", "missing", "separation"} <= figures.keys()
    assert figures.keys() <= {*FIGURES, "seconds"}
    assert ("modes" in figures) == (data != "stacked-digits")
    assert "memorization" not in figures  # these draw every sample anew
    assert 0 <= figures["missing"] <= 1


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_a_generator_that_is_not_finite_has_no_figures(data: str) -> None:
    """Also where its images would be black, since bytes know no NaN."""
    player = trainer(data)
    assert player.monitor is not None
    with torch.no_grad():
        for parameter in player.average.module.parameters():
            parameter.fill_(torch.nan)
    assert player.monitor.measure(player.generator()).keys() == {"generator_growth", "discriminator_growth", "seconds"}


def test_the_budget_keeps_the_last_evaluation() -> None:
    """Evaluations of one second each within 5 % of 100 seconds: the first is taken to cost a quarter; those of
    the second half leave room for the one at the end."""
    monitor = Monitor(trainer("ring").game, open_dataset("ring"), share=0.05)
    steps = []
    for step in range(1, 1001):
        if monitor.is_due(step, step / 10, step / 1000):
            monitor.see(step, step / 10, {"seconds": 1.0})
            steps.append(step)
    assert steps == [50, 400, 800, 1000]


def test_cheap_evaluations_are_spaced() -> None:
    """At 0.02 seconds each the budget would allow one at every step for a while; they keep a fiftieth apart."""
    monitor = Monitor(trainer("ring").game, open_dataset("ring"), share=0.05)
    times = []
    for step in range(1, 10_001):
        if monitor.is_due(step, step / 100, 0.0):
            monitor.see(step, step / 100, {"seconds": 0.02})
            times.append(step / 100)
    gaps = [(after - before) / after for before, after in pairwise(times)]
    assert min(gaps) >= 0.02
    assert len(times) > 100  # and not less often than that allows


def test_evaluations_by_steps() -> None:
    monitor = Monitor(trainer("ring").game, open_dataset("ring"), interval_steps=50)
    due = []
    for step in range(1, 241):
        if monitor.is_due(step, 0.1, step / 240):
            monitor.see(step, 0.1, {"seconds": 9.0})
            due.append(step)
    assert due == [50, 100, 150, 200, 240]


def test_the_best_is_the_least_distance() -> None:
    monitor = Monitor(trainer("ring").game, open_dataset("ring"))
    distances: list[dict[str, float]] = [{"distance": 3.0}, {"distance": 4.0}, {}, {"distance": 2.0}, {"distance": 2.0}]
    assert [monitor.see(step, 1.0, each | {"seconds": 0.1}) for step, each in enumerate(distances)] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_few_items_are_not_monitored(digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    few = replace(digits, train=Items(digits.train.items[:10]))
    assert trainer(dataset=few, conditional=False, batch_size=5).monitor is None
    assert trainer(evaluation_share=0.0).monitor is None


@pytest.mark.parametrize("num_items", [9000, 1400, 999, 60])
def test_copies_are_told_in_any_number_of_items(num_items: int, digits: Dataset) -> None:
    assert isinstance(digits.train, Items)
    train = Items(digits.train.items[::2][:num_items] if num_items < 4500 else digits.train.items)
    player = trainer(dataset=replace(digits, train=train), conditional=False)
    player.average = Average(Copies(train.items), 0.0)
    assert player.monitor is not None
    assert player.monitor.measure(player.generator())["memorization"] == 1.0


def test_a_class_that_only_held_out_items_have(digits: Dataset) -> None:
    """The discriminator was never told of it, and is not asked."""
    assert isinstance(digits.train, Items)
    assert digits.train.item_labels is not None
    known = digits.train.item_labels < 9
    train = Items(digits.train.items[known], digits.train.item_labels[known])
    player = trainer(dataset=replace(digits, train=train))
    assert player.monitor is not None
    assert "separation" in player.monitor.measure(player.generator())


def test_data_that_are_all_the_same_have_no_figures() -> None:
    flat = torch.full((60, 1, 28, 28), 128, dtype=torch.uint8)
    player = trainer(dataset=Dataset("flat", Items(flat), Items(flat)), conditional=False)
    assert player.monitor is not None
    assert player.monitor.measure(player.generator()).keys() == {"generator_growth", "discriminator_growth", "seconds"}

"""The alarms of tables: each is raised for rows with its fault and names it, and none for rows that are well."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import sparring
from sparring.data.frames import to_items
from sparring.errors import UsageError
from sparring.evaluation.health import RULES, Alarm
from sparring.game.ema import Average
from sparring.modalities import keep
from sparring.modalities.tables import Tables
from sparring.training.build import build
from sparring.training.loop import Training
from sparring.training.meter import Meter
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve
from sparring.training.run_folder import COUNTERS, NUMBERS, check_line

N = 3000


def make_orders(seed: int) -> pd.DataFrame:
    """Orders with two rules, "tax ≤ net" and "ordered ≤ delivered"; a tenth of them are to Lille."""
    random = np.random.default_rng(seed)
    net, days = random.exponential(100, N).round(2), random.integers(0, 900, N)
    return pd.DataFrame(
        {
            "net": net,
            "tax": (net * random.choice([0.07, 0.19], N)).round(2),
            "ordered": np.datetime64("2020-01-01") + days.astype("m8[D]"),
            "delivered": np.datetime64("2020-01-01") + (days + random.integers(0, 30, N)).astype("m8[D]"),
            "city": random.choice(["Bonn", "Ulm", "Lyon", "Lille"], N, p=[0.4, 0.3, 0.2, 0.1]),
            "was_returned": random.random(N) < 0.1,
            "weight": random.normal(70, 12, N).round(1),
        }
    )


class Rows(nn.Module):
    """A generator that learns nothing: the latents choose one of its rows."""

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.samples, self.weight = samples, nn.Parameter(torch.ones(()))

    def forward(self, latents: Tensor) -> Tensor:
        index = (latents.abs().sum(1) * 1e4).long() % len(self.samples)
        return self.samples[index] * self.weight


@pytest.fixture(scope="module")
def training() -> Training:
    """Of orders, 2,700 of them to train on; the monitor sees 500 of them, and 300 that are held out."""
    recipe, dataset = resolve(make_request(str(keep(make_orders(0))), None, steps=5, width=8))
    return build(recipe, dataset)


def watch(training: Training, frame: pd.DataFrame) -> list[Alarm]:
    """The alarms of a training whose generator gives these rows."""
    modality = training.dataset.modality
    assert isinstance(modality, Tables)
    training.average = Average(Rows(modality.encode(to_items(frame, modality.columns, "rows"))), 0.0)
    meter = Meter(training)
    assert meter.monitor is not None
    losses = {"discriminator_loss": 1.0, "generator_loss": 1.0, "penalty": 0.0}
    for step in (2000, 4000, 6000):
        line = {"step": step, "progress": step / 6000, "evaluation": meter.monitor.measure(training.generator())}
        line |= {"faults": meter.monitor.faults, "real_probability": 0.6, "fake_probability": 0.4}
        alarms = meter.doctor.see(line | losses)
    return alarms


def test_rows_that_are_well_raise_none(training: Training) -> None:
    """As held-out rows. See `test_chance_makes_no_faults` for how often chance would raise one."""
    assert watch(training, make_orders(1)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weight": 70.0}, {"collapsed_column": ["weight"]}),
        ({"city": "Bonn"}, {"collapsed_column": ["city"], "lost_category": ["city=Ulm", "city=Lyon", "city=Lille"]}),
        ({"city": np.array(["Bonn", "Ulm", "Lyon"])[np.arange(N) % 3]}, {"lost_category": ["city=Lille"]}),
        (
            {"ordered": np.datetime64("2021-06-01")},
            {"collapsed_column": ["ordered"], "broken_rule": ["ordered ≤ delivered"]},
        ),
        ({"tax": make_orders(2)["tax"]}, {"broken_rule": ["tax ≤ net"]}),
    ],
)
def test_each_fault_raises_its_alarm(
    training: Training, change: dict[str, object], named: dict[str, list[str]]
) -> None:
    alarms = watch(training, make_orders(1).assign(**change))
    assert {each.name: [*each.evidence] for each in alarms} == named
    assert all(min(each.evidence.values()) > RULES[each.name].threshold for each in alarms)


def test_copied_rows_raise_the_alarm_of_copies(training: Training) -> None:
    own = training.dataset.modality.to_frame(training.dataset.modality.decode(training.dataset.train.items))
    assert [each.name for each in watch(training, own)] == ["memorization"]


def test_chance_makes_no_faults(training: Training) -> None:
    """A hundred sets of 500 fresh rows, none near a threshold.

    A false alarm takes, for 500 rows of either kind, at worst: for a column in which one value has 95 % of the rows, at
    most 5 of others among the new ones and at least 25 among the real ones, 3e-5; for a category, none among the new
    ones and more than 25 among the real ones, 6e-9; for a rule, that 1,000 real rows keep what each of the others
    breaks with a probability of .05, 1e-22.
    """
    modality, monitor = training.dataset.modality, Meter(training).monitor
    assert monitor is not None
    find = modality.fault_finder(monitor._real["samples"], monitor._heldout["samples"])
    highest = dict.fromkeys(("collapsed_column", "lost_category", "broken_rule"), 0.0)
    for seed in range(20):
        items = to_items(make_orders(2 + seed), modality.columns, "rows")
        for start in range(0, 2500, 500):
            for name, evidence in find(items[start : start + 500]).items():
                highest[name] = max(highest[name], next(iter(evidence.values())))
    assert highest["lost_category"] == highest["broken_rule"] == 0.0
    assert highest["collapsed_column"] < RULES["collapsed_column"].threshold / 2


def test_few_rows_are_not_judged(training: Training) -> None:
    modality, items = training.dataset.modality, training.dataset.train.items
    assert modality.fault_finder(items[:199], items[:50])(modality.decode(items[:1].expand(500, -1))) == {}
    assert modality.fault_finder(items[:200], items[:50])(modality.decode(items[:1].expand(500, -1))) != {}


def test_faults_stand_in_the_log(tmp_path: Path) -> None:
    run = sparring.train(
        "people", steps=3, width=8, batch_size=16, evaluation_steps=1, out=tmp_path / "run", progress=False
    )
    assert all({"collapsed_column", "lost_category"} <= line["faults"].keys() for line in run.log())
    line = dict.fromkeys((*COUNTERS, *NUMBERS), 0.0)
    for faults in (3, {"broken_rule": 3}, {"broken_rule": {"a ≤ b": "often"}}):
        with pytest.raises(UsageError, match="the faults in a line have no numbers"):
            check_line(line | {"faults": faults}, "a line")

"""The benchmark of modes: its floors can fail, its protocol is the paper's, and its quick form holds."""

import json

import pytest
import torch

from sparring import UnknownNameError, UsageError
from sparring.bench.classics import CLASSICS, Classic, Maxout, play
from sparring.bench.modes import TASKS, Floor, print_results
from sparring.data import ring
from sparring.metrics import ModeCount


def test_a_floor_is_missed_by_each_of_its_numbers() -> None:
    floor = Floor(found=8, high_quality=0.98, reverse_kl=0.01)
    assert floor.holds(ModeCount(8, 8, 0.98, 0.01))
    for count in (ModeCount(7, 8, 1.0, 0.0), ModeCount(8, 8, 0.979, 0.0), ModeCount(8, 8, 1.0, 0.011)):
        assert not floor.holds(count)


def test_maxout_takes_the_largest_piece_of_each_unit() -> None:
    maxout = Maxout(1, 2, num_pieces=2)
    maxout.linear.load_state_dict({"weight": torch.tensor([[1.0], [-1.0], [3.0], [2.0]]), "bias": torch.zeros(4)})
    assert maxout(torch.tensor([[1.0], [-1.0]])).tolist() == [[1.0, 3.0], [1.0, -2.0]]


@pytest.mark.parametrize("classic", CLASSICS, ids=lambda classic: classic.name)
def test_every_classic_plays(classic: Classic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.bench.classics.NUM_POINTS", 1000)
    first, again = (play(classic, ring(), seed=0, num_samples=7, epochs=1) for _ in range(2))
    assert first.shape == (7, 2)
    assert torch.equal(first, again)


def test_quick(capsys: pytest.CaptureFixture[str]) -> None:
    """One seed of ring and grid, trained for a third of the steps, reach the floors of the quick form."""
    assert print_results([], None, quick=True, as_json=True) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(result["task"], result["found"]) for result in results] == [("ring", 8), ("grid", 25)]


def test_names_that_there_are_not() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ring'"):
        print_results(["rign"], None)
    with pytest.raises(UsageError, match="no quick form"):
        print_results(["stacked-digits"], None, quick=True)


def test_a_thousand_modes_are_judged_by_their_protocol() -> None:
    task = TASKS["stacked-digits"]
    assert (task.num_samples, task.seeds, task.full.floor) == (26_000, 3, Floor(1000, 0.0, 0.06))
    assert task.count(torch.full((5, 3, 28, 28), -1.0)).total == 1000

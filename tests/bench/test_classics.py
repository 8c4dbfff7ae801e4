"""The classics' networks are the paper's, and every classic trains to the same samples each time."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from sparring.data import ring

path = Path(__file__).parents[2] / "benchmarks" / "classics.py"
spec = importlib.util.spec_from_file_location("classics", path)
assert spec is not None
assert spec.loader is not None
classics = sys.modules["classics"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(classics)


def test_maxout_takes_the_largest_piece_of_each_unit() -> None:
    maxout = classics.Maxout(1, 2, num_pieces=2)
    maxout.linear.load_state_dict({"weight": torch.tensor([[1.0], [-1.0], [3.0], [2.0]]), "bias": torch.zeros(4)})
    assert maxout(torch.tensor([[1.0], [-1.0]])).tolist() == [[1.0, 3.0], [1.0, -2.0]]


@pytest.mark.parametrize("number", range(len(classics.CLASSICS)), ids=[each.name for each in classics.CLASSICS])
def test_every_classic_trains(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classics, "NUM_POINTS", 1000)
    first, again = (
        classics.train(classics.CLASSICS[number], ring(), seed=0, num_samples=7, epochs=1) for _ in range(2)
    )
    assert first.shape == (7, 2)
    assert torch.equal(first, again)

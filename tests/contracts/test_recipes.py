"""What holds for every recipe: it trains."""

from pathlib import Path

import pytest

import sparring
from sparring import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_it_trains_and_leaves_a_generator(name: str, tmp_path: Path) -> None:
    data = "ring" if name == "points" else "digits"
    run = sparring.train(data, recipe=name, steps=3, batch_size=16, width=4, out=tmp_path)
    assert run.summary().status == "finished"
    assert run.summary().steps == 3
    shape = sparring.load(run.path).sample(2).shape
    assert shape == ((2, 2) if data == "ring" else (2, 64, 64) if name == "dcgan" else (2, 28, 28))


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_it_is(name: str) -> None:
    assert RECIPES[name].name == name
    assert RECIPES[name].summary
    assert RECIPES[name].source

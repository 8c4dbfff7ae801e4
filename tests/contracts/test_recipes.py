"""What holds for every recipe: it trains."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sparring
from sparring import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_it_trains_and_leaves_a_generator(name: str, tmp_path: Path) -> None:
    data, others = "ring" if name == "points" else "digits", {}
    if RECIPES[name].translates:
        others = {"source": "digits"} | ({"num_clusters": 1} if name == "translate" else {})  # groups take minutes
    if name.startswith("words"):
        random = np.random.default_rng(0)
        for number in range(2):
            words = [f"word {each}" for each in range(100)]
            np.savez(tmp_path / f"{number}.npz", words=words, vectors=random.normal(size=(100, 6)))
        data, others = str(tmp_path / "0.npz"), {"source": str(tmp_path / "1.npz")}
    run = sparring.train(data, recipe=name, steps=3, batch_size=16, width=4, out=tmp_path / "run", **others)
    assert run.summary().status == "finished"
    assert run.summary().steps == 3
    if others:
        generator = sparring.load(run)
        items = generator.modality.decode(torch.randn(2, *generator.modality.item_shape))
        assert generator.translate(items).shape == items.shape
        return
    shape = sparring.load(run.path).sample(2).shape
    assert shape == ((2, 2) if data == "ring" else (2, 64, 64) if name == "dcgan" else (2, 28, 28))


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_it_is(name: str) -> None:
    assert RECIPES[name].name == name
    assert RECIPES[name].summary
    assert RECIPES[name].source

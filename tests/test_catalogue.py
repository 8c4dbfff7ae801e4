"""The catalogue in docs/ is the one that the registries make."""

import dataclasses
from pathlib import Path

import pytest

from sparring.catalogue import costs, markdown
from sparring.networks import NETWORKS
from sparring.networks.mlp import MLP


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs" / "catalogue.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python benchmarks/catalogue.py"


def test_what_networks_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand for a multilayer perceptron of width 3 on points; the latents are 2 there."""
    monkeypatch.setattr("sparring.catalogue.NETWORKS", {"mlp": dataclasses.replace(MLP, width=3, usual_shapes=((2,),))})
    (cost,) = costs()
    weights = (2 * 3 + 3 * 3 + 3 * 3 + 3 * 2) + (2 * 3 + 3 * 3 + 3 * 3 + 3)
    offsets = (3 + 3 + 3 + 2) + (3 + 3 + 3 + 1)
    assert (cost.num_multiply_adds, cost.num_parameters) == (weights, weights + offsets)
    assert cost.images_a_second > 0
    assert NETWORKS["mlp"] is MLP

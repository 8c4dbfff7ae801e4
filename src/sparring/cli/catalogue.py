"""The tables of `sparring list`."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table
from torch.utils.flop_counter import FlopCounterMode

from sparring.cli.terminal import new_table
from sparring.errors import SparringWarning, UnknownNameError, UsageError
from sparring.evaluation.figures import FIGURES
from sparring.game.objectives import OBJECTIVES
from sparring.game.penalties import PENALTIES
from sparring.game.restraints import RESTRAINTS
from sparring.modalities import MODALITIES, RECIPES, SOURCES
from sparring.networks import NETWORKS
from sparring.training.progress import Terminal
from sparring.training.recipe import make_request
from sparring.training.resolve import complete, images_per_second
from sparring.training.trackers import TRACKERS
from sparring.types import OnProgress

REGISTRIES: dict[str, Mapping[str, Any]] = {
    "objectives": OBJECTIVES,
    "penalties": PENALTIES,
    "restraints": RESTRAINTS,
    "networks": NETWORKS,
    "modalities": MODALITIES,
    "data": SOURCES,
    "recipes": RECIPES,
    "figures": FIGURES,
    "trackers": TRACKERS,
}
"""The registries that `sparring list` and docs/catalogue.md show; every entry has a summary."""


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a family of networks at one item shape."""

    network: str
    item_shape: tuple[int, ...]
    width: int
    num_parameters: int  # of both networks together
    num_multiply_adds: int  # of one pass of one item through both networks
    images_per_second: float  # training speed of the default recipe on this machine


def costs(on_progress: OnProgress = lambda what, share: None) -> Iterator[NetworkCost]:
    """Yield the cost of each family on this machine at its usual shapes; each takes a few seconds to measure."""
    for place, (name, network) in enumerate(NETWORKS.items()):
        for shape in network.usual_shapes:
            on_progress(f"measuring {name} with items of {'×'.join(map(str, shape))}", place / len(NETWORKS))
            modality = _modality(shape)
            preset = next(each for each in modality.presets if each.translates == network.translates)
            source = {"source": "digits"} if network.translates else {}
            recipe = complete(make_request("digits", network=name, **source), preset, modality)
            inputs = shape if network.translates else (recipe.latent_dim,)
            with torch.device("meta"):  # counts without computing
                generator = network.generator(shape, recipe.latent_dim, network.width, 0).eval()
                try:
                    discriminator = network.discriminator(shape, network.width, recipe.normalization, 0).eval()
                except UsageError as error:
                    warnings.warn(SparringWarning(f"the network {name!r} is left out: {error}"), stacklevel=2)
                    continue
                with FlopCounterMode(display=False) as counter:
                    discriminator(generator(torch.zeros(1, *inputs)))
            num_parameters = sum(each.numel() for player in (generator, discriminator) for each in player.parameters())
            num_multiply_adds, rate = counter.get_total_flops() // 2, images_per_second(recipe, modality)
            yield NetworkCost(name, shape, network.width, num_parameters, num_multiply_adds, rate)


def _modality(item_shape: tuple[int, ...]) -> Any:
    """The first modality that accepts an item shape."""
    for modality in REGISTRIES["modalities"].values():
        with suppress(UsageError):
            return modality(item_shape)
    raise AssertionError(f"no modality has items of {item_shape}")


def print_catalogue(kind: str, measure: bool = False) -> None:
    """Print the entries of one kind or of all; and what networks cost, if that is to be measured."""
    if kind not in (*REGISTRIES, "all"):
        raise UnknownNameError("kind", kind, (*REGISTRIES, "all"))
    if measure and kind != "networks":
        raise UsageError(f"--measure is of networks, not of {kind}: sparring list networks --measure")
    console = Console(highlight=False)
    for name, registry in REGISTRIES.items() if kind == "all" else [(kind, REGISTRIES[kind])]:
        columns = Column(style="bold", no_wrap=True), Column(overflow="fold"), Column(style="dim", overflow="fold")
        table = Table(*columns, box=None, padding=(0, 2, 0, 0), show_header=False, title=name, title_justify="left")
        for key, entry in registry.items():
            table.add_row(key, entry.summary, getattr(entry, "source", ""))
        console.print(table, "")
    if not measure:
        return
    table = new_table("cost", "item", "width", "parameters", "multiply-adds", "items/s here")
    with Terminal(stderr=True) as show:
        for cost in costs(show.on_progress):
            numbers = cost.num_parameters, cost.num_multiply_adds, cost.images_per_second
            shape = "×".join(map(str, cost.item_shape))
            table.add_row(cost.network, shape, str(cost.width), *(f"{number:,.0f}" for number in numbers))
    console.print(table, "parameters of both networks; multiply-adds of one pass through both; training speed")

"""What there is by name: objectives, penalties, networks, data, recipes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from sparring.build import images_a_second, with_network
from sparring.data import SOURCES
from sparring.errors import UnknownNameError
from sparring.networks import NETWORKS
from sparring.objectives import OBJECTIVES
from sparring.penalties import PENALTIES
from sparring.recipes import RECIPES, recipe_for


class Entry(Protocol):
    """What every registry holds."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def summary(self) -> str:
        """One line on what it is."""

    @property
    def source(self) -> str:
        """Where it comes from."""


def catalogue() -> dict[str, list[tuple[str, str, str]]]:
    """(name, summary, source) of every entry of every registry.

    Example:
        >>> [name for name, _, _ in catalogue()["networks"]]
        ['conv', 'resnet', 'dcgan', 'mlp', 'fourier']
    """
    registries: dict[str, Mapping[str, Entry]] = {
        "objectives": OBJECTIVES,
        "penalties": PENALTIES,
        "networks": NETWORKS,
        "data": SOURCES,
        "recipes": RECIPES,
    }
    return {
        kind: [(entry.name, entry.summary, entry.source) for entry in registry.values()]
        for kind, registry in registries.items()
    }


def print_catalogue(what: str) -> None:
    """Print the entries of one kind, or of all.

    Raises:
        UnknownNameError: for a kind that there isn't.
    """
    everything = catalogue()
    if what not in (*everything, "all"):
        raise UnknownNameError("kind", what, (*everything, "all"))
    console = Console()
    for kind in everything if what == "all" else [what]:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, title=kind, title_justify="left")
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        table.add_column(style="dim")
        for row in everything[kind]:
            table.add_row(*row)
        console.print(table)
        console.print()


@dataclass(frozen=True)
class Cost:
    """What a pair of networks costs.

    Args:
        network: its name in `NETWORKS`.
        item_shape: of what it makes.
        width: its usual one.
        num_parameters: of both players together.
        num_multiply_adds: of the generator and the discriminator, each seeing one item once.
        images_a_second: real items that the default training goes through here.
    """

    network: str
    item_shape: tuple[int, ...]
    width: int
    num_parameters: int
    num_multiply_adds: int
    images_a_second: float


def costs() -> Iterator[Cost]:
    """What every family costs on this machine, at its usual shapes: about a second of measuring each, or one step."""
    for network in NETWORKS.values():
        for shape in network.usual_shapes:
            recipe = with_network(recipe_for("digits" if len(shape) == 3 else "ring", network=network.name), shape)
            with torch.device("meta"):  # counted without computing
                generator = network.generator(shape, recipe.latent_dim, network.width).eval()
                discriminator = network.discriminator(shape, network.width, recipe.normalization or "", 0).eval()
                with FlopCounterMode(display=False) as counter:
                    discriminator(generator(torch.zeros(1, recipe.latent_dim)))
            yield Cost(
                network=network.name,
                item_shape=shape,
                width=network.width,
                num_parameters=sum(
                    each.numel() for player in (generator, discriminator) for each in player.parameters()
                ),
                num_multiply_adds=counter.get_total_flops() // 2,
                images_a_second=images_a_second(recipe, shape),
            )


def print_costs() -> None:
    """Print what every family of networks costs here."""
    table = Table(box=None, padding=(0, 2, 0, 0), title="cost", title_justify="left")
    table.add_column("", style="bold", no_wrap=True)
    for header in ("item", "width", "parameters", "multiply-adds", "items/s here"):
        table.add_column(header, justify="right")
    for cost in costs():
        shape = "×".join(map(str, cost.item_shape))
        numbers = cost.num_parameters, cost.num_multiply_adds, cost.images_a_second
        table.add_row(cost.network, shape, str(cost.width), *(f"{number:,.0f}" for number in numbers))
    console = Console()
    console.print(table)
    console.print(
        "parameters of both players; multiply-adds of one pass through both; items/s of the default training",
        highlight=False,
    )


def markdown() -> str:
    """The catalogue as a page of docs/."""
    lines = ["# What there is by name", "", "Made by `python benchmarks/catalogue.py`; a test keeps it true.", ""]
    for kind, rows in catalogue().items():
        lines += [f"## {kind.capitalize()}", "", "| name | what it is | source |", "|---|---|---|"]
        lines += [f"| `{name}` | {summary} | {source} |" for name, summary, source in rows]
        lines.append("")
    return "\n".join(lines)

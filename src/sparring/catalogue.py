"""What there is by name: objectives, penalties, networks, data, recipes."""

from collections.abc import Mapping
from typing import Protocol

from sparring.data import SOURCES
from sparring.errors import UnknownNameError
from sparring.networks import NETWORKS
from sparring.objectives import OBJECTIVES
from sparring.penalties import PENALTIES
from sparring.recipes import RECIPES


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
        ['conv', 'dcgan', 'mlp', 'fourier']
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
    from rich.console import Console
    from rich.table import Table

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


def markdown() -> str:
    """The catalogue as a page of docs/."""
    lines = ["# What there is by name", "", "Made by `python benchmarks/catalogue.py`; a test keeps it true.", ""]
    for kind, rows in catalogue().items():
        lines += [f"## {kind.capitalize()}", "", "| name | what it is | source |", "|---|---|---|"]
        lines += [f"| `{name}` | {summary} | {source} |" for name, summary, source in rows]
        lines.append("")
    return "\n".join(lines)

"""What the commands print; `sparring.training.progress` shows a training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from sparring.data.memory import kept_files
from sparring.data.pack import find_packs
from sparring.evaluation.card import CLASS_FIGURES, Card
from sparring.files import cache_folder
from sparring.metrics import Estimate
from sparring.training.progress import Terminal, describe_choice
from sparring.training.recipe import Request
from sparring.training.resolve import resolve

MAX_LISTED_CLASSES = 20


def show_dry_run(request: Request) -> None:
    """Print the recipe as JSON, and then a description of the data and of what was chosen on stderr."""
    with Terminal(stderr=True) as terminal:
        recipe, dataset = resolve(request, terminal.on_progress, dry=True)
        lines = describe_choice(recipe, dataset)
    print(json.dumps(asdict(recipe), indent=2), flush=True)
    terminal.say(*lines)


def new_table(first: str, *others: str) -> Table:
    """An empty table without rules: text in the first column, numbers in the others."""
    columns = (Column(header, justify="right", overflow="fold") for header in others)
    return Table(Column(first, overflow="fold"), *columns, box=None, padding=(0, 2, 0, 0))


def show_card(card: Card) -> None:
    """Print a metric card."""
    table = new_table("", *card.columns.values())
    for line in card.lines:
        table.add_row(*line)
    console = Console(highlight=False)
    console.print(table)
    if card.classes:
        table = new_table("class", *(name.replace("_", " ") for name in CLASS_FIGURES), "held out")
        table.title = "classes, worst first; held out: the same three figures for held-out samples"
        table.columns[0].max_width, table.columns[0].no_wrap = 16, True
        ranked = sorted(card.classes.items(), key=lambda item: item[1]["class_agreement"].generated.value)
        for name, rows in ranked[:MAX_LISTED_CLASSES]:
            generated = (rows[key].matched if key == "coverage" else rows[key].generated for key in CLASS_FIGURES)
            floors = (f"{floor.value:.2f}" if (floor := rows[key].floor) else "–" for key in CLASS_FIGURES)
            table.add_row(Text(name, overflow="ellipsis"), *(str(each or "–") for each in generated), " ".join(floors))
        if len(ranked) > MAX_LISTED_CLASSES:
            table.caption = f"and {len(ranked) - MAX_LISTED_CLASSES} more classes, in card.json"
        console.print(table)
    console.print(
        f"against {card.num_real:,} of {card.data} ({card.split} split), seed {card.seed}, intervals of 95 %; "
        "features: " + ", ".join(f"{name} ({digits})" for name, digits in card.extractors.items())
    )


def show_precision(rows: Mapping[str, Sequence[Estimate]]) -> None:
    """Print how often words are translated as a dictionary says."""
    table = new_table("words", "P@1", "P@5", "P@10")
    for name, values in rows.items():
        table.add_row(name, *(f"{each.value:.1%} ± {(each.high - each.low) / 2:.1%}" for each in values))
    Console(highlight=False).print(table, "a right one is among the best 1, 5 or 10; ± half of a 95 % interval")


def show_packs() -> None:
    """Print the contents of the cache: packed files, and data passed from memory."""
    packs = [(f"{info.num_items:,} of {info.description}, from {info.path}", folder) for folder, info in find_packs()]
    entries = [*packs, *((f"passed from memory: {path}", path.parent) for path in kept_files())]
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) / 1e6 for _, folder in entries]
    for (what, _), size in zip(entries, sizes, strict=True):
        print(f"{size:12,.1f} MB  {what}")
    print(f"{sum(sizes):12,.1f} MB in {cache_folder()}" if entries else f"nothing is packed in {cache_folder()}")

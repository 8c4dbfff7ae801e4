"""The settings that `sparring train --set` takes, and the names that a shell completes."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, astuple, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from sparring.cli.commands import TrainCommand
from sparring.training import recipe
from sparring.training.recipe import Recipe

SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}
KINDS = {int: "N", float: "R", str: "text", bool: "True, False"}


@dataclass(frozen=True)
class Setting:
    """A field of `Recipe` in words."""

    name: str
    values: str
    default: str  # empty if it is chosen to suit the data, or None
    meaning: str


def describe_settings() -> Iterator[Setting]:
    """The fields of `Recipe`, with the comments of its source."""
    source = inspect.getsource(recipe)
    lines = source.splitlines()
    node = next(each for each in ast.parse(source).body if isinstance(each, ast.ClassDef) and each.name == "Recipe")
    places = {ast.unparse(each.target): each.lineno - 1 for each in node.body if isinstance(each, ast.AnnAssign)}
    hints = get_type_hints(Recipe, include_extras=True)
    for field in fields(Recipe)[1:]:  # the first one is the data
        place = places[field.name]
        meaning = lines[place].partition("  # ")[2] or lines[place - 1].strip().removeprefix("# ")
        default = "" if field.default in (MISSING, None) or field.name in recipe.OPEN else str(field.default)
        yield Setting(field.name, _describe_values(hints[field.name]), default, meaning)


def _describe_values(hint: Any) -> str:
    """The values of a type in words."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return ", ".join(arguments)
    if get_origin(hint) is Annotated:
        bounds = [(SIGNS[type(each)], astuple(each)[0]) for each in arguments[1:]]
        return " ".join([KINDS[arguments[0]], *(f"{sign} {bound:.6g}" for sign, bound in bounds if bound < 1e9)])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_describe_values(each) for each in arguments if each is not NoneType)
    return "NAME:R,..." if get_origin(hint) is dict else KINDS.get(hint, "HEIGHTxWIDTH")


def print_settings() -> None:
    """Print what `--set` takes."""
    from rich.console import Console
    from rich.table import Column, Table

    columns = Column("KEY", style="bold"), Column("VALUE", max_width=14), Column("default"), Column("")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), title="--set KEY=VALUE", title_justify="left")
    for each in describe_settings():
        table.add_row(*astuple(each))
    note = "R is a number, N a whole one. A recipe may have other defaults: --dry-run prints the result."
    Console(highlight=False, markup=False).print(table, note)


def complete_names() -> None:
    """Let the completion of a shell know the names in the registries."""
    from sparring.game.objectives import OBJECTIVES
    from sparring.game.penalties import PENALTIES
    from sparring.modalities import RECIPES
    from sparring.networks import NETWORKS

    known = {"recipe": [*RECIPES], "objective": [*OBJECTIVES], "penalty": [*PENALTIES], "network": [*NETWORKS]}
    for field in fields(TrainCommand):
        if field.name in known:
            field.type = TrainCommand.__annotations__[field.name] = Literal[tuple(known[field.name])] | None

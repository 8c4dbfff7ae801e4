"""How options are read and shown."""

from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg
from tyro.constructors import PrimitiveConstructorSpec


def option(metavar: str) -> object:
    """An option whose help does not show its default."""
    return arg(metavar=metavar, help_behavior_hint="")


def parsed_by(kind: type[int] | type[float], metavar: str) -> PrimitiveConstructorSpec[int | float | None]:
    """How the text of a number is read; errors say what is expected."""

    def parse(words: list[str]) -> int | float:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"{words[0]!r} is no {'whole ' if kind is int else ''}number") from None

    return PrimitiveConstructorSpec(1, metavar, parse, lambda value: isinstance(value, kind | None), lambda v: [str(v)])


Name = Annotated[str | None, option("NAME")]
Number = Annotated[int | None, parsed_by(int, "N"), option("N")]
Minutes = Annotated[float | None, parsed_by(float, "M"), option("M")]
Rate = Annotated[float | None, parsed_by(float, "R"), option("R")]
Processes = Annotated[int, parsed_by(int, "N"), option("N")]
Seed = Annotated[int, parsed_by(int, "N"), arg(metavar="N")]
Count = Annotated[int, parsed_by(int, "N"), arg(name="n", aliases=["-n"], metavar="N")]
Flag = Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")]
RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Track = Annotated[str | None, option("NAME,...")]
Plugin = Annotated[Path | None, option("FILE.py")]

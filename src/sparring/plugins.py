"""Parts of one's own: what a caller gives in Python, and files that register entries."""

import sys
import traceback
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TypeVar

from sparring.errors import UnknownNameError, UsageError

T = TypeVar("T")

OWN = "custom: "
"""So begins the name, in a recipe, of a part that the caller gave and no registry has."""


def find(kind: str, name: str, known: Mapping[str, T], own: T | None = None) -> T:
    """The entry of a registry by its name, or the caller's own part if the name is that of one."""
    if name.startswith(OWN):
        if own is None:
            how = f"{kind}=... to sparring.resume"
            if kind == "network":
                how = "generator=... and discriminator=... to sparring.resume, module=... to load and evaluate"
            raise UsageError(f"the {kind} {name!r} was given in Python, so give it again: {how}")
        return own
    if name not in known:
        raise UnknownNameError(kind, name, known, "; --plugin FILE.py registers your own")
    return known[name]


def import_plugin(path: Path) -> None:
    """Run a Python file that registers entries. Only the user's own option may name it, never a file that is read."""
    spec = spec_from_file_location(f"plugin_{path.stem}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is no Python file: give --plugin FILE.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1]
        raise UsageError(f"{path}, line {line}: {type(error).__name__}: {error}") from error

"""Imports go down only, the public face is pinned, and heavy modules stay out of the start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sparring

# The floors of the house: a module imports from lower floors only. Rooms within networks/ and data/ are one family.
FLOORS: list[set[str]] = [
    {"errors", "types"},
    {"seeding", "files", "judge", "distributed"},
    {"objectives", "penalties", "augment", "ema", "networks", "data", "pictures", "stopping"},
    {"theory", "metrics", "recipes", "rejection", "health", "one_stage"},
    {"game", "checkpoint", "run", "generator", "samples"},
    {"monitor"},
    {"trainer"},
    {"build"},
    {"training", "evaluation", "catalogue"},
    {"study"},
    {"bench", "display", "report"},
    {"cli"},
    {"__init__", "__main__"},
]
ROOT = Path(sparring.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] != "sparring":
                continue
            imported = name.split(".")[1]
            if imported != room(path):
                assert floor(imported) < floor(room(path)), f"{path.name}, line {node.lineno}: {name}"


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} == set().union(*FLOORS)


def test_the_public_names_are_pinned_sorted_and_there() -> None:
    constants = [name for name in sparring.__all__ if name.isupper()]
    others = [name for name in sparring.__all__ if not name.isupper()]
    assert sparring.__all__ == sorted(constants) + sorted(others, key=lambda name: (name.islower(), name))
    assert sorted(sparring.__all__) == sorted(sparring._MODULE_OF)
    assert all(getattr(sparring, name) is not None for name in sparring.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gan'"):
        sparring.gan  # noqa: B018


@pytest.mark.parametrize("code", ["import sparring", "import sparring.cli", "import sparring.recipes"])
def test_torch_and_its_like_are_imported_when_they_are_used(code: str) -> None:
    heavy = ["torch", "numpy", "matplotlib", "pydantic", "PIL", "jaxtyping"]
    check = f"import sys; {code}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"

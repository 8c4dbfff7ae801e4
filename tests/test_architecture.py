"""Imports go down only, the laws of the house hold, the public face is pinned, and heavy modules load when used.

A *room* is an entry directly under src/sparring: a module, or a folder with its modules.
"""

import ast
import dataclasses
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sparring
from sparring.cli.main import main
from sparring.game.objectives import OBJECTIVES
from sparring.types import Logits, PerSample

ROOT = Path(sparring.__file__).parent
PATHS = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """The name of a module, such as "sparring.game.game"; a folder's is that of its __init__.py."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {name_of(path): path for path in PATHS}


def nodes(tree: ast.AST, *, in_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if in_functions or not isinstance(node, ast.FunctionDef):
            yield from nodes(node, in_functions=in_functions)


def imports(path: Path, *, in_functions: bool = True) -> set[str]:
    """The modules of sparring that a module imports."""
    found = set()
    for node in nodes(ast.parse(path.read_text()), in_functions=in_functions):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "sparring":
                modules = [each for each in (name, name.rpartition(".")[0]) if each in MODULES]
                found.add(modules[0] if modules else "sparring.__init__")
    return found


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def room(name: str) -> str:
    return name.split(".")[1]


ROOMS = {room(name) for name in MODULES}


def rooms_below(name: str) -> set[str]:
    """All rooms that a room needs, directly or not."""
    below, new = set[str](), {name}
    while new:
        new = {room(used) for module, used_by in IMPORTS.items() if room(module) in new for used in used_by} - below
        below |= new
    return below - {name}


def test_imports_go_down_only() -> None:
    """A `CycleError` names the rooms that import each other; one of the imports goes up."""
    graph = {each: {room(used) for name in MODULES if room(name) == each for used in IMPORTS[name]} for each in ROOMS}
    floors = list(TopologicalSorter({each: below - {each} for each, below in graph.items()}).static_order())
    assert set(floors) == ROOMS
    assert floors[-1] == "__main__" or "__main__" not in graph["__init__"]


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_modules_of_a_room_form_no_circle(name: str) -> None:
    """At import; a function may import upwards within its room, where it asks a registry that must be complete."""
    graph = {
        module: {used for used in imports(path, in_functions=False) if room(used) == name} - {module}
        for module, path in MODULES.items()
        if room(module) == name
    }
    assert set(TopologicalSorter(graph).static_order()) == set(graph)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("game", {"files", "data", "metrics", "modalities", "generator", "training"}),  # knows no file
        ("networks", {"data", "metrics", "modalities", "generator", "training"}),
        ("metrics", {"modalities", "generator", "evaluation", "training"}),  # knows no trainer
        ("data", {"modalities", "generator", "training"}),
        ("training", {"study", "bench", "web", "cli"}),  # the library is complete without its faces
    ],
)
def test_rooms_that_do_not_know_each_other(name: str, others: set[str]) -> None:
    assert others <= ROOMS
    assert not rooms_below(name) & others


def test_losses_know_no_optimiser_and_networks_no_loss() -> None:
    losses = {"sparring.game.objectives", "sparring.game.penalties"}
    for name in losses:
        assert "optimizer" not in MODULES[name].read_text()
        below = {"errors", "types", "seeding", "distributed"}
        assert {room(used) for used in IMPORTS[name]} - {"game"} <= below
        assert {used for used in IMPORTS[name] if room(used) == "game"} <= {"sparring.game.logit_cache"}
    for name in MODULES:
        if room(name) == "networks":
            assert not IMPORTS[name] & {*losses, "sparring.game.game"}, name


BRANCH = re.compile(r"len\((\w+\.)*item_shape\) *[=!]=|\.ndim *== *[234]|\bare_(images|points)")
MAY_BRANCH = ("modalities/", "networks/", "metrics/extractors.py", "data/arrays.py")
"""Modalities hold what differs; networks, extractors and the reader of arrays may say which shapes they take."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_branches_on_a_modality(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    if not where.startswith(MAY_BRANCH):
        lines = [
            f"{number}: {line}" for number, line in enumerate(path.read_text().splitlines(), 1) if BRANCH.search(line)
        ]
        assert lines == []


def test_eight_frames_from_the_command_to_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[list[str]] = []
    hinge = OBJECTIVES["hinge"]

    def loss(real: Logits, fake: Logits) -> PerSample:
        stack = traceback.extract_stack()
        frames.append([frame.name for frame in stack if Path(frame.filename).is_relative_to(ROOT)])
        return hinge.discriminator(real, fake)

    monkeypatch.setitem(OBJECTIVES, "hinge", dataclasses.replace(hinge, discriminator=loss))
    options = ["--objective", "hinge", "--steps", "1", "--width", "4", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "ring", *options])
    assert frames == [["main", "run", "start", "_play", "play", "play_step", "step"]]  # and the loss


def test_the_house_can_be_seen_at_a_glance() -> None:
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= 23
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PATHS}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_the_public_names_are_sorted_and_there() -> None:
    assert sparring.__all__ == sorted(set(sparring.__all__))
    assert all(getattr(sparring, name) is not None for name in sparring.__all__)
    contract = (
        "train resume load evaluate diagnose open_dataset Game Listener Modality Study OBJECTIVES PENALTIES NETWORKS "
        "SOURCES RECIPES MODALITIES metrics theory"
    )
    assert set(contract.split()) <= set(sparring.__all__) <= set(dir(sparring))
    with pytest.raises(AttributeError, match="no attribute 'gan'"):
        sparring.gan  # noqa: B018


@pytest.mark.parametrize("code", ["import sparring", "import sparring.cli.main", "import sparring.training.recipe"])
def test_torch_and_its_like_are_imported_when_they_are_used(code: str) -> None:
    heavy = ["torch", "numpy", "matplotlib", "pydantic", "PIL", "jaxtyping", "rich", "jinja2"]
    check = f"import sys; {code}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"

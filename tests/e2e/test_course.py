"""The lessons of docs/course run, without a warning, and have the form that the course's page promises."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

COURSE = Path(__file__).parents[2] / "docs" / "course"
SCRIPT = runpy.run_path(str(COURSE / "run.py"))
LESSONS: list[Path] = SCRIPT["LESSONS"]
LARGEST_BYTES = 300_000
run: Callable[[Path, Path], Any] = SCRIPT["run"]


def has_picture(notebook: Any) -> bool:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return any("image/png" in output.get("data", {}) for output in outputs)


def test_there_are_seven() -> None:
    assert [path.name[:2] for path in LESSONS] == [f"{number}-" for number in range(1, 8)]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_shows_and_ends_with_something_to_try(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, last = notebook.cells[0], notebook.cells[-1]
    title, question = first.source.split("\n\n")[:2]
    assert title.startswith(f"# {path.name[0]}. ")
    assert question.startswith("**")
    assert "?" in question
    assert last.source.startswith("## Try\n")
    assert has_picture(notebook)
    assert path.name in (COURSE / "README.md").read_text(encoding="utf-8")
    assert path.stat().st_size < LARGEST_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs(path: Path, tmp_path: Path) -> None:
    """Its claims are assertions; `run` fails at the first that is wrong, and at warnings."""
    assert has_picture(run(path, tmp_path))

"""Runs the lessons again and writes what they print and draw into the notebooks.

    python docs/course/run.py [LESSON ...]

Each lesson runs in a temporary folder. A lesson that fails or warns stops the script and stays as it was. The picture
of the cell with the tag "cover" also goes into docs/course/images.
"""

import base64
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

COURSE = Path(__file__).parent
LESSONS = sorted(COURSE.glob("*.ipynb"))
HOME = "/home/me"
"""Stands in the outputs for the folder in which a lesson ran."""


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a lesson in a folder, and return it with its outputs.

    Raises:
        CellExecutionError: if a cell fails.
        RuntimeError: if a cell writes to the standard error, as warnings do.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, resources=resources).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow's pictures come as PNG as well
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, {cell.id}: {output.text}")
            for content in (output, output.get("data", {})):
                for kind in {"text", "text/plain", "text/html"} & set(content):
                    content[kind] = content[kind].replace(os.path.realpath(folder), HOME)
    notebook.metadata.language_info = {"name": "python"}  # without the version of this machine's Python
    return notebook


def cover(notebook: nbformat.NotebookNode) -> bytes:
    """The picture of the cell with the tag "cover", as PNG."""
    (cell,) = (cell for cell in notebook.cells if "cover" in cell.metadata.get("tags", []))
    pictures = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    return base64.b64decode(next(pictures))


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or LESSONS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        nbformat.write(notebook, path)
        (COURSE / "images" / f"{path.stem}.png").write_bytes(cover(notebook))
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)

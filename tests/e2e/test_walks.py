"""Three people's first hour: one who learns, one with networks of their own, one with a folder of pictures.

Each test plays what one of them does and reads what they see: on a pseudo-terminal, in a notebook, and in files.
"""

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from screen import Line, check_widths, measure, pasted, show, words

import sparring

SMALL = ["--width", "4", "--batch-size", "16"]
RELIABILITY = Path(__file__).parents[2] / "docs" / "reliability.md"
ROOM = 1.3  # how much more memory than docs/reliability.md says another version of PyTorch may take


def first(lines: list[Line], text: str) -> Line:
    return next(line for line in lines if text in line.text)


def test_one_who_learns(tmp_path: Path) -> None:
    """Trains on the digits, pastes what the terminal offers, and reads the report."""
    trained = show(80, "train", "--steps", "150", *SMALL, "--set", "evaluation_steps=50", cwd=tmp_path)
    check_widths(trained, 80)
    assert trained[0].text == "loading PyTorch"
    assert re.search(
        r"^loading PyTorch digits 28×28 px, grey; 9,000 to train on and 1,000 held out network conv ", words(trained)
    )
    begun, ended = first(trained, "into runs/digits-1"), first(trained, "finished after 150 steps")
    assert first(trained, "loss D").at - begun.at < 0.5 * (ended.at - begun.at)  # the first numbers come early
    result = re.findall(r"  result  distance ([\d.e-]+)", "\n".join(line.text for line in trained))
    assert len(set(result)) > 1  # each evaluation stands below the bar, ...
    assert "  look    runs/digits-1/samples/step-000150.png" in [line.text for line in trained]
    sampled = show(80, *pasted(trained, "sample"), cwd=tmp_path)
    assert words(sampled) == "loading PyTorch 64 samples in runs/digits-1/grid.png"
    with Image.open(tmp_path / "runs/digits-1/grid.png") as grid:
        assert grid.size[0] >= 8 * 28
    resumed = show(80, *pasted(trained, "resume"), cwd=tmp_path)
    check_widths(resumed, 80)
    assert "resuming runs/digits-1 from step 150, to 300 steps" in words(resumed)
    assert "saved as runs/digits-1/report.html" in words(show(80, "diagnose", "runs/digits-1", cwd=tmp_path))
    page = (tmp_path / "runs/digits-1/report.html").read_text()
    assert "sparring sample runs/digits-1 -n 64 --out runs/digits-1/grid.png" in page


def test_mixtures_show_their_modes(tmp_path: Path) -> None:
    """While they train, in the end, and in a file as well."""
    shape = r"distance [\d.e-]+, modes \d/8, high quality [\d.]+ %"
    settings = ["--steps", "40", "--width", "8", "--set", "evaluation_steps=10", "--set", "log_steps=5"]
    shown = show(80, "train", "ring", *settings, cwd=tmp_path)
    check_widths(shown, 80)
    ended = next(number for number, line in enumerate(shown) if line.text.startswith("finished"))
    for part in (shown[:ended], shown[ended:]):
        assert any(re.fullmatch(f"  result  {shape}(, at step \\d+)? *", line.text) for line in part)
    assert "points/s" in words(shown)
    assert "images" not in words(shown)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(90):
        path = tmp_path / "pictures of mine" / ("round", "square")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    return tmp_path / "pictures of mine"


@pytest.mark.parametrize("columns", [80, 40])
def test_one_with_a_folder_of_pictures(columns: int, pictures: Path) -> None:
    """Works inside the folder: what runs leave there are no items of it."""
    found = r"90 images \(PNG 90; RGB 90\), shorter side 40 px.* 81 to train on and 9 held out"
    looked = show(columns, "train", ".", "--minutes", "0.1", "--dry-run", cwd=pictures)
    check_widths([line for line in looked if not line.text.startswith('  "')], columns)  # without the JSON
    assert re.search(found, words(looked))
    last = next(number for number, line in enumerate(looked) if line.text == "}")
    assert re.search(r"about [\d,]+ images/s: [\d,]+ steps in .*, each image", words(looked[last:]))  # below the recipe
    assert not (pictures / "runs").exists()
    refused = show(columns, "train", "./rounds", cwd=pictures, code=2)
    check_widths(refused, columns)
    assert "there is no file or folder" in words(refused)

    trained = show(columns, "train", ".", "--minutes", "0.03", "--size", "28", *SMALL, "--out", "run", cwd=pictures)
    check_widths(trained, columns)
    text = words(trained)
    assert re.search(found, text)
    assert "with labels (round, square)" in text
    assert "run, which lies inside the data and is left out of them, to 0.03 minutes; Ctrl-C saves and stops" in text
    assert re.search(
        r"finished after [\d,]+ steps, [\d,]+ images, 2 s of training \([\d,]+ images/s\): reached --minutes 0.03", text
    )
    packed, begun, ended = first(trained, "packing"), first(trained, "Ctrl-C"), first(trained, "finished after")
    assert packed.at < begun.at < first(trained, "loss D").at < begun.at + 0.5 * (ended.at - begun.at)

    assert pasted(trained, "resume")[-2:] == ["--minutes", "0.06"]
    resumed = show(columns, *pasted(trained, "resume"), cwd=pictures)
    check_widths(resumed, columns)
    assert "packing" not in words(resumed)
    assert "finished after" in words(resumed)
    assert "64 samples in run/grid.png" in words(show(columns, *pasted(resumed, "sample"), cwd=pictures))
    assert re.search(
        found, words(show(columns, "train", ".", "--size", "28", "--steps", "9", "--dry-run", cwd=pictures))
    )


def test_tables_in_a_narrow_terminal(tmp_path: Path) -> None:
    sparring.train("digits", steps=2, width=4, batch_size=16, progress=False, out=tmp_path / "run")
    check_widths(listed := show(40, "list", "objectives", cwd=tmp_path), 40)
    assert "relativistic" in words(listed)
    check_widths(evaluated := show(40, "evaluate", "run", "-n", "100", cwd=tmp_path), 40)
    assert "saved as run/card.json" in words(evaluated)


NOTEBOOK = {
    "kernel": "import os, torch, sparring\nfrom torch import nn\nos.getpid()",
    "train": """
generator = nn.Sequential(nn.Linear(8, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
discriminator = nn.Sequential(nn.Flatten(), nn.Linear(784, 1))
mine = sparring.Objective(
    "mine",
    discriminator=lambda real, fake: nn.functional.softplus(-real) + nn.functional.softplus(fake),
    generator=lambda real, fake: nn.functional.softplus(-fake),
)
own = dict(generator=generator, discriminator=discriminator)
run = sparring.train("digits", objective=mine, steps=60, batch_size=16, evaluation_steps=30, out="mine", **own)
""",
    "run": "run",
    "generator": "sparring.load(run, module=generator)",
    "card": "sparring.evaluate(run, n=100, only='coverage', module=generator)",
    "interrupt": "long = sparring.train('ring', steps=10_000_000, width=8, batch_size=16, log_steps=1, out='long')",
    "stopped": "(long.summary().status, long.summary().steps == long.log()[-1]['step'])",
    "resume": "sparring.resume(run, objective=mine, steps=70, progress=False, **own)",
    "frame": "[name for name in run.frame().columns if name.startswith('evaluation.')][:1]",
}


def test_one_with_networks_of_their_own(tmp_path: Path) -> None:
    """In a notebook: progress is one line that changes, objects show themselves, and an interrupt loses nothing."""
    cells = [nbformat.v4.new_code_cell(source) for source in NOTEBOOK.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    outputs: dict[str, list[Any]] = {}

    def interrupt() -> None:
        while not (tmp_path / "long" / "log.jsonl").exists():
            time.sleep(0.05)
        os.kill(int(cells[0].outputs[0].data["text/plain"]), signal.SIGINT)  # as the button does

    stopper = threading.Thread(target=interrupt, daemon=True)
    stopper.start()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    stopper.join()
    outputs = {name: [output.data for output in cell.outputs] for name, cell in zip(NOTEBOOK, cells, strict=True)}
    begun, changing, ended = (data["text/plain"] for data in outputs["train"])
    assert begun.startswith("digits\n  28×28 px, grey; 9,000 to train on and 1,000 held out\n  network ")
    assert begun.endswith("into mine, to 60 steps; interrupting the kernel saves and stops\n")
    assert re.fullmatch(r"100%  finished  distance [\d.e-]+", changing)
    assert re.match(r"finished after 60 steps, 960 images, .*\n  result  distance [\d.e-]+\n", ended)
    assert "sparring.resume('mine', generator=generator, discriminator=discriminator, steps=120)" in ended
    assert "sparring.load('mine', module=generator).sample(64, seed=0)" in ended
    for name, shown in {
        "run": "Run('mine'): finished after 60 steps",
        "generator": "Generator('custom: Sequential'): 8 latents to images (28×28 px, grey)",
        "card": "Card of 100 samples against digits: coverage ",
        "resume": "Run('mine'): finished after 70 steps",
    }.items():
        data = outputs[name][-1]
        assert data["text/plain"].startswith(shown)
        assert {"card": "<table>", "generator": 'src="data:image/png'}.get(name, 'srcdoc="') in data["text/html"]
    begun, changing, ended = (data["text/plain"] for data in outputs["interrupt"])
    assert begun.endswith("into long, to 10,000,000 steps; interrupting the kernel saves and stops\n")
    assert changing.startswith("  0%  stopped")
    assert "stopped by Ctrl-C; everything is saved" in ended
    assert "sparring.resume('long')" in ended
    assert outputs["stopped"][0]["text/plain"] == "('stopped', True)"
    assert len(outputs["resume"]) == 1  # it was asked to be quiet
    assert outputs["frame"][0]["text/plain"].startswith("['evaluation.")


def test_what_commands_need(tmp_path: Path) -> None:
    """As docs/reliability.md says; times are compared with that of importing PyTorch."""
    rows = re.findall(r"^\| `sparring (.*)` \| ([\d.]+) GB \|", RELIABILITY.read_text(), re.MULTILINE)
    stated = {command: float(gigabytes) for command, gigabytes in rows}
    random = np.random.default_rng(0)
    (tmp_path / "large").mkdir()
    rough = Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8))
    rough.resize((3000, 2000), Image.Resampling.NEAREST).save(tmp_path / "large/0.png", compress_level=1)
    for number in range(1, 100):
        (tmp_path / f"large/{number}.png").hardlink_to(tmp_path / "large/0.png")
    torch = measure("-c", "import torch", cwd=tmp_path)
    for command, ratio in {
        "--help": 0.5,
        "train large --dry-run": 8.0,
        "train --minutes 0.5 --out digits": 8.0,
        "sample digits -n 1000 --out digits.npz": 3.0,
    }.items():
        arguments = command.replace("--minutes 0.5", "--steps 50").split()
        cost = measure("-m", "sparring", *arguments, cwd=tmp_path)
        assert cost.gigabytes < ROOM * stated[command], command
        assert cost.seconds < ratio * torch.seconds, (command, cost.seconds / torch.seconds)

"""The commands and the Python of README.md, CONTRIBUTING.md and docs/ run, and print what stands there in form.

Long trainings are made short, data sets that need a network are replaced by the digits, and numbers may differ.
"""

import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_stub import Hub, serve_hub
from PIL import Image, ImageDraw
from torch import nn
from warm import MAIN, Process

import sparring
from sparring.data.people import make_people
from sparring.data.vowels import sing_vowels
from sparring.game import objectives
from sparring.modalities.sounds import write_wav

TOP = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(TOP)) for path in (TOP / "docs").glob("*.md"))]
PAGES.remove("docs/extending.md")  # test_extending.py runs it
NUMBER = re.compile(r"-?\d+(,\d{3})*(\.\d+)?(e-?\d+)?")
# Counting modes and spoiling items take minutes, and have tests of their own.
SHORT = {
    "fashion-mnist": "digits",
    "dogs/": "shapes/",
    "--processes 4": "--processes 2",
    "per-node=4": "per-node=2",
    "sparring watch": "sparring watch --help",  # which runs until it is ended
    "sparring serve": "sparring serve --help",
    "bench modes --quick": "list",
    "bench metrics --quick": "list",
    "bench metrics": "list",
    "bench modes": "list",
    "--steps 2000": "--steps 20",
    "sex=female, age>40": "age>17",  # twenty steps teach nobody what women are
    "--source digits": "--source digits --set num_clusters=1",
}
# Most of a card's time goes into the divergence; and what a survey says depends on the processor.
COMMAND = f"""
import torch
from sparring.evaluation import figures
figures.DIVERGENCE_STEPS = 20
torch.cpu._is_amx_tile_supported = lambda: False
{MAIN}
"""
FEW = ["--steps", "20", "--set", "width=4"]  # after more steps, networks as narrow as this raise alarms
SHORT_STUDY = {
    "minutes = 2": "steps = 4",
    "fashion-mnist": "ring",
    "seeds = 5": "seeds = 2",
    "= 5000": "= 300",
    "16, 24": "8",
}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language; "" for those without."""
    text = (TOP / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def sessions(page: str) -> list[tuple[str, list[str]]]:
    """The commands of a page, each with the lines that it prints, if the page says so."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks(page, ""):
        is_session = block.startswith("$ ")
        for line in block.splitlines():
            if is_session and not line.startswith("$ "):
                found[-1][1].append(line)
            elif is_session or line.startswith(("sparring ", "torchrun ")):
                found.append((line.removeprefix("$ "), []))
    return found


def shorten(command: str) -> list[str]:
    """The words of a command that takes seconds."""
    for long, short in SHORT.items():
        command = command.replace(long, short)
    words = shlex.split(command, comments=True)
    if words[:3] == ["sparring", "bench", "theory"]:
        words.append("--quick")
    if "--minutes" in words:
        place = words.index("--minutes")
        words[place : place + 2] = FEW
    elif "resume" in words and "--steps" not in words:
        words += ["--steps", "40"]
    elif "train" in words and not {"--steps", "--dry-run"} & {*words}:
        words += FEW
    return words


def has_form(printed: str, expected: list[str]) -> bool:
    """Whether lines agree up to numbers and spaces; "…" stands for anything in a line, and "..." for lines.

    Progress bars are left out, and so are empty lines.
    """

    def lines(given: list[str]) -> list[str]:
        kept = (line for line in given if line.strip() and not re.match(r"━| *\d+%  ", line))
        return [NUMBER.sub("0", " ".join(line.split())) for line in kept]

    pattern = ""
    for line in lines(expected):
        words = re.escape(line).replace("…", ".*").replace("/home/me/", ".*")
        pattern += r"(.*\n)*?" if line == "..." else words + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines(printed.splitlines()))) is not None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of."""
    top = tmp_path_factory.mktemp("documents")
    random = np.random.default_rng(0)
    for name in ("circles", "squares"):
        (top / "shapes" / name).mkdir(parents=True)
        for number in range(200):
            image = Image.new("RGB", (32, 32), "white")
            x, y, size = random.integers(2, 14, 3)
            draw = getattr(ImageDraw.Draw(image), {"circles": "ellipse", "squares": "rectangle"}[name])
            draw([x, y, x + size, y + size], fill=tuple(random.integers(0, 200, 3).tolist()))
            image.save(top / "shapes" / name / f"{number}.png")
    image.save(top / "cat.png")
    for folder in ("emoji", "faces"):
        (top / folder).mkdir()
    rows = ["file,hair,age"]
    for number in range(120):
        image = Image.fromarray(random.integers(0, 256, (64, 64, 4), np.uint8))
        (image if number % 4 else image.convert("RGB").quantize()).save(top / f"emoji/{number}.png")
        image.convert("RGB").save(top / f"faces/{number}.jpg")
        rows.append(f"{number}.jpg,{('black', 'blond', 'red')[number % 3]},{18 + number % 60}")
    (top / "faces/labels.csv").write_text("\n".join(rows))
    np.save(top / "signals.npy", random.standard_normal((200, 1, 128), np.float32))
    (top / "handwritten").mkdir()
    digits = random.integers(0, 256, (200, 28, 28), np.uint8)
    np.savez(top / "printed.npz", images=digits)
    for number in range(3):
        Image.fromarray(digits[number]).save(top / f"handwritten/{number}.png")
    for language in ("en", "es"):
        rows = [f"{language}{word} {' '.join(map(str, random.normal(size=8)))}" for word in range(300)]
        (top / f"{language}.vec").write_text("\n".join(rows))
    (top / "en-es.tsv").write_text("".join(f"en{word}\tes{word}\n" for word in range(200)))
    (top / "letter.txt").write_text("en1\nen2 en3\n")
    make_people(700).to_csv(top / "customers.csv", index=False)
    (top / "columns.toml").write_text(
        blocks("docs/tables.md", "toml")[0].replace("zip_code", "town").split("[size]")[0]
    )
    (top / "recordings").mkdir()
    for digit, speaker, take in product("67", ("theo", "mary"), range(20)):
        sound = (0.1 * random.standard_normal(4000)).astype(np.float32).clip(-1, 1)
        write_wav(sound, 8000, top / f"recordings/{digit}_{speaker}_{take}.wav")
    settings: dict[str, Any] = {"width": 4, "evaluation_share": 0.0, "progress": False}
    sparring.train(str(top / "shapes"), out=top / "runs/animals-1", steps=10, checkpoint_steps=10, **settings)
    (top / "runs/animals-1/checkpoints/step-000010").rename(top / "runs/animals-1/checkpoints/step-010000")
    sparring.train("grid", out=top / "python/runs/grid-1", steps=10, **settings)
    plan = blocks("docs/studies.md", "toml")[0]
    for long, short in SHORT_STUDY.items():
        plan = plan.replace(long, short)
    (top / "games.toml").write_text(plan)
    return top


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it for each page."""
    return shutil.copytree(prepared, tmp_path / "me")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if sessions(page)])
def test_commands_print_what_the_page_says(page: str, folder: Path, hub: Hub) -> None:
    latest = "runs/recordings-2"  # which RUN stands for
    environment = os.environ | {"COLUMNS": "100"} | hub.environment(folder / "hub")
    trees = (block.splitlines()[1:] for block in blocks(page, "") if block.startswith("runs/digits-1/"))
    said, left = {line.split()[0] for tree in trees for line in tree}, set[str]()  # what a run leaves
    for number, (command, expected) in enumerate(sessions(page)):
        if "HOST" in command:  # two machines
            continue
        if "--out RUN" in command:
            latest = f"run-{number}"
        words = shorten(command.replace("RUN", latest))
        is_stopped = expected[:1] == ["^C"]
        if is_stopped:
            words = shlex.split(command)
        code = COMMAND if words[0] == "sparring" else "from torch.distributed.run import main; main()"
        process = Process(*words[1:], cwd=folder, env=environment, code=code)
        while is_stopped and not list((folder / "runs/digits-2").glob("samples/*")):
            time.sleep(0.1)
            assert process.poll() is None
        if is_stopped:
            os.kill(process.pid, signal.SIGINT)
        printed, errors = process.communicate()
        code_of = 130 if is_stopped else 2 if expected[:1] and expected[0].startswith("sparring: ") else 0
        assert process.returncode == code_of, f"{command}\n{printed}\n{errors}"
        printed += errors if code_of == 2 or "--dry-run" in words else ""
        if expected:
            assert has_form(printed, expected[is_stopped:]), f"{command}\n{printed}\n" + "\n".join(expected)

        left |= {name for name in said if (folder / "runs/digits-1" / name).exists()}
    assert left == said


def test_the_map_shows_every_room() -> None:
    tree = next(block for block in blocks("README.md", "") if block.startswith("src/sparring/"))
    said = {word.rstrip("/") for line in tree.splitlines() if line.startswith("  ") for word in line[:21].split()}
    there = {path.name for path in (TOP / "src/sparring").iterdir() if path.name[0] != "_"} - {"py.typed"}
    assert {path for path in said if "." in path or (TOP / "src/sparring" / path).is_dir()} == there


def names() -> dict[str, Any]:
    """What the pages' Python takes as given."""

    def player(*sizes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(*sizes))

    images = torch.randn(8, 1, 8, 8)
    generator, discriminator = nn.Sequential(player(64, 64), nn.Unflatten(1, (1, 8, 8))), player(64, 1)
    return {
        "sparring": sparring, "my_images": np.random.default_rng(0).integers(0, 256, (80, 16, 16), np.uint8),
        "my_labels": ["a", "b"] * 40, "my_sounds": sing_vowels(80)[0], "my_words": ["seven", "two"] * 40,
        "my_frame": make_people(700),
        "handwritten": np.zeros((8, 28, 28), np.uint8), "my_generator": generator, "my_discriminator": discriminator,
        "my_loader": [images] * 2, "batches": [images] * 2, "generator": generator, "discriminator": discriminator,
        "d_optimizer": torch.optim.Adam(discriminator.parameters()),
        "g_optimizer": torch.optim.Adam(generator.parameters()),
        "real": torch.randn(400, 2), "fake": torch.randn(400, 2), **vars(objectives),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_runs(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "python")
    given = names()
    for block in blocks(page, "python"):
        short = re.sub(r"minutes=\d+", "steps=10", block).replace("20_000", "2_000")
        exec(compile(short, page, "exec"), given)

"""Does this tree train to the same weights as another one, byte for byte?

    git worktree add ../before COMMIT
    python benchmarks/same_bytes.py --before ../before [--only default grid ...] [--cache FOLDER]

Each case is one command, which both trees run with one thread and with one and two processes. Every tensor of the
generator, of the best generator and of the newest checkpoint is compared: both players, the average and both
optimisers. With --cache, the weights of the other tree are kept in that folder, and are not trained again.

The exit code is 1 if a tensor differs. It takes seven minutes on two cores if the other tree is cached.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).resolve().parents[1]
RENAMED: dict[str, str] = {}
"""Tensors that were renamed: how a name began, and how it begins now."""
BOOKKEEPING = ("checkpoint/left_out", "checkpoint/log.")
"""Names of tensors that are no weights begin so."""
STEPS = 30
UNMEASURED = ["--set", "evaluation_share=0"]
MEASURED = ["--set", "evaluation_steps=10"]
ONE_OF_EACH = [
    *("--mirror", "--set", "simultaneous=True", "--set", "generator_steps=2", "--set", "clip_gradients=1"),
    *("--set", "augment=0.3", "--set", "augment_target=0.6", "--set", "normalization=batch"),
]


def cases(recipes: list[str], inputs: Path) -> dict[str, list[str]]:
    """The arguments of `sparring train` for each case, by its name."""
    on_digits = {name: ["digits", "--recipe", name, *UNMEASURED] for name in recipes if name not in NOT_ON_DIGITS}
    pictures = [str(inputs / "pictures"), "--size", "32"]
    classes = [str(inputs / "classes"), "--size", "32"]
    return {f"{name} on digits": arguments for name, arguments in on_digits.items()} | {
        "dcgan on digits": ["digits", "--recipe", "dcgan", "--batch-size", "16", "--width", "16", *UNMEASURED],
        "points on ring": ["ring", "--recipe", "points", *UNMEASURED],
        "points on grid": ["grid", "--recipe", "points", *UNMEASURED],
        "default on pictures": [*pictures, *UNMEASURED],
        "default on classes": [*classes, *UNMEASURED],
        "digits without labels": ["digits", "--conditional", "False", *UNMEASURED],
        "stacked digits": ["stacked-digits", *UNMEASURED],
        "array of points": [str(inputs / "points.npy"), *UNMEASURED],
        "digits, measured": ["digits", *MEASURED],
        "ring, measured": ["ring", *MEASURED],
        "pictures, measured": [*pictures, *MEASURED],
        "resnet on classes": [*classes, "--network", "resnet", "--batch-size", "8", *UNMEASURED],
        "one of each option": [*classes, *ONE_OF_EACH, *UNMEASURED],
    }


NOT_ON_DIGITS = ("points", "dcgan")
"""`points` is for points; `dcgan`, at 64 pixels, gets smaller networks and batches, for time."""


def write_inputs(folder: Path) -> None:
    """200 pictures of shapes and noise, without classes and in four of them, and an array of points."""
    random = np.random.default_rng(0)
    for number in range(200):
        picture, kind = Image.fromarray(random.integers(0, 80, (32, 32, 3), dtype=np.uint8)), number % 4
        middle_and_radius = [int(value) for value in random.integers((10, 10, 6), (22, 22, 12))]
        colour = tuple(int(value) for value in random.integers(100, 256, 3))
        ImageDraw.Draw(picture).regular_polygon(middle_and_radius, 3 + kind, fill=colour)
        for path in (folder / "pictures", folder / "classes" / f"kind-{kind}"):
            path.mkdir(parents=True, exist_ok=True)
            picture.save(path / f"{number:03d}.png")
    np.save(folder / "points.npy", random.normal(size=(2000, 2)).astype(np.float32))


def recipes_of(tree: Path) -> list[str]:
    """The names of a tree's recipes, once it is sure that Python imports that tree."""
    program = "import sparring; print(sparring.__file__, *sparring.RECIPES)"
    own = os.environ | {"PYTHONPATH": str(tree / "src")}
    file, *names = subprocess.check_output([sys.executable, "-P", "-c", program], env=own, text=True).split()
    if not Path(file).is_relative_to(tree):
        raise SystemExit(f"Python imports {file} instead of {tree}/src/sparring")
    return names


def train(tree: Path, arguments: list[str], processes: int, cache: Path) -> dict[str, Tensor]:
    """The weights that a tree's command trains to, by name."""
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-P", "-m", "sparring", "train", *arguments, "--steps", str(STEPS), "--seed", "0"]
        command += ["--device", "cpu", "--processes", str(processes), "--out", str(run)]
        own = {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "SPARRING_CACHE": str(cache)}
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{tree}: {' '.join(command)}\n{done.stderr[-500:]}")
        newest = max((run / "checkpoints").iterdir())
        files = {
            "generator": run / "generator/model.safetensors",
            "best": run / "best/model.safetensors",
            "checkpoint": newest / "state.safetensors",
        }
        return {
            f"{part}/{name}": tensor
            for part, path in files.items()
            if path.exists()
            for name, tensor in load_file(path).items()
        }


def train_or_read(
    tree: Path, arguments: list[str], processes: int, cache: Path, kept: Path | None
) -> dict[str, Tensor]:
    """The same, kept in a file, unless that was of other arguments."""
    told = json.dumps([argument.rsplit("/", 1)[-1] for argument in arguments])
    if kept is not None and kept.exists():
        with safe_open(kept, "pt") as file:
            if file.metadata() == {"arguments": told}:
                return load_file(kept)
    weights = train(tree, arguments, processes, cache)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, kept, {"arguments": told})
    return weights


def difference(before: dict[str, Tensor], after: dict[str, Tensor]) -> str:
    """The first tensor that differs, or nothing."""
    renamed = {rename(name): tensor for name, tensor in before.items() if not name.startswith(BOOKKEEPING)}
    after = {name: tensor for name, tensor in after.items() if not name.startswith(BOOKKEEPING)}
    if unmatched := sorted(renamed.keys() ^ after.keys()):
        return f"{len(unmatched)} names are in one tree only, such as {unmatched[0]}"
    for name, tensor in renamed.items():
        other = after[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            return f"{name} was {tuple(tensor.shape)} {tensor.dtype} and is {tuple(other.shape)} {other.dtype}"
        if not torch.equal(tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)):
            return f"{name} by up to {(tensor.double() - other.double()).abs().max().item():.3g}"
    return ""


def rename(name: str) -> str:
    """What a tensor of the other tree is called in this one."""
    for before, after in RENAMED.items():
        if name.startswith(before):
            return after + name.removeprefix(before)
    return name


def main() -> int:
    """Train each case in both trees and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--only", nargs="+", default=[], help="the cases whose names begin so")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--cache", type=Path, help="where the weights of the other checkout are kept")
    arguments = parser.parse_args()
    table = Table("case", "processes", "weights", box=None)
    before_tree = arguments.before.resolve()
    num_different, start = 0, time.perf_counter()
    with TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        write_inputs(inputs)
        for name, train_arguments in cases(recipes_of(before_tree), inputs).items():
            if arguments.only and not name.startswith(tuple(arguments.only)):
                continue
            for processes in arguments.processes:
                kept = arguments.cache and arguments.cache / f"{name.replace(' ', '-')}-{processes}.safetensors"
                caches = Path(folder) / "before", Path(folder) / "after"
                try:
                    before = train_or_read(before_tree, train_arguments, processes, caches[0], kept)
                    after = train(HERE, train_arguments, processes, caches[1])
                    differs = difference(before, after)
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    differs = "failed"
                num_different += bool(differs)
                table.add_row(name, str(processes), differs or f"equal: {len(after)} tensors")
                print(f"{time.perf_counter() - start:4.0f} s  {name}, {processes}: {differs or 'equal'}", flush=True)
    Console(width=160).print(table)
    print(f"{num_different} of {table.row_count} differ")
    return 1 if num_different else 0


if __name__ == "__main__":
    sys.exit(main())

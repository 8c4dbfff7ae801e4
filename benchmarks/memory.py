"""Processor time and peak memory of every command, as the table in docs/reliability.md.

    OMP_NUM_THREADS=1 python benchmarks/memory.py
    OMP_NUM_THREADS=1 python benchmarks/memory.py --predict

It takes about ten minutes. With `--predict` it compares the peak memory of trainings with what is said before them, as
the table in docs/scale.md.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

NUM_LARGE, LARGE = 100, (2000, 3000)
COMMANDS = [
    "--help",
    "list",
    "list networks --measure",
    "train --dry-run",
    "train large --dry-run",
    "train large --dry-run --minutes 600",
    "train --minutes 0.5 --out digits",
    "resume digits --minutes 0.6",
    "train ring --minutes 0.5 --out ring",
    "train large --minutes 0.5 --out pictures",
    "sample digits -n 1000 --out digits.npz",
    "sample pictures -n 64 --out grid.png",
    "project digits digits/samples/step-000000.png",
    "evaluate digits",
    "diagnose digits",
    "data",
    "bench theory --quick",
]
# A process of its own for each command: what a process says of its children is the largest of them all.
MEASURE = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
MEASURE += "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
MEASURE += "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(code)"


SIZES = {"28": "32", "64": "32", "128": "32", "192x320": "16", "256": "8", "512": "2"}  # and batches
UNIT = 1 if sys.platform == "darwin" else 1024  # of the system's figure, in bytes
PREDICT = """
import sys
from sparring.training.footprint import predict_memory
from sparring.training.recipe import make_request
from sparring.training.resolve import count_classes, resolve
recipe, dataset = resolve(make_request("large", size=sys.argv[1], batch_size=int(sys.argv[2]), steps=2), dry=True)
print(predict_memory(recipe, dataset.modality, count_classes(recipe, dataset)))
"""


def run(words: list[str], folder: str) -> tuple[str, float, float]:
    """What a command prints, its seconds of processor time, and its peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seconds, peak = map(float, done.stderr.split()[-2:])
    return done.stdout, seconds, UNIT * peak


def predict(folder: str) -> None:
    """Train two steps at each size, with an evaluation, and print a row for each."""
    print("| pixels | batch | predicted | measured | off by |\n|---|---|---|---|---|")
    for size, batch in SIZES.items():
        predicted = float(run(["-c", PREDICT, size, batch], folder)[0])
        options = ["--size", size, "--batch-size", batch, "--steps", "2", "--set", "evaluation_steps=2"]
        *_, measured = run(["-m", "sparring", "train", "large", *options], folder)
        numbers = f"{predicted / 1e9:.2f} GB | {measured / 1e9:.2f} GB | {predicted / measured - 1:+.0%}"
        print(f"| {size} | {batch} | {numbers} |", flush=True)


def main() -> None:
    """Run each command in one folder, and print a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "large").mkdir()
        random = np.random.default_rng(0)
        for number in range(NUM_LARGE):
            small = random.integers(0, 256, (20, 30, 3), np.uint8)
            image = Image.fromarray(small).resize((LARGE[1], LARGE[0]), Image.Resampling.BICUBIC)
            image.save(Path(folder) / "large" / f"{number}.png", compress_level=1)
        print(f"{NUM_LARGE} pictures of {LARGE[1]}×{LARGE[0]} pixels in `large`\n")
        if "--predict" in sys.argv:
            predict(folder)
            return
        print("| command | peak memory | processor time |\n|---|---|---|")
        for command in COMMANDS:
            _, seconds, peak = run(["-m", "sparring", *command.split()], folder)
            print(f"| `sparring {command}` | {peak / 1e9:.2f} GB | {seconds:.1f} s |", flush=True)


if __name__ == "__main__":
    main()

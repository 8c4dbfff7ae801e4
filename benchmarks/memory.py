"""Time and peak memory of every command, as the table in docs/reliability.md.

    python benchmarks/memory.py

It takes a few minutes. Run it on a machine that does nothing else.
"""

import subprocess
import sys
import tempfile
import time
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
    "evaluate pictures",
    "diagnose digits",
    "data",
    "bench theory --quick",
]
# A process of its own for each command: what a process says of its children is the largest of them all.
MEASURE = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
MEASURE += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"


def main() -> None:
    """Run each command in one folder, and print a row for each."""
    unit = 1 if sys.platform == "darwin" else 1024  # of the system's figure, in bytes
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "large").mkdir()
        random = np.random.default_rng(0)
        for number in range(NUM_LARGE):
            small = random.integers(0, 256, (20, 30, 3), np.uint8)
            image = Image.fromarray(small).resize((LARGE[1], LARGE[0]), Image.Resampling.BICUBIC)
            image.save(Path(folder) / "large" / f"{number}.jpg")
        print(f"{NUM_LARGE} pictures of {LARGE[1]}×{LARGE[0]} pixels in `large`\n")
        print("| command | seconds | peak memory |\n|---|---|---|")
        for command in COMMANDS:
            start = time.perf_counter()
            words = [sys.executable, "-c", MEASURE, sys.executable, "-m", "sparring", *command.split()]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            peak = int(done.stderr.split()[-1]) * unit
            print(f"| `sparring {command}` | {time.perf_counter() - start:.1f} | {peak / 1e9:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()

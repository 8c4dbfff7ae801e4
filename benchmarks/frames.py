"""What the live page's frames cost: how many there are, their bytes, and their share of the training time.

    python benchmarks/frames.py [--minutes 2] [--only digits ring pictures]

Digits and coloured pictures of 64×64 pixels are trained for so many minutes, the ring for 3,000 steps, each on one
thread with the default settings. The pictures are made at random: eight blurred spots of colour each.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import sparring
from sparring.training.frames import Frames
from sparring.training.loop import Outcome, Training

SIDE, NUM_PICTURES = 64, 2000


def make_pictures() -> np.ndarray:
    """Spots of colour on a coloured ground, uint8 [n, SIDE, SIDE, 3]."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    pictures = np.empty((NUM_PICTURES, SIDE, SIDE, 3), np.uint8)
    for picture in pictures:
        drawn = np.ones((SIDE, SIDE, 1)) * generator.uniform(0, 255, 3)
        for _ in range(8):
            (y, x), spread = generator.uniform(0, SIDE, 2), generator.uniform(3, 12)
            weight = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))[..., None]
            drawn = (1 - weight) * drawn + weight * generator.uniform(0, 255, 3)
        picture[:] = drawn
    return pictures


def measure(name: str, minutes: float, folder: Path) -> tuple[str, ...]:
    """A row of the table: train, and add up what the frames took."""
    spent = [0.0]
    ended = Frames.ended

    def note(self: Frames, training: Training, outcome: Outcome) -> None:
        ended(self, training, outcome)
        spent[0] += self.seconds

    Frames.ended = note  # type: ignore[method-assign]
    try:
        limit = {"steps": 3000} if name == "ring" else {"minutes": minutes}
        data = make_pictures() if name == "pictures" else name
        run = sparring.train(data, out=folder / name, progress=False, **limit)
    finally:
        Frames.ended = ended  # type: ignore[method-assign]
    summary, sizes = run.summary(), [run.frame_path(step).stat().st_size for step in run.frame_steps()]
    return (
        name, f"{summary.steps:,}", f"{summary.seconds:.1f}", str(len(sizes)), f"{sum(sizes) / 1e6:.2f}",
        f"{max(sizes) / 1e3:.0f}", f"{100 * spent[0] / summary.seconds:.2f}",
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--only", nargs="+", default=["digits", "ring", "pictures"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("data", "steps", "seconds", "frames", "MB", "largest, kB", "% of the time")
    with TemporaryDirectory() as folder:
        for name in options.only:
            table.add_row(*measure(name, options.minutes, Path(folder)))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

"""Measures what augmentation gains on few images: some of the digits, with and without it, for equal steps.

    python benchmarks/few_images.py --out runs/few            # trains what is missing: 30 trainings of 2 minutes
    python benchmarks/few_images.py --out runs/few --table    # reads what is there

Start it twice with `--part 1/2` and `--part 2/2` to use two cores. Prints the table of docs/data.md.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sparring import load
from sparring.data import Items, to_float
from sparring.files import write_json
from sparring.metrics import frechet_distance, memorization
from sparring.training.build import build
from sparring.training.loop import play
from sparring.training.meter import Meter
from sparring.training.recipe import make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import resolve
from sparring.training.run_folder import create_run

STEPS, NUM_GENERATED = 9000, 5000
COUNTS, SEEDS = (500, 100), range(5)
ARMS: dict[str, dict[str, Any]] = {
    "without": {},
    "always half": {"augment": 0.5},
    "adaptive": {"augment_target": 0.6},
}


def train(count: int, arm: str, seed: int, folder: Path) -> None:
    """Train on so many digits, equally many of each class, and measure against the held-out ones."""
    settings = ARMS[arm] | {"seed": seed, "steps": STEPS, "checkpoint_seconds": 1e9, "sample_seconds": 1e9}
    recipe, dataset = resolve(make_request("digits", **settings))
    whole, heldout = dataset.train, dataset.heldout
    assert isinstance(whole, Items)
    assert isinstance(heldout, Items)
    assert whole.item_labels is not None
    numbers = torch.cat([(whole.item_labels == label).nonzero().flatten()[: count // 10] for label in range(10)])
    training = build(recipe, replace(dataset, train=Items(whole.items[numbers], whole.item_labels[numbers])))
    run = create_run(folder, "few")
    run.write_recipe(recipe)
    training.folder = folder
    play(training, [Meter(training), Recorder(run)])
    run.unlock()
    generator = load(folder)
    fake = generator.modality.encode(generator.sample(NUM_GENERATED, seed=1))
    unseen, trained_on = to_float(heldout.items), to_float(whole.items[numbers])
    extract, neutral = dataset.extractor(), dataset.modality.neutral_extractor()
    figures = {
        "distance": frechet_distance(extract(unseen), extract(fake), num_resamples=2).value,
        "memorization": memorization(neutral(trained_on), neutral(unseen), neutral(fake)).value,
        "alarms": sorted({alarm["name"] for line in run.log() for alarm in line.get("alarms", [])}),
    }
    write_json(folder / "few.json", figures)


def table(out: Path) -> None:
    """Print the trainings that have ended."""
    print("| digits | augmentation | Fréchet distance to held-out digits | copies | trainings with that alarm |")
    print("|---|---|---|---|---|")
    for count in COUNTS:
        for arm in ARMS:
            found = [
                json.loads(path.read_text()) for path in sorted(out.glob(f"{count}-{arm.replace(' ', '-')}-*/few.json"))
            ]
            if not found:
                continue
            row = []
            for name in ("distance", "memorization"):
                values = [each[name] for each in found]
                row.append(f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})")
            num_alarms = sum("memorization" in each["alarms"] for each in found)
            print(f"| {count} | {arm} | {' | '.join(row)} | {num_alarms} of {len(found)} |")


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/few"))
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if not arguments.table:
        number, parts = map(int, arguments.part.split("/"))
        cases = [(count, arm, seed) for seed in SEEDS for count in COUNTS for arm in ARMS]
        for count, arm, seed in cases[number - 1 :: parts]:
            folder = arguments.out / f"{count}-{arm.replace(' ', '-')}-{seed}"
            if not (folder / "few.json").exists():
                train(count, arm, seed, folder)
    table(arguments.out)


if __name__ == "__main__":
    main()

"""Measures how long it takes until samples are good: `sparring train` against the tutorial's DCGAN.

    python benchmarks/quality.py [--data fashion-mnist] [--minutes 3] [--seeds 0 1 2] [--set KEY=VALUE ...]
    python benchmarks/quality.py --tutorial 1 2 3 8      # its distance after so many minutes

Compares 10,000 samples with the training images by classifiers that neither training uses (benchmarks/judges.py):
the Fréchet distance over the 128 features of each, and precision, recall and coverage over those of the first. The
first row compares the held-out images, which no samples can be expected to beat. Only training time counts.
"""

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import reference
import torch
from judges import judges
from torch import Tensor

import sparring
from sparring.metrics import density_coverage, frechet_distance, precision_recall
from sparring.training.recipe import check_setting

NUM_SAMPLES = 10_000


class Jury:
    """The judges, with the features of the real images.

    Args:
        data: the name of a data set of images.
        folder: where the judges are kept.
    """

    def __init__(self, data: str, folder: Path) -> None:
        dataset = sparring.open_dataset(data)
        assert isinstance(dataset.train, sparring.Items)
        assert isinstance(dataset.heldout, sparring.Items)
        self.train, self.heldout = dataset.train.items, dataset.heldout.items
        self.judges = judges(data, folder)
        self._real = [judge(_to_float(self.train)) for judge in self.judges]

    def distances(self, samples: Tensor) -> dict[str, float]:
        """The Fréchet distance by each judge, of samples in [−1, 1]."""
        return {
            judge.name: frechet_distance(real, judge(samples), num_resamples=2).value
            for judge, real in zip(self.judges, self._real, strict=True)
        }

    def shares(self, samples: Tensor) -> dict[str, float]:
        """Precision, recall and coverage by the first judge, against as many real images as there are samples."""
        real, fake = self._real[0][: len(samples)], self.judges[0](samples)
        precision, recall = precision_recall(real, fake)
        return {
            "precision": precision.value, "recall": recall.value, "coverage": density_coverage(real, fake)[1].value
        }  # fmt: skip


def ours(data: str, minutes: float, seed: int, settings: dict[str, Any], out: Path) -> Tensor:
    """Samples of a training, whose run is kept in a folder."""
    run = sparring.train(data, **{"minutes": minutes, "conditional": False, "seed": seed, **settings}, out=out)
    generator = sparring.load(run.path)
    return generator.modality.encode(generator.sample(NUM_SAMPLES, seed=seed))


def tutorial(images: Tensor, minutes: list[float], seed: int) -> list[Tensor]:
    """Samples of the tutorial's DCGAN after so many minutes each, cut to 28×28."""
    real = reference.pad_to_32(_to_float(images))
    torch.manual_seed(seed)
    game = reference.Dcgan(reference.generator(), reference.discriminator())
    samples, seconds = [], 0.0
    for limit in sorted(minutes):
        while seconds < 60 * limit:
            start = time.perf_counter()
            game.step(real[torch.randint(len(real), (128,))], torch.randn(128, reference.LATENT_DIM))
            seconds += time.perf_counter() - start
        game.generator.eval()
        with torch.inference_mode():
            latents = torch.randn(NUM_SAMPLES, reference.LATENT_DIM, 1, 1)
            samples.append(torch.cat([game.generator(batch) for batch in torch.split(latents, 100)])[..., 2:-2, 2:-2])
        game.generator.train()
    return samples


def _to_float(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def main() -> None:
    """Train, judge, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--minutes", type=float, nargs="*", default=[3.0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="fields of the recipe, as KEY=VALUE")
    parser.add_argument("--tutorial", type=float, nargs="*", default=[], help="minutes of the tutorial's DCGAN")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    jury = Jury(arguments.data, arguments.out / "judges")
    settings = {
        name: check_setting(name, value, strict=False)
        for name, _, value in (each.partition("=") for each in arguments.set)
    }
    print(f"| what | seed | {' | '.join(judge.name for judge in jury.judges)} | precision | recall | coverage |")
    print("|---|---|---|---|---|---|---|---|")

    def judge(what: str, seed: int, samples: Tensor) -> float:
        figures = jury.distances(samples) | jury.shares(samples)
        print(f"| {what} | {seed} | {' | '.join(f'{value:.3f}' for value in figures.values())} |", flush=True)
        with (arguments.out / "results.jsonl").open("a") as file:
            file.write(json.dumps({"what": what, "seed": seed, **figures}) + "\n")
        return next(iter(figures.values()))

    judge("held-out images", 0, _to_float(jury.heldout))
    for seed in arguments.seeds if arguments.tutorial else ():
        samples = tutorial(jury.train, arguments.tutorial, seed)
        for limit, each in zip(sorted(arguments.tutorial), samples, strict=True):
            judge(f"the tutorial's DCGAN, {limit:g} min", seed, each)
    for minutes in arguments.minutes if not arguments.tutorial else ():
        what = " ".join([f"{minutes:g} min", *arguments.set])
        found = []
        for seed in arguments.seeds:
            folder = arguments.out / f"{arguments.data} {what} {seed}".replace(" ", "_").replace("/", "-")
            shutil.rmtree(folder, ignore_errors=True)
            found.append(judge(what, seed, ours(arguments.data, minutes, seed, settings, folder)))
        print(f"{what}: median {statistics.median(found):.3f}, {min(found):.3f} to {max(found):.3f}", flush=True)


if __name__ == "__main__":
    main()

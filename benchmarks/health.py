"""Trains healthy and sabotaged GANs, to find the doctor's thresholds and which alarms each training raises.

    python benchmarks/health.py --out runs/health            # trains what is missing: about five core hours
    python benchmarks/health.py --out runs/health --table    # reads what is there

A sabotaged training takes a minute, and evaluations may take a tenth of it, so that there are as many as in the
default two minutes with a twentieth. The others take these two minutes (points: a minute or more). Start it twice
with `--part 1/2` and `--part 2/2` to use two cores. Prints the tables of docs/health.md.
"""

import argparse
import functools
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from sparring import open_dataset
from sparring.data import Items, to_float
from sparring.errors import TrainingError, UsageError
from sparring.evaluation.health import RULES, Doctor, Line
from sparring.game.ema import Average
from sparring.modalities.images import Images
from sparring.training.build import build
from sparring.training.loop import Training, play
from sparring.training.meter import Meter
from sparring.training.recipe import make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import resolve
from sparring.training.run_folder import Run, create_run

MINUTES, SHARE = 1.0, 0.1
"""The length of a sabotaged training, and the share for evaluations; longer ones get as many minutes for them."""
HEALTHY_SEEDS, SABOTAGE_SEEDS = range(5), range(3)


@dataclass(frozen=True, eq=False)
class Case:
    """A training, healthy or not.

    Args:
        name: of its folder.
        data: a name in `SOURCES`.
        right: the alarms of which one must be raised; empty for a healthy training.
        preset: a name in `RECIPES`, or None.
        settings: fields of the recipe.
        limit: how many training items there are, or None for all.
        minutes: of training.
        sabotage: what is done to the training before it starts.
    """

    name: str
    data: str = "digits"
    right: frozenset[str] = frozenset()
    preset: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    minutes: float = MINUTES
    sabotage: Callable[[Training], None] = lambda training: None


class Copies(nn.Module):
    """A generator that learns nothing: the latents choose one of its items."""

    def __init__(self, items: Tensor) -> None:
        super().__init__()
        self.register_buffer("items", items)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Items [batch, ...], one for each latent."""
        items = self.items
        assert isinstance(items, Tensor)
        index = (latents.abs().sum(1) * 1e4).long() % len(items)
        return to_float(items[index]) + 0 * self.weight


def copies(choose: Callable[[Items], Tensor]) -> Callable[[Training], None]:
    """Put a generator in place that gives the chosen items."""

    def sabotage(training: Training) -> None:
        assert isinstance(training.dataset.train, Items)
        training.game.generator = Copies(choose(training.dataset.train))
        training.average = Average(training.game.generator, 0.0)

    return sabotage


def rows(where: str) -> Callable[[Training], None]:
    """Put a generator in place that gives the training rows which meet conditions."""

    def sabotage(training: Training) -> None:
        modality = training.dataset.modality
        copies(lambda items: items.items[modality.choose(modality.decode(items.items), where)])(training)

    return sabotage


class Spoiled(nn.Module):
    """A generator whose images are made worse; what it learns cannot undo that."""

    def __init__(self, generator: nn.Module, spoil: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.generator, self.spoil = generator, spoil

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [batch, ...] in [−1, 1]."""
        images = self.generator(latents) if labels is None else self.generator(latents, labels)
        return self.spoil(images, latents)


def spoiled(spoil: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Training], None]:
    """Make all that the generator gives worse."""

    def sabotage(training: Training) -> None:
        training.game.generator = Spoiled(training.game.generator, spoil)
        training.average = Average(training.game.generator, training.recipe.average_decay)

    return sabotage


def chances(images: Tensor, latents: Tensor) -> Tensor:
    """A number from 0 to 1 for each pixel [batch, 1, height, width], by the latents."""
    height, width = images.shape[2:]
    places = torch.arange(1, height * width + 1, device=images.device)
    return ((latents.sum(1)[:, None] * places).sin() * 43758.5453).remainder(1).view(-1, 1, height, width)


def specks(images: Tensor, latents: Tensor) -> Tensor:
    """A hundredth of the pixels are black, and a hundredth white."""
    chance = chances(images, latents)
    return images.where(chance > 0.01, -1.0).where(chance < 0.99, 1.0)


def grain(images: Tensor, latents: Tensor) -> Tensor:
    """Even noise, by at most a quarter of the range up or down."""
    return (images + chances(images, latents) - 0.5).clamp(-1, 1)


def checkerboard(images: Tensor, latents: Tensor) -> Tensor:
    """Every other pixel is darker by a tenth of the range, and the others are brighter; or the other way round."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    phase = (chances(images, latents)[:, :, :1, :1] < 0.5).long()
    return (images + 0.2 * (2.0 * (rows[:, None] + columns + phase).remainder(2) - 1)).clamp(-1, 1)


def smear(images: Tensor, latents: Tensor) -> Tensor:
    """Each pixel is the mean of the 5×5 around it."""
    return avg_pool2d(images, 5, 1, 2, count_include_pad=False)


def no_updates(player: str) -> Callable[[Training], None]:
    """Keep a player as it was initialised."""

    def sabotage(training: Training) -> None:
        getattr(training.game, f"{player}_optimizer").step = lambda: None

    return sabotage


def of_one_class(items: Items) -> Tensor:
    """All items of one class."""
    assert items.item_labels is not None
    return items.items[items.item_labels == 3]


def alarms(*names: str) -> frozenset[str]:
    """Alarms of which any one will do."""
    return frozenset(names)


SABOTAGES = (
    Case("no-generator-updates", right=alarms("strong_discriminator", "collapse"), sabotage=no_updates("generator")),
    Case(
        "strong-discriminator",
        right=alarms("strong_discriminator"),
        settings={"discriminator_steps": 2, "learning_rate": 4e-4, "learning_rate_ratio": 20.0},
    ),
    Case("frozen-discriminator", right=alarms("weak_discriminator"), sabotage=no_updates("discriminator")),
    Case(
        "careless-minimax",
        right=alarms("strong_discriminator", "collapse"),
        preset="gan",
        settings={"discriminator_steps": 5, "learning_rate_ratio": 5.0},
    ),
    Case("one-image", right=alarms("collapse"), sabotage=copies(lambda items: items.items[:1])),
    Case("one-class", right=alarms("partial_collapse"), sabotage=copies(of_one_class)),
    Case("copies", right=alarms("memorization"), sabotage=copies(lambda items: items.items)),
    Case("specks", right=alarms("artefacts"), sabotage=spoiled(specks)),
    Case("grain", right=alarms("artefacts"), sabotage=spoiled(grain)),
    Case("checkerboard", right=alarms("artefacts"), sabotage=spoiled(checkerboard)),
    Case("smear", right=alarms("artefacts"), sabotage=spoiled(smear)),
    Case("one-school", "people", alarms("collapsed_column"), sabotage=rows("school=college")),
    Case("no-town-a", "people", alarms("lost_category"), sabotage=rows("town!=town A")),
    Case("copied-rows", "people", alarms("memorization"), sabotage=rows("age>0")),
    Case("fifty-images", right=alarms("overfitting", "memorization"), limit=50),
    Case("rate-times-100", right=alarms("divergence"), settings={"learning_rate": 0.4}),
    Case(
        "wasserstein-without-lipschitz",
        right=alarms("divergence"),
        preset="wgan",
        settings={"penalty": "none", "learning_rate": 1e-3},
    ),
)


@functools.cache
def healthy() -> list[Case]:
    """Every recipe on every data set that it suits."""
    images = [data for data in ("digits", "fashion-mnist") if _is_here(data)]
    names = [preset.name for preset in Images.presets if not preset.translates]
    cases = [Case(f"{data}-{name}", data, preset=name, minutes=2.0) for data in images for name in names]
    others = Case("ring-points", "ring"), Case("grid-points", "grid", minutes=1.5), Case("people-tables", "people")
    return [*cases, *others]


def _is_here(data: str) -> bool:
    try:
        open_dataset(data)
    except UsageError as error:
        print(f"without {data}: {error}")
        return False
    return True


def train(case: Case, seed: int, folder: Path) -> None:
    """Train a case into a folder."""
    times = {"minutes": case.minutes, "evaluation_share": SHARE * MINUTES / case.minutes, "checkpoint_seconds": 1e9}
    settings = case.settings | times | {"seed": seed}
    recipe, dataset = resolve(make_request(case.data, case.preset, **settings))
    if case.limit is not None:
        assert isinstance(dataset.train, Items)
        assert dataset.train.item_labels is not None
        chosen = torch.arange(0, len(dataset.train.items), len(dataset.train.items) // case.limit)[: case.limit]
        dataset = replace(dataset, train=Items(dataset.train.items[chosen], dataset.train.item_labels[chosen]))
    training = build(recipe, dataset)
    case.sabotage(training)
    run = create_run(folder, "health")
    run.write_recipe(recipe)  # so that `sparring diagnose` can explain it
    training.folder = folder
    try:
        outcome = play(training, [Meter(training), Recorder(run)])
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
    except TrainingError as error:
        print(f"{folder}: {error}", flush=True)
    finally:
        run.unlock()


@dataclass(frozen=True)
class Record:
    """What the log of a training says.

    Args:
        raised: the share of the training at which each alarm was first raised.
        scores: the highest score of each rule that held for as many evaluations as an alarm takes.
        early_scores: the same within the first quarter.
        is_healthy: whether it got somewhere: at the end the samples cover half of the data, or nine tenths of the
            points are of high quality (points lie on thinner sets than the data, so they cover less).
    """

    raised: dict[str, float]
    scores: dict[str, float]
    early_scores: dict[str, float]
    is_healthy: bool


def read(run: Run, minutes: float) -> Record:
    """Read the log of a run with today's rules."""
    doctor, summary = Doctor(), run.summary()
    raised: dict[str, float] = {}
    evaluations: list[Line] = []
    scores: dict[str, list[float]] = {name: [] for name in RULES}
    shares = []
    for line in run.log():
        share = line["seconds"] / (60 * minutes)
        for alarm in doctor.see({"progress": share, **line}):
            raised.setdefault(alarm.name, share)
        if "evaluation" in line:
            evaluations.append({**line, **line["evaluation"]})
            shares.append(share)
            for name, rule in RULES.items():
                scores[name].append(next(iter(rule.evidence(evaluations).values()), -math.inf))
    if summary.status == "failed":  # a number was not finite
        raised.setdefault("divergence", summary.seconds / (60 * minutes))

    def held(until: float) -> dict[str, float]:
        count = sum(share <= until for share in shares)
        return {
            name: max((min(pair) for pair in pairwise(values[:count])), default=-math.inf)
            for name, values in scores.items()
        }

    last = next((line for line in reversed(evaluations) if "coverage" in line), {})
    is_healthy = last.get("coverage", 0.0) >= 0.5 or last.get("high_quality", 0.0) >= 0.9
    return Record(raised, held(1.0), held(0.25), is_healthy)


def print_tables(folder: Path) -> None:
    """Print the thresholds between the two kinds of trainings, and which alarms each training raised."""

    def records(case: Case) -> list[Record]:
        return [read(Run(path), case.minutes) for path in sorted(folder.glob(f"{case.name}-[0-9]"))]

    sabotaged = {case: records(case) for case in SABOTAGES}
    others = {case: records(case) for case in healthy()}
    well = [record for each in others.values() for record in each if record.is_healthy]
    print(
        "| alarm | highest score of healthy trainings | threshold | scores of sabotaged ones in their first quarter |"
    )
    print("|---|---|---|---|")
    for name, rule in RULES.items():
        reached = max((record.scores[name] for record in well), default=-math.inf)
        wanted = ", ".join(
            f"{case.name} {min(record.early_scores[name] for record in each):.3g}"
            for case, each in sabotaged.items()
            if name in case.right and each
        )
        print(f"| {_words(name)} | {reached:.2g} | {rule.threshold:g} | {wanted} |")
    print("\n| sabotage | runs | alarms (runs) | right alarm raised after, at the latest |")
    print("|---|---|---|---|")
    for case, each in sabotaged.items():
        named = [min(record.raised.get(name, math.inf) for name in case.right) for record in each]
        latest = "never in some" if math.inf in named else f"{max(named, default=1.0):.0%} of the run"
        print(f"| {case.name} | {len(each)} | {_alarms(each)} | {latest} |")
    print("\n| training | runs | healthy | alarms in healthy runs | alarms in the other runs |")
    print("|---|---|---|---|---|")
    for case, each in others.items():
        good, poor = ([record for record in each if record.is_healthy is is_healthy] for is_healthy in (True, False))
        print(f"| {case.name} | {len(each)} | {len(good)} | {_alarms(good)} | {_alarms(poor)} |")
    problems = {name for name, rule in RULES.items() if rule.severity == "problem"}
    whole = [record for each in others.values() for record in each]
    for what, several in (("Healthy trainings", well), ("All trainings", whole)):
        alarmed = sum(not problems.isdisjoint(record.raised) for record in several)
        print(f'\n{what} with an alarm of severity "problem": {alarmed} of {len(several)}.')


def _alarms(records: list[Record]) -> str:
    counts = {name: sum(name in record.raised for record in records) for name in RULES}
    return ", ".join(f"{_words(name)} {count}" for name, count in counts.items() if count) or "–"


def _words(name: str) -> str:
    return name.replace("_", " ")


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("runs/health"))
    parser.add_argument("--part", default="1/1", help="I/N: train the I-th of N parts")
    parser.add_argument("--only", nargs="*", default=[], help="names of trainings")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    part, num_parts = map(int, arguments.part.split("/"))
    trainings = [(case, seed) for case in SABOTAGES for seed in SABOTAGE_SEEDS]
    trainings += [(case, seed) for seed in HEALTHY_SEEDS for case in healthy()]
    if arguments.only:
        trainings = [(case, seed) for case, seed in trainings if case.name in arguments.only]
    if not arguments.table:
        for case, seed in trainings[part - 1 :: num_parts]:
            folder = arguments.out / f"{case.name}-{seed}"
            if not (folder / "summary.json").exists() or Run(folder).summary().status not in ("finished", "failed"):
                shutil.rmtree(folder, ignore_errors=True)
                print(folder, flush=True)
                train(case, seed, folder)
    print_tables(arguments.out)


if __name__ == "__main__":
    main()

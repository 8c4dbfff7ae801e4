"""The metric card: what a trained generator is worth, each figure beside what held-out real samples get.

A figure alone says little: it depends on the extractor, on how many samples there are, and on the data. So a card
names them all, and has three columns: the generated samples; as many of them as there are held-out ones, for the
figures that change with the number of samples; and the floor, the held-out samples themselves.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from sparring.build import resolve
from sparring.data import Dataset, Mixture, Source
from sparring.errors import UsageError
from sparring.files import write_json
from sparring.generator import Config, Generator, load, to_samples
from sparring.metrics import (
    Estimate,
    Extractor,
    are_digits,
    class_agreement,
    class_distance,
    class_entropy,
    count_modes,
    density_coverage,
    divergence,
    extractor_for,
    frechet_distance,
    inception_features,
    kernel_distance,
    memorization,
    nearest_labels,
    neutral_extractor_for,
    precision_recall,
)
from sparring.metrics.classes import Classes
from sparring.metrics.digit_classifier import NUM_CLASSES, classify
from sparring.metrics.estimate import bootstrap
from sparring.recipes import Recipe
from sparring.run import open_run
from sparring.seeding import Stream
from sparring.types import Features, Labels, Samples

DIVERGENCE_STEPS = 300
MIN_SAMPLES = 50
NUM_RESAMPLES = 100
NUM_INCEPTION_FEATURES = 2048
NUM_FID_RESAMPLES = 10
"""Few, since each takes the root of a matrix of 2,048 by 2,048."""

OnProgress = Callable[[str, float], None]
"""Told what is being done, and the share of the whole that is done."""


@dataclass(frozen=True)
class Figure:
    """One line of a card.

    Args:
        extractor: whose features it is about.
        generated: of the generated samples against the training samples.
        matched: of as many generated samples as there are held-out ones.
        floor: of the held-out samples against the training samples: what a perfect generator would get. These two are
            None where there are too few held-out samples for the figure.
    """

    extractor: str
    generated: Estimate
    matched: Estimate | None
    floor: Estimate | None


@dataclass(frozen=True)
class Card:
    """What was measured, and with what: `card.json` in the run's folder.

    Args:
        data: the name or path of the data.
        item_shape: of one sample, at the size that the generator makes.
        split: which part of the data the generated samples are compared with.
        num_real: samples of that part.
        num_generated: samples of the generator.
        num_heldout: samples that the training never saw.
        seed: of the generated samples and of everything else random.
        extractors: what made the features, with hashes that change with any weight.
        figures: by their names.
        classes: figures of each class by its name, where the generator was told labels: of its samples against the
            training samples of that class alone. `class_agreement` is the share that is seen as the class asked for.
            Classes with fewer than 50 samples are left out.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> figure = sparring.evaluate(run.path, n=200).figures["recall"]
        >>> figure.generated.low <= figure.generated.value <= figure.generated.high
        True
    """

    data: str
    item_shape: tuple[int, ...]
    split: str
    num_real: int
    num_generated: int
    num_heldout: int
    seed: int
    extractors: dict[str, str]
    figures: dict[str, Figure]
    classes: dict[str, dict[str, Figure]]


def evaluate(
    path: str | Path,
    n: int = 10_000,
    seed: int = 0,
    *,
    fid: bool = False,
    on_progress: OnProgress = lambda what, share: None,
) -> Card:
    """Measure a run's generator, and write the card into the run's folder and its summary.

    Args:
        path: the run's folder, or that of its best generator (`best/` in it), which gets a card of its own.
        n: samples to generate, and at most to take of the data: more than the features.
        seed: of everything random; the same gives the same card, byte for byte.
        fid: the Fréchet distance of Inception's features as well, for images; it takes minutes, more than 2,048
            samples, and the extra `fid`.
        on_progress: is told what is being done.

    Raises:
        UsageError: if there is no run or no generator, the data have gone or changed, or n is too small.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> card = sparring.evaluate(run.path, n=500)
        >>> list(card.extractors), sorted(card.figures)[:3]
        (['coordinates'], ['coverage', 'density', 'divergence'])
    """
    if n < MIN_SAMPLES:
        raise UsageError(f"an evaluation takes at least {MIN_SAMPLES} samples, better thousands, and not {n}")
    folder = Path(path)
    is_best = folder.name == "best" and not (folder / "recipe.json").exists()
    run = open_run(folder.parent if is_best else folder)
    generator = load(folder)
    if not generator.is_finite():
        raise UsageError(
            f"the weights in {folder} are not finite: its training diverged. See {run.best}, if it is there"
        )
    recipe, dataset = resolve(run.recipe())
    if dataset.train.item_shape != generator.config.item_shape:
        raise UsageError(
            f"{recipe.data} has items of {list(dataset.train.item_shape)} now, and the generator makes "
            f"{list(generator.config.item_shape)}: the data have changed since the training"
        )
    real, real_labels = _draw(dataset.train, n, Stream(seed, "evaluation/real"))
    heldout, heldout_labels = _draw(dataset.heldout, n, Stream(seed, "evaluation/heldout"))
    extractor, neutral = extractor_for(dataset), neutral_extractor_for(dataset)
    if fid and min(len(real), n) <= NUM_INCEPTION_FEATURES:
        raise UsageError(
            f"FID takes more than {NUM_INCEPTION_FEATURES:,} samples: {recipe.data} has {len(real):,} to train on, and "
            f"{n:,} are to be generated"
        )
    inception = _inception(generator) if fid else None
    on_progress("generating", 0.0)
    generated = to_samples(generator.sample(n, seed))
    labels = generator.random_labels(n, seed) if generator.config.num_labels else None
    sets = []
    for place, (what, samples, labels_of) in enumerate(
        (("real", real, real_labels), ("generated", generated, labels), ("held-out", heldout, heldout_labels))
    ):
        on_progress(f"features of {len(samples):,} {what} samples", (place + 0.5) / 6)
        sets.append(replace(_see(samples, dataset, extractor, neutral, inception), labels=labels_of))
    seen_real, seen_generated, seen_heldout = sets
    _check_number(recipe.data, seen_real.features.shape[1], len(real), len(heldout), n)
    on_progress(f"measuring {n:,} generated samples", 3 / 6)
    matched = seen_generated.first(len(heldout))
    columns = {"generated": _figures(seen_real, seen_generated, seen_heldout.neutral, seed)}
    columns["matched"] = columns["generated"]
    if len(heldout) < n:
        on_progress(f"measuring {len(heldout):,} generated samples", 4 / 6)
        columns["matched"] = _figures(seen_real, matched, seen_heldout.neutral, seed)
    on_progress(f"measuring {len(heldout):,} held-out samples", 5 / 6)
    columns["floor"] = _figures(seen_real, seen_heldout, None, seed)
    in_classes = [  # where the generator was told labels
        _class_figures(seen_real, each) for each in (seen_generated, matched, seen_heldout) if labels is not None
    ]
    card = Card(
        data=recipe.data,
        item_shape=dataset.train.item_shape,
        split="train",
        num_real=len(real),
        num_generated=n,
        num_heldout=len(heldout),
        seed=seed,
        extractors={each.name: each.hash for each in (extractor, neutral, inception) if each is not None},
        figures={
            name: Figure(
                {"memorization": neutral.name, "fid": "inception"}.get(name, extractor.name),
                columns["generated"][name],
                *(columns[column].get(name) for column in ("matched", "floor")),
            )
            for name in columns["generated"]
        },
        classes=_in_classes(generator.config, extractor.name, in_classes) if in_classes else {},
    )
    write_json(folder / "card.json", asdict(card))
    if not is_best:
        metrics = {name: figure.generated.value for name, figure in card.figures.items()}
        run.write_summary(replace(run.summary(), metrics=metrics))
    on_progress("done", 1.0)
    return card


def _check_number(data: str, num_features: int, num_real: int, num_heldout: int, n: int) -> None:
    least = max(MIN_SAMPLES, num_features + 1)
    if min(num_real, num_heldout, n) < least:
        raise UsageError(
            f"a card by {num_features} features takes at least {least} training, held-out and generated "
            f"samples: {data} has {num_real} and {num_heldout}, and {n} are to be generated"
        )


def check_figure(name: str, n: int, recipe: Recipe, dataset: Dataset) -> None:
    """Refuse, before a training, to measure by a figure that its card will not have.

    Args:
        name: of the figure.
        n: samples that the card will be about.
        recipe: of the training, resolved.
        dataset: its data.

    Raises:
        UsageError: if the data have no such figure, or too few samples for any.
    """
    if name == "class_agreement" and not recipe.conditional:
        raise UsageError(f"{name} is about labels that are told, and a training on {recipe.data} is told none")
    if name in ("class_entropy", "class_distance") and not are_digits(dataset):
        raise UsageError(f"{name} is about digits, and {recipe.data} holds none")
    features = extractor_for(dataset)(dataset.train.batch(1, Stream(0, "evaluation/real"))).shape[1]
    num_real, num_heldout = (min(n, each.num_items or n) for each in (dataset.train, dataset.heldout))
    _check_number(recipe.data, features, num_real, num_heldout, n)


def _draw(source: Source, n: int, stream: Stream) -> tuple[Samples, Labels | None]:
    """At most n samples, none of a finite source twice, and their labels."""
    size = min(n, source.num_items or n)
    return source.batch(size, stream), source.labels(size, stream)


@dataclass(frozen=True)
class _Seen:
    """What there is to know of a set of samples.

    Args:
        features: by the extractor.
        neutral: by the one that has seen no data.
        inception: by Inception, if it is asked for.
        classes: of digits, as the classifier sees them.
        labels: the data's, or those that were asked for.
        points: the samples themselves, and the mixture that they should come from, where there is one.
    """

    features: Features
    neutral: Features
    inception: Features | None
    classes: Classes | None
    points: Samples | None
    mixture: Mixture | None
    labels: Labels | None = None

    def first(self, n: int) -> "_Seen":
        """What is known of the first n."""
        return _Seen(
            features=self.features[:n],
            neutral=self.neutral[:n],
            inception=None if self.inception is None else self.inception[:n],
            classes=None if self.classes is None else self.classes[:n],
            points=None if self.points is None else self.points[:n],
            mixture=self.mixture,
            labels=None if self.labels is None else self.labels[:n],
        )


def _see(
    samples: Samples, dataset: Dataset, extractor: Extractor, neutral: Extractor, inception: Extractor | None
) -> _Seen:
    features = extractor(samples)
    mixture = dataset.train if isinstance(dataset.train, Mixture) else None
    return _Seen(
        features=features,
        neutral=features if extractor.hash == neutral.hash else neutral(samples),
        inception=None if inception is None else inception(samples),
        classes=classify(samples) if are_digits(dataset) else None,
        points=samples if mixture else None,
        mixture=mixture,
    )


def _inception(generator: Generator) -> Extractor:
    if len(generator.config.item_shape) != 3:
        raise UsageError("FID is of images, and this generator makes points: leave --fid away")
    return inception_features()


def _figures(real: _Seen, fake: _Seen, unseen: Features | None, seed: int) -> dict[str, Estimate]:
    """All figures of a set against the real samples; of held-out samples, half are unseen when the others are asked."""
    precision, recall = precision_recall(real.features, fake.features)
    density, coverage = density_coverage(real.features, fake.features)
    bound = divergence(real.features, fake.features, steps=DIVERGENCE_STEPS, seed=seed)
    held, asked = (fake.neutral[::2], fake.neutral[1::2]) if unseen is None else (unseen, fake.neutral)
    figures = {
        "frechet_distance": frechet_distance(real.features, fake.features, seed=seed),
        "kernel_distance": kernel_distance(real.features, fake.features, seed=seed),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "divergence": Estimate(bound.js, bound.low, bound.high),
        "memorization": memorization(real.neutral, held, asked),
    }
    if real.classes is not None and fake.classes is not None:
        figures["class_entropy"] = class_entropy(fake.classes, NUM_CLASSES, seed=seed)
        figures["class_distance"] = class_distance(real.classes, fake.classes, NUM_CLASSES, seed=seed)
    if real.labels is not None and fake.labels is not None:
        figures["class_agreement"] = class_agreement(fake.labels, _looks(real, fake))
    if fake.points is not None and fake.mixture is not None:
        figures |= _modes(fake.points, fake.mixture, seed)
    if real.inception is not None and fake.inception is not None and len(fake.inception) > NUM_INCEPTION_FEATURES:
        figures["fid"] = frechet_distance(real.inception, fake.inception, num_resamples=NUM_FID_RESAMPLES, seed=seed)
    return figures


def _class_figures(real: _Seen, fake: _Seen) -> dict[int, dict[str, Estimate]]:
    """By class: what of it lies where it should, and how much of it is there."""
    assert real.labels is not None
    assert fake.labels is not None
    seen = _looks(real, fake)
    figures = {}
    for label in sorted(set(real.labels.tolist())):
        among_real, among_fake = real.labels == label, fake.labels == label
        if min(among_real.sum(), among_fake.sum()) < MIN_SAMPLES:
            continue
        features = real.features[among_real], fake.features[among_fake]
        figures[label] = {
            "class_agreement": class_agreement(fake.labels[among_fake], seen[among_fake]),
            "precision": precision_recall(*features)[0],
            "coverage": density_coverage(*features)[1],
        }
    return figures


def _in_classes(
    config: Config, extractor: str, columns: list[dict[int, dict[str, Estimate]]]
) -> dict[str, dict[str, Figure]]:
    """What was measured of each class in the three columns, by the classes' names."""
    generated, matched, floor = columns
    return {
        config.class_names[label] if config.class_names else str(label): {
            name: Figure(extractor, value, matched.get(label, {}).get(name), floor.get(label, {}).get(name))
            for name, value in figures.items()
        }
        for label, figures in generated.items()
    }


def _looks(real: _Seen, fake: _Seen) -> Classes:
    """The class that each sample is taken for: by the digits' classifier, else that of its nearest training sample."""
    if fake.classes is not None:
        return fake.classes
    assert real.labels is not None
    return nearest_labels(real.features, real.labels, fake.features)


def _modes(points: Samples, mixture: Mixture, seed: int) -> dict[str, Estimate]:
    """The counts of `bench modes`, with intervals."""

    def count(name: str, most: float) -> Estimate:
        def statistic(groups: list[Tensor]) -> float:
            return float(getattr(count_modes(groups[0], mixture), name))

        estimate = bootstrap(statistic, [points], NUM_RESAMPLES, seed, least=0.0)
        return replace(estimate, high=min(estimate.high, most))

    num_modes = len(mixture.means)
    return {
        "modes": count("found", num_modes),
        "high_quality": count("high_quality", 1.0),
        "reverse_kl": count("reverse_kl", math.log(num_modes)),
    }

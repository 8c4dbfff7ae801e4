"""The metric card: what a trained generator is worth, each figure beside what held-out real samples get.

A figure alone says little: it depends on the extractor, on how many samples there are, and on the data. So a card
names them all, and has three columns: the generated samples; as many of them as there are held-out ones, for the
figures that change with the number of samples; and the floor, the held-out samples themselves.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import product
from typing import cast

import torch
from torch import Tensor

from sparring.data.labels import categories, join_categories
from sparring.errors import UsageError
from sparring.evaluation.classifier import count_categories, with_classifier
from sparring.evaluation.figures import (
    FIGURES,
    NUM_INCEPTION_FEATURES,
    Comparison,
    SampleView,
    draw,
    find_mixture,
    source_labels,
)
from sparring.generator.generator import Generator
from sparring.metrics import Estimate, Extractor, nearest_labels
from sparring.modalities.modality import Dataset, Modality
from sparring.seeding import Stream
from sparring.types import OnProgress

MIN_SAMPLES = 50
COMPARING = tuple(name for name, each in FIGURES.items() if each.in_card and not each.needs)
"""Figures that compare features of generated and real samples, and need no more."""
MEASURED = "duration", "pitch", "loudness", "detail", "specks"  # what `measurements` of a modality may give
CLASS_FIGURES = "class_agreement", "precision", "coverage"
"""Of each class: whether its samples look like it, lie where they should, and cover it."""


@dataclass(frozen=True)
class Row:
    """One line of a card; None where there are too few held-out samples for the figure."""

    extractor: str  # whose features it is about
    generated: Estimate  # of the generated samples against the training samples
    matched: Estimate | None  # of as many generated samples as there are held-out ones
    floor: Estimate | None  # of the held-out samples against the training samples: what a perfect generator would get


@dataclass(frozen=True)
class Card:
    """What was measured, and with what: `card.json` in the run's folder.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> recall = sparring.evaluate(run.path, n=200).figures["recall"]
        >>> recall.generated.low <= recall.generated.value <= recall.generated.high
        True
    """

    data: str  # its name or path
    item_shape: tuple[int, ...]  # of one sample, at the size that the generator makes
    split: str  # the part of the data that the samples are compared with
    num_real: int  # samples of that part
    num_generated: int  # samples of the generator
    num_heldout: int  # samples that the training never saw
    seed: int  # the random seed
    extractors: dict[str, str]  # what made the features, with hashes that change with any weight
    figures: dict[str, Row]  # by their names in `FIGURES`
    classes: dict[str, dict[str, Row]]  # figures of each label's samples alone; no classes of fewer than 50 samples
    # Those that compare features, by the neutral extractor, where `figures` are by another: no claim rests on one.
    neutral: dict[str, Row] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The figures of the generated samples."""
        figures = ", ".join(f"{name} {row.generated.value:.3g}" for name, row in self.figures.items())
        return f"Card of {self.num_generated:,} samples against {self.data}: {figures}"

    @property
    def columns(self) -> dict[str, str]:
        """The headings of those fields of `Row` that say something, by the names of the fields."""
        generated, heldout = f"{self.num_generated:,} generated", f"{self.num_heldout:,} held out"
        matched = {"matched": f"{self.num_heldout:,} generated"} if self.num_heldout < self.num_generated else {}
        return {"generated": generated, **matched, "floor": heldout}

    @property
    def lines(self) -> list[list[str]]:
        """The name of each figure, and its values in the columns, in words; then those by the neutral extractor."""
        own, others = (
            [
                [name.replace("_", " "), *(str(getattr(row, column) or "–") for column in self.columns)]
                for name, row in rows.items()
            ]
            for rows in (self.figures, self.neutral)
        )
        headings = {
            row.extractor: [f"by {row.extractor}", *("" for _ in self.columns)] for row in self.neutral.values()
        }
        return [*own, *headings.values(), *others]

    def _repr_html_(self) -> str:
        """The figures as a table, for notebooks."""
        lines = [["", *self.columns.values()], *self.lines]
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines)
        return f"<table>{''.join(f'<tr>{each}</tr>' for each in cells)}</table>"


def measure(
    generator: Generator,
    dataset: Dataset,
    n: int = 10_000,
    seed: int = 0,
    *,
    fid: bool = False,
    only: str | None = None,
    on_progress: OnProgress = lambda what, share: None,
) -> Card:
    """The metric card of a generator, by n of its samples and at most n of the data it was trained on.

    `only` is the one figure to measure; None for all.
    """
    if n < MIN_SAMPLES:
        raise UsageError(f"an evaluation takes at least {MIN_SAMPLES} samples, better thousands, not {n}")
    if not generator.is_finite():
        raise UsageError("the generator's weights are not finite: its training diverged. Try the run's best/, if any")
    if (now := dataset.modality.item_shape) != (made := generator.modality.item_shape):
        raise UsageError(
            f"the data have changed since the training: {dataset.name} has items of {list(now)} now, and the "
            f"generator makes {list(made)}"
        )
    dataset = with_classifier(dataset, on_progress)
    if dataset.source is not None:
        n = min(n, dataset.source.heldout.num_items or n)  # no item is translated twice
    train = draw(dataset.train, n, Stream(seed, "evaluation/real"))
    heldout = draw(dataset.heldout, n, Stream(seed, "evaluation/heldout"))
    num_real, num_heldout = len(train["samples"]), len(heldout["samples"])
    if fid and min(num_real, n) <= NUM_INCEPTION_FEATURES:
        raise UsageError(
            f"FID takes more than {NUM_INCEPTION_FEATURES:,} samples: {dataset.name} has {num_real:,} to train on, "
            f"and {n:,} are to be generated"
        )
    extractors = {"features": dataset.extractor(), "neutral": dataset.modality.neutral_extractor()}
    if only is not None and FIGURES[only].extractor == "features":
        del extractors["neutral"]
    if fid:
        extractors["paper"] = dataset.modality.paper_extractor()
    on_progress("generating", 0.0)
    config, modality = generator.config, generator.modality
    inputs, labels = generator.inputs(n, seed, dataset)
    items = generator.generate(inputs, labels)
    generated: SampleView = {"samples": modality.encode(items)}
    if (told := source_labels(dataset, n, seed)) is not None:
        generated["labels"] = told
    if labels is not None and not config.classes_are_clusters:
        generated["vectors" if config.attributes else "labels"] = labels
    views = {"real": train, "generated": generated, "held-out": heldout}
    names = _number_combinations(dataset, views.values()) or config.class_names or range(len(config.class_shares))
    for place, (what, view) in enumerate(views.items()):
        on_progress(f"features of {len(view['samples']):,} {what} samples", (place + 0.5) / 6)
        distinct = {each.hash: each for each in extractors.values()}
        features = {digits: extractor(view["samples"]) for digits, extractor in distinct.items()}
        view.update({name: features[extractor.hash] for name, extractor in extractors.items()})
        if modality.measured and (only is None or FIGURES[only].needs in modality.measured):
            view.update(modality.measurements(items if view is generated else modality.decode(view["samples"])))
        add_classes(view, train, dataset)
    _check_number(dataset.name, train["features"].shape[1], num_real, num_heldout, n)
    matched = _select(generated, slice(num_heldout))
    neutral = {name: values for name, values in heldout.items() if name == "neutral"}
    unseen, looked_at = _select(neutral, slice(0, None, 2)), _select(neutral, slice(1, None, 2))  # for copies
    pairs = {  # the first two are one where there are as many held-out samples
        f"{n:,} generated": (generated, heldout),
        f"{num_heldout:,} generated": (matched, heldout),
        "held-out": (heldout | looked_at, unseen),
    }
    columns, by_neutral = [], []
    asked = FIGURES if only is None else [only]
    has_two = only is None and extractors["features"].hash != extractors["neutral"].hash
    for place, (what, pair) in enumerate(pairs.items(), start=3):
        on_progress(f"measuring {what} samples", place / 6)
        columns.append(estimate(Comparison(dataset, train, *pair, seed), asked))
    # Rows that take the place of generated ones and rows that stay held out must be others, also to be told apart.
    half, others = (_select(heldout, slice(start, None, 2)) for start in (1, 0))
    of_rows = [name for name in asked if FIGURES[name].needs == "rows"]
    columns[-1] = estimate(Comparison(dataset, train, half, others, seed), of_rows) | columns[-1]
    for view in (generated, matched, heldout) if has_two else ():
        real, fake = ({"features": each["neutral"]} for each in (train, view))
        by_neutral.append(estimate(Comparison(dataset, real, fake, {}, seed), COMPARING))
    classes = {}
    has_classes = only is None and all("labels" in view for view in views.values())
    for label in sorted(set(train["labels"].tolist())) if has_classes else ():
        in_class = [_estimate_class(dataset, train, view, label) for view in (generated, matched, heldout)]
        if in_class[0]:
            classes[str(names[label])] = _rows(extractors, *in_class)
    on_progress("done", 1.0)
    return Card(
        data=dataset.name,
        item_shape=now,
        split="train",
        num_real=num_real,
        num_generated=n,
        num_heldout=num_heldout,
        seed=seed,
        extractors={each.name: each.hash for each in extractors.values()},
        figures=_rows(extractors, columns[0], columns[-2], columns[-1]),
        classes=classes,
        neutral=_rows(extractors, by_neutral[0], by_neutral[-2], by_neutral[-1], neutral=True) if has_two else {},
    )


def add_classes(view: SampleView, real: SampleView, dataset: Dataset) -> None:
    """Add what classes samples look like: to the data set's classifier, or else by the nearest of the real samples."""
    if dataset.trained_classifier is not None:
        view["classes"] = dataset.trained_classifier.classify(view["samples"])
    elif "labels" in real and "labels" in view and view is not real:
        view["classes"] = nearest_labels(real["features"], real["labels"], view["features"])


def _number_combinations(dataset: Dataset, views: Iterable[SampleView]) -> list[str]:
    """Make each combination of attributes a class of the views; its name is that of a label, such as "hair=red"."""
    sizes, found = count_categories(dataset), [each for each in dataset.attributes if each.values]
    if not sizes or not found:
        return []
    for view in views:
        if "vectors" in view:
            view["labels"] = join_categories(categories(dataset.attributes, view["vectors"]), sizes)
    pairs = ([f"{each.name}={value}" for value in each.values] for each in found)
    return [",".join(combination) for combination in product(*pairs)]


def check_figure(name: str, n: int, conditional: bool, dataset: Dataset) -> None:
    """Refuse, before a training, a figure that its card of n samples will not have."""
    needs = FIGURES[name].needs
    dataset = with_classifier(dataset)
    if needs == "labels" and not (conditional and count_categories(dataset)):
        raise UsageError(f"{name} needs labels, and a training on {dataset.name} is given none")
    if needs == "classifier" and dataset.trained_classifier is None:
        raise UsageError(f"{name} needs a trained classifier, and {dataset.name} comes with none")
    if needs == "mixture" and find_mixture(dataset) is None:
        raise UsageError(f"{name} needs a mixture of Gaussians, and {dataset.name} is none")
    if needs == "rows" and type(dataset.modality).compare is Modality.compare:
        raise UsageError(f"{name} needs a table, and {dataset.name} holds {dataset.modality.name}")
    if needs in MEASURED and needs not in dataset.modality.measured:
        raise UsageError(f"{name} needs items with a {needs}, and {dataset.name} holds {dataset.modality.name}")
    num_features = dataset.extractor()(torch.zeros(1, *dataset.modality.item_shape)).shape[1]
    num_real, num_heldout = (min(n, each.num_items or n) for each in (dataset.train, dataset.heldout))
    _check_number(dataset.name, num_features, num_real, num_heldout, n)


def _check_number(data: str, num_features: int, num_real: int, num_heldout: int, n: int) -> None:
    least = max(MIN_SAMPLES, num_features + 1)
    if min(num_real, num_heldout, n) < least:
        raise UsageError(
            f"a card by {num_features} features takes at least {least} training, held-out and generated "
            f"samples: {data} has {num_real} and {num_heldout}, and {n} are to be generated"
        )


def _select(view: SampleView, index: slice | Tensor) -> SampleView:
    return {name: values[index] for name, values in view.items()}


def estimate(pair: Comparison, names: Iterable[str] = FIGURES) -> dict[str, Estimate]:
    """Those of the card's figures that can be measured."""
    found = {
        name: cast(Estimate, figure.measure(pair))
        for name in names
        if (figure := FIGURES[name]).in_card and figure.measure and pair.has(figure.needs)
    }
    return {name: each for name, each in found.items() if not math.isnan(each.value)}


def _estimate_class(dataset: Dataset, real: SampleView, fake: SampleView, label: int) -> dict[str, Estimate]:
    """The figures of one class; nothing where there are too few samples of it."""
    real, fake = (_select(view, view["labels"] == label) for view in (real, fake))
    if min(len(real["samples"]), len(fake["samples"])) < MIN_SAMPLES:
        return {}
    return estimate(Comparison(dataset, real, fake, {}, seed=0), CLASS_FIGURES)


def _rows(
    extractors: Mapping[str, Extractor], *columns: Mapping[str, Estimate], neutral: bool = False
) -> dict[str, Row]:
    generated, matched, floor = columns
    return {
        name: Row(
            extractors["neutral" if neutral else FIGURES[name].extractor].name,
            value,
            matched.get(name),
            floor.get(name),
        )
        for name, value in generated.items()
    }

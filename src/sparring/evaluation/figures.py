"""The figures: what each is, which way is better, what it needs, where it appears, and how it is measured.

`FIGURES` is the one list of them. The monitor, the metric card, goals (`--until`), studies and the docs read it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from sparring import metrics
from sparring.data import Mixture
from sparring.game.sources import Source
from sparring.metrics import Estimate
from sparring.metrics.estimate import bootstrap
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.types import Features, Labels

DIVERGENCE_STEPS = 300
NUM_INCEPTION_FEATURES = 2048
NUM_FID_RESAMPLES = 10  # few, since each takes the root of a matrix of 2,048 by 2,048
NUM_CELLS, MAX_CELLS = 20, 50
"""Parts of the data that may be missing: the classes, or so many cells where there are none, or more than MAX_CELLS."""
LEAST_SHARE = 0.2  # a part is missing where samples hold less than this of its due

Need = Literal[
    "", "labels", "classes", "classifier", "mixture", "heldout", "paper", "logits",
    "duration", "pitch", "loudness", "detail", "specks", "rows",
]  # fmt: skip

SampleView = dict[str, Tensor]
"""A set of samples as the figures see it, a row for each sample in every tensor that is there:

- `samples`: [n, *item_shape], in the data's units;
- `features`: by the data set's extractor, [n, d];
- `neutral`: features by an extractor that was not trained on the data, to look for copies;
- `paper`: features by the network behind the figure that papers print;
- `labels`: the data's, or those that the generator was given, [n];
- `vectors`: the same of attributes, [n, d], of which no figure is a function;
- `classes`: what class each sample looks like, to a classifier or by the nearest training sample, [n];
- `logits`: the discriminator's, while it is being trained, [n];
- `duration`, `pitch`, `loudness`, `detail`, `specks`: a number for each sample, where the modality has such
  `measurements`, [n].
"""


@dataclass(frozen=True)
class Comparison:
    """Generated samples beside real ones."""

    dataset: Dataset  # where the real ones come from
    real: SampleView  # training samples
    fake: SampleView  # generated samples, or held-out ones in their place
    heldout: SampleView  # held-out samples
    seed: int  # of resampling
    num_resamples: int = 100  # of figures with a bootstrap, at least 2

    @property
    def features(self) -> tuple[Features, Features]:
        """Of real and of generated samples."""
        return self.real["features"], self.fake["features"]

    @cached_property
    def precision_recall(self) -> tuple[Estimate, Estimate]:
        """Both, which share their distances."""
        return metrics.precision_recall(*self.features)

    @cached_property
    def density_coverage(self) -> tuple[Estimate, Estimate]:
        """Both, which share their distances."""
        return metrics.density_coverage(*self.features)

    @cached_property
    def distance(self) -> tuple[float, float]:
        """By the modality, with its standard error."""
        return self.dataset.modality.distance(*self.features, self.seed)

    @cached_property
    def of_items(self) -> Mapping[str, Estimate]:
        """Those by the modality, which compares whole items, by their names."""
        real, heldout, fake = (view.get("samples") for view in (self.real, self.heldout, self.fake))
        return {} if real is None or fake is None else self.dataset.modality.compare(real, heldout, fake, self.seed)

    def has(self, need: str) -> bool:
        """Whether it has what a figure needs."""
        if need == "rows":
            return bool(self.of_items)
        return {
            "": True,
            "labels": "labels" in self.real and "labels" in self.fake,
            "classifier": self.dataset.trained_classifier is not None,
            "mixture": find_mixture(self.dataset) is not None,
            "heldout": "neutral" in self.heldout,
            "paper": "paper" in self.fake and len(self.fake["paper"]) > NUM_INCEPTION_FEATURES,
            "logits": "logits" in self.fake,
            "classes": "labels" in self.fake and "classes" in self.fake,
        }.get(need, need in self.real and need in self.fake)


@dataclass(frozen=True)
class Figure:
    """A figure of generated samples.

    `measure` gives its value for a comparison, an `Estimate` if it is on the card; nan where it has no meaning. It is
    None for the two that are measured on the weights.
    """

    name: str  # in the log, on the card and in studies
    summary: str  # one line on what it is
    better: Literal["lower", "higher", ""]  # which way is better; empty where neither is
    measure: Callable[[Comparison], Estimate | float] | None
    needs: Need = ""  # see `Comparison.has`
    in_card: bool = False  # whether it is on the metric card
    in_monitor: bool = False  # whether the monitor measures it during a training
    extractor: Literal["features", "neutral", "paper"] = "features"  # whose features it compares, as in `SampleView`
    has_scale: bool = False  # whether it is above 0 and spreads in proportion to its size, so that ratios are compared
    is_share: bool = False  # whether it lies between 0 and 1
    describe: Callable[[float, Dataset], str] | None = None  # words for the terminal; None if it is not shown there


def draw(source: Source, n: int, stream: Stream) -> SampleView:
    """At most n samples, none of a finite source twice, and their labels."""
    size = min(n, source.num_items or n)
    samples, labels = source.batch(size, stream), source.labels(size, stream)
    if labels is None:
        return {"samples": samples}
    return {"samples": samples, "vectors" if labels.is_floating_point() else "labels": labels}


def source_labels(dataset: Dataset, n: int, seed: int) -> Labels | None:
    """The labels of the items that `Generator.inputs` gives, as numbers of the data's classes; None without classes."""
    source = dataset.source
    if source is None or not (dataset.train.class_shares and source.train.class_shares):
        return None
    labels = source.heldout.labels(n, Stream(seed, "sample"))
    if labels is None or source.class_names == dataset.class_names:
        return labels
    if not {*source.class_names} <= {*dataset.class_names}:
        return None
    return torch.tensor([dataset.class_names.index(name) for name in source.class_names])[labels]


def find_mixture(dataset: Dataset) -> Mixture | None:
    """The mixture that a data set is drawn from, if its density is known."""
    return dataset.train if isinstance(dataset.train, Mixture) else None


def _divergence(pair: Comparison) -> Estimate:
    bound = metrics.divergence(*pair.features, steps=DIVERGENCE_STEPS, seed=pair.seed)
    return Estimate(bound.js, bound.low, bound.high)


def _between(name: str) -> Callable[[Comparison], Estimate]:
    """The distance between the distributions of a measurement of single samples."""
    return lambda pair: metrics.ks_distance(
        pair.real[name], pair.fake[name], num_resamples=pair.num_resamples, seed=pair.seed
    )


def _of_items(name: str) -> Callable[[Comparison], Estimate]:
    """A figure by the modality; nan where these items have none."""
    return lambda pair: pair.of_items.get(name, Estimate(math.nan, math.nan, math.nan))


def _spread(features: Features) -> float:
    """The mean distance between different samples."""
    return nn.functional.pdist(features).mean().item()


def _missing(pair: Comparison) -> float:
    features, mixture = pair.real["features"], find_mixture(pair.dataset)
    if mixture is not None:
        centers = mixture.means.to(features)
    elif "labels" in pair.real and len(pair.dataset.train.class_shares) <= MAX_CELLS:
        labels = pair.real["labels"]
        centers = torch.stack([features[labels == label].mean(0) for label in sorted(set(labels.tolist()))])
    else:
        centers = features[:NUM_CELLS]
    nearest = [torch.cdist(each, centers).argmin(1) for each in pair.features]
    real, fake = (torch.bincount(each, minlength=len(centers)).double() / len(each) for each in nearest)
    return real[fake < LEAST_SHARE * real].sum().item()


def _num_classes(dataset: Dataset) -> int:
    assert dataset.trained_classifier is not None
    return dataset.trained_classifier.num_classes


def _num_modes(dataset: Dataset) -> int:
    mixture = find_mixture(dataset)
    assert mixture is not None
    return len(mixture.means)


def _mode_count(pair: Comparison, name: str) -> Estimate:
    mixture, num_modes = find_mixture(pair.dataset), _num_modes(pair.dataset)
    assert mixture is not None
    most = {"found": num_modes, "high_quality": 1.0, "reverse_kl": math.log(num_modes)}

    def count(groups: list[Tensor]) -> float:
        return float(getattr(metrics.count_modes(groups[0], mixture), name))

    estimate = bootstrap(count, [pair.fake["samples"]], pair.num_resamples, pair.seed, least=0.0)
    return replace(estimate, high=min(estimate.high, most[name]))


def _largest_swap(pair: Comparison) -> float:
    """A class that becomes another one, by the classes of its samples' nearest neighbours."""
    labels, classes = pair.fake["labels"], pair.fake["classes"]
    counts = torch.zeros(2 * [int(max(labels.max(), classes.max())) + 1], dtype=torch.float64)
    counts.index_put_((labels, classes), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return shares.fill_diagonal_(0).max().item()


def _separation(pair: Comparison) -> float:
    difference = pair.real["logits"].double()[:, None] - pair.fake["logits"].double()
    return ((difference > 0).double() + 0.5 * (difference == 0)).mean().item()


def _overfitting(pair: Comparison) -> tuple[float, float]:
    """(train − heldout) / (train − generated) and its standard error (Karras et al. 2020, arXiv:2006.06676, eq. 1)."""
    train, heldout, fake = (view["logits"].double() for view in (pair.real, pair.heldout, pair.fake))
    distance = (train.mean() - fake.mean()).item()
    error = (train.var() / len(train) + heldout.var() / len(heldout)).sqrt().item() if len(heldout) > 1 else torch.inf
    if distance <= error:
        return torch.nan, torch.nan
    return (train.mean() - heldout.mean()).item() / distance, error / distance


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("distance", "how far the samples are from the data; the best generator is the one with the least",
            "lower", lambda pair: pair.distance[0], in_monitor=True,
            describe=lambda value, data: f"distance {value:.3g}"),
        Figure("distance_error", "standard error of the distance", "",
            lambda pair: pair.distance[1], in_monitor=True),
        Figure("frechet_distance", "squared distance between two Gaussians fitted to the features", "lower",
            lambda pair: metrics.frechet_distance(
                *pair.features, num_resamples=pair.num_resamples, seed=pair.seed
            ), in_card=True, has_scale=True),
        Figure("kernel_distance", "squared distance between mean features of a cubic kernel", "lower",
            lambda pair: metrics.kernel_distance(
                *pair.features, num_resamples=pair.num_resamples, seed=pair.seed
            ), in_card=True),
        Figure("precision", "share of the samples that lie among the data", "higher",
            lambda pair: pair.precision_recall[0], in_card=True, in_monitor=True, is_share=True),
        Figure("recall", "share of the data that lies among the samples", "higher",
            lambda pair: pair.precision_recall[1], in_card=True, in_monitor=True, is_share=True),
        Figure("density", "how densely the data lie around the samples, about 1 for real ones", "higher",
            lambda pair: pair.density_coverage[0], in_card=True),
        Figure("coverage", "share of the data with a sample among its nearest neighbours", "higher",
            lambda pair: pair.density_coverage[1], in_card=True, in_monitor=True, is_share=True),
        Figure("divergence", "lower bound on the Jensen-Shannon divergence, in nats", "lower",
            _divergence, in_card=True),
        Figure("diversity", "mean distance between samples, divided by that between real items", "",
            lambda pair: _spread(pair.fake["features"]) / _spread(pair.real["features"]), in_monitor=True),
        Figure("missing", "share of the data in classes or cells that have less than a fifth of their share of samples",
            "lower", _missing, in_monitor=True, is_share=True),
        Figure("memorization", "how much more often than by chance a sample's nearest real item is a training item",
            "lower",
            lambda pair: metrics.memorization(pair.real["neutral"], pair.heldout["neutral"], pair.fake["neutral"]),
            "heldout", in_card=True, in_monitor=True, extractor="neutral"),
        Figure("class_entropy", "entropy of the classes that the samples look like, in nats", "higher",
            lambda pair: metrics.class_entropy(
                pair.fake["classes"], _num_classes(pair.dataset), num_resamples=pair.num_resamples, seed=pair.seed
            ),
            "classifier", in_card=True),
        Figure("class_distance", "share of the samples that are in the wrong class", "lower",
            lambda pair: metrics.class_distance(
                pair.real["classes"], pair.fake["classes"], _num_classes(pair.dataset),
                num_resamples=pair.num_resamples, seed=pair.seed,
            ),
            "classifier", in_card=True, is_share=True),
        Figure("class_agreement", "share of the samples that look like the class that was asked for", "higher",
            lambda pair: metrics.class_agreement(pair.fake["labels"], pair.fake["classes"]),
            "labels", in_card=True, is_share=True),
        Figure("swapped", "of a translator: the largest share of a class that looks like one other class", "lower",
            _largest_swap, "classes", in_monitor=True, is_share=True),
        Figure("modes", "modes of the mixture that have a sample of high quality", "higher",
            lambda pair: _mode_count(pair, "found"), "mixture", in_card=True, in_monitor=True,
            describe=lambda value, data: f"modes {value:.0f}/{_num_modes(data)}"),
        Figure("high_quality", "share of the samples within three standard deviations of a mode", "higher",
            lambda pair: _mode_count(pair, "high_quality"), "mixture", in_card=True, in_monitor=True, is_share=True,
            describe=lambda value, data: f"high quality {100 * value:.1f} %"),
        Figure("reverse_kl", "KL divergence of the samples' modes from equal shares, in nats", "lower",
            lambda pair: _mode_count(pair, "reverse_kl"), "mixture", in_card=True, in_monitor=True),
        Figure("duration_distance", "between the distributions of the samples' and the data's durations", "lower",
            _between("duration"),
            "duration", in_card=True, is_share=True),
        Figure("pitch_distance", "between the distributions of the samples' and the data's pitches", "lower",
            _between("pitch"),
            "pitch", in_card=True, is_share=True),
        Figure("loudness_distance", "between the distributions of the samples' and the data's loudness", "lower",
            _between("loudness"),
            "loudness", in_card=True, is_share=True),
        Figure("detail_distance", "between the distributions of the samples' and the data's high-frequency energy",
            "lower", _between("detail"),
            "detail", in_card=True, in_monitor=True, is_share=True),
        Figure("speck_distance", "between the distributions of the samples' and the data's shares of specks", "lower",
            _between("specks"),
            "specks", in_card=True, in_monitor=True, is_share=True),
        Figure("fid", "the Fréchet distance of papers, by Inception's features", "lower",
            lambda pair: metrics.frechet_distance(
                pair.real["paper"], pair.fake["paper"], num_resamples=NUM_FID_RESAMPLES, seed=pair.seed
            ),
            "paper", in_card=True, extractor="paper", has_scale=True),
        Figure("separation", "probability that a training item gets a higher logit than a sample", "",
            _separation, "logits", in_monitor=True, is_share=True),
        Figure("overfitting", "where the logits of held-out items lie, from 0 (as training items) to 1 (as samples)",
            "lower", lambda pair: _overfitting(pair)[0], "logits", in_monitor=True),
        Figure("overfitting_error", "standard error of overfitting", "",
            lambda pair: _overfitting(pair)[1], "logits", in_monitor=True),
        Figure("column_distance", "of tables: the largest distance between a column's values and the data's", "lower",
            _of_items("column_distance"), "rows", in_card=True, is_share=True),
        Figure("pair_distance", "of tables: the largest share of rows in wrong cells of two columns", "lower",
            _of_items("pair_distance"), "rows", in_card=True, is_share=True),
        Figure("detector_auc", "how well gradient boosting tells rows from held-out ones; 0.5 is not at all", "lower",
            _of_items("detector_auc"), "rows", in_card=True, is_share=True),
        Figure("lost_lesson", "what a model of the last column loses by learning from rows instead of training rows",
            "lower", _of_items("lost_lesson"), "rows", in_card=True),
        Figure("categories_kept", "share of the categories with ten rows or more that occur", "higher",
            _of_items("categories_kept"), "rows", in_card=True, is_share=True),
        Figure("rule_breaks", "of tables: the largest share of rows that break a rule which all data keep", "lower",
            _of_items("rule_breaks"), "rows", in_card=True, is_share=True),
        Figure("nearest_record_ratio", "how near rows come to training rows, over how near held-out rows come",
            "", _of_items("nearest_record_ratio"), "rows", in_card=True),
        Figure("membership_advantage", "what an attacker gains who takes rows near a sample for training rows", "lower",
            _of_items("membership_advantage"), "rows", in_card=True),
        Figure("generator_growth", "norm of the generator's weights, divided by that at the start", "",
            None, in_monitor=True),
        Figure("discriminator_growth", "norm of the discriminator's weights, divided by that at the start", "",
            None, in_monitor=True),
    )
}  # fmt: skip
"""Every figure by its name, in the order of the card."""

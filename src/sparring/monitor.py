"""The cheap evaluation while a training goes on: the same latents and the same real samples each time.

It is to `sparring.evaluation` what a thermometer is to a laboratory: a few hundred samples instead of ten thousand, so
that it costs a few tenths of a second, and figures that compare with each other within one run alone.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from sparring.data import Dataset, Mixture, Source
from sparring.game import Game
from sparring.generator import Generator, to_samples
from sparring.metrics import (
    count_modes,
    density_coverage,
    extractor_for,
    kernel_distance,
    memorization,
    precision_recall,
    thumbnails_for,
)
from sparring.metrics.estimate import Z_95
from sparring.seeding import Stream
from sparring.types import AnyLogits, Features, Labels, Latents, Samples

NUM_SAMPLES = 500
MAX_TRAIN = 100_000
"""Training items among which copies are looked for; of more, not at all."""
NUM_CELLS = 20
"""Parts that data are divided into which have no classes, or more than MAX_CLASSES."""
MAX_CLASSES = 50
LEAST_SHARE = 0.2
"""A part of the data is missing where samples hold less than this of its due."""
NUM_RESAMPLES = 20

FIRST_SECONDS = 0.25
"""What the first evaluation is taken to cost, before it is known."""
LEAST_GAP = 0.02
"""The least time between two evaluations, as a share of the training time so far."""

FIGURES = (
    "distance", "distance_error", "precision", "recall", "coverage", "diversity", "missing", "memorization",
    "separation", "overfitting", "overfitting_error", "generator_growth", "discriminator_growth", "modes",
    "high_quality", "reverse_kl",
)  # fmt: skip
"""What there may be in an evaluation, besides the seconds that it took."""


@final
class Monitor:
    """Measures a generator and a discriminator on fixed latents and fixed real samples, every so often.

    Args:
        game: whose discriminator is asked, and whose weights may grow.
        dataset: what the training draws from, and what is held out from it.
        share: of the training time, that evaluations may take in addition to it; 0 for none.
        interval_steps: an evaluation every so many steps, instead, whatever it costs; or None.

    Attributes:
        best: the least distance so far, or None.

    Example:
        >>> from sparring.data import open_dataset
        >>> monitor = Monitor(Game(nn.Linear(4, 2), nn.Linear(2, 1)), open_dataset("ring"))
        >>> monitor.is_due(step=100, seconds=4.0, progress=0.1), monitor.is_due(step=300, seconds=12.0, progress=0.3)
        (False, True)
    """

    def __init__(self, game: Game, dataset: Dataset, *, share: float = 0.05, interval_steps: int | None = None) -> None:
        self.game = game
        self.dataset = dataset
        self.share = share
        self.interval_steps = interval_steps
        self.best: float | None = None
        self._last_step, self._last_seconds = 0, 0.0
        self._cost, self._spent = FIRST_SECONDS, 0.0
        self._first_norms = _norm(game.generator), _norm(game.discriminator)

    def prepare(self) -> None:
        """Extract what is known of the real samples, once, before the time counts."""
        _ = self._real, self._heldout, self._thumbnails

    def is_due(self, step: int, seconds: float, progress: float) -> bool:
        """Whether to evaluate now; the second half of a training keeps what the evaluation at its end will cost.

        Args:
            step: iterations played.
            seconds: training time so far.
            progress: the share of the training that is done.
        """
        at_end = progress >= 1
        if self.interval_steps is not None:
            return at_end or step // self.interval_steps > self._last_step // self.interval_steps
        spaced = seconds - self._last_seconds >= LEAST_GAP * seconds
        kept = self._cost if 0.5 < progress < 1 else 0.0
        return (at_end or spaced) and self._spent + self._cost + kept <= self.share * seconds

    def see(self, step: int, seconds: float, figures: dict[str, float]) -> bool:
        """Take in an evaluation, of now or of a log that is resumed.

        Args:
            step: iterations played.
            seconds: training time so far.
            figures: what `measure` gave.

        Returns:
            Whether it is the best so far.
        """
        self._last_step, self._last_seconds = step, seconds
        self._cost = figures["seconds"]
        self._spent += self._cost
        distance = figures.get("distance")
        if distance is None or (self.best is not None and distance >= self.best):
            return False
        self.best = distance
        return True

    def measure(self, generator: Generator) -> dict[str, float]:
        """Evaluate.

        Args:
            generator: whose samples are judged: the averaged one.

        Returns:
            seconds: what the evaluation took; with nothing but the growths where the generator is not finite, or all
                data are the same.
            distance and distance_error: by which evaluations are compared, and its standard error: the kernel distance
                of images; 1 − (precision + coverage) / 2 of points, whose moments may agree where no mode is found.
            precision, recall, coverage: see `sparring.metrics`.
            diversity: the mean distance between generated samples over that between real ones.
            missing: the share of the data in those classes (or cells, where there are no classes) of which the
                samples hold less than a fifth of their due.
            memorization: as `sparring.metrics`, between small pictures; where there are items to copy.
            separation: the probability that a real sample gets a higher logit than one of the generator in training.
            overfitting: how far the logits of held-out samples fall from those of training samples towards those of
                generated ones, (train − heldout) / (train − generated), and its standard error
                (Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv:2006.06676,
                equation 1); where it has a meaning.
            generator_growth, discriminator_growth: the norm of all weights over what it was at first.
            modes, high_quality, reverse_kl: for mixtures.
        """
        start = time.perf_counter()
        norms = _norm(self.game.generator), _norm(self.game.discriminator)
        growths = [norm / first if first > 0 else 1.0 for norm, first in zip(norms, self._first_norms, strict=True)]
        figures = {"generator_growth": growths[0], "discriminator_growth": growths[1]}
        figures |= self._compare(generator)
        figures["seconds"] = round(time.perf_counter() - start, 3)
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    def _compare(self, generator: Generator) -> dict[str, float]:
        real = self._real
        if real.spread == 0 or not generator.is_finite():
            return {}
        seed = self.game.seed
        latents, labels = generator.latents(NUM_SAMPLES, seed), generator.random_labels(NUM_SAMPLES, seed)
        samples = to_samples(generator.generate(latents, labels))
        features = self._extractor(samples)
        if not torch.isfinite(features).all():
            return {}
        precision, recall = precision_recall(real.features, features)
        _, coverage = density_coverage(real.features, features)
        if samples.ndim == 2:
            shares = precision.value, coverage.value
            distance = 1 - sum(shares) / 2
            variance = sum(max(share * (1 - share), 1 / NUM_SAMPLES) for share in shares) / NUM_SAMPLES
            error = variance**0.5 / 2
        else:
            kernel = kernel_distance(real.features, features, num_resamples=NUM_RESAMPLES, seed=seed)
            distance, error = kernel.value, (kernel.high - kernel.low) / (2 * Z_95)
        figures = {
            "distance": distance,
            "distance_error": error,
            "precision": precision.value,
            "recall": recall.value,
            "coverage": coverage.value,
            "diversity": _spread(features) / real.spread,
            "missing": _missing(real.shares, _shares(features, real.centers)),
        }
        if self._thumbnails is not None:
            train, heldout = self._thumbnails
            figures["memorization"] = memorization(train, heldout, self._thumbnail(samples)).value
        if isinstance(self.dataset.train, Mixture):
            count = count_modes(samples, self.dataset.train)
            figures |= {"modes": count.found, "high_quality": count.high_quality, "reverse_kl": count.reverse_kl}
        return figures | _compare_logits(*self._logits(latents, labels))

    def _logits(self, latents: Latents, labels: Labels | None) -> list[AnyLogits]:
        """What the discriminator gives to training, held-out and generated samples, all by the same statistics.

        The generated ones are those of the generator that it plays against, not of the averaged one.
        """
        players = self.game.generator, self.game.discriminator
        device = next(self.game.discriminator.parameters()).device
        were_training = [player.training for player in players]
        inputs = [each.to(device) for each in (latents, labels) if each is not None]
        for player in players:
            player.eval()
        try:
            with torch.inference_mode():
                fake = _Batch(self.game.generator(*inputs), labels)
                real = (_Batch(each.samples / self.dataset.scale, each.labels) for each in (self._train, self._heldout))
                return [
                    self.game.logits(
                        each.samples.to(device),
                        each.labels.to(device) if labels is not None and each.labels is not None else None,
                    ).cpu()
                    for each in (*real, fake)
                ]
        finally:
            for player, was_training in zip(players, were_training, strict=True):
                player.train(was_training)

    @cached_property
    def _extractor(self) -> Callable[[Samples], Features]:
        return extractor_for(self.dataset)

    @cached_property
    def _thumbnail(self) -> Callable[[Samples], Features]:
        return thumbnails_for(self.dataset)

    @cached_property
    def _train(self) -> "_Batch":
        return _batch(self.dataset.train, Stream(self.game.seed, "monitor/train"))

    @cached_property
    def _heldout(self) -> "_Batch":
        batch = _batch(self.dataset.heldout, Stream(self.game.seed, "monitor/heldout"))
        if batch.labels is None or not self.dataset.train.class_shares:
            return batch
        known = batch.labels < len(self.dataset.train.class_shares)  # the discriminator knows those of training alone
        return _Batch(batch.samples[known], batch.labels[known])

    @cached_property
    def _real(self) -> "_Real":
        features = self._extractor(self._train.samples)
        if isinstance(self.dataset.train, Mixture):
            centers = self.dataset.train.means.to(features)
        elif self._train.labels is not None and len(self.dataset.train.class_shares) <= MAX_CLASSES:
            labels = self._train.labels
            centers = torch.stack([features[labels == label].mean(0) for label in sorted(set(labels.tolist()))])
        else:
            centers = features[:NUM_CELLS]
        return _Real(features, _spread(features), centers, _shares(features, centers))

    @cached_property
    def _thumbnails(self) -> tuple[Features, Features] | None:
        """Of training and of held-out items, where there are items that could be copied."""
        if not 0 < (self.dataset.train.num_items or 0) <= MAX_TRAIN:
            return None
        train, heldout = (
            torch.cat(
                [self._thumbnail(samples) for samples in _once(source, Stream(self.game.seed, f"monitor/{name}"))]
            )
            for name, source in (("train", self.dataset.train), ("heldout", self.dataset.heldout))
        )
        return train, heldout


@dataclass(frozen=True)
class _Batch:
    samples: Samples
    labels: Labels | None


@dataclass(frozen=True)
class _Real:
    """What is known of the real samples: features, their mean distance, and how they fall on classes or cells."""

    features: Features
    spread: float
    centers: Features
    shares: Tensor


def _batch(source: Source, stream: Stream) -> _Batch:
    size = min(NUM_SAMPLES, source.num_items or NUM_SAMPLES)
    return _Batch(source.batch(size, stream), source.labels(size, stream))


def _once(source: Source, stream: Stream) -> Iterator[Samples]:
    """Every item of a finite source once, a part at a time."""
    assert source.num_items is not None
    size = min(NUM_SAMPLES, source.num_items)
    for step in range(math.ceil(source.num_items / size)):
        yield source.batch(size, stream.at(step))[: source.num_items - step * size]  # the next epoch is cut off


def _spread(features: Features) -> float:
    """The mean distance between different samples."""
    return nn.functional.pdist(features).mean().item()


def _shares(features: Features, centers: Features) -> Tensor:
    """The share of the samples that lie nearest to each center."""
    nearest = torch.cdist(features, centers).argmin(1)
    return torch.bincount(nearest, minlength=len(centers)).double() / len(features)


def _missing(real_shares: Tensor, fake_shares: Tensor) -> float:
    return real_shares[fake_shares < LEAST_SHARE * real_shares].sum().item()


def _norm(module: nn.Module) -> float:
    """Of all its weights together."""
    return torch.nn.utils.get_total_norm(list(module.parameters())).item()


def _compare_logits(train: AnyLogits, heldout: AnyLogits, fake: AnyLogits) -> dict[str, float]:
    """Separation and overfitting; nothing of logits that are not finite."""
    if not all(torch.isfinite(logits).all() for logits in (train, heldout, fake)):
        return {}
    train, heldout, fake = train.double(), heldout.double(), fake.double()
    difference = train[:, None] - fake
    separation = ((difference > 0).double() + 0.5 * (difference == 0)).mean().item()
    figures = {"separation": separation}
    if len(heldout) < 2:
        return figures
    distance = (train.mean() - fake.mean()).item()
    error = (train.var() / len(train) + heldout.var() / len(heldout)).sqrt().item()
    if distance > error:
        figures["overfitting"] = (train.mean() - heldout.mean()).item() / distance
        figures["overfitting_error"] = error / distance
    return figures

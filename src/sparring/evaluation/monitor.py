"""The cheap evaluation while a training goes on: the same latents and the same real samples each time.

It takes 500 samples where the metric card takes 10,000, so that it costs a few tenths of a second. Its figures are
comparable within one run only.
"""

import math
import time
import warnings
from collections.abc import Iterator
from typing import Literal, final

import torch
from torch import Tensor, nn

from sparring.errors import SparringWarning
from sparring.evaluation.figures import FIGURES, Comparison, SampleView, draw, source_labels
from sparring.evaluation.health import ENOUGH_HELDOUT
from sparring.game.both_ways import one_way
from sparring.game.game import Game
from sparring.generator.generator import Generator
from sparring.metrics import Estimate, nearest_labels
from sparring.metrics.estimate import are_constant
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.types import AnyLogits, Faults, Labels, Latents, Samples, num_at_once

NUM_SAMPLES, LEAST_SAMPLES = 500, 100  # the fewer of large items, which take much memory
MIN_TRAIN = 6  # data with fewer items are not monitored: coverage looks at five neighbours
FEW_TRAIN, FEW_HELDOUT = 20, 2  # figures of fewer items are rough
MAX_TRAIN = 100_000  # with more training items, copies are not looked for
MAX_SHARES = 1000  # with more classes, their shares are not measured
FIRST_SECONDS = 0.25  # what the first evaluation is expected to cost
LEAST_EVALUATIONS, MOST_SHARE = 3, 0.5  # a training is evaluated so often, unless that takes longer than this share
LEAST_GAP = 0.02  # the least time between two evaluations, as a share of the training time so far


def can_monitor(dataset: Dataset) -> bool:
    """Whether there are enough items to measure anything."""
    return dataset.train.num_items is None or dataset.train.num_items >= MIN_TRAIN


def warn_if_few(dataset: Dataset) -> None:
    """Say that so few items cannot be measured, or not well."""
    num_train, num_heldout = dataset.train.num_items, dataset.heldout.num_items
    if num_train is None or num_heldout is None or (num_train >= FEW_TRAIN and num_heldout >= FEW_HELDOUT):
        return
    measured = "be measured roughly" if can_monitor(dataset) else "not be measured"
    copies = "" if num_heldout >= ENOUGH_HELDOUT else ", of which only clear ones are told"
    message = (
        f"{dataset.name} has {num_train} items to train on and {num_heldout} held out: the samples will {measured}, "
        f"and will probably be copies{copies}. Give more items"
    )
    warnings.warn(SparringWarning(message), stacklevel=2)


@final
class Monitor:
    """Measures a generator and a discriminator on fixed latents and fixed real samples, every so often.

    It takes a share of the training time, or measures every `interval_steps` steps, whatever that costs. The growth of
    the weights counts from now.

    Attributes:
        extractor: of the features that are compared.
        class_shares: the share of each class among the samples of the latest measurement, by their nearest training
            samples; empty where that is unknown.
        faults: what the modality found wrong with these samples.
    """

    def __init__(self, game: Game, dataset: Dataset, *, share: float = 0.05, interval_steps: int | None = None) -> None:
        self.game, self.dataset, self.share, self.interval_steps = game, dataset, share, interval_steps
        self._at_once = num_at_once(NUM_SAMPLES, dataset.modality.item_shape)
        self._num = min(NUM_SAMPLES, max(LEAST_SAMPLES, 4 * self._at_once))
        self._last_step, self._last_seconds = 0, 0.0
        self.class_shares: list[float] = []
        self.faults: Faults = {}
        self._cost, self._spent, self._count = FIRST_SECONDS, 0.0, 0
        self._first_norms = _norms(game)
        self.extractor, self._thumbnails = dataset.extractor(), dataset.modality.thumbnails()
        self._real, self._heldout = self._view("train"), self._view("heldout")
        self._find_faults = dataset.modality.fault_finder(self._real["samples"], self._heldout["samples"])
        self._real["features"] = self.extractor(self._real["samples"])
        needs = {figure.needs for figure in FIGURES.values() if figure.in_monitor}
        self._is_measured = not needs.isdisjoint(dataset.modality.measured)
        if self._is_measured:
            self._real |= dataset.modality.measurements(dataset.modality.decode(self._real["samples"]))

    def is_due(self, step: int, seconds: float, progress: float, *, has_line: bool = True) -> bool:
        """Whether to evaluate now; the second half of a training saves time for the evaluation at its end.

        A short training is evaluated at each third of it as well, even if that takes more than its share, where the
        log has a line anyway.
        """
        at_end = progress >= 1
        if self.interval_steps is not None:
            return at_end or step // self.interval_steps > self._last_step // self.interval_steps
        if at_end or (has_line and self._count < int(LEAST_EVALUATIONS * progress)):
            return self.share > 0 and self._spent + self._cost <= MOST_SHARE * seconds
        is_spaced = seconds - self._last_seconds >= LEAST_GAP * seconds
        reserve = self._cost if progress > 0.5 else 0.0
        return is_spaced and self._spent + self._cost + reserve <= self.share * seconds

    def note(self, step: int, seconds: float, figures: dict[str, float]) -> None:
        """Count an evaluation, of now or of a log that is resumed."""
        self._last_step, self._last_seconds, self._cost = step, seconds, figures["seconds"]
        self._spent += self._cost
        self._count += 1

    def measure(self, generator: Generator) -> dict[str, float]:
        """The figures of the averaged generator that have a meaning now, and `seconds`, the time that they took."""
        start = time.perf_counter()
        norms = zip(_norms(self.game).items(), self._first_norms.values(), strict=True)
        self.class_shares, self.faults = [], {}
        figures = {f"{player}_growth": norm / first if first > 0 else 1.0 for (player, norm), first in norms}
        pair = self._compare(generator)
        for figure in FIGURES.values():
            if figure.in_monitor and figure.measure and pair is not None and pair.has(figure.needs):
                value = figure.measure(pair)
                figures[figure.name] = value.value if isinstance(value, Estimate) else value
        figures["seconds"] = round(time.perf_counter() - start, 3)
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    def _compare(self, generator: Generator) -> Comparison | None:
        """The samples of now beside the real ones; None where there is nothing to measure."""
        real, heldout, seed = self._real.copy(), self._heldout.copy(), self.game.seed
        if are_constant(real["features"]) or not generator.is_finite():
            return None
        latents, labels = generator.inputs(self._num, seed, self.dataset)
        items = generator.generate(latents, labels)
        fake: SampleView = {"samples": self.dataset.modality.encode(items)}
        if self._is_measured:
            fake |= self.dataset.modality.measurements(items)
        fake["features"] = self.extractor(fake["samples"])
        if not fake["features"].isfinite().all():
            return None
        self.faults = self._find_faults(items)
        told = source_labels(self.dataset, self._num, seed)
        num_classes = len(self.dataset.train.class_shares)
        if "labels" in real:
            fake["classes"] = nearest_labels(real["features"], real["labels"], fake["features"])
        if "labels" in real and num_classes <= MAX_SHARES:
            self.class_shares = (fake["classes"].bincount(minlength=num_classes) / self._num).tolist()
        if told is not None and "classes" in fake:
            fake["labels"] = told
        if "neutral" in heldout:
            fake["neutral"] = self._thumbnails(fake["samples"])
        logits = self._logits(latents, labels)
        if torch.cat(logits).isfinite().all():
            real["logits"], heldout["logits"], fake["logits"] = logits
        return Comparison(self.dataset, real, fake, heldout, seed, num_resamples=2)

    def _logits(self, latents: Latents, labels: Labels | None) -> list[AnyLogits]:
        """What the discriminator gives to training, held-out and generated samples, all by the same statistics.

        The generated ones are those of the generator that it plays against, not of the averaged one.
        """
        players = generator, discriminator = one_way(self.game.generator), one_way(self.game.discriminator)
        scale, device = self.dataset.modality.scale, next(discriminator.parameters()).device
        were_training = [player.training for player in players]
        for player in players:
            player.eval()
        try:
            with torch.inference_mode():
                views = self._real, self._heldout
                sets = [(view["samples"] / scale, view.get("labels", view.get("vectors"))) for view in views]
                inputs = [each.to(device) for each in (latents, labels) if each is not None]
                made = [generator(*part) for part in self._parts(*inputs)]
                sets.append((torch.cat(made), labels))
                if labels is None:
                    sets = [(samples, None) for samples, _ in sets]
                return [
                    torch.cat([self._score(discriminator, *part) for part in self._parts(*pair)])
                    for pair in sets
                    if labels is None or pair[1] is not None
                ]
        finally:
            for player, was_training in zip(players, were_training, strict=True):
                player.train(was_training)

    def _parts(self, *values: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
        """So many rows of each as are computed on together."""
        return zip(*(torch.split(each, self._at_once) for each in values if each is not None), strict=True)

    def _score(self, discriminator: nn.Module, samples: Samples, labels: Labels | None = None) -> AnyLogits:
        device = next(discriminator.parameters()).device
        return self.game.logits(samples.to(device), None if labels is None else labels.to(device), discriminator).cpu()

    def _view(self, part: Literal["train", "heldout"]) -> SampleView:
        """Some samples of a part of the data; and thumbnails of all of its items, where there are any to be copied."""
        source, stream = getattr(self.dataset, part), Stream(self.game.seed, f"monitor/{part}")
        view = draw(source, self._num, stream)
        if "labels" in view and (num_classes := len(self.dataset.train.class_shares)):
            known = view["labels"] < num_classes  # the discriminator knows no class that only held-out items have
            view = {name: values[known] for name, values in view.items()}
        if 0 < (self.dataset.train.num_items or 0) <= MAX_TRAIN:
            size = min(self._num, source.num_items)
            turns = range(math.ceil(source.num_items / size))
            thumbnails = [self._thumbnails(source.batch(size, stream.at(turn))) for turn in turns]
            view["neutral"] = torch.cat(thumbnails)[: source.num_items]  # the last turn begins the next epoch
        return view


def _norms(game: Game) -> dict[str, float]:
    """Of all weights of each player together."""
    players = {"generator": game.generator, "discriminator": game.discriminator}
    return {name: torch.nn.utils.get_total_norm(list(player.parameters())).item() for name, player in players.items()}

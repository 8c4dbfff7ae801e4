"""`sparring bench metrics`: do the figures notice when items get worse, and the more so the worse they are?

Real items are made worse, more and more, and compared with other real items. A figure *keeps the order* if no step for
the worse makes it better, and it *notices* a corruption if it is worse at the greatest strength than without any, both
by more than their intervals. Figures that judge each sample alone are not asked about sets in which items are repeated
or missing.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from sparring.evaluation.card import add_classes, estimate
from sparring.evaluation.figures import FIGURES, Comparison, SampleView, draw
from sparring.metrics import Estimate
from sparring.modalities import MODALITIES
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream

NUM_ITEMS = 500
REPEATS, MISSING = (2, 8, 32), (1, 2, 3)  # times that an item occurs; classes that do not
SLOW = ("divergence",)  # figures that are left out when time is short
ALONE = ("precision", "density", "class_agreement", "high_quality")  # figures that judge each sample alone


@dataclass(frozen=True)
class Result:
    """One figure of items that get worse in one way."""

    data: str
    corruption: str
    unit: str  # what a strength is
    strengths: tuple[float, ...]  # 0 is none
    figure: str
    estimates: tuple[Estimate, ...]  # one for each strength

    def _worse(self, better: int, worse: int) -> float:
        """By how much the second of two estimates is surely worse than the first; below 0 if that is not sure."""
        first, second = self.estimates[better], self.estimates[worse]
        return second.low - first.high if FIGURES[self.figure].better == "lower" else first.low - second.high

    @property
    def keeps_order(self) -> bool:
        """Whether no greater strength is surely better than a smaller one."""
        return all(self._worse(place + 1, place) <= 0 for place in range(len(self.estimates) - 1))

    @property
    def notices(self) -> bool:
        """Whether the greatest strength is surely worse than none."""
        return self._worse(0, -1) > 0


def run(quick: bool, as_json: bool) -> int:
    """Print what the figures make of every corruption, as tables or as JSON.

    Args:
        quick: leave out the figures that take long.
        as_json: JSON instead of tables.

    Returns:
        The exit code: 0 if all keep the order, and one at least notices each corruption, else 1.
    """
    from rich.console import Console
    from rich.table import Table

    console, done, is_good = Console(highlight=False), [], True
    for source in [modality.sources[0] for modality in MODALITIES.values() if modality.sources]:  # without download
        for results in measure(source.open(), leave_out=SLOW if quick else ()):
            done += results
            is_good &= any(each.notices for each in results) and all(each.keeps_order for each in results)
            first = results[0]
            table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
            table.title = f"{source.name}, {first.corruption}: {first.unit}"
            for heading in ("", "none", *(f"{strength:g}" for strength in first.strengths[1:]), ""):
                table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
            for each in results:
                verdict = "wrong order" if not each.keeps_order else "noticed" if each.notices else ""
                values = (f"{estimate.value:.3g}" for estimate in each.estimates)
                table.add_row(each.figure.replace("_", " "), *values, verdict)
            if not as_json:
                console.print(table, "")
    if as_json:
        lines = [asdict(each) | {"keeps_order": each.keeps_order, "notices": each.notices} for each in done]
        print(json.dumps(lines, indent=2))
    else:
        console.print(f"{sum(each.keeps_order for each in done)} of {len(done)} figures keep the order")
    return int(not is_good)


def measure(
    dataset: Dataset, num_items: int = NUM_ITEMS, leave_out: Collection[str] = (), seed: int = 0
) -> Iterator[list[Result]]:
    """What the figures of the card make of a data set's items that get worse, a list for each way.

    Args:
        dataset: whose training items are taken.
        num_items: the number of items on each side; half of all if there are fewer.
        leave_out: figures that are not measured.
        seed: of the items and of the corruptions.
    """
    modality, extractor = dataset.modality, dataset.extractor()
    view = draw(dataset.train, 2 * num_items, Stream(seed, "bench/items"))
    items, labels = modality.decode(view["samples"]), view.get("labels")
    half, names = len(items) // 2, [name for name, each in FIGURES.items() if each.in_card and name not in leave_out]

    def look(some: np.ndarray, some_labels: Tensor | None) -> SampleView:
        samples = modality.encode(some)
        found = {"samples": samples, "features": extractor(samples), **modality.measurements(some)}
        return found if some_labels is None else found | {"labels": some_labels}

    real = look(items[:half], None if labels is None else labels[:half])
    add_classes(real, real, dataset)

    def compare(some: np.ndarray, some_labels: Tensor | None) -> dict[str, Estimate]:
        fake = look(some, some_labels)
        add_classes(fake, real, dataset)
        return estimate(Comparison(dataset, real, fake, {}, seed), names)

    good, good_labels = items[half:], None if labels is None else labels[half:]
    none = compare(good, good_labels)
    for corruption in modality.corruptions():
        columns = [none]
        for place, strength in enumerate(corruption.strengths):
            stream = Stream(seed, f"bench/{corruption.name}", place)
            columns.append(compare(corruption.spoil(good, strength, stream), good_labels))
        yield _results(dataset, corruption.name, corruption.unit, corruption.strengths, columns, is_set=False)
    columns = [none]
    for times in REPEATS:
        numbers = torch.arange(len(good)) % (len(good) // times)
        columns.append(compare(good[numbers.numpy()], None if good_labels is None else good_labels[numbers]))
    yield _results(dataset, "repeated", "times the same item", REPEATS, columns, is_set=True)
    if good_labels is not None and (missing := MISSING[: len(set(good_labels.tolist())) - 1]):
        columns = [none]
        for number in missing:
            left = (good_labels >= number).nonzero()[:, 0]  # others take the place of the first classes
            numbers = left[torch.arange(len(good)) % len(left)]
            columns.append(compare(good[numbers.numpy()], good_labels[numbers]))
        yield _results(dataset, "missing", "classes without items", missing, columns, is_set=True)


def _results(
    dataset: Dataset,
    name: str,
    unit: str,
    strengths: tuple[float, ...],
    columns: list[dict[str, Estimate]],
    is_set: bool,
) -> list[Result]:
    return [
        Result(dataset.name, name, unit, (0.0, *strengths), figure, tuple(column[figure] for column in columns))
        for figure in columns[0]
        if not (is_set and figure in ALONE)
    ]

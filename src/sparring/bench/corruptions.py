"""`sparring bench metrics`: do the figures notice when items get worse, and the more so the worse they are?

Real items are made worse, more and more, and compared with other real items, many times with other items drawn. A
figure *keeps the order* if no step for the worse surely makes it better. It *notices* a corruption at a strength if it
is worse than 95 % of its values for items that are as they were, in at least 95 % of the draws: its *power*. Figures
that judge each sample alone are not asked about sets in which items are repeated or missing, and copies are asked of
one figure. Whoever adds an extractor gets its row: all that a modality has are tried.
"""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from sparring.data.clusters import k_means, nearest
from sparring.evaluation.card import add_classes
from sparring.evaluation.figures import FIGURES, Comparison, SampleView, draw
from sparring.metrics import Estimate, Extractor
from sparring.metrics.estimate import around
from sparring.modalities import MODALITIES
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream

NUM_ITEMS, NUM_DRAWS, NUM_QUICK_DRAWS = 1000, 20, 5
WANTED = 0.95  # power, and the share of unchanged items' values that a worse one exceeds
NUM_KINDS = 10  # of items without labels
REPEATS, MISSING, COPIED = (2, 8, 32), (1, 2, 3), (0.1, 0.3, 1.0)
"""Times that an item occurs, kinds of items that do not, and shares of the items that are training items."""
SLOW = ("divergence",)  # figures that are left out when time is short
COPIES = "memorization"  # the figure of copies
ALONE = ("precision", "density", "class_agreement", "high_quality")  # figures that judge each sample alone

Change = Callable[[Tensor, Tensor, float], Tensor]
"""From the numbers of the items drawn, those of training items, and a strength, to the numbers of worse ones."""


@dataclass(frozen=True)
class Result:
    """One figure of items that get worse in one way."""

    data: str
    extractor: str  # whose features are compared
    corruption: str
    unit: str  # what a strength is
    strengths: tuple[float, ...]  # 0 is none
    figure: str
    estimates: tuple[Estimate, ...]  # one for each strength: the mean of all draws, and where 95 % of them lie
    power: tuple[float, ...]  # the share of the draws in which it notices each strength; the first one is of none
    num_items: int  # on each side

    @property
    def better(self) -> Literal["lower", "higher", ""]:
        """Which values are better."""
        return FIGURES[self.figure].better

    @property
    def keeps_order(self) -> bool:
        """Whether no greater strength is surely better than a smaller one."""
        pairs = zip(self.estimates, self.estimates[1:], strict=False)
        return not any(b.high < a.low if self.better == "lower" else b.low > a.high for a, b in pairs)

    @property
    def noticed(self) -> float | None:
        """The least strength that it notices, as it does all greater ones; None if there is none."""
        found = None
        for strength, power in zip(reversed(self.strengths[1:]), reversed(self.power), strict=False):
            if power < WANTED:
                break
            found = strength
        return found

    @property
    def is_enough(self) -> bool:
        """Whether it notices the corruption at its mildest; of fewer than 1,000 items, at its greatest strength."""
        return self.noticed == self.strengths[1] or (self.noticed is not None and self.num_items < NUM_ITEMS)


def run(quick: bool, as_json: bool) -> int:
    """Print what the figures make of every corruption, as tables or as JSON.

    Args:
        quick: draw less often, and leave out the figures that take long.
        as_json: JSON instead of tables.

    Returns:
        The exit code: 0 if all figures by the extractor that measures the data keep the order, and a figure by one of
        the extractors notices each corruption at its mildest (of fewer than 1,000 items, at its greatest); else 1.
    """
    from rich.console import Console
    from rich.table import Table

    console, done, usual = Console(highlight=False), list[Result](), dict[str, str]()
    for source in [modality.sources[0] for modality in MODALITIES.values() if modality.sources]:  # without download
        dataset = source.open()
        usual[dataset.name] = dataset.extractor().name
        for extractor in dataset.extractors():
            num_draws, leave_out = (NUM_QUICK_DRAWS, SLOW) if quick else (NUM_DRAWS, ())
            for results in measure(dataset, extractor, num_draws=num_draws, leave_out=leave_out):
                done += results
                first = results[0]
                table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
                table.title = f"{source.name} by {extractor.name}, {first.corruption}: {first.unit}"
                for heading in ("", "none", *(f"{strength:g}" for strength in first.strengths[1:]), ""):
                    table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
                for each in results:
                    noticed = "" if each.noticed is None else f"noticed from {each.noticed:g}"
                    values = (f"{estimate.value:.3g}" for estimate in each.estimates)
                    verdict = noticed if each.keeps_order else "wrong order"
                    table.add_row(each.figure.replace("_", " "), *values, verdict)
                if not as_json:
                    console.print(table, "")
    unseen = {(each.data, each.corruption) for each in done}
    unseen -= {(each.data, each.corruption) for each in done if each.is_enough}
    disordered = [each for each in done if not each.keeps_order]
    if as_json:
        print(json.dumps([asdict(each) | {"keeps_order": each.keeps_order, "noticed": each.noticed} for each in done]))
    else:
        console.print(f"{len(done) - len(disordered)} of {len(done)} figures keep the order")
        for data, corruption in sorted(unseen):
            console.print(f"no figure notices the mildest {corruption} of {data}")
    return int(bool(unseen) or any(each.extractor == usual[each.data] for each in disordered))


def measure(
    dataset: Dataset,
    extractor: Extractor | None = None,
    num_items: int = NUM_ITEMS,
    *,
    num_draws: int = NUM_DRAWS,
    leave_out: Collection[str] = (),
    seed: int = 0,
) -> Iterator[list[Result]]:
    """What the figures of the card make of a data set's items that get worse, a list for each way.

    Args:
        dataset: whose training items are taken.
        extractor: whose features are compared, also to look for copies; None for the one that measures the data set.
        num_items: the number of items on each side; a third of all if there are fewer.
        num_draws: how often they are drawn.
        leave_out: figures that are not measured.
        seed: of the items and of the corruptions.
    """
    modality, extractor = dataset.modality, extractor or dataset.extractor()
    drawn = draw(dataset.train, 3 * num_items, Stream(seed, "bench/items"))
    items, labels = modality.decode(drawn["samples"]), drawn.get("labels")
    kinds = labels
    if kinds is None:
        looks = modality.thumbnails()(drawn["samples"])
        kinds = nearest(looks, k_means(looks, NUM_KINDS))
    third = len(items) // 3

    def look(samples: Tensor, measurements: SampleView) -> SampleView:
        features = extractor(samples)
        found = {"samples": samples, "features": features, "neutral": features, **measurements}
        if dataset.trained_classifier is not None:
            found["classes"] = dataset.trained_classifier.classify(samples)
        return found if labels is None else found | {"labels": labels}

    def compare(view: SampleView, change: Change, strength: float) -> dict[str, list[float]]:
        """The values of each figure in all draws."""
        values = dict[str, list[float]]()
        for number in range(num_draws):
            order = Stream(seed, "bench/draws", number).permutation(len(items))
            train, heldout, others = order[:third], order[third : 2 * third], order[2 * third : 3 * third]
            real, unseen = ({name: each[index] for name, each in good.items()} for index in (train, heldout))
            chosen, is_copy = change(others, train, strength), view is good
            fake = {name: (good if is_copy else view)[name][chosen] for name in view}
            if "classes" not in view:
                add_classes(fake, real, dataset)
            pair = Comparison(dataset, real, fake, unseen, seed, num_resamples=2)
            for name, figure in FIGURES.items():
                if figure.in_card and figure.measure and name not in leave_out and pair.has(figure.needs):
                    value = figure.measure(pair)
                    values.setdefault(name, []).append(value.value if isinstance(value, Estimate) else value)
        return values

    def judge(
        name: str, unit: str, strengths: tuple[float, ...], columns: list[dict[str, list[float]]], asked: list[str]
    ) -> list[Result]:
        found = []
        for figure in asked:
            values = [torch.tensor(column[figure], dtype=torch.float64) for column in (none, *columns)]
            estimates = tuple(around(each.mean().item(), each.std().item()) for each in values)
            sign = -1 if FIGURES[figure].better == "higher" else 1
            limit = (sign * values[0]).quantile(WANTED)
            power = tuple((sign * each > limit).double().mean().item() for each in values)
            what = dataset.name, extractor.name, name, unit, (0.0, *strengths), figure
            found.append(Result(*what, estimates, power, third))
        return found

    good = look(drawn["samples"], modality.measurements(items))
    none = compare(good, lambda others, train, strength: others, 0.0)
    of_items = [name for name in none if name != COPIES]
    of_sets = [name for name in of_items if name not in ALONE]
    for corruption in modality.corruptions():
        columns = []
        for place, strength in enumerate(corruption.strengths):
            worse = corruption.spoil(items, strength, Stream(seed, f"bench/{corruption.name}", place))
            view = look(modality.encode(worse), modality.measurements(worse))
            columns.append(compare(view, lambda others, train, strength: others, strength))
        yield judge(corruption.name, corruption.unit, corruption.strengths, columns, of_items)

    def repeat(others: Tensor, train: Tensor, times: float) -> Tensor:
        return others[torch.arange(len(others)) % (len(others) // round(times))]

    def leave_kinds_out(others: Tensor, train: Tensor, count: float) -> Tensor:
        left = others[kinds[others] >= count]  # others take the place of the first kinds
        return left[torch.arange(len(others)) % len(left)]

    def copy(others: Tensor, train: Tensor, share: float) -> Tensor:
        copied = round(share * len(others))
        return torch.cat([train[:copied], others[copied:]])

    num_kinds = len(set(kinds.tolist()))
    sets: list[tuple[str, str, tuple[float, ...], Change, list[str]]] = [
        ("repeated", "times the same item", REPEATS, repeat, of_sets),
        ("missing", "kinds without items", MISSING[: num_kinds - 1], leave_kinds_out, of_sets),
        ("copied", "of the items are training items", COPIED, copy, [COPIES]),
    ]
    for name, unit, strengths, change, asked in sets:
        columns = [compare(good, change, strength) for strength in strengths]
        yield judge(name, unit, strengths, columns, asked)

"""Measures which figures notice pictures that get worse, by each extractor: the tables of docs/metrics.md.

    python benchmarks/metrics.py [DATA ...]     # digits, fashion-mnist and Twitter's emoji, see benchmarks/emoji.py

1,000 items a side, 20 draws, seed 0; half an hour of one thread. A figure is bold if it notices a strength in at
least 95 % of the draws: `sparring bench metrics` says what that means.
"""

import argparse
from pathlib import Path

from emoji import fetch

from sparring import open_dataset
from sparring.bench.corruptions import COPIES, SLOW, Result, measure
from sparring.modalities.modality import Dataset

SHOWN = ("frechet_distance", "kernel_distance", "precision", "coverage", "class_agreement", "detail_distance",
    "speck_distance")  # fmt: skip


def print_tables(dataset: Dataset, name: str) -> None:
    """One table for each extractor, and one of copies."""
    copies = []
    for extractor in dataset.extractors():
        found = list(measure(dataset, extractor, leave_out=SLOW))
        names = [each for each in SHOWN if each in {result.figure for result in found[0]}]
        print(f"\n**{name}, by {extractor.name}** ({extractor.hash})\n")
        print(f"| | strength | {' | '.join(each.replace('_', ' ') for each in names)} |")
        print("|---|---|" + len(names) * "---|")
        for results in found:
            by_figure = {each.figure: each for each in results}
            if COPIES in by_figure:
                copies.append((extractor.name, by_figure[COPIES]))
                continue
            for place, strength in enumerate(results[0].strengths):
                if place == 0 and results is not found[0]:
                    continue
                cells = [cell(by_figure[each], place) if each in by_figure else "" for each in names]
                what = "nothing" if place == 0 else results[0].corruption if place == 1 else ""
                unit = f"{strength:g} {results[0].unit}" if place == 1 else f"{strength:g}" if place else ""
                print(f"| {what} | {unit} | {' | '.join(cells)} |", flush=True)
    shares = " | ".join(f"{each:g}" for each in copies[0][1].strengths[1:])
    print(f"\n**{name}: copies**\n\n| memorization, by | none | {shares} |")
    print("|---|" + len(copies[0][1].strengths) * "---|")
    for who, result in copies:
        print(f"| {who} | {' | '.join(cell(result, place) for place in range(len(result.strengths)))} |")


def cell(result: Result, place: int) -> str:
    """A value, bold if it is noticed."""
    value = result.estimates[place].value
    text = f"{value:.3f}" if 0.001 <= abs(value) < 100 else f"{value:.2g}"
    return f"**{text}**" if place and result.power[place] >= 0.95 else text


def main() -> None:
    """Measure each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="*", default=["digits", "fashion-mnist", "emoji"])
    for name in parser.parse_args().data:
        dataset = open_dataset(str(fetch(Path("runs"))), (64, 64)) if name == "emoji" else open_dataset(name)
        print_tables(dataset, name)


if __name__ == "__main__":
    main()

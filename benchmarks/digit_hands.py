"""Handwritten digits ↔ digits of printed fonts, without pairs and without labels: how many stay what they were.

    python benchmarks/digit_hands.py printed-digits.npz [--minutes 10] [--seeds 0 1 2] [--set KEY=VALUE ...]
    python benchmarks/digit_hands.py printed-digits.npz --runs runs/printed-digits-1     # measures runs that exist

The archive holds `images`, `labels`, `heldout_images` and `heldout_labels`; the handwritten digits come with the
package. Trainings are told no label. For each it prints

    A  how many held-out digits the target domain's classifier reads as what they were before they were translated;
    B  how many of the target's held-out digits a classifier reads that was trained on translated, labelled digits of
       the source, beside one trained on them untranslated and one trained on the target itself; with warped views, all
       three see the digits turned, stretched and bent at random, as classifiers usually do;

and it saves a picture in the run: above what went in, below what came out.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import sparring
from sparring.data.digits import load_digits
from sparring.data.items import Items, to_float
from sparring.game.augment import warp
from sparring.metrics.digit_classifier import build
from sparring.modalities.output import stack_rows
from sparring.seeding import Stream
from sparring.training.recipe import check_setting

NAMES = ("handwritten", "printed")
NUM_STEPS = 600  # of each classifier


def train_classifier(images: Tensor, labels: Tensor, seed: int, warped: float = 0.0) -> nn.Module:
    """A small convolutional classifier, of views that are warped so strongly."""
    with Stream(seed, "classifier").as_default():
        network = build(batch_norm=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, NUM_STEPS)
    for step in range(NUM_STEPS):
        stream = Stream(seed, "classifier/batch", step)
        chosen = stream.integers(len(images), 128)
        views = warp(images[chosen], stream.part("warp"), warped) if warped else images[chosen]
        loss = cross_entropy(network(views), labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    return network


@torch.no_grad()
def read(classifier: nn.Module, images: Tensor) -> Tensor:
    """The digit of each image."""
    return torch.cat([classifier(part).argmax(1) for part in torch.split(images, 500)])


def share(read_as: Tensor, labels: Tensor) -> float:
    """The share that is read as what it is."""
    return (read_as == labels).double().mean().item()


def confusions(read_as: Tensor, labels: Tensor, number: int = 6) -> str:
    """The most frequent confusions, each as a share of its digit."""
    table = torch.zeros(10, 10).index_put_((labels, read_as), torch.ones(len(labels)), accumulate=True)
    table = (table / table.sum(1, keepdim=True)).fill_diagonal_(0)
    shares, places = table.flatten().topk(number)
    return ", ".join(f"{p // 10}→{p % 10} {s:.1%}" for s, p in zip(shares.tolist(), places.tolist(), strict=True))


def translate(generator: sparring.Generator, images: Tensor, *, back: bool) -> Tensor:
    """The translated images, in [−1, 1]."""
    return generator.modality.encode(generator.translate(generator.modality.decode(images), back=back))


def labels_of(items: Items) -> Tensor:
    """The digits of a set."""
    assert items.item_labels is not None
    return items.item_labels


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, nargs="*", help="measure these runs instead")
    arguments = parser.parse_args()
    settings = {
        key: check_setting(key, value, strict=False)
        for key, _, value in (each.partition("=") for each in arguments.set)
    }

    with np.load(arguments.archive, allow_pickle=False) as archive:
        file = {name: torch.from_numpy(archive[name]) for name in archive}
    printed = Items(file["images"][:, None], file["labels"].long())
    printed_heldout = Items(file["heldout_images"][:, None], file["heldout_labels"].long())
    pairs = [load_digits(), (printed, printed_heldout)]
    train, test = ([to_float(pair[part].items) for pair in pairs] for part in (0, 1))
    told, true = ([labels_of(pair[part]) for pair in pairs] for part in (0, 1))
    judges = [train_classifier(train[i], told[i], seed=0) for i in (0, 1)]
    for i in (0, 1):
        own, foreign = share(read(judges[i], test[i]), true[i]), share(read(judges[i], test[1 - i]), true[1 - i])
        print(f"{NAMES[i]} classifier: own held-out {own:.1%}, {NAMES[1 - i]} untranslated {foreign:.1%}", flush=True)

    runs = [sparring.Run(path) for path in arguments.runs or ()]
    for seed in arguments.seeds if arguments.runs is None else range(len(runs)):
        start = time.perf_counter()
        if arguments.runs is None:
            run = sparring.train(arguments.archive, source="digits", minutes=arguments.minutes, seed=seed, **settings)
        else:
            run = runs[seed]
        generator, summary = sparring.load(run), run.summary()
        print(f"{run.path}: {summary.steps} steps in {summary.seconds:.0f} s of training, and "
              f"{time.perf_counter() - start - summary.seconds:.0f} s beside it", flush=True)  # fmt: skip
        for i in (0, 1):
            made = translate(generator, test[i], back=i == 1)
            answers = read(judges[1 - i], made)
            print(
                f"  {NAMES[i]}→{NAMES[1 - i]}: A {share(answers, true[i]):.2%} ({confusions(answers, true[i])})",
                flush=True,
            )
            lessons = {
                "translated": (translate(generator, train[i], back=i == 1), told[i]),
                "untranslated": (train[i], told[i]),
                "trained on the target": (train[1 - i], told[1 - i]),
            }
            for warped in (0.0, 1.0):
                taught = (train_classifier(*lesson, seed, warped) for lesson in lessons.values())
                shares = [share(read(each, test[1 - i]), true[1 - i]) for each in taught]
                line = ", ".join(f"{what} {value:.2%}" for what, value in zip(lessons, shares, strict=True))
                print(f"    B {'with warped views' if warped else 'as they are'}: {line}", flush=True)
            given, shown = (generator.modality.decode(each[:: len(each) // 48][:48]) for each in (test[i], made))
            generator.modality.picture(stack_rows(24, given, shown), 24).save(run.path / f"from-{NAMES[i]}.png")


if __name__ == "__main__":
    main()

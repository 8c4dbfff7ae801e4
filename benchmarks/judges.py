"""Trains classifiers that judge generated images for benchmarks/quality.py, and that nothing in the package uses.

    python benchmarks/judges.py [fashion-mnist] [--out runs/judges]

There are several, of different shapes and seeds: samples may please one of them by chance. Their pooled features are
compared. A judge takes about ten minutes to train on one thread.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring import Items, open_dataset
from sparring.metrics.extractors import Extractor

NUM_FEATURES = 128
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 20, 128, 5e-3, 0.05
Block = tuple[int, int]
"""Features and stride of a 3×3 convolution with batch normalisation and ReLU."""
SHAPES: dict[str, Sequence[Block]] = {
    "narrow": ((32, 2), (64, 1), (NUM_FEATURES, 2)),
    "deep": ((24, 2), (48, 1), (64, 2), (NUM_FEATURES, 1)),
    "wide": ((48, 2), (96, 2), (NUM_FEATURES, 1)),
}


def build(shape: str, channels: int = 1) -> nn.Sequential:
    """Convolutions, the mean over all places, and a linear layer to ten classes."""
    layers: list[nn.Module] = []
    for features, stride in SHAPES[shape]:
        layers += [nn.Conv2d(channels, features, 3, stride, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU()]
        channels = features
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def train(data: str, shape: str, seed: int) -> nn.Sequential:
    """A classifier of a data set's training images; clothes are mirrored at random."""
    dataset = open_dataset(data)
    images, labels = _tensors(dataset.train)
    torch.manual_seed(seed)
    network = build(shape)
    steps = EPOCHS * len(images) // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(images), (BATCH,))
        batch = images[index]
        if data == "fashion-mnist":
            batch = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, batch.flip(3), batch)
        loss = cross_entropy(network(batch), labels[index])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        images, labels = _tensors(dataset.heldout)
        right = (network(images).argmax(1) == labels).double().mean().item()
    print(f"{data}, {shape}, seed {seed}: {right:.1%} of the held-out images right", flush=True)
    return network


def judges(data: str, folder: Path) -> list[Extractor]:
    """A judge of every shape, which gives the 128 numbers before its last layer; trained if it is missing."""
    found = []
    for seed, shape in enumerate(SHAPES):
        path = folder / f"{data}-{shape}-{seed}.safetensors"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            save_file(train(data, shape, seed).state_dict(), path)
        network = build(shape)
        network.load_state_dict(load_file(path))
        found.append(Extractor(shape, network[:-1]))
    return found


def _tensors(source: object) -> tuple[Tensor, Tensor]:
    """Images in [−1, 1] and labels."""
    assert isinstance(source, Items)
    assert source.item_labels is not None
    return source.items.float().div(127.5).sub(1), source.item_labels


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="?", default="fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/judges"))
    arguments = parser.parse_args()
    for judge in judges(arguments.data, arguments.out):
        print(judge.name, judge.hash)


if __name__ == "__main__":
    main()

"""The small classifier of digits that comes with the package.

`benchmarks/digit_classifier.py` trained it on the 9,000 training digits, never on the held-out ones.
"""

import functools
from importlib import resources

import torch
from safetensors.torch import load
from torch import Tensor, nn

from sparring.types import Samples


def build(batch_norm: bool = False) -> nn.Sequential:
    """A new network from images [n, 1, 28, 28] in [−1, 1] to logits [n, 10]; only training has batch normalisation."""

    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        return [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU()]

    norm = [nn.BatchNorm1d(96)] if batch_norm else []
    return nn.Sequential(
        *[*conv(1, 16), nn.MaxPool2d(2)],
        *[*conv(16, 32), *conv(32, 32), nn.MaxPool2d(2)],
        *[*conv(32, 64), *conv(64, 64), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(64 * 3 * 3, 96), *norm, nn.ReLU()],
        nn.Linear(96, 10),
    )


@functools.cache
def digit_classifier() -> nn.Sequential:
    """The trained classifier, with batch normalisation folded in; all but its last layer gives the 96 features."""
    weights = load(resources.files("sparring.metrics").joinpath("digit_classifier.safetensors").read_bytes())
    network = build()
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network.eval().requires_grad_(False)


def classify(images: Samples) -> Tensor:
    """The digit that each image [n, 1, 28, 28] in [−1, 1] most looks like, int64 [n].

    Example:
        >>> from sparring import open_dataset
        >>> digits = open_dataset("digits").heldout
        >>> bool((classify(digits.items / 127.5 - 1) == digits.item_labels).double().mean() >= 0.99)
        True
    """
    with torch.inference_mode():
        return torch.cat([digit_classifier()(batch).argmax(1) for batch in torch.split(images, 500)])

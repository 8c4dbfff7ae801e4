"""The small classifier of digits that comes with the package, and judges generated ones.

It was trained on the 9,000 training digits by `benchmarks/digit_classifier.py`, never on the held-out ones.
"""

import functools
from importlib import resources

import torch
from safetensors.torch import load
from torch import Tensor, nn

from sparring.types import Samples

NUM_FEATURES = 96
NUM_CLASSES = 10


def build(batch_norm: bool = False) -> nn.Sequential:
    """The network with fresh weights: images [n, 1, 28, 28] in [−1, 1] to logits [n, 10].

    Args:
        batch_norm: the form it is trained in, with batch normalisation not yet folded into the layers before it.
    """

    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        return [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU()]

    norm = [nn.BatchNorm1d(NUM_FEATURES)] if batch_norm else []
    return nn.Sequential(
        *[*conv(1, 16), nn.MaxPool2d(2)],
        *[*conv(16, 32), *conv(32, 32), nn.MaxPool2d(2)],
        *[*conv(32, 64), *conv(64, 64), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(64 * 3 * 3, NUM_FEATURES), *norm, nn.ReLU()],
        nn.Linear(NUM_FEATURES, NUM_CLASSES),
    )


@functools.cache
def digit_classifier() -> nn.Sequential:
    """The trained classifier; all but its last layer gives the 96 features.

    Example:
        >>> digit_classifier()(torch.full((1, 1, 28, 28), -1.0)).shape
        torch.Size([1, 10])
    """
    weights = load(resources.files("sparring.metrics").joinpath("digit_classifier.safetensors").read_bytes())
    network = build()
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network.eval().requires_grad_(False)


def classify(images: Samples) -> Tensor:
    """The digit that each image most looks like, int64 [n].

    Args:
        images: float32 [n, 1, 28, 28] in [−1, 1].

    Example:
        >>> from sparring import open_dataset
        >>> digits = open_dataset("digits").heldout
        >>> found = classify(digits.items / 127.5 - 1)
        >>> bool((found == digits.item_labels).double().mean() >= 0.99)
        True
    """
    with torch.inference_mode():
        return torch.cat([digit_classifier()(batch).argmax(1) for batch in torch.split(images, 500)])

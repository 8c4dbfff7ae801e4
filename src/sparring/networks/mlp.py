"""Fully connected networks, for points and other small items."""

import math
from itertools import pairwise

from torch import nn

from sparring.networks.network import Discriminator, Network, generator_of, modulation


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Three hidden layers with ReLU, and tanh at the end for images."""
    hidden: list[nn.Module] = []
    for inputs, outputs in pairwise([num_inputs, width, width, width]):
        hidden += [nn.Linear(inputs, outputs), *modulation(outputs, num_classes), nn.ReLU()]
    output = [nn.Linear(width, math.prod(item_shape)), nn.Unflatten(1, item_shape)]
    return nn.Sequential(*hidden, *output, *([nn.Tanh()] if len(item_shape) == 3 else []))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Three hidden layers with LeakyReLU, with or without batch normalisation."""
    features: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise([math.prod(item_shape), width, width, width]):
        norm = [nn.BatchNorm1d(outputs)] if normalization == "batch" else []
        features += [nn.Linear(inputs, outputs), *norm, nn.LeakyReLU(0.2)]
    return Discriminator(nn.Sequential(*features), nn.Linear(width, 1), width, num_classes)


MLP = Network(
    name="mlp",
    summary="three hidden layers, for points; takes items of any shape",
    source="Goodfellow et al. 2014, arXiv:1406.2661 (there with maxout in the discriminator)",
    width=256,
    usual_shapes=((2,), (1, 28, 28)),
    fit=lambda item_shape: item_shape,
    generator=generator_of(layers),
    discriminator=discriminator,
)

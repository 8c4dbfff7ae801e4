"""Fully connected networks, for points and anything else that is small."""

import math
from itertools import pairwise

from torch import nn

from sparring.networks.network import Discriminator, Network


def generator(item_shape: tuple[int, ...], latent_dim: int, width: int) -> nn.Sequential:
    """Three hidden layers with ReLU; images leave through tanh, points as they are."""
    sizes = [latent_dim, width, width, width]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers += [nn.Linear(width, math.prod(item_shape)), nn.Unflatten(1, item_shape)]
    return nn.Sequential(*layers, *([nn.Tanh()] if len(item_shape) == 3 else []))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str) -> Discriminator:
    """Three hidden layers with LeakyReLU, normalised where it is asked for."""
    sizes = [math.prod(item_shape), width, width, width]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        norm = [nn.BatchNorm1d(outputs)] if normalization == "batch" else []
        layers += [nn.Linear(inputs, outputs), *norm, nn.LeakyReLU(0.2)]
    return Discriminator(nn.Sequential(*layers, nn.Linear(width, 1)))


MLP = Network(
    name="mlp",
    summary="three hidden layers, for points; takes items of any shape",
    source="Goodfellow et al. 2014, arXiv:1406.2661 (there with maxout in the discriminator)",
    width=256,
    fit=lambda item_shape: item_shape,
    generator=generator,
    discriminator=discriminator,
)

"""Networks for points in small clusters that are far from each other.

A plain multilayer perceptron changes too slowly over the plane: its discriminator cannot tell a point in a cluster of
σ = 0.01 from one beside it, and its generator leaves bridges of points between clusters. Here the discriminator also
gets sines and cosines of the coordinates, and the generator uses tanh, whose plateaus separate clusters sharply.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.networks.network import Discriminator, Network, generator_of, modulation

NUM_OCTAVES = 3
LATENT_GAIN = 3.0
"""A factor on the first layer's initial weights, which takes latents to tanh's plateaus."""


class FourierFeatures(nn.Module):
    """x, sin(2ᵏ x), cos(2ᵏ x) for k = 0, 1, ...: [batch, d] to [batch, d (1 + 2 num_octaves)].

    Source: Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low dimensional
        domains", arXiv:2006.10739.
    """

    def __init__(self, num_octaves: int) -> None:
        super().__init__()
        self.num_octaves = num_octaves

    def forward(self, points: Float[Tensor, "batch dimensions"]) -> Float[Tensor, "batch features"]:
        """The points with their sines and cosines."""
        phases = torch.cat([2.0**octave * points for octave in range(self.num_octaves)], dim=1)
        return torch.cat([points, phases.sin(), phases.cos()], dim=1)


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Points of any number of dimensions."""
    if len(item_shape) != 1:
        raise UsageError(f"the network 'fourier' takes points, not items {list(item_shape)}: try --network conv")
    return item_shape


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Five hidden layers with tanh."""
    first = nn.Linear(num_inputs, width)
    with torch.no_grad():
        first.weight.mul_(LATENT_GAIN)
    hidden: list[nn.Module] = [first, *modulation(width, num_classes), nn.Tanh()]
    for _ in range(4):
        hidden += [nn.Linear(width, width), *modulation(width, num_classes), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(width, item_shape[0]))


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Three hidden layers with LeakyReLU over the Fourier features, with or without batch normalisation."""
    num_features = item_shape[0] * (1 + 2 * NUM_OCTAVES)
    stack: list[nn.Module] = [FourierFeatures(NUM_OCTAVES)]
    for inputs, outputs in pairwise([num_features, width, width, width]):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, a=0.2)
        nn.init.zeros_(linear.bias)
        norm = [nn.BatchNorm1d(outputs)] if normalization == "batch" else []
        stack += [linear, *norm, nn.LeakyReLU(0.2)]
    return Discriminator(nn.Sequential(*stack), nn.Linear(width, 1), width, num_classes)


FOURIER = Network(
    name="fourier",
    summary="for points in small clusters: tanh in the generator, sines and cosines for the discriminator",
    source="this project; features after Tancik et al. 2020, arXiv:2006.10739",
    width=128,
    usual_shapes=((2,),),
    fit=fit,
    generator=generator_of(layers),
    discriminator=discriminator,
)

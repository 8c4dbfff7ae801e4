"""Networks for points in small clusters that are far from each other.

A plain multilayer perceptron changes too slowly over the plane. Its discriminator cannot tell a point in a cluster of
σ = 0.01 from one beside it; here it also gets sines and cosines of the coordinates. Its generator is continuous, so it
leaves bridges of points between clusters, or folds each cluster into a thin set to avoid them. Here it also gets the
signs of the latents: they jump, and so choose the cluster, while the latents place a point within it.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.networks.network import Discriminator, Network, generator_of, modulation

NUM_OCTAVES = 7
LATENT_GAIN = 0.1
"""A factor on the latents beside their signs: the smaller it is, the narrower are the clusters at first."""
SPREAD = 0.7
"""About the standard deviation of the first samples, in units of the data's coordinates."""


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


class Signs(nn.Module):
    """0.1 z and the sign of z: [batch, d] to [batch, 2 d]."""

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> Float[Tensor, "batch features"]:
        """The latents with their signs."""
        return torch.cat([LATENT_GAIN * latents, latents.sign()], dim=1)


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """Four hidden layers with LeakyReLU over the latents and their signs."""
    stack: list[nn.Module] = [Signs()]
    for inputs, outputs in pairwise([2 * num_inputs, width, width, width, width]):
        stack += [_linear(inputs, outputs), *modulation(outputs, num_classes), nn.LeakyReLU(0.2)]
    last = nn.Linear(width, item_shape[0])
    nn.init.normal_(last.weight, std=SPREAD / width**0.5)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*stack, last)


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Three hidden layers with LeakyReLU over the Fourier features, with or without batch normalisation.

    The initial weights of an octave are divided by its frequency: at first the discriminator sees the whole.
    """
    damping = 0.5 ** torch.arange(NUM_OCTAVES).repeat_interleave(item_shape[0])
    gains = torch.cat([torch.ones(item_shape[0]), damping, damping])
    stack: list[nn.Module] = [FourierFeatures(NUM_OCTAVES)]
    for inputs, outputs in pairwise([len(gains), width, width, width]):
        linear = _linear(inputs, outputs)
        if len(stack) == 1:
            with torch.no_grad():
                linear.weight.mul_(gains)
        norm = [nn.BatchNorm1d(outputs)] if normalization == "batch" else []
        stack += [linear, *norm, nn.LeakyReLU(0.2)]
    return Discriminator(nn.Sequential(*stack), nn.Linear(width, 1), width, num_classes)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer before LeakyReLU whose outputs vary as its inputs do (He et al. 2015, arXiv:1502.01852, eq. 15)."""
    linear = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(linear.weight, a=0.2)
    nn.init.zeros_(linear.bias)
    return linear


FOURIER = Network(
    name="fourier",
    summary="for points in small clusters: signs for the generator, sines and cosines for the discriminator",
    source="this project; features after Tancik et al. 2020, arXiv:2006.10739",
    width=128,
    usual_shapes=((2,),),
    fit=fit,
    generator=generator_of(layers),
    discriminator=discriminator,
)

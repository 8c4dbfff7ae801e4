"""Networks for points in small clusters that are far from each other.

A plain multilayer perceptron changes too slowly over the plane: its discriminator cannot tell a point in a cluster of
σ = 0.01 from one beside it, nor a cluster from a narrower one, and its generator leaves bridges of points between
clusters. Here the discriminator also gets sines and cosines of the coordinates. The generator uses tanh, whose plateaus
separate clusters sharply, and adds a linear function of the latents, which spreads the points of a plateau.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.networks.network import Discriminator, Network, generator_of, modulation
from sparring.types import Labels, Latents, Samples

NUM_OCTAVES = 7
LATENT_GAIN = 3.0
"""A factor on the first layer's initial weights, which takes latents to tanh's plateaus."""
SPREAD = 0.05
"""A factor on the initial weights of the linear function."""
SLOWNESS = 10.0
"""How many times slower the last layer after the plateaus learns than the others."""


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


class ClusterGenerator(nn.Module):
    """stack(z) / SLOWNESS + A z: the stack chooses a cluster, and the linear function a point of it.

    Alone, the stack's plateaus would fold each cluster into a thin set. The initial weights of its last layer are
    larger by the same factor that its output is divided by. So an update of Adam, which changes every weight by the
    same amount, moves a cluster by less than its width.
    """

    def __init__(self, stack: nn.Module, latent_dim: int, num_dimensions: int) -> None:
        super().__init__()
        self.stack = stack
        self.spread = nn.Linear(latent_dim, num_dimensions, bias=False)
        with torch.no_grad():
            self.spread.weight.mul_(SPREAD)

    def forward(self, latents: Latents, labels: Labels | None = None) -> Samples:
        """Points, of the given labels if there are any."""
        clusters = self.stack(latents) if labels is None else self.stack(latents, labels)
        return torch.add(self.spread(latents), clusters, alpha=1 / SLOWNESS)


def generator(item_shape: tuple[int, ...], latent_dim: int, width: int, num_classes: int) -> ClusterGenerator:
    """A stack of five hidden layers with tanh, and the linear function."""
    stack = generator_of(_layers)(item_shape, latent_dim, width, num_classes)
    return ClusterGenerator(stack, latent_dim, item_shape[0])


def _layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    first, last = nn.Linear(num_inputs, width), nn.Linear(width, item_shape[0])
    with torch.no_grad():
        first.weight.mul_(LATENT_GAIN)
        last.weight.mul_(SLOWNESS)
    hidden: list[nn.Module] = [first, *modulation(width, num_classes), nn.Tanh()]
    for _ in range(4):
        hidden += [nn.Linear(width, width), *modulation(width, num_classes), nn.Tanh()]
    return nn.Sequential(*hidden, last)


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Three hidden layers with LeakyReLU over the Fourier features, with or without batch normalisation.

    The initial weights of an octave are divided by its frequency: at first the discriminator sees the whole.
    """
    damping = 0.5 ** torch.arange(NUM_OCTAVES).repeat_interleave(item_shape[0])
    gains = torch.cat([torch.ones(item_shape[0]), damping, damping])
    stack: list[nn.Module] = [FourierFeatures(NUM_OCTAVES)]
    for inputs, outputs in pairwise([len(gains), width, width, width]):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, a=0.2)
        nn.init.zeros_(linear.bias)
        if len(stack) == 1:
            with torch.no_grad():
                linear.weight.mul_(gains)
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
    generator=generator,
    discriminator=discriminator,
)

"""What a family of networks is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.types import Logits, Samples


class Discriminator(nn.Module):
    """A network that gives each sample a logit.

    Args:
        layers: from samples [batch, *item_shape] to one number each.

    Example:
        >>> discriminator = Discriminator(nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)))
        >>> discriminator(torch.zeros(3, 1, 2, 2))
        tensor([0., 0., 0.], grad_fn=<ViewBackward0>)
        >>> discriminator.probability(torch.zeros(1, 1, 2, 2))
        tensor([0.5000], grad_fn=<SigmoidBackward0>)
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, samples: Samples) -> Logits:
        """The logits of samples, [batch]: positive for what looks real."""
        logits: Tensor = self.layers(samples)
        return logits.flatten()

    def probability(self, samples: Samples) -> Logits:
        """σ(logit): the probability that each sample is real, [batch] in [0, 1]."""
        return torch.sigmoid(self(samples))


@dataclass(frozen=True)
class Network:
    """A family: it builds a matching pair of players from the shape of an item.

    Args:
        name: its name in `NETWORKS` and on the command line.
        summary: one line on what it is.
        source: where it comes from.
        width: the usual number of features next to the samples; the cost grows with its square.
        fit: the nearest shape of an item that the family can take.
        generator: builds a generator from (item_shape, latent_dim, width); latents [batch, latent_dim] go in.
        discriminator: builds a discriminator from (item_shape, width, normalization).

    Example:
        >>> from sparring.networks import NETWORKS
        >>> conv = NETWORKS["conv"]
        >>> generator = conv.generator((1, 28, 28), 64, conv.width)
        >>> discriminator = conv.discriminator((1, 28, 28), conv.width, "batch")
        >>> discriminator(generator(torch.randn(5, 64))).shape
        torch.Size([5])
        >>> NETWORKS["dcgan"].fit((1, 28, 28))
        (1, 32, 32)
    """

    name: str
    summary: str
    source: str
    width: int
    fit: Callable[[tuple[int, ...]], tuple[int, ...]]
    generator: Callable[[tuple[int, ...], int, int], nn.Module]
    discriminator: Callable[[tuple[int, ...], int, str], Discriminator]


def require_images(name: str, item_shape: tuple[int, ...]) -> None:
    """Refuse items that are not images.

    Raises:
        UsageError: naming the network that takes anything.
    """
    if len(item_shape) != 3:
        raise UsageError(f"the network {name!r} takes images, not items of shape {list(item_shape)}: try --network mlp")


NORMALIZATIONS = ("batch", "none")
"""What may stand between the layers of a discriminator."""


def normalization_layer(normalization: str, features: int) -> list[nn.Module]:
    """The layers that normalise `features` channels: none or one."""
    return [nn.BatchNorm2d(features)] if normalization == "batch" else []

"""The interface of a family of networks, and the parts that they share: labels, normalisation, fitting sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sparring.errors import UsageError
from sparring.networks.recompute import run_in_stages
from sparring.types import Labels, Latents, Logits, Samples

NORMALIZATIONS = ("batch", "none")
"""The normalisations between the layers of a discriminator."""


def look_up(table: nn.Embedding, labels: Labels) -> Tensor:
    """The row of each class, [batch, features]; of a vector of attributes y, the sum of the rows times y."""
    rows: Tensor = labels.to(table.weight) @ table.weight if labels.is_floating_point() else table(labels)
    return rows


class Modulation(nn.Module):
    """(1 + s_y) x + t_y: a learned scale and shift per class y and feature of [batch, features, ...], both from 0.

    After a normalisation layer, it makes that layer a conditional one.

    Source: Dumoulin et al. 2017, "A learned representation for artistic style", arXiv:1610.07629, section 2.2.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(num_classes, features)
        self.shift = nn.Embedding(num_classes, features)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, images: Tensor, labels: Labels) -> Tensor:
        """The modulated features."""
        shape = (*images.shape[:2], *[1] * (images.ndim - 2))
        shift, scale = look_up(self.shift, labels).view(shape), look_up(self.scale, labels).view(shape)
        return torch.addcmul(shift, images, 1 + scale)


def run_layers(layers: nn.Sequential, samples: Tensor, labels: Labels | None = None, recompute: bool = False) -> Tensor:
    """What layers make of samples one after the other; each `Modulation` among them gets the labels."""
    if recompute and torch.is_grad_enabled():
        return run_in_stages(layers, partial(run_layers, labels=labels), samples)
    for layer in layers:  # a loop of our own: PyTorch doesn't compile the forward pass of its modules
        samples = layer(samples, labels) if isinstance(layer, Modulation) else layer(samples)
    return samples


class UnconditionalGenerator(nn.Sequential):
    """A generator without labels: a sequence of layers."""

    recompute = False

    def forward(self, latents: Latents) -> Samples:
        """Samples."""
        return run_layers(self, latents, recompute=self.recompute)


class ConditionalGenerator(nn.Module):
    """A generator with labels: they go one-hot, or as vectors, into the first layer, and into each `Modulation`.

    Source: Mirza and Osindero 2014, "Conditional generative adversarial nets", arXiv:1411.1784.
    """

    recompute = False

    def __init__(self, layers: nn.Sequential, num_classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_classes = num_classes

    def forward(self, latents: Latents, labels: Labels) -> Samples:
        """Samples of the given labels."""
        vectors = labels if labels.is_floating_point() else one_hot(labels, self.num_classes)
        return run_layers(self.layers, torch.cat([latents, vectors.to(latents)], dim=1), labels, self.recompute)


class Discriminator(nn.Module):
    """A network that gives each sample a logit: head(φ(x)), and with labels head(φ(x)) + v_yᵀ φ(x).

    Args:
        features: φ, from samples [batch, *item_shape] to [batch, ...].
        head: from the features to one number for each sample.
        num_features: the number of features of each sample, the length of a class's learned vector v_y.
        num_classes: of the labels, or the numbers in a vector of attributes; 0 for a discriminator without labels.

    Source: Miyato and Koyama 2018, "cGANs with projection discriminator", arXiv:1802.05637.

    Example:
        >>> discriminator = Discriminator(nn.Sequential(nn.Flatten()), nn.Linear(4, 1, bias=False), 4, num_classes=0)
        >>> discriminator(torch.zeros(3, 1, 2, 2))
        tensor([0., 0., 0.], grad_fn=<ViewBackward0>)
    """

    recompute = False

    def __init__(self, features: nn.Sequential, head: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.classes = nn.Embedding(num_classes, num_features) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, 0.02)

    def forward(self, samples: Samples, labels: Labels | None = None) -> Logits:
        """The logits of samples, [batch]: positive if they look real."""
        features = run_layers(self.features, samples, recompute=True) if self.recompute else self.features(samples)
        logits: Tensor = self.head(features).flatten()
        if self.classes is not None:
            assert labels is not None
            logits = logits + (look_up(self.classes, labels) * features.flatten(1)).sum(1)
        return logits


@dataclass(frozen=True)
class Network:
    """A family of networks: it builds a generator and a discriminator for the shape of an item.

    Example:
        >>> from sparring.networks import NETWORKS
        >>> generator = NETWORKS["conv"].generator((1, 28, 28), latent_dim=64, width=24)
        >>> discriminator = NETWORKS["conv"].discriminator((1, 28, 28), 24, "batch", 0)
        >>> discriminator(generator(torch.randn(5, 64))).shape
        torch.Size([5])
        >>> NETWORKS["dcgan"].fit((1, 28, 28))
        (1, 32, 32)
    """

    name: str
    summary: str
    source: str
    width: int  # the default number of features before the generator's last layer; the cost grows with its square
    usual_shapes: tuple[tuple[int, ...], ...]  # typical item shapes
    fit: Callable[[tuple[int, ...]], tuple[int, ...]]  # the nearest possible item shape; a UsageError if there is none
    # From item_shape, latent_dim, width, num_classes: a module of latents, and of labels if there are classes.
    generator: Callable[[tuple[int, ...], int, int, int], nn.Module]
    # From item_shape, width, normalization, num_classes: a module of samples, and of labels, with a logit for each, or
    # with several.
    discriminator: Callable[[tuple[int, ...], int, str, int], nn.Module]
    normalizations: tuple[str, ...] = NORMALIZATIONS  # those that the discriminator can have
    takes_labels: bool = True  # whether both do if there are classes; of a translator, its discriminator alone
    translates: bool = False  # whether the generator takes items of another domain, of the same shape, not latents
    has_features: bool = False  # whether the generator has `features` of patches, for the restraint `contrastive`


def generator_of(
    layers: Callable[[tuple[int, ...], int, int, int], nn.Sequential],
) -> Callable[[tuple[int, ...], int, int, int], UnconditionalGenerator | ConditionalGenerator]:
    """A family's `generator`, from its layers for (item_shape, num_inputs, width, num_classes).

    Their inputs are the latents, and the labels beside them.
    """

    def build(
        item_shape: tuple[int, ...], latent_dim: int, width: int, num_classes: int = 0
    ) -> UnconditionalGenerator | ConditionalGenerator:
        stack = layers(item_shape, latent_dim + num_classes, width, num_classes)
        return ConditionalGenerator(stack, num_classes) if num_classes else UnconditionalGenerator(*stack)

    return build


def fit_images(
    name: str, item_shape: tuple[int, ...], num_halvings: Callable[[int], int], least: int = 1
) -> tuple[int, ...]:
    """The nearest shape whose sides can both be halved as often as the shorter one needs, at least `least` pixels."""
    if len(item_shape) != 3:
        raise UsageError(f"the network {name!r} takes images, not items of shape {list(item_shape)}: try --network mlp")
    channels, height, width = item_shape[0], max(least, item_shape[1]), max(least, item_shape[2])
    step = 2 ** num_halvings(min(height, width))
    fitting = channels, -(-height // step) * step, -(-width // step) * step
    # After rounding up, the shorter side may need one more halving.
    return fitting if fitting[1:] == (height, width) else fit_images(name, fitting, num_halvings, least)


def modulation(features: int, num_classes: int) -> list[nn.Module]:
    """A modulation, or no layer without classes."""
    return [Modulation(features, num_classes)] if num_classes else []


def generator_block(layer: nn.Module, features: int, num_classes: int) -> list[nn.Module]:
    """A layer that makes features of images, batch normalisation, ReLU."""
    return [layer, nn.BatchNorm2d(features), *modulation(features, num_classes), nn.ReLU(inplace=True)]


def discriminator_block(layer: nn.Module, features: int, normalization: str) -> list[nn.Module]:
    """A layer that makes features of images, the normalisation if there is one, LeakyReLU."""
    norm = [nn.BatchNorm2d(features)] if normalization == "batch" else []
    return [layer, *norm, nn.LeakyReLU(0.2, inplace=True)]

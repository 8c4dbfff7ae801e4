"""What a family of networks is, and how both players take labels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sparring.errors import UsageError
from sparring.types import Labels, Latents, Logits, Samples

NORMALIZATIONS = ("batch", "none")
"""What may stand between the layers of a discriminator."""


class Modulation(nn.Module):
    """A scale and a shift of each feature that depend on the class: (1 + s_y) x + t_y; both are 0 at first.

    Behind a normalisation, the two make it the conditional one.

    Args:
        features: of the input, [batch, features, ...].
        num_classes: at least 1.

    Source: Dumoulin et al. 2017, "A learned representation for artistic style", arXiv:1610.07629, section 2.2.

    Example:
        >>> Modulation(4, num_classes=3)(torch.ones(2, 4, 8, 8), torch.tensor([0, 2])).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(num_classes, features)
        self.shift = nn.Embedding(num_classes, features)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, images: Tensor, labels: Labels) -> Tensor:
        """The features, modulated."""
        shape = (*images.shape[:2], *[1] * (images.ndim - 2))
        return torch.addcmul(self.shift(labels).view(shape), images, 1 + self.scale(labels).view(shape))


class UnconditionalGenerator(nn.Sequential):
    """A generator that is told no class: its layers, one after the other.

    Example:
        >>> UnconditionalGenerator(nn.Linear(4, 2))(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def forward(self, latents: Latents) -> Samples:
        """Samples."""
        samples = latents
        for layer in self:  # written out here, since PyTorch doesn't compile what its own modules run
            samples = layer(samples)
        return samples


class ConditionalGenerator(nn.Module):
    """A generator that is told which class to draw.

    The class joins the latents as a one-hot vector, so that the first linear layer holds one embedding a class, added
    to what it makes of the latents; and it scales and shifts the features of the layers behind.

    Args:
        layers: from [batch, latent_dim + num_classes] to samples; each `Modulation` among them is told the class.
        num_classes: at least 1.

    Source: Mirza and Osindero 2014, "Conditional generative adversarial nets", arXiv:1411.1784.

    Example:
        >>> generator = ConditionalGenerator(nn.Sequential(nn.Linear(4 + 3, 2)), num_classes=3)
        >>> generator(torch.zeros(5, 4), torch.tensor([0, 1, 2, 0, 1])).shape
        torch.Size([5, 2])
    """

    def __init__(self, layers: nn.Sequential, num_classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_classes = num_classes

    def forward(self, latents: Latents, labels: Labels) -> Samples:
        """Samples of the given classes."""
        samples = torch.cat([latents, one_hot(labels, self.num_classes).to(latents)], dim=1)
        for layer in self.layers:
            samples = layer(samples, labels) if isinstance(layer, Modulation) else layer(samples)
        return samples


class Discriminator(nn.Module):
    """A network that gives each sample a logit; with classes, one for being a real sample of its class.

    The logit is head(φ(x)) + v_yᵀ φ(x), where φ are the features and v_y is a learned vector for class y.

    Args:
        features: φ, from samples [batch, *item_shape] to anything [batch, ...].
        head: from the features to one number each.
        num_features: how many numbers φ has for each sample.
        num_classes: 0 for a discriminator without labels.

    Source: Miyato and Koyama 2018, "cGANs with projection discriminator", arXiv:1802.05637.

    Example:
        >>> discriminator = Discriminator(nn.Sequential(nn.Flatten()), nn.Linear(4, 1, bias=False), 4, num_classes=0)
        >>> discriminator(torch.zeros(3, 1, 2, 2))
        tensor([0., 0., 0.], grad_fn=<ViewBackward0>)
        >>> discriminator.probability(torch.zeros(1, 1, 2, 2))
        tensor([0.5000], grad_fn=<SigmoidBackward0>)
    """

    def __init__(self, features: nn.Sequential, head: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.classes = nn.Embedding(num_classes, num_features) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, 0.02)

    def forward(self, samples: Samples, labels: Labels | None = None) -> Logits:
        """The logits of samples, [batch]: positive for what looks real."""
        features = self.features(samples)
        logits: Tensor = self.head(features).flatten()
        if self.classes is not None:
            logits = logits + (self.classes(labels) * features.flatten(1)).sum(1)
        return logits

    def probability(self, samples: Samples, labels: Labels | None = None) -> Logits:
        """σ(logit): the probability that each sample is real, [batch] in [0, 1]."""
        return torch.sigmoid(self(samples, labels))


@dataclass(frozen=True)
class Network:
    """A family: it builds a matching pair of players from the shape of an item.

    Args:
        name: its name in `NETWORKS` and on the command line.
        summary: one line on what it is.
        source: where it comes from.
        width: the usual number of features that the generator's last layer takes; the cost grows with its square.
        usual_shapes: items that it is meant for, by which its cost is told.
        fit: the nearest shape of an item that the family can take.
        layers: builds a generator's layers from (item_shape, num_inputs, width, num_classes).
        discriminator: builds a discriminator from (item_shape, width, normalization, num_classes).
        normalizations: what may stand between the discriminator's layers.

    Example:
        >>> from sparring.networks import NETWORKS
        >>> conv = NETWORKS["conv"]
        >>> generator = conv.generator((1, 28, 28), latent_dim=64, width=24)
        >>> discriminator = conv.discriminator((1, 28, 28), 24, "batch", 0)
        >>> discriminator(generator(torch.randn(5, 64))).shape
        torch.Size([5])
        >>> NETWORKS["dcgan"].fit((1, 28, 28))
        (1, 32, 32)
    """

    name: str
    summary: str
    source: str
    width: int
    usual_shapes: tuple[tuple[int, ...], ...]
    fit: Callable[[tuple[int, ...]], tuple[int, ...]]
    layers: Callable[[tuple[int, ...], int, int, int], nn.Sequential]
    discriminator: Callable[[tuple[int, ...], int, str, int], Discriminator]
    normalizations: tuple[str, ...] = NORMALIZATIONS

    def generator(
        self, item_shape: tuple[int, ...], latent_dim: int, width: int, num_classes: int = 0
    ) -> UnconditionalGenerator | ConditionalGenerator:
        """A generator: latents [batch, latent_dim] go in, and labels [batch] where there are classes."""
        layers = self.layers(item_shape, latent_dim + num_classes, width, num_classes)
        return ConditionalGenerator(layers, num_classes) if num_classes else UnconditionalGenerator(*layers)


def require_images(name: str, item_shape: tuple[int, ...]) -> None:
    """Refuse items that are not images.

    Raises:
        UsageError: naming the network that takes anything.
    """
    if len(item_shape) != 3:
        raise UsageError(f"the network {name!r} takes images, not items of shape {list(item_shape)}: try --network mlp")


def normalization_layer(normalization: str, features: int) -> list[nn.Module]:
    """The layers that normalise `features` channels: none or one."""
    return [nn.BatchNorm2d(features)] if normalization == "batch" else []


def modulation(features: int, num_classes: int) -> list[nn.Module]:
    """The layers that tell `features` channels the class: none or one."""
    return [Modulation(features, num_classes)] if num_classes else []

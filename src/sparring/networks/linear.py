"""Linear translators of vectors, such as those of words."""

from itertools import pairwise

from torch import nn

from sparring.errors import UsageError
from sparring.networks.network import Discriminator, Network


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The same shape, which must be that of a vector."""
    if len(item_shape) != 1:
        raise UsageError(f"the network 'linear' takes vectors, not items of shape {list(item_shape)}")
    return item_shape


def generator(item_shape: tuple[int, ...], latent_dim: int, width: int, num_classes: int = 0) -> nn.Linear:
    """A matrix, at first a random rotation; `latent_dim`, `width` and `num_classes` do not change it."""
    linear = nn.Linear(item_shape[0], item_shape[0], bias=False)
    nn.init.orthogonal_(linear.weight)
    return linear


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Two hidden layers with LeakyReLU."""
    features: list[nn.Module] = []
    for inputs, outputs in pairwise([item_shape[0], width, width]):
        features += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return Discriminator(nn.Sequential(*features), nn.Linear(width, 1), width, num_classes)


LINEAR = Network(
    name="linear",
    summary="translates vectors, such as words, by a matrix",
    source="Conneau et al. 2018, arXiv:1710.04087, section 3.1",
    width=256,
    usual_shapes=((50,),),
    fit=fit,
    generator=generator,
    discriminator=discriminator,
    normalizations=("none",),
    takes_labels=False,
    translates=True,
)

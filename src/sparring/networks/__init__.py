"""The players' networks: a file a family. Networks know no loss."""

from sparring.networks.conv import CONV
from sparring.networks.dcgan import DCGAN
from sparring.networks.fourier import FOURIER
from sparring.networks.hybrid import HYBRID
from sparring.networks.linear import LINEAR
from sparring.networks.mlp import MLP
from sparring.networks.network import NORMALIZATIONS, ConditionalGenerator, Discriminator, Network
from sparring.networks.redraw import REDRAW
from sparring.networks.resnet import RESNET
from sparring.networks.translate import TRANSLATE

NETWORKS: dict[str, Network] = {
    network.name: network for network in (CONV, HYBRID, RESNET, DCGAN, MLP, FOURIER, TRANSLATE, REDRAW, LINEAR)
}
"""Every family of networks by its name."""

BUILT_IN = frozenset(NETWORKS)
"""The names of those that everybody has; plugins add others."""

__all__ = ["BUILT_IN", "NETWORKS", "NORMALIZATIONS", "ConditionalGenerator", "Discriminator", "Network"]

"""The description of a saved generator, `config.json`."""

import math
from dataclasses import dataclass

from torch import nn

from sparring.data import MAX_CLASSES
from sparring.errors import UnknownNameError, UsageError
from sparring.game.sources import PRIORS
from sparring.modalities.modality import Modality
from sparring.networks import NETWORKS


@dataclass(frozen=True)
class Config:
    """A saved generator's modality, network and classes; an unknown name or a number out of range is a UsageError.

    `width` is the number of features next to the samples. `class_shares` are those of the training data; they are empty
    without classes. `classes_are_clusters` says that the classes are clusters of the data, not labels.
    """

    modality: Modality
    network: str
    latent_dim: int
    prior: str
    width: int
    class_shares: tuple[float, ...] = ()
    classes_are_clusters: bool = False
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        item_shape, scale = self.modality.item_shape, self.modality.scale
        if self.network not in NETWORKS:
            raise UnknownNameError("network", self.network, NETWORKS)
        if self.prior not in PRIORS:
            raise UnknownNameError("prior", self.prior, PRIORS)
        if not all(0 < size <= 4096 for size in (*item_shape, self.latent_dim, self.width)):
            raise UsageError("item_shape, latent_dim and width must be between 1 and 4096")
        if not 0 < scale < math.inf:
            raise UsageError(f"scale must be greater than 0, not {scale}")
        if len(self.class_shares) > MAX_CLASSES or not all(0 <= share <= 1 for share in self.class_shares):
            raise UsageError(f"class_shares must be at most {MAX_CLASSES} numbers between 0 and 1")
        if self.class_names and len(self.class_names) != len(self.class_shares):
            raise UsageError(f"there are {len(self.class_shares)} classes and {len(self.class_names)} names of them")
        if item_shape != NETWORKS[self.network].fit(item_shape):
            raise UsageError(f"the network {self.network!r} cannot make items of {list(item_shape)}")

    @property
    def num_labels(self) -> int:
        """The number of labels that a caller can ask for."""
        return 0 if self.classes_are_clusters else len(self.class_shares)

    def label(self, name: int | str) -> int:
        """The number of a class, by its name, or by its number if no class has that name."""
        if not self.num_labels:
            raise UsageError("this generator was trained without labels: omit them")
        if isinstance(name, str) and name in self.class_names:
            return self.class_names.index(name)
        if not str(name).isdecimal() or int(name) >= self.num_labels:
            raise UnknownNameError("label", str(name), self.class_names or map(str, range(self.num_labels)))
        return int(name)

    def build(self) -> nn.Module:
        """A network of this kind with new weights."""
        network = NETWORKS[self.network]
        return network.generator(self.modality.item_shape, self.latent_dim, self.width, len(self.class_shares))

"""The description of a saved generator, `config.json`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sparring.data import MAX_CLASSES
from sparring.data.labels import Attribute, arrays_of, decode, encode, name_of, names_of
from sparring.errors import UnknownNameError, UsageError
from sparring.game.both_ways import BothWays
from sparring.game.sources import PRIORS
from sparring.modalities.modality import Modality
from sparring.networks import NETWORKS, Network
from sparring.plugins import find
from sparring.types import Labels

MAX_ROWS = 1000  # of attributes that are saved with a generator


@dataclass(frozen=True)
class Config:
    """A saved generator's modality, network and classes; an unknown name or a number out of range is a UsageError.

    `width` is the number of features next to the samples. `class_shares` are those of the training data; they are empty
    without classes. `classes_are_clusters` says that the classes are clusters of the data, not labels, and
    `clusters_by` which extractor's features were compared, where it is known. `attributes` are the parts of labels that
    are vectors, and `rows` those of some training items, a number for each attribute: attributes that nobody asks for
    are drawn from them. `source` is the modality of what a translator is fed instead of latents, and `both_ways` says
    that it also translates back.
    """

    modality: Modality
    network: str
    latent_dim: int
    prior: str
    width: int
    class_shares: tuple[float, ...] = ()
    classes_are_clusters: bool = False
    clusters_by: str = ""
    class_names: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()
    source: Modality | None = None
    both_ways: bool = False

    def __post_init__(self) -> None:
        item_shape, scale = self.modality.item_shape, self.modality.scale
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
        if bool(self.attributes) != bool(self.rows) or (self.attributes and self.class_shares):
            raise UsageError("a generator has either class_shares, or attributes and rows of them")
        if len(self.rows) > MAX_ROWS or not all(map(self._is_row, self.rows)):
            raise UsageError(f"rows must be at most {MAX_ROWS}, each with a number for each of the attributes")
        if self.network in NETWORKS and NETWORKS[self.network].translates != (self.source is not None):
            raise UsageError(f"the network {self.network!r} takes {'latents' if self.source else 'items to translate'}")
        if self.source is not None and self.source.item_shape != item_shape:
            raise UsageError(f"items of {list(self.source.item_shape)} cannot be translated into {list(item_shape)}")
        if self.both_ways and self.source is None:
            raise UsageError("only a translator goes both ways")
        if self.network in NETWORKS and item_shape != NETWORKS[self.network].fit(item_shape):
            raise UsageError(f"the network {self.network!r} cannot make items of {list(item_shape)}")

    def _is_row(self, row: tuple[float, ...]) -> bool:
        """Whether it has a number for each attribute: the place of a value, or a finite one."""
        return len(row) == len(self.attributes) and all(
            number in range(len(each.values)) if each.values else math.isfinite(number)
            for number, each in zip(row, self.attributes, strict=True)
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of what the network is fed for one sample."""
        return (self.latent_dim,) if self.source is None else self.source.item_shape

    @property
    def known_labels(self) -> dict[str, int]:
        """The classes that a caller can ask for, those of training items: the number of each by its name."""
        if self.classes_are_clusters:
            return {}
        names = self.class_names or [str(number) for number in range(len(self.class_shares))]
        return {name: number for number, name in enumerate(names) if self.class_shares[number]}

    @property
    def label_size(self) -> int:
        """How many numbers the networks get for a label: classes, or numbers in a vector; 0 without labels."""
        return len(self.class_shares) or sum(attribute.size for attribute in self.attributes)

    def numbers(self, names: Sequence[object]) -> Labels:
        """The numbers of classes, int64 [n], by their names; classes without names are called by their numbers."""
        known = self.known_labels
        for name in names:
            if isinstance(name, Mapping):
                raise UsageError(f"this generator has classes and no attributes: give the name of one, not {name}")
            if name_of(name) not in known:
                raise UnknownNameError("label", name_of(name), known)
        return torch.tensor([known[name_of(name)] for name in names])

    def vectors(self, wanted: Sequence[object], uniform: Tensor) -> Labels:
        """Labels float32 [n, d] with the wanted attributes of each; the others are drawn from rows that have these.

        Args:
            wanted: for each label a mapping from names of attributes to values, or text such as "hair=red,age=30".
            uniform: numbers in [0, 1) that choose a row, [n].
        """
        places = {attribute.name: place for place, attribute in enumerate(self.attributes)}
        rows, chosen = torch.tensor(self.rows, dtype=torch.float64), []
        fitting: dict[str, tuple[Tensor, dict[int, float]]] = {}  # the rows that fit, and what is asked for
        for each, share in zip(wanted, uniform.tolist(), strict=True):
            if repr(each) not in fitting:
                given: dict[int, float] = {}
                for name, value in (each if isinstance(each, Mapping) else self._parse(each)).items():
                    if name not in places:
                        raise UnknownNameError("attribute", name, places)
                    given[places[name]] = self.attributes[places[name]].number(value)
                categories = [place for place in given if self.attributes[place].values]
                is_fit = (rows[:, categories] == torch.tensor([given[place] for place in categories])).all(dim=1)
                fitting[repr(each)] = (rows[is_fit] if is_fit.any() else rows), given
            candidates, given = fitting[repr(each)]
            row = candidates[int(share * len(candidates))].clone()
            row[list(given)] = torch.tensor(list(given.values()), dtype=torch.float64)
            chosen.append(row)
        return encode(self.attributes, torch.stack(chosen))

    def _parse(self, text: object) -> dict[str, str]:
        """The attributes in text such as "hair=red,age=30"."""
        pairs = [pair.partition("=") for pair in text.split(",")] if isinstance(text, str) else []
        if not pairs or not all(equals for _, equals, _ in pairs):
            first = self.attributes[0]
            example = f"{first.name}={first.values[0] if first.values else format(first.low, 'g')}"
            raise UsageError(f'this generator has attributes: give a mapping or text such as "{example}", not {text!r}')
        names = [name.strip() for name, _, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"{text!r} gives {twice[0]} twice: give each attribute once")
        return dict(zip(names, (value.strip() for _, _, value in pairs), strict=True))

    def check_labels(self, labels: Any, n: int) -> Labels | None:
        """Labels as the network takes them, int64 [n] or float32 [n, d]."""
        size, num_classes = self.label_size, len(self.class_shares)
        what = f"{num_classes} classes" if num_classes else f"labels of {size} numbers"
        if labels is None and size:
            raise UsageError(f"this generator has {what}: give a label for each of the latents")
        if labels is None:
            return None
        if not size:
            raise UsageError("this generator was trained without labels: omit them")
        try:
            given = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"generate takes labels as numbers ({error}): `sample` takes their names") from error
        if not num_classes:
            if given.shape != (n, size):
                raise UsageError(f"give labels [{n}, {size}], not {list(given.shape)}")
            return given.float()
        if given.shape != (n,) or given.is_floating_point() or given.min() < 0 or given.max() >= num_classes:
            raise UsageError(f"give {n} labels between 0 and {num_classes - 1}")
        return given.long()

    def label_names(self, labels: Labels | None) -> list[str]:
        """What labels are called, as the networks take them; empty without labels, and for clusters."""
        if labels is None or self.classes_are_clusters:
            return []
        return names_of(labels, self.class_names, self.attributes)

    def label_arrays(self, labels: Labels | None) -> dict[str, np.ndarray]:
        """Labels as files hold them, by name if they have one; empty without labels, and for clusters."""
        if labels is None or self.classes_are_clusters:
            return {}
        return arrays_of(labels, self.class_names, self.attributes)

    def build(self) -> nn.Module:
        """A network of this kind with new weights."""
        return self.build_generator(find("network", self.network, NETWORKS))

    def build_generator(self, network: Network) -> nn.Module:
        """A generator of a family for each way."""
        sizes = self.modality.item_shape, self.latent_dim, self.width, self.label_size
        if self.both_ways:
            return BothWays(network.generator(*sizes), network.generator(*sizes))
        return self.modality.add_heads(network.generator(*sizes))

    def build_empty(self) -> nn.Module:
        """A network of this kind on the meta device, to assign weights to."""
        with torch.device("meta"), _NoDraws():
            return self.build()


class _NoDraws(TorchFunctionMode):
    """Skips normal draws: on the meta device, they import PyTorch's compiler, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def choose_rows(attributes: Sequence[Attribute], vectors: Labels) -> tuple[tuple[float, ...], ...]:
    """The numbers of at most `MAX_ROWS` labels, spread evenly over all."""
    count = min(len(vectors), MAX_ROWS)
    return tuple(map(tuple, decode(attributes, vectors[torch.arange(count) * len(vectors) // count]).tolist()))

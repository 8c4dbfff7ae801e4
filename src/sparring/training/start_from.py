"""Start a training with the networks of another run, for `--start-from`."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from sparring.errors import SparringWarning, UsageError
from sparring.files import read_json
from sparring.generator.config import Config
from sparring.modalities.modality import Modality
from sparring.networks import NETWORKS
from sparring.plugins import OWN, find
from sparring.seeding import Stream
from sparring.training.checkpoint import load, load_latest
from sparring.training.parts import Parts
from sparring.training.recipe import Request
from sparring.training.run_folder import open_run

SHARED = ("network", "width", "normalization", "latent_dim", "prior")  # settings that both runs must have
NAMED = 5  # new classes that a warning names


@dataclass(frozen=True)
class Start:
    """The networks of another run, from one of its checkpoints."""

    path: str  # of the run or the checkpoint
    recipe: Mapping[str, Any]  # the fields by name
    config: Config
    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module  # the averaged generator


def open_start(path: str, parts: Parts = Parts()) -> Start:
    """Read the networks of a run from its newest checkpoint, or from the checkpoint in a folder.

    Raises:
        UsageError: if its networks are modules that the caller of `train` gave.
        RunFolderError: if there is no run or no checkpoint.
        CheckpointError: if it is damaged.
    """
    folder = Path(path)
    if (folder / "manifest.json").exists():
        run = open_run(folder.parent.parent)
        manifest, state = load(folder)
    else:
        run = open_run(folder)
        manifest, state = load_latest(run.checkpoints)
    config = read_json(run.generator / "config.json", Config)
    if config.network.startswith(OWN):
        raise UsageError(f"{path} has networks of your own: load their weights into yours, and leave start_from away")
    if parts.network is not None:
        raise UsageError("networks of your own start with the weights that they have: leave start_from away")
    generator, discriminator = _build_players(config, manifest.recipe["normalization"], config.label_size)
    average, _ = _build_players(config, manifest.recipe["normalization"], config.label_size)
    parts.find_penalty(manifest.recipe["penalty"]).prepare(discriminator)
    for name, player in (("generator", generator), ("discriminator", discriminator), ("average", average)):
        player.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
    for module in discriminator.eval().modules():
        if parametrize.is_parametrized(module, "weight"):  # by spectral normalisation
            parametrize.remove_parametrizations(module, "weight")
    return Start(path, manifest.recipe, config, generator, discriminator, average)


def inherit(request: Request, start: Start, modality: Modality) -> Request:
    """The request with the settings of the other run that both runs must have, for items of a modality.

    Raises:
        UsageError: if the user asks for other ones, or the other run makes other items.
    """
    has_labels = start.config.label_size > 0
    if modality.name != start.config.modality.name:
        raise UsageError(
            f"{start.path} makes {start.config.modality.name}, and {request.data} holds {modality.name}: start from "
            "another run"
        )
    for name in SHARED:
        given, theirs = request.settings.get(name), start.recipe[name]
        if given not in (None, theirs):
            raise UsageError(f"{name} is {theirs} in {start.path}, and {given} was asked for: leave {name} away")
    inherited = {name: start.recipe[name] for name in SHARED}
    labels = {"conditional": None, "num_clusters": None} if has_labels else {"conditional": False, "num_clusters": 1}
    inherited |= {"size": start.config.modality.item_shape[1:] or None, **labels}
    given = {name: value for name, value in request.settings.items() if value is not None or name not in inherited}
    return replace(request, settings={**inherited, **given})


def copy_players(start: Start, config: Config, generator: nn.Module, discriminator: nn.Module) -> None:
    """Copy the other run's weights into two new networks, and warn of what stays new.

    Layers that another size of the items adds or changes stay new; classes that the other run has not seen start with
    the mean of its classes.

    Raises:
        UsageError: if no weights fit.
    """
    fresh = _copy(start, config, start.generator, generator)
    fresh += _copy(start, config, start.discriminator, discriminator, is_discriminator=True)
    total = len(generator.state_dict()) + len(discriminator.state_dict())
    if len(fresh) == total:
        raise UsageError(f"none of the weights in {start.path} fit networks for {config.modality.describe()}")
    before, now = set(_label_names(start.config)), [name for name in _label_names(config) if name is not None]
    unseen = [name for name in now if name not in before]
    said = []
    if fresh:
        shapes = f"{start.config.modality.describe()} → {config.modality.describe()}"
        said.append(f"{len(fresh)} of {total} tensors are new, since their shapes differ ({shapes})")
    if unseen and not config.classes_are_clusters:
        listed = ", ".join(unseen[:NAMED]) + (", …" if len(unseen) > NAMED else "")
        said.append(f"{len(unseen)} of {len(now)} classes are new and start with the mean of the others ({listed})")
    if said:
        warnings.warn(SparringWarning(f"started from {start.path}: {'; '.join(said)}"), stacklevel=2)


def copy_average(start: Start, config: Config, average: nn.Module) -> None:
    """Copy the other run's averaged generator into a new one."""
    _copy(start, config, start.average, average)


def _build_players(config: Config, normalization: str, label_size: int) -> tuple[nn.Module, nn.Module]:
    network, shape = find("network", config.network, NETWORKS), config.modality.item_shape
    with Stream(0, "start").as_default():  # the weights will be replaced
        generator = network.generator(shape, config.latent_dim, config.width, label_size)
        return generator, network.discriminator(shape, config.width, normalization, label_size)


def _label_names(config: Config) -> list[str | None]:
    """A name for each class, or for each number in a vector of attributes; None for a class without items.

    Clusters are the same only if all of them have the same shares.
    """
    if config.attributes:
        return [f"{each.name}={value}" for each in config.attributes for value in each.values or ("",)]
    names = config.class_names or [str(number) for number in range(len(config.class_shares))]
    if config.classes_are_clusters:
        names = [f"{name} of {config.class_shares}" for name in names]
    return [name if share else None for name, share in zip(names, config.class_shares, strict=True)]


@torch.no_grad()
def _copy(start: Start, config: Config, old: nn.Module, new: nn.Module, *, is_discriminator: bool = False) -> list[str]:
    """Copy the tensors that fit, and return the names of the others."""
    # A dimension that grows with the number of classes ends with a place for each class.
    num_before, num_now = start.config.label_size, config.label_size
    players = _build_players(config, start.recipe["normalization"], num_now + (num_now > 0))
    larger = players[is_discriminator].state_dict()
    given, names = old.state_dict(), _label_names(start.config)
    seen = [place for place, name in enumerate(names) if name is not None]
    rows = [[names.index(name)] if name is not None and name in names else seen for name in _label_names(config)]
    # Larger images get more layers at the generator's beginning and at the discriminator's end.
    source = dict(zip(reversed(new.state_dict()), reversed(given), strict=False))
    fresh = []
    for name, tensor in new.state_dict().items():
        value = given.get(name if is_discriminator else source.get(name, ""))
        grows = [dim for dim, (a, b) in enumerate(zip(tensor.shape, larger[name].shape, strict=True)) if a != b]
        if value is not None and grows and value.ndim == tensor.ndim:
            (dim,) = grows
            shared = value.narrow(dim, 0, max(0, value.shape[dim] - num_before))
            last = value.shape[dim] - num_before + torch.arange(num_before)
            each = [value.index_select(dim, last[places]).mean(dim, keepdim=True) for places in rows]
            value = torch.cat([shared, *each], dim)
        if value is None or value.shape != tensor.shape:
            fresh.append(name)
        else:
            tensor.copy_(value)
    return fresh

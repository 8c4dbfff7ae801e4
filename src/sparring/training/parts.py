"""Parts of a training that a caller brings along: networks, an objective or a penalty that no registry has."""

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparring.errors import UsageError
from sparring.game.objectives import OBJECTIVES, Objective
from sparring.game.penalties import PENALTIES, Penalty
from sparring.game.sources import prior_for
from sparring.generator.config import Config
from sparring.networks import NETWORKS, Network
from sparring.plugins import OWN, find


@dataclass(frozen=True)
class Parts:
    """The caller's own parts; None for those of the registries. A recipe names them, see `OWN`."""

    network: Network | None = None
    objective: Objective | None = None
    penalty: Penalty | None = None

    def find_network(self, name: str) -> Network:
        """The family of networks that a recipe names."""
        return find("network", name, NETWORKS, self.network)

    def find_objective(self, name: str) -> Objective:
        """The objective that a recipe names."""
        return find("objective", name, OBJECTIVES, self.objective)

    def find_penalty(self, name: str) -> Penalty:
        """The penalty that a recipe names, with its usual weight."""
        kind = find("penalty", name, PENALTIES, None if self.penalty is None else type(self.penalty))
        return self.penalty if self.penalty is not None and name.startswith(OWN) else kind()

    @property
    def registries(self) -> dict[str, Callable[[str], object]]:
        """How to look up each kind of part that a recipe names."""
        return {"network": self.find_network, "objective": self.find_objective, "penalty": self.find_penalty}

    def check(self, recipe: Mapping[str, Any]) -> None:
        """Refuse a run with parts that neither a registry nor the caller has."""
        if self.network is not None and not recipe["network"].startswith(OWN):
            raise UsageError(f"this run's networks are {recipe['network']!r}: leave generator and discriminator away")
        for kind, look_up in self.registries.items():
            look_up(recipe[kind])


def take_parts(
    settings: Mapping[str, Any], generator: nn.Module | None = None, discriminator: nn.Module | None = None
) -> tuple[dict[str, Any], Parts]:
    """Separate the caller's own parts from the settings, which name them then."""
    named, network = dict(settings), None
    objective, penalty = named.get("objective"), named.get("penalty")
    if (generator is None) != (discriminator is None):
        raise UsageError("the networks come in pairs: give both generator= and discriminator=")
    if generator is not None and discriminator is not None:
        for name in ("network", "width", "normalization"):
            if named.get(name) is not None:
                raise UsageError(
                    f"{name} is for networks of the registry: leave it away, or generator and discriminator"
                )
        named["network"] = OWN + type(generator).__name__
        if named.get("latent_dim") is None and named.get("source") is None:
            try:
                named["latent_dim"] = prior_for(generator).item_shape[0]
            except UsageError:
                raise UsageError("the generator does not show how many latents it takes: give latent_dim=") from None
        network = _as_network(generator, discriminator, named)
    if isinstance(objective, Objective):
        is_known = OBJECTIVES.get(objective.name) is objective
        named["objective"] = objective.name if is_known else OWN + objective.name
    if isinstance(penalty, Penalty):
        kind = type(penalty)
        if "weight" in vars(kind) and "__dataclass_fields__" not in vars(kind):
            raise UsageError(f"{kind.__name__} has a weight but is no dataclass: add @dataclass(frozen=True) above it")
        name = getattr(kind, "name", kind.__name__)
        numbers = {"penalty_weight": penalty.weight, "penalty_interval": penalty.interval}
        named = numbers | named | {"penalty": name if PENALTIES.get(name) is kind else OWN + name}
    own = (
        objective if isinstance(objective, Objective) else None,
        penalty if isinstance(penalty, Penalty) else None,
    )
    return named, Parts(network, *own)


def _as_network(generator: nn.Module, discriminator: nn.Module, settings: Mapping[str, Any]) -> Network:
    """Two modules as a family of networks: it builds copies of them, and their items have the generator's shape."""
    takes_labels = bool(settings.get("conditional")) or (settings.get("num_clusters") or 1) > 1

    def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
        made = item_shape
        labels = [torch.zeros(2, dtype=torch.int64)] * takes_labels
        with suppress(Exception), torch.no_grad():  # `check_players` knows all about the data, and explains
            latents = torch.zeros(2, *([settings["latent_dim"]] if settings.get("source") is None else item_shape))
            made = tuple(copy.deepcopy(generator).cpu().eval()(latents, *labels).shape[1:])
        if len(made) != len(item_shape) or made[0] != item_shape[0]:
            raise UsageError(f"the generator makes items of {list(made)}, and those of the data are {list(item_shape)}")
        return made

    return Network(
        name=settings["network"],
        summary="modules of the caller",
        source="the caller",
        width=1,
        usual_shapes=(),
        fit=fit,
        generator=lambda *sizes: copy.deepcopy(generator),
        discriminator=lambda *sizes: copy.deepcopy(discriminator),
        normalizations=("none",),
        takes_labels=takes_labels,
        translates=settings.get("source") is not None,
        has_features=hasattr(generator, "features"),
    )


@torch.no_grad()
def check_players(generator: nn.Module, discriminator: nn.Module, config: Config) -> None:
    """Refuse modules of the caller that do not fit each other and the data."""
    item_shape, size = config.modality.item_shape, config.label_size
    labels = [torch.zeros(2, size) if config.attributes else torch.zeros(2, dtype=torch.int64)] * bool(size)
    values, kind = torch.zeros(2, *config.input_shape), "latents"
    for who, player, wanted in (
        ("generator", generator, f"samples {[2, *item_shape]}"),
        ("discriminator", discriminator, "one logit for each, [2] or [2, 1]"),
    ):
        given = f"{kind} {list(values.shape)}" + "".join(f" and labels {list(each.shape)}" for each in labels)
        try:
            made = copy.deepcopy(player).cpu().eval()(values, *labels)
            fits = made.shape == (2, *item_shape) if kind == "latents" else made.numel() == 2
        except Exception as error:
            raise UsageError(
                f"the {who} does not take {given}: {type(error).__name__}: {error}. See docs/extending.md on latents "
                "and labels"
            ) from error
        if not fits:
            raise UsageError(f"the {who} makes {list(made.shape)} of {given}: it must make {wanted}")
        values, kind = made, "samples"

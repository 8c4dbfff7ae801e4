"""The recipe: all settings of a training, as names and numbers.

A user gives a `Request`: data, perhaps a preset, a few settings. `sparring.training.resolve` opens the data and chooses
the rest. The result is a complete `Recipe`, which is written into recipe.json.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from sparring.errors import UnknownNameError, UsageError
from sparring.training.stopping import Limits

if TYPE_CHECKING:
    from sparring.data.containers import Reading
    from sparring.training.parts import Parts

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0), Lt(math.inf)]
NotNegative = Annotated[float, Ge(0), Lt(math.inf)]
Share = Annotated[float, Ge(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Pixels = Annotated[int, Ge(4), Le(1024)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training.

    In a user's settings the fields in `OPEN` may be None: then they are chosen to suit the data.

    Example:
        >>> Recipe(data="ring", network="mlp", width=64, steps=1000).batch_size
        32
    """

    data: str = "digits"  # a name in `SOURCES`, or a path
    source: str | None = None  # of items that are translated into items like the data; None for noise
    column: str | None = None  # of a table with the items; None for one with a usual name
    columns: str | None = None  # a .toml file that says what columns of a table are; None for what they look like
    # COLUMN,...; FILE or FILE:COLUMN,...; a pattern of names such as {class}_{number}; "folders"; None for usual ones.
    labels: str | None = None
    frames: Literal["first", "all"] = "first"  # of animations and stacks; pieces of long sounds
    follow_links: bool = False  # also read files outside the folder that links lead to
    sample_rate_hz: Annotated[int, Ge(1000), Le(192_000)] | None = None  # of sounds; None for the one that suits them
    seconds: Positive | None = None  # the length of sounds; None for one that 95 % of them fit into
    size: tuple[Pixels, Pixels] | None = None  # height and width of images; None for their own
    mirror: bool = False  # add a mirrored copy of each image
    start_from: str | None = None  # a run, or one of its checkpoints, whose networks this training begins with
    both_ways: bool = False  # of a translator: train the way back as well, as the restraint cycle does anyway
    input_warp: Share = 0.0  # how far images are warped before they are translated, so that others than these suit
    # Of words: how the map begins: with words of alike surroundings, with words that are written alike, or at random.
    first_map: Literal["structural", "identical", "random"] = "structural"
    network: str  # a name in `NETWORKS`, or "custom: CLASS" for modules that the caller gives
    width: Count  # features of the generator's last layer; the other layers have multiples of it
    normalization: Literal["batch", "none"] = "none"  # between the discriminator's layers
    conditional: bool = False  # give both networks the labels
    balance: bool = False  # draw each class equally often
    num_clusters: Count = 1  # groups of similar items that are used as labels when the data have none; 1 for none
    prior: Literal["gaussian", "uniform"] = "gaussian"  # the distribution of the latents; uniform in [−1, 1]
    latent_dim: Count = 64  # numbers in a latent
    objective: str = "non_saturating"  # a name in `OBJECTIVES`, or "custom: NAME"
    smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0  # the objective's target for real samples is 1 minus this
    penalty: str = "none"  # a name in `PENALTIES`, or "custom: NAME"
    penalty_weight: NotNegative = 1.0  # at the start of the training
    penalty_interval: Count = 1  # updates of the discriminator per penalty
    penalty_final: Positive = 1.0  # the weight falls exponentially to this share of itself; 1 keeps it
    # Of a generator that translates: the weight of each name in `RESTRAINTS`, such as cycle:10,identity:5.
    restraints: dict[str, NotNegative] = field(default_factory=dict)
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"  # of both networks
    learning_rate: Positive = 1e-3  # the generator's
    learning_rate_ratio: Positive = 1.0  # the discriminator's learning rate divided by the generator's
    # How learning rates fall to zero: not at all, linearly, linearly in the last third, or along a cosine.
    schedule: Literal["constant", "linear", "late", "cosine"] = "linear"
    beta1: Decay = 0.5  # of Adam; the momentum of SGD
    beta2: Decay = 0.999  # of Adam; the smoothing constant of RMSprop
    batch_size: Count = 32  # real samples per update, over all processes
    accumulate: Count = 1  # equal parts of each batch, played one after the other to save memory
    # Compute activations again in the backward pass instead of keeping them: more time, and less memory. By
    # default, images of 256 pixels and more that would need more memory than there is.
    recompute: bool = False
    discriminator_steps: Count = 1  # updates of the discriminator per iteration
    generator_steps: Count = 1  # updates of the generator per iteration
    simultaneous: bool = False  # compute both gradients before either network is updated
    augment: Share = 0.0  # the probability of each random change to the discriminator's inputs, for small data sets
    # Adapt that probability: raise it while the mean sign of the real logits is above this (0.6 is usual).
    augment_target: Annotated[float, Ge(-1), Le(1)] | None = None
    clip_gradients: Positive | None = None  # the largest norm of a network's gradient
    average_decay: Decay = 0.998  # of the generator's averaged weights; 0 for no averaging
    steps: Count | None = None  # stop after this many iterations
    images: Count | None = None  # stop after this many real samples
    minutes: Positive | None = 2.0  # stop after this much training time, without evaluation and saving
    until: str | None = None  # also stop at a "plateau", or a target for a number of the log, such as "coverage>0.9"
    evaluation_share: Share = 0.05  # time for evaluations, as a share of the training time; 0 for none
    evaluation_steps: Count | None = None  # iterations between evaluations, instead of the share
    log_steps: Count = 20  # iterations between lines of the log, at first; each evaluation writes one as well
    sample_seconds: Positive = 15.0  # training time between pictures of samples
    sample_steps: Count | None = None  # iterations between pictures, instead of seconds
    page_frames: Annotated[int, Ge(0), Le(10_000)] = 128  # for the live page, spread over the training; 0 for none
    checkpoint_seconds: Positive = 60.0  # training time between checkpoints
    checkpoint_steps: Count | None = None  # iterations between checkpoints, instead of seconds
    keep_checkpoints: Count = 2  # how many of the newest to keep
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0  # random seed
    device: Literal["auto", "cpu", "cuda"] = "auto"  # each of several processes uses the GPU of its local rank
    # Of the layers; the rest is float32. "auto": bfloat16 on GPUs, and on CPUs with AMX for items of 64 × 64 or more.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # compile both networks first: takes about a minute and a C++ compiler

    @property
    def reading(self) -> "Reading":
        """How the data are read."""
        return reading_of(asdict(self))

    @property
    def limits(self) -> Limits:
        """When to stop."""
        return Limits(self.steps, self.images, self.minutes)

    @property
    def images_per_step(self) -> int:
        """Real samples per iteration."""
        return self.batch_size * self.discriminator_steps


OPEN = (
    "size", "network", "width", "normalization", "conditional", "num_clusters", "penalty_weight", "recompute",
    "augment",
)  # fmt: skip
"""Fields that are chosen to suit the data when they are missing or None."""
FIXED = (  # fields that cannot change when a run is resumed
    "source", "both_ways", "first_map", "input_warp",
    "column", "columns", "labels", "frames", "follow_links", "sample_rate_hz", "seconds", "size", "mirror",
    "network", "width", "normalization", "conditional",
    "num_clusters", "prior", "latent_dim", "optimizer", "seed", "start_from",
)  # fmt: skip
LIMITS = ("steps", "images", "minutes")


def reading_of(settings: Mapping[str, Any]) -> "Reading":
    """How the data are read, by a recipe's fields."""
    from sparring.data.containers import Reading

    return Reading(**{each.name: settings[each.name] for each in fields(Reading) if each.name in settings})


@dataclass(frozen=True)
class Request:
    """What a user asks for."""

    data: str  # a name, or an absolute path
    preset: str | None  # None for the modality's first one
    settings: Mapping[str, Any]  # fields of `Recipe`
    parts: "Parts | None" = None  # the caller's own, which the settings name

    def agrees_with(self, recipe: Recipe) -> bool:
        """Whether a recipe is of these data and has these settings."""
        given = {"data": self.data} | {name: value for name, value in self.settings.items() if value is not None}
        return all(getattr(recipe, name) == value for name, value in given.items())


def make_request(data: str, preset: str | None = None, parts: "Parts | None" = None, /, **settings: object) -> Request:
    """Check what a user asks for, before anything is opened.

    Example: one limit replaces all three of the preset
        >>> make_request("digits", "wgan", steps=50, size=32).settings
        {'steps': 50, 'images': None, 'minutes': None, 'size': (32, 32)}
    """
    from sparring.data.label_files import resolve_setting
    from sparring.modalities import RECIPES

    if preset is not None and preset not in RECIPES:
        raise UnknownNameError("recipe", preset, RECIPES)
    data = _absolute(data)
    if isinstance(source := settings.get("source"), str | os.PathLike):
        settings = settings | {"source": _absolute(os.fspath(source))}
    if isinstance(start := settings.get("start_from"), str | os.PathLike):
        settings = settings | {"start_from": Path(start).expanduser().resolve()}
    checked = check_settings(settings)
    if checked.get("labels"):
        checked["labels"] = resolve_setting(checked["labels"])
    if checked.get("columns"):
        checked["columns"] = str(Path(checked["columns"]).expanduser().resolve())
    if "penalty" in checked:  # it replaces the preset's penalty together with its numbers
        checked = {"penalty_weight": None, "penalty_interval": 1, "penalty_final": 1.0} | checked
    return Request(data, preset, checked, parts)


def _absolute(data: str) -> str:
    """A name of a data set, or an absolute path, so that a run can be resumed from anywhere."""
    from sparring.modalities import SOURCES

    return str(Path(data).resolve()) if data not in SOURCES and Path(data).exists() else data


def check_settings(settings: Mapping[str, object]) -> dict[str, Any]:
    """The values of a recipe's fields, checked; one limit replaces all three."""
    checked = {name: check_setting(name, value) for name, value in settings.items()}
    is_limited = any(checked.get(limit) is not None for limit in LIMITS)
    return dict.fromkeys(LIMITS) | checked if is_limited else checked


def check_setting(name: str, value: object, *, strict: bool = True) -> Any:
    """The value of a recipe's field, checked, as a plain Python value; text is converted unless strict.

    Example:
        >>> import numpy as np
        >>> check_setting("steps", np.int64(5)), check_setting("size", [np.int64(32), 64])
        (5, (32, 64))
    """
    from pydantic import TypeAdapter, ValidationError

    kinds = get_type_hints(Recipe, include_extras=True)
    kinds.pop("data")
    if name not in kinds:
        raise UnknownNameError("setting", name, kinds)
    kind = kinds[name] | None if name in OPEN else kinds[name]
    value = _as_plain(value)
    if name == "size" and isinstance(value, str) and (match := re.fullmatch(r"(\d+)(?:[x×](\d+))?", value)):
        value = int(match[1]), int(match[2] or match[1])
    elif name == "size" and isinstance(value, int):
        value = value, value
    elif name == "restraints" and isinstance(value, str):
        pairs = [pair.partition(":") for pair in value.split(",") if pair]
        value = {restraint.strip(): weight for restraint, _, weight in pairs}
    choices = get_args(kinds[name]) if get_origin(kinds[name]) is Literal else ()
    can_be_none = type(None) in get_args(kind) and "none" not in choices
    if not strict and can_be_none and str(value).lower() == "none":
        value = None
    try:
        return TypeAdapter(kind).validate_python(value, strict=strict)
    except ValidationError as error:
        if choices:
            raise UnknownNameError(name.replace("_", " "), str(value), choices) from None
        reason = error.errors()[0]["msg"].replace("Input should be", "must be")
        if name == "restraints":
            reason = "must be names with weights, such as cycle:10,identity:5"
        if name == "size" and "tuple" in reason:
            reason = "must be a number of pixels, or HEIGHTxWIDTH such as 64x96"
        raise UsageError(f"{name}={value}: {reason}") from None


def _as_plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's, lists as tuples, paths and torch's devices as text."""
    value = str(value) if type(value).__name__ == "device" else value
    value = value.tolist() if hasattr(value, "tolist") else os.fspath(value) if hasattr(value, "__fspath__") else value
    return tuple(map(_as_plain, value)) if isinstance(value, list | tuple) else value


Change = tuple[object, object]  # the old and the new value of a field


def changes_since(before: Mapping[str, object], now: Recipe) -> dict[str, Change]:
    """The fields of a recipe that differ from a checkpoint's, except those that say when to stop."""
    present = json.loads(json.dumps(asdict(now)))  # with lists for tuples, as in a checkpoint
    changes = {
        name: (before[name], value)
        for name, value in present.items()
        if name in before and name not in (*LIMITS, "until") and before[name] != value
    }
    for name in FIXED:
        if name in changes:
            was, value = changes[name]
            raise UsageError(
                f"{name} was {was!r} and is {value!r}, but a run cannot be resumed with "
                f"another {name}: set it back, or start a new run"
            )
    return changes

"""Recipes: everything that a training is, in one value; and the presets.

`Recipe` holds names and numbers only, so that it can be written down (`recipe.json`) and compared; `sparring.build`
makes objects of them.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from sparring.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training.

    Args:
        data: a name in `SOURCES`, or a path.
        column: of a table, that holds the images; None for the one that is called so.
        size: the side that images are resized to, in pixels; None for their own, or the nearest the network takes; of
            image files, for the largest of 28, 32, 64, 128 and 256 that they fill and that the minutes suffice for.
        mirror: whether each image comes a second time with left and right exchanged.
        network: a name in `NETWORKS`; None for "conv" with images of up to 64 pixels, "resnet" with
            larger ones, and "mlp" with points.
        width: the features that the generator's last layer takes, by which all others are counted; None for the
            family's usual number.
        normalization: between the discriminator's layers: "batch" or "none"; None for the network's usual one,
            and "none" where the penalty is about single samples.
        conditional: whether both players are told the labels; None for yes where the data have labels.
        num_clusters: into how many clusters to part the images, which stand in for labels that are not told; 1 for
            none, None for as many as suit the number of images.
        prior: what latents are drawn from: "gaussian" or "uniform" in [−1, 1].
        follows_network: fields that are not decided yet, and become those of `SUITED` once the network is chosen.
        latent_dim: how many numbers a latent has.
        objective: a name in `OBJECTIVES`.
        penalty: a name in `PENALTIES`.
        penalty_weight: None for the penalty's usual one.
        penalty_interval: apply the penalty at every how many updates of the discriminator.
        penalty_final: the share of its weight that is left at the end, to which it falls exponentially; 1 keeps it.
        optimizer: "adam", "rmsprop" or "sgd".
        learning_rate: the generator's.
        learning_rate_ratio: the discriminator's learning rate over the generator's.
        schedule: of the learning rates: "constant"; or "linear", "late" (in the last third) or "cosine", to zero at
            the end of the training.
        beta1: of Adam; the momentum of SGD.
        beta2: of Adam; the smoothing constant of RMSprop.
        batch_size: real samples an update.
        discriminator_steps: updates of the discriminator an iteration.
        generator_steps: updates of the generator an iteration.
        simultaneous: compute both players' gradients before either moves.
        augment: the probability of each alteration of the images that the discriminator sees, for few images; 0 for
            none, None for one that adapts where there are fewer than 5,000 images, and none else.
        augment_target: from that probability on, follow how well the discriminator knows its training images: up where
            the mean sign of their logits is above this target (0.6 in the literature), down where it is below; None
            keeps it.
        clip_gradients: the largest norm of a player's gradient, or None.
        average_decay: of the generator's averaged weights; 0 keeps the weights as they are.
        steps: stop after so many iterations, or None.
        images: stop after so many real samples, or None.
        minutes: stop after so much training time, evaluation and saving apart, or None.
        plateau_lines: stop where the mean value of the game over so many lines of the log differs from that of the
            lines before by less than `plateau_tolerance`; None never does.
        plateau_tolerance: in the units of the value.
        until: stop as well where an evaluation, or any number of the log, says so: "plateau", or a target such as
            "coverage>0.9" or "distance<0.05"; None never does.
        evaluation_share: the share of the training time that evaluations may take besides; 0 for none.
        evaluation_steps: an evaluation every so many steps, instead.
        log_steps: a line of the log every so many steps, and at each evaluation.
        sample_seconds: a picture of samples every so many seconds of training time.
        sample_steps: a picture of samples every so many steps, instead.
        checkpoint_seconds: a checkpoint every so many seconds of training time.
        checkpoint_steps: a checkpoint every so many steps, instead.
        keep_checkpoints: how many of the last checkpoints to keep.
        seed: of everything random.
        device: "auto", "cpu" or "cuda"; of several processes each takes the GPU of its local number.
        precision: what the layers compute in: "float32", "bfloat16" (weights and losses stay float32), or "auto", which
            is "bfloat16" on GPUs that have it.
        compile: whether PyTorch compiles both networks first, which takes about a minute and a C++ compiler; the
            generator alone with a penalty on single samples.

    Raises:
        UsageError: for a number out of range, naming the field.

    Example:
        >>> Recipe(data="ring", network="mlp", steps=1000).network
        'mlp'
    """

    data: str = "digits"
    column: str | None = None
    size: int | None = None
    mirror: bool = False
    network: str | None = None
    width: int | None = None
    normalization: str | None = None
    conditional: bool | None = None
    num_clusters: int | None = 1
    follows_network: tuple[str, ...] = ()
    prior: str = "gaussian"
    latent_dim: int = 64
    objective: str = "non_saturating"
    penalty: str = "none"
    penalty_weight: float | None = None
    penalty_interval: int = 1
    penalty_final: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_ratio: float = 1.0
    schedule: str = "linear"
    beta1: float = 0.5
    beta2: float = 0.999
    batch_size: int = 32
    discriminator_steps: int = 1
    generator_steps: int = 1
    simultaneous: bool = False
    augment: float | None = 0.0
    augment_target: float | None = None
    clip_gradients: float | None = None
    average_decay: float = 0.998
    steps: int | None = None
    images: int | None = None
    minutes: float | None = 2.0
    plateau_lines: int | None = None
    plateau_tolerance: float = 0.01
    until: str | None = None
    evaluation_share: float = 0.05
    evaluation_steps: int | None = None
    log_steps: int = 20
    sample_seconds: float = 15.0
    sample_steps: int | None = None
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep_checkpoints: int = 2
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in AT_LEAST_ONE:
            _require(self, name, lambda value: value >= 1, "at least 1")
        for name in ABOVE_ZERO:
            _require(self, name, lambda value: 0 < value < math.inf, "greater than 0")
        for name in ("beta1", "beta2", "average_decay"):
            _require(self, name, lambda value: 0 <= value < 1, "at least 0 and less than 1")
        for name in ("augment", "evaluation_share"):
            _require(self, name, lambda value: 0 <= value <= 1, "between 0 and 1")
        _require(self, "augment_target", lambda value: -1 <= value <= 1, "between -1 and 1")
        _require(self, "penalty_weight", lambda value: 0 <= value < math.inf, "at least 0")
        _require(self, "size", lambda value: 4 <= value <= 1024, "between 4 and 1024")
        _require(self, "seed", lambda value: 0 <= value < 2**63, "at least 0 and less than 2**63")
        if all(getattr(self, name) is None for name in (*LIMITS, "plateau_lines")):
            raise UsageError("the training would never end: give steps, images or minutes")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in (*choices, None):
                raise UnknownNameError(name.replace("_", " "), getattr(self, name), choices)


AT_LEAST_ONE = (
    "width", "num_clusters", "latent_dim", "penalty_interval", "batch_size", "discriminator_steps", "generator_steps",
    "steps", "images", "plateau_lines", "log_steps", "evaluation_steps", "sample_steps",
    "checkpoint_steps", "keep_checkpoints",
)  # fmt: skip
ABOVE_ZERO = (
    "learning_rate", "learning_rate_ratio", "clip_gradients", "minutes", "plateau_tolerance", "penalty_final",
    "sample_seconds",
    "checkpoint_seconds",
)  # fmt: skip
CHOICES = {
    "normalization": ("batch", "none"),
    "prior": ("gaussian", "uniform"),
    "optimizer": ("adam", "rmsprop", "sgd"),
    "schedule": ("constant", "linear", "late", "cosine"),
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "float32", "bfloat16"),
}
LIMITS = ("steps", "images", "minutes")


def _require(recipe: Recipe, name: str, holds: Callable[[Any], bool], meaning: str) -> None:
    value = getattr(recipe, name)
    if value is not None and not holds(value):
        raise UsageError(f"{name} must be {meaning}, and is {value}")


@dataclass(frozen=True)
class Preset:
    """An entry of `RECIPES`.

    Args:
        name: its name on the command line.
        summary: one line on what it is.
        source: where its settings come from.
        recipe: the settings.
    """

    name: str
    summary: str
    source: str
    recipe: Recipe


# What the classics share: no labels, constant rates, and latents as DCGAN has them.
_ADAM_2E4 = Recipe(conditional=False, learning_rate=2e-4, schedule="constant", batch_size=64, latent_dim=100)

SUITED: dict[str, dict[str, Any]] = {
    "resnet": {
        "objective": "relativistic",
        "penalty": "r1r2",
        "penalty_weight": 0.1,
        "penalty_interval": 4,
        "learning_rate": 3e-4,
        "beta1": 0.0,
    },
}
"""What the default recipe has otherwise for a network: one without normalisation diverges at its rates."""

RECIPES: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="default",
            summary="what works best here in two minutes: non-saturating, native size, labels or clusters",
            source="this project, docs/log.md",
            recipe=Recipe(
                num_clusters=None,
                augment=None,
                learning_rate=4e-3,
                learning_rate_ratio=0.25,
                beta2=0.99,
                schedule="late",
                follows_network=tuple(SUITED["resnet"]),
            ),
        ),
        Preset(
            name="points",
            summary="for points: relativistic, both zero-centred penalties, and a discriminator that sees detail",
            source="this project, docs/log.md, after Huang et al. 2024, arXiv:2501.05441",
            recipe=Recipe(
                network="fourier",
                latent_dim=2,
                objective="relativistic",
                penalty="r1r2",
                penalty_weight=1.0,
                penalty_interval=8,
                penalty_final=1e-4,
                batch_size=1024,
                learning_rate=2e-3,
                beta1=0.0,
                beta2=0.99,
                schedule="cosine",
                average_decay=0.999,
                log_steps=50,
            ),
        ),
        Preset(
            name="gan",
            summary="the first GAN: the value function to the letter, fully connected networks, uniform latents",
            source="Goodfellow et al. 2014, arXiv:1406.2661",
            recipe=replace(_ADAM_2E4, objective="minimax", network="mlp", normalization="none", prior="uniform"),
        ),
        Preset(
            name="non-saturating",
            summary="the first GAN with the generator that maximises log D(G(z))",
            source="Goodfellow et al. 2014, arXiv:1406.2661, section 3",
            recipe=replace(_ADAM_2E4, network="mlp", normalization="none", prior="uniform"),
        ),
        Preset(
            name="dcgan",
            summary="the deep convolutional GAN at 64×64",
            source="Radford et al. 2015, arXiv:1511.06434, section 4",
            recipe=replace(_ADAM_2E4, network="dcgan", size=64, batch_size=128),
        ),
        Preset(
            name="wgan",
            summary="Wasserstein GAN: five clipped updates of the discriminator to one of the generator",
            source="Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1",
            recipe=replace(
                _ADAM_2E4,
                objective="wasserstein",
                penalty="weight_clipping",
                penalty_weight=0.01,
                optimizer="rmsprop",
                learning_rate=5e-5,
                beta2=0.99,
                discriminator_steps=5,
            ),
        ),
        Preset(
            name="wgan-gp",
            summary="Wasserstein GAN with slopes of 1 instead of clipped weights",
            source="Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1",
            recipe=replace(
                _ADAM_2E4,
                objective="wasserstein",
                penalty="gradient_penalty",
                penalty_weight=10.0,
                learning_rate=1e-4,
                beta1=0.0,
                beta2=0.9,
                discriminator_steps=5,
            ),
        ),
        Preset(
            name="lsgan",
            summary="least squares GAN, labels 0, 1 and 1",
            source="Mao et al. 2017, arXiv:1611.04076, section 4",
            recipe=replace(_ADAM_2E4, objective="least_squares", learning_rate=1e-3),
        ),
        Preset(
            name="dragan",
            summary="non-saturating, with slopes of 1 around the data",
            source="Kodali et al. 2017, arXiv:1705.07215; rate and batch as DCGAN's",
            recipe=replace(_ADAM_2E4, penalty="dragan", penalty_weight=10.0, normalization="batch"),
        ),
        Preset(
            name="sngan",
            summary="hinge losses under spectral normalisation",
            source="Miyato et al. 2018, arXiv:1802.05957, section 4",
            recipe=replace(_ADAM_2E4, objective="hinge", penalty="spectral_norm"),
        ),
        Preset(
            name="r1",
            summary="non-saturating, with a discriminator that is flat at the data",
            source="Mescheder et al. 2018, arXiv:1801.04406",
            recipe=replace(
                _ADAM_2E4,
                penalty="r1",
                penalty_weight=10.0,
                optimizer="rmsprop",
                learning_rate=1e-4,
                beta2=0.99,
                average_decay=0.999,
            ),
        ),
        Preset(
            name="r3gan",
            summary="relativistic pairs with both zero-centred penalties",
            source="Huang et al. 2024, arXiv:2501.05441",
            recipe=replace(
                _ADAM_2E4, objective="relativistic", penalty="r1r2", penalty_weight=1.0, beta1=0.0, beta2=0.99
            ),
        ),
    )
}
"""Every preset by its name."""


FIXED = (
    "column", "size", "mirror", "network", "width", "normalization", "conditional", "num_clusters", "prior",
    "latent_dim", "optimizer", "seed",
)  # fmt: skip
"""Fields that a training cannot go on with others of."""


Change = tuple[object, object]
"""What a field was, and what it is."""


def changed(before: Mapping[str, object], now: Recipe) -> dict[str, Change]:
    """The fields of a recipe that were others when a checkpoint was saved, apart from those that say when to stop.

    Args:
        before: the fields then, by name.
        now: the recipe now.

    Returns:
        The values before and now, by name.

    Raises:
        UsageError: where a training cannot go on with them.

    Example:
        >>> changed({"learning_rate": 1e-3, "steps": 10}, Recipe(learning_rate=2e-3, steps=20))
        {'learning_rate': (0.001, 0.002)}
    """
    present = json.loads(json.dumps(asdict(now)))  # as a checkpoint tells it: with lists for tuples
    differences = {
        name: (value, present[name])
        for name, value in before.items()
        if name not in (*LIMITS, "until", "plateau_lines") and name in present and value != present[name]
    }
    if forbidden := [name for name in FIXED if name in differences]:
        name = forbidden[0]
        was, is_now = differences[name]
        raise UsageError(
            f"recipe.json was changed: {name} was {was!r} and is {is_now!r}, and a training cannot go on with another "
            f"{name}: set it back, or start a new run"
        )
    return differences


def recipe_for(data: str, preset: str | None = None, /, **settings: object) -> Recipe:
    """A preset with some of its fields set otherwise.

    Naming any of `steps`, `images` and `minutes` replaces all three of the preset's; naming a penalty replaces the
    preset's weight and interval of its own.

    Args:
        data: a name in `SOURCES`, or a path.
        preset: a name in `RECIPES`; None for "points" where the data are points, and "default" else.
        settings: fields of `Recipe` with their values.

    Raises:
        UnknownNameError: for a preset or a field that there isn't.
        UsageError: for a value out of range.

    Example:
        >>> recipe_for("digits", "wgan", steps=50).minutes is None
        True
    """
    if preset is not None and preset not in RECIPES:
        raise UnknownNameError("recipe", preset, RECIPES)
    known = [field.name for field in fields(Recipe) if field.name != "data"]
    known.remove("follows_network")
    for field, value in settings.items():
        if field not in known:
            raise UnknownNameError("setting", field, known)
        _of_type(field, value, strict=True)
    name = preset or ("points" if _are_points(data) else "default")
    if not _is_name(data) and Path(data).exists():
        data = str(Path(data).resolve())  # so that the run can be resumed from anywhere
    limits = dict.fromkeys(LIMITS) if any(settings.get(limit) is not None for limit in LIMITS) else {}
    restraint = {"penalty_weight": None, "penalty_interval": 1, "penalty_final": 1.0} if "penalty" in settings else {}
    changes: dict[str, Any] = {"data": data} | limits | restraint | settings
    follows = tuple(field for field in RECIPES[name].recipe.follows_network if field not in changes)
    return replace(RECIPES[name].recipe, **changes, follows_network=follows)


def _is_name(data: str) -> bool:
    from sparring.data import SOURCES

    return data in SOURCES


def _are_points(data: str) -> bool:
    """Whether data hold points: only mixtures and array files can."""
    from sparring.data import open_dataset

    may_be = data in ("ring", "grid") or (not _is_name(data) and Path(data).suffix in {".npy", ".npz"})
    return may_be and (_is_name(data) or Path(data).is_file()) and len(open_dataset(data).train.item_shape) == 1


def parse_setting(name: str, text: str) -> object:
    """The value of a recipe's field from text.

    Raises:
        UnknownNameError: for a field that there isn't.
        UsageError: for a text that is not of the field's type.

    Example:
        >>> parse_setting("learning_rate", "2e-4"), parse_setting("simultaneous", "true"), parse_setting("size", "none")
        (0.0002, True, None)
    """
    hints = get_type_hints(Recipe)
    if name not in hints:
        raise UnknownNameError("setting", name, hints)
    if text.lower() == "none" and NoneType in get_args(hints[name]) and "none" not in CHOICES.get(name, ()):
        return None
    return _of_type(name, text, strict=False)


def _of_type(name: str, value: object, strict: bool) -> object:
    """A value as the type of a recipe's field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        checked: object = TypeAdapter(get_type_hints(Recipe)[name]).validate_python(value, strict=strict)
    except ValidationError as error:
        raise UsageError(f"{name}={value}: {error.errors()[0]['msg']}") from error
    return checked

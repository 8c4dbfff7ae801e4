"""From a recipe to a trainer: the only place where names become objects."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from sparring.augment import Adaptive, differentiable
from sparring.data import (
    MAX_CLASSES,
    PRIORS,
    Dataset,
    Items,
    OnProgress,
    Scaled,
    Survey,
    clustered,
    open_dataset,
    resized,
    survey_of,
)
from sparring.distributed import apart, count, synchronize
from sparring.errors import UnknownNameError, UsageError
from sparring.game import Game
from sparring.generator import Config
from sparring.monitor import FIGURES, Monitor
from sparring.networks import NETWORKS
from sparring.objectives import OBJECTIVES
from sparring.penalties import PENALTIES
from sparring.recipes import SUITED, Recipe
from sparring.run import COUNTERS, NUMBERS
from sparring.seeding import Stream
from sparring.stopping import Goal, Limits, Plateau
from sparring.trainer import Intervals, Trainer
from sparring.types import Samples


def resolve(
    recipe: Recipe, on_progress: OnProgress = lambda what, share: None, *, dry: bool = False
) -> tuple[Recipe, Dataset]:
    """Fill in what a recipe leaves open, and open its data.

    Args:
        recipe: what was asked for.
        on_progress: is told what is being done, where it may take long.
        dry: whether files of images are only looked at, and not packed.

    Returns:
        The recipe with no field None that stands for a choice, and the data set at the size of the network.

    Raises:
        UsageError: where something that is named doesn't exist or doesn't fit together.
    """
    if recipe.objective not in OBJECTIVES:
        raise UnknownNameError("objective", recipe.objective, OBJECTIVES)
    if recipe.penalty not in PENALTIES:
        raise UnknownNameError("penalty", recipe.penalty, PENALTIES)
    if recipe.network is not None and recipe.network not in NETWORKS:
        raise UnknownNameError("network", recipe.network, NETWORKS)

    survey = survey_of(recipe.data, recipe.column, on_progress)
    if survey is not None and recipe.size is None:
        recipe = replace(recipe, size=_size(recipe, survey, on_progress))
    dataset = open_dataset(
        recipe.data, recipe.size, column=recipe.column, mirror=recipe.mirror, on_progress=on_progress, dry=dry
    )
    are_images = len(dataset.train.item_shape) == 3
    item_shape = dataset.train.item_shape
    network = NETWORKS[recipe.network or _usual_network(recipe, item_shape)]
    fitting = network.fit(item_shape)
    if recipe.size is not None and fitting != item_shape:
        raise UsageError(
            f"the network {network.name!r} takes no images of {recipe.size} pixels: try --size {fitting[1]}"
        )
    if fitting != item_shape:
        dataset = resized(dataset, fitting[1])
    if (dataset.train.num_items or recipe.batch_size) < recipe.batch_size:
        raise UsageError(
            f"{recipe.data} has {dataset.train.num_items} items to train on, fewer than a batch of "
            f"{recipe.batch_size}: lower --batch-size"
        )
    if recipe.batch_size % count():
        raise UsageError(
            f"a batch of {recipe.batch_size} cannot be shared by {count()} processes evenly: give another --batch-size"
        )
    if (recipe.augment or recipe.augment_target is not None) and not are_images:
        raise UsageError(f"only images can be augmented, and {recipe.data} holds none: leave augment away")
    if recipe.conditional and not dataset.train.class_shares:
        raise UsageError(f"{recipe.data} has no labels: leave --conditional away")
    conditional = bool(dataset.train.class_shares) if recipe.conditional is None else recipe.conditional
    recipe = replace(with_network(recipe, fitting), conditional=conditional)
    recipe = replace(recipe, num_clusters=_num_clusters(recipe, dataset, conditional))
    target = _augment_target(recipe, dataset)
    return replace(recipe, augment=recipe.augment or 0.0, augment_target=target), dataset


def with_network(recipe: Recipe, item_shape: tuple[int, ...]) -> Recipe:
    """A recipe whose networks are decided, for items of a shape."""
    network = NETWORKS[recipe.network or _usual_network(recipe, item_shape)]
    suited = {name: value for name, value in SUITED.get(network.name, {}).items() if name in recipe.follows_network}
    recipe = replace(recipe, **suited, follows_network=())
    penalty = PENALTIES[recipe.penalty]
    are_images = len(item_shape) == 3
    usual = "none" if penalty.per_sample or not are_images else network.normalizations[0]
    if recipe.normalization not in (None, *network.normalizations):
        raise UsageError(
            f"the network {network.name!r} takes no normalization {recipe.normalization!r}, but "
            f"{' or '.join(map(repr, network.normalizations))}: leave it away, or give another --network"
        )
    return replace(
        recipe,
        network=network.name,
        size=item_shape[1] if are_images else None,
        width=recipe.width or network.width,
        normalization=recipe.normalization or usual,
        penalty_weight=penalty().weight if recipe.penalty_weight is None else recipe.penalty_weight,
    )


def _usual_network(recipe: Recipe, item_shape: tuple[int, ...]) -> str:
    if len(item_shape) != 3:
        return "mlp"
    is_large = max(item_shape[1:]) > MAX_CONV_SIZE
    return "resnet" if is_large and recipe.normalization in (None, "none") else "conv"


def _size(recipe: Recipe, survey: Survey, on_progress: OnProgress) -> int:
    """The largest side that the images fill and that the time suffices for."""
    shapes = [(survey.channels, side, side) for side in survey.sizes]
    fitting = [NETWORKS[recipe.network or _usual_network(recipe, shape)].fit(shape) for shape in shapes]
    if recipe.minutes is None:
        return max((shape[1] for shape in fitting if shape[1] <= MAX_UNTIMED), default=fitting[0][1])
    suffices = fitting[0][1]
    for number, shape in enumerate(dict.fromkeys(fitting[1:])):
        on_progress(f"trying {shape[1]} px", number / len(fitting))
        if images_a_second(recipe, shape) * 60 * recipe.minutes < ENOUGH_IMAGES:
            break
        suffices = shape[1]
    return suffices


def images_a_second(recipe: Recipe, item_shape: tuple[int, ...]) -> float:
    """How many real images a second a game trains on here, measured for about a second.

    Args:
        recipe: what it doesn't say of its networks is filled in.
        item_shape: of one item.
    """
    recipe = with_network(recipe, item_shape)
    size = recipe.batch_size // count()
    with apart():
        config = Config(recipe.network or "", item_shape, recipe.latent_dim, recipe.prior, recipe.width or 1)
        game = _game(recipe, config)
        real = [torch.zeros(size, *item_shape, device=_device(recipe))] * recipe.discriminator_steps
        game.step(real)  # the first one takes longer
        start, steps = time.perf_counter(), 0
        while steps == 0 or time.perf_counter() - start < CALIBRATION_SECONDS:
            game.step(real)
            steps += 1
        seconds = time.perf_counter() - start
    return recipe.batch_size * recipe.discriminator_steps * steps / seconds


def _num_clusters(recipe: Recipe, dataset: Dataset, conditional: bool) -> int:
    """How many clusters stand in for labels."""
    train, asked = dataset.train, recipe.num_clusters
    images = train.num_items if isinstance(train, Items) and len(train.item_shape) == 3 else None
    if asked is None:
        return 1 if conditional else max(1, min(MAX_CLUSTERS, (images or 0) // ITEMS_A_CLUSTER))
    if asked > 1 and conditional:
        raise UsageError("clusters stand in for labels, and the labels are told: add --conditional False")
    if asked > 1 and images is None:
        raise UsageError(f"{recipe.data} holds no finite set of images to part into clusters: leave num_clusters away")
    if asked > min(MAX_CLASSES, images or asked):
        raise UsageError(f"{recipe.data} can be parted into at most {min(MAX_CLASSES, images or asked)} clusters")
    return asked


def _augment_target(recipe: Recipe, dataset: Dataset) -> float | None:
    """Few images are augmented as far as it takes, unless something else is asked for."""
    train, is_open = dataset.train, recipe.augment is None and recipe.augment_target is None
    are_few = isinstance(train, Items) and len(train.item_shape) == 3 and len(train) < FEW_IMAGES
    return AUGMENT_TARGET if is_open and are_few else recipe.augment_target


def build(recipe: Recipe, dataset: Dataset) -> Trainer:
    """A trainer from a resolved recipe and its data: the only place where names become objects."""
    assert recipe.network is not None
    assert recipe.width is not None
    assert recipe.num_clusters is not None
    if recipe.num_clusters > 1:
        dataset = clustered(dataset, recipe.num_clusters, recipe.seed)
    config = Config(
        network=recipe.network,
        item_shape=dataset.train.item_shape,
        latent_dim=recipe.latent_dim,
        prior=recipe.prior,
        width=recipe.width,
        class_shares=dataset.train.class_shares if recipe.conditional or recipe.num_clusters > 1 else (),
        classes_are_clusters=recipe.num_clusters > 1,
        scale=dataset.scale,
        class_names=dataset.class_names if recipe.conditional else (),
    )
    game = _game(recipe, config)
    monitor = _monitor(recipe, dataset, game)
    return Trainer(
        game,
        Scaled(dataset.train, 1 / dataset.scale) if dataset.scale != 1 else dataset.train,
        config,
        batch_size=recipe.batch_size,
        limits=Limits(recipe.steps, recipe.images, recipe.minutes),
        schedule=SCHEDULES[recipe.schedule],
        penalty_final=recipe.penalty_final,
        average_decay=recipe.average_decay,
        monitor=monitor,
        goal=None if recipe.until is None else _goal(recipe.until, monitor),
        plateau=None if recipe.plateau_lines is None else Plateau(recipe.plateau_lines, recipe.plateau_tolerance),
        intervals=Intervals(
            log_steps=recipe.log_steps,
            sample_seconds=recipe.sample_seconds,
            sample_steps=recipe.sample_steps,
            checkpoint_seconds=recipe.checkpoint_seconds,
            checkpoint_steps=recipe.checkpoint_steps,
            keep_checkpoints=recipe.keep_checkpoints,
        ),
    )


def _game(recipe: Recipe, config: Config) -> Game:
    assert recipe.normalization is not None
    assert recipe.penalty_weight is not None
    device = _device(recipe)
    with Stream(recipe.seed, "networks").as_default():
        generator = config.build()
        discriminator = NETWORKS[config.network].discriminator(
            config.item_shape, config.width, recipe.normalization, len(config.class_shares)
        )
    for player in (generator, discriminator):
        synchronize(player)
        convert_conv2d_weight_memory_format(player.to(device), torch.channels_last)  # in which they are faster
    penalty = PENALTIES[recipe.penalty](recipe.penalty_weight, recipe.penalty_interval)
    if recipe.compile:
        generator.compile()
        if not penalty.per_sample:  # the others differentiate twice, which compiled layers don't permit
            discriminator.compile()
    return Game(
        generator,
        discriminator,
        objective=recipe.objective,
        penalties=[] if recipe.penalty == "none" else [penalty],
        prior=PRIORS[recipe.prior]((recipe.latent_dim,)),
        generator_optimizer=_optimizer(recipe, generator, recipe.learning_rate),
        discriminator_optimizer=_optimizer(recipe, discriminator, recipe.learning_rate * recipe.learning_rate_ratio),
        discriminator_steps=recipe.discriminator_steps,
        generator_steps=recipe.generator_steps,
        clip_gradients=recipe.clip_gradients,
        simultaneous=recipe.simultaneous,
        augment=_augment(recipe),
        autocast=_autocast(recipe, device),
        seed=recipe.seed,
    )


def _augment(recipe: Recipe) -> Callable[[Samples, Stream], Samples] | None:
    if recipe.augment_target is not None:
        return Adaptive(recipe.augment or 0.0, recipe.augment_target, ADAPTIVE_IMAGES)
    return partial(differentiable, probability=recipe.augment) if recipe.augment else None


def _device(recipe: Recipe) -> str:
    if recipe.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: leave --device away")
    return recipe.device


def _autocast(recipe: Recipe, device: str) -> torch.dtype | None:
    suits = recipe.precision == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if suits or recipe.precision == "bfloat16" else None


def _monitor(recipe: Recipe, dataset: Dataset, game: Game) -> Monitor | None:
    limits = (dataset.train, MIN_TRAIN), (dataset.heldout, MIN_HELDOUT)
    too_few = any(source.num_items is not None and source.num_items < least for source, least in limits)
    if too_few or (recipe.evaluation_share == 0 and recipe.evaluation_steps is None):
        return None
    return Monitor(game, dataset, share=recipe.evaluation_share, interval_steps=recipe.evaluation_steps)


def _goal(until: str, monitor: Monitor | None) -> Goal:
    goal = Goal(until)
    if goal.name not in (*COUNTERS, *NUMBERS, *FIGURES):
        raise UnknownNameError("figure", goal.name, (*FIGURES, *COUNTERS, *NUMBERS))
    if goal.name in FIGURES and monitor is None:
        raise UsageError(f"--until {until} needs evaluations: raise evaluation_share, or give more data")
    return goal


MAX_CLUSTERS, ITEMS_A_CLUSTER = 50, 50
"""There are at most so many clusters, of so many items in the mean."""

ENOUGH_IMAGES = 150_000
"""A training that goes through fewer makes poor images: a size is too large where the time allows for no more."""
MAX_UNTIMED = 64
"""The largest side that is chosen where no time is asked for, in pixels."""
CALIBRATION_SECONDS = 0.7
MAX_CONV_SIZE = 64
"""The network "conv" is the usual one up to this side, and "resnet" above it."""

FEW_IMAGES, AUGMENT_TARGET = 5_000, 0.6
"""With fewer images an adaptive augmentation is chosen, and its target."""
ADAPTIVE_IMAGES = 100_000
"""That an adaptive augmentation's probability takes from 0 to 1."""

MIN_TRAIN, MIN_HELDOUT = 20, 2
"""Data with fewer items are not monitored."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "late": lambda share: min(1.0, 3.0 * (1.0 - share)),
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
}
"""The factor on the learning rates, as a function of the share of the training that is done."""


def _optimizer(recipe: Recipe, player: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    parameters = player.parameters()
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, learning_rate, alpha=recipe.beta2)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, learning_rate, momentum=recipe.beta1)
    return torch.optim.Adam(parameters, learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True)

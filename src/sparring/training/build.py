"""Build the objects that a recipe names."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from sparring.data.clusters import Clusters, cluster, digest_of, read_clusters
from sparring.data.items import Balanced, Items
from sparring.distributed.batch_norm import synchronize_batch_norm
from sparring.distributed.collectives import on_rank_zero
from sparring.errors import UsageError
from sparring.game.augment import Adaptive
from sparring.game.both_ways import Both, BothWays, one_way
from sparring.game.ema import Average
from sparring.game.game import Game
from sparring.game.optimizers import Adam
from sparring.game.restraints import RESTRAINTS
from sparring.game.sources import PRIORS, Changed, Source
from sparring.generator.config import Config, choose_rows
from sparring.modalities.modality import Dataset, Modality
from sparring.networks.recompute import recompute_activations
from sparring.seeding import Stream
from sparring.training.loop import Training
from sparring.training.parts import Parts, check_players
from sparring.training.recipe import Recipe
from sparring.training.run_folder import CLUSTERS
from sparring.training.start_from import Start, copy_average, copy_players
from sparring.types import OnProgress

MIN_BFLOAT16_NUMBERS = 64 * 64  # in an item; a CPU gains less by bfloat16 with smaller ones
ADAPTIVE_IMAGES = 100_000  # an adaptive augmentation's probability takes this many images to rise from 0 to 1


def build(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path | None = None,
    start: Start | None = None,
    parts: Parts = Parts(),
    *,
    is_new: bool = False,
    on_progress: OnProgress = lambda what, share: None,
) -> Training:
    """Build a training at its beginning from a complete recipe and its data, for a run's folder.

    With a start, the networks are those of another run; with parts, they or others are the caller's own. The weights
    of a new one may depend on the data.
    """
    has_clusters, clusters = recipe.num_clusters > 1, None
    if has_clusters and dataset.source is not None:
        share_groups = partial(dataset.modality.share_groups, dataset, recipe.num_clusters, recipe.seed, on_progress)
        found: list[Dataset] = []
        on_rank_zero(lambda: found.append(share_groups()), may_take_hours=True)
        dataset = found[0] if found else share_groups()  # the other processes find the groups in the cache
    elif has_clusters:
        assert isinstance(dataset.train, Items)
        assert isinstance(dataset.heldout, Items)
        clusters = on_rank_zero(lambda: _find_clusters(recipe, dataset, folder), may_take_hours=True)
        train, heldout = dataset.train.with_labels(clusters.train), dataset.heldout.with_labels(clusters.heldout)
        dataset = replace(dataset, train=train, heldout=heldout)
    attributes = dataset.attributes if recipe.conditional else ()
    rows: tuple[tuple[float, ...], ...] = ()
    if attributes and isinstance(dataset.train, Items) and dataset.train.item_labels is not None:
        rows = choose_rows(attributes, dataset.train.item_labels)
    config = Config(
        modality=dataset.modality,
        network=recipe.network,
        latent_dim=recipe.latent_dim,
        prior=recipe.prior,
        width=recipe.width,
        class_shares=dataset.train.class_shares if recipe.conditional or has_clusters else (),
        classes_are_clusters=has_clusters,
        clusters_by=clusters.by if clusters else "",
        class_names=dataset.class_names if recipe.conditional else (),
        attributes=attributes,
        rows=rows,
        source=dataset.source.modality if dataset.source else None,
        both_ways=goes_both_ways(recipe),
    )
    data, inputs = _scaled(dataset, recipe.balance), _scaled(dataset.source) if dataset.source else None

    def begin(generator: nn.Module, discriminator: nn.Module) -> None:
        if start is not None:
            copy_players(start, config, generator, discriminator)
        elif is_new and dataset.source is not None:
            dataset.modality.begin(one_way(generator), dataset, recipe.first_map, recipe.seed, on_progress)

    fed: Source | None = inputs
    if inputs is not None and config.both_ways:
        fed = Both(inputs, data)
    if fed is not None and recipe.input_warp and dataset.modality.warp is not None:
        fed = Changed(fed, partial(dataset.modality.warp, strength=recipe.input_warp))
    game = build_game(recipe, config, parts, begin, fed)
    average = Average(game.generator, recipe.average_decay)
    if start is not None:
        copy_average(start, config, average.module)
    real = Both(data, inputs) if config.both_ways and inputs is not None else data
    return Training(recipe, game, dataset, real, average, config, folder, parts, clusters)


def _find_clusters(recipe: Recipe, dataset: Dataset, folder: Path | None) -> Clusters:
    """Those that the run began with, which its folder keeps, or those of a new run."""
    train, heldout = dataset.train, dataset.heldout
    assert isinstance(train, Items)
    assert isinstance(heldout, Items)
    digest = digest_of(train, heldout)
    if folder is not None and (kept := read_clusters(folder / CLUSTERS, digest)) is not None:
        return kept
    is_old = folder is not None and not (folder / CLUSTERS).exists()  # a run of an older sparring kept none
    best = next(iter(dataset.modality.extractors()))
    extractor = best if best.is_pretrained and not is_old else dataset.modality.thumbnails()
    train, heldout = cluster(train, heldout, extractor, recipe.num_clusters, recipe.seed)
    assert train.item_labels is not None
    assert heldout.item_labels is not None
    return Clusters(train.item_labels, heldout.item_labels, by="" if is_old else extractor.name, digest=digest)


def _scaled(dataset: Dataset, balance: bool = False) -> Source:
    """The items to train on, as the networks see them."""
    items, modality = Balanced(dataset.train) if balance else dataset.train, dataset.modality
    if modality.scale == 1 and type(modality).spread is Modality.spread:
        return items
    return Changed(items, lambda samples, stream: modality.spread(samples, stream) * (1 / modality.scale))


def goes_both_ways(recipe: Recipe) -> bool:
    """Whether the generator of the way back is trained as well."""
    return recipe.both_ways or any(RESTRAINTS[name].both_ways for name in recipe.restraints)


def build_game(
    recipe: Recipe,
    config: Config,
    parts: Parts = Parts(),
    begin: Callable[[nn.Module, nn.Module], None] = lambda generator, discriminator: None,
    inputs: Source | None = None,
    device: str | None = None,
) -> Game:
    """Build the networks of a recipe, let `begin` change their first weights, and build the game that trains them.

    A translator is fed inputs; without them noise, to measure its speed. The device is the recipe's, or another.
    """
    device, network = device or choose_device(recipe.device), parts.find_network(config.network)
    shape = config.modality.item_shape
    with Stream(recipe.seed, "networks").as_default():
        generator = config.build_generator(network)
        discriminator = network.discriminator(shape, config.width, recipe.normalization, config.label_size)
        if config.both_ways:
            back = network.discriminator(shape, config.width, recipe.normalization, config.label_size)
            discriminator = BothWays(discriminator, back)
    if parts.network is not None:
        check_players(generator, discriminator, config)
    begin(generator, discriminator)
    for player in (generator, discriminator):
        synchronize_batch_norm(player)
        convert_conv2d_weight_memory_format(player.to(device), torch.channels_last)  # this layout is faster
    if recipe.recompute and recipe.compile:
        raise UsageError("compiled layers choose themselves what to compute again: leave recompute or compile away")
    if recipe.recompute:
        recompute_activations(generator, discriminator)
    penalty = parts.find_penalty(recipe.penalty)
    penalty = replace(penalty, weight=recipe.penalty_weight, interval=recipe.penalty_interval)
    if recipe.compile:
        generator.compile()
        if not penalty.per_sample:  # the others need second derivatives, which compiled layers lack
            discriminator.compile()
    augmentation = config.modality.augmentation
    augment: Callable[..., torch.Tensor] | None = None
    rate = recipe.learning_rate
    if augmentation is not None and recipe.augment_target is not None:
        augment = Adaptive(recipe.augment, recipe.augment_target, ADAPTIVE_IMAGES)
    elif augmentation is not None and recipe.augment:
        augment = partial(augmentation, probability=recipe.augment)
    return Game(
        generator,
        discriminator,
        objective=parts.find_objective(recipe.objective).smooth(recipe.smoothing),
        penalties=[] if recipe.penalty == "none" else [penalty],
        restraints=[RESTRAINTS[name](weight) for name, weight in recipe.restraints.items()],
        prior=inputs or PRIORS[recipe.prior](config.input_shape),
        generator_optimizer=_build_optimizer(recipe, generator, rate),
        discriminator_optimizer=_build_optimizer(recipe, discriminator, rate * recipe.learning_rate_ratio),
        discriminator_steps=recipe.discriminator_steps,
        generator_steps=recipe.generator_steps,
        clip_gradients=recipe.clip_gradients,
        simultaneous=recipe.simultaneous,
        augment=augment,
        autocast=choose_precision(recipe.precision, device, shape),
        accumulate=recipe.accumulate,
        seed=recipe.seed,
    )


def choose_device(device: str) -> str:
    """The name of the device; "auto" takes a GPU if there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: leave --device away")
    return device


def choose_precision(precision: str, device: str, item_shape: tuple[int, ...]) -> torch.dtype | None:
    """The type that layers compute in; None for the type of their weights.

    "auto" is bfloat16 on GPUs that have it, and on CPUs with AMX, its units for matrices, if items are large.
    """
    if precision != "auto":
        suits = precision == "bfloat16"
    elif device == "cuda":
        suits = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        suits = math.prod(item_shape) >= MIN_BFLOAT16_NUMBERS and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if suits else None


def _build_optimizer(recipe: Recipe, player: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    parameters = player.parameters()
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, learning_rate, alpha=recipe.beta2)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, learning_rate, momentum=recipe.beta1)
    fused = not next(player.parameters()).is_meta
    return Adam(parameters, learning_rate, betas=(recipe.beta1, recipe.beta2), fused=fused)

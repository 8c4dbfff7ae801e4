"""Complete the recipe that a user asks for: open the data, and choose the missing settings to suit them."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sparring.data.items import MAX_CLASSES, Balanced
from sparring.distributed.collectives import without_peers, world_size
from sparring.errors import SparringWarning, UnknownNameError, UsageError
from sparring.game.game import Game
from sparring.game.restraints import RESTRAINTS
from sparring.generator.config import Config
from sparring.modalities import RECIPES, look_at, prepare
from sparring.modalities.modality import Dataset, Modality, Survey
from sparring.modalities.preset import Preset
from sparring.networks import NETWORKS
from sparring.training.build import build_game, choose_device, goes_both_ways
from sparring.training.footprint import suit_memory
from sparring.training.meter import check_goal
from sparring.training.parts import Parts
from sparring.training.recipe import OPEN, Recipe, Request, reading_of
from sparring.training.start_from import inherit, open_start
from sparring.training.stopping import Limits
from sparring.types import OnProgress

MAX_CLUSTERS, ITEMS_PER_CLUSTER = 50, 50  # the most clusters, and the least items per cluster on average
FEW_ITEMS, AUGMENT_TARGET = 5_000, 0.6  # fewer items get an adaptive augmentation with this target
ENOUGH_IMAGES = 150_000  # with fewer, samples are poor: if the time allows no more, a smaller size is chosen
CALIBRATION_SECONDS, SHORT_STEP_SECONDS = 0.7, 0.1


def resolve(
    request: Request, on_progress: OnProgress = lambda what, share: None, *, dry: bool = False
) -> tuple[Recipe, Dataset]:
    """Open the data (only count files if dry) and complete the recipe; items get a shape that the network takes."""
    parts = request.parts or Parts()
    for kind, look_up in parts.registries.items():
        if (name := request.settings.get(kind)) is not None:
            look_up(name)
    found = look_at(request.data, reading_of(request.settings), on_progress)
    modality = found.choices[0] if isinstance(found, Survey) else found.modality
    start = open_start(path, parts) if (path := request.settings.get("start_from")) else None
    if start is not None:
        request = inherit(request, start, modality)
    preset = _choose_preset(request, modality)
    settings = {**preset.settings, **request.settings}
    size: tuple[int, ...] | None = settings.get("size")
    if size is not None:
        modality = modality.with_size(size)
    elif isinstance(found, Survey):
        modality = _choose_size(request, preset, found, on_progress)
    recipe = complete(request, preset, modality)
    if size is not None and recipe.size != size:
        asked, offered = ("x".join(map(str, each)) for each in (size, recipe.size or ()))
        raise UsageError(f"the network {recipe.network!r} takes no images of {asked} pixels: try --size {offered}")
    dataset = prepare(found, recipe.size, recipe.mirror, on_progress, dry)
    if recipe.source is not None:
        dataset = replace(dataset, source=_open_source(recipe, dataset, on_progress, dry))
    has_labels = start is not None and start.config.label_size > 0
    if not parts.find_network(recipe.network).takes_labels:
        if request.settings.get("conditional") or (request.settings.get("num_clusters") or 1) > 1:
            raise UsageError(f"the network {recipe.network!r} takes no labels: leave conditional and num_clusters away")
        settings |= {"conditional": False, "num_clusters": 1}
    recipe = _suit(recipe, settings, dataset, least_clusters=2 if has_labels else 1)
    if start is not None and has_labels != (recipe.conditional or recipe.num_clusters > 1):
        raise UsageError(
            f"{path} was trained {'with' if has_labels else 'without'} labels, and this training would be "
            f"{'without' if has_labels else 'with some'}: leave start_from away, or give other data"
        )
    if start is not None and dataset.has_labels and not has_labels:
        message = f"the labels of {recipe.data} are not used, since {path} was trained without labels"
        warnings.warn(SparringWarning(message), stacklevel=2)
    check_goal(recipe, dataset)
    is_open = settings.get("recompute") is None
    return suit_memory(recipe, dataset.modality, count_classes(recipe, dataset), parts, is_open=is_open), dataset


def count_classes(recipe: Recipe, dataset: Dataset) -> int:
    """The classes or clusters that the networks of a recipe get; 0 for none."""
    if recipe.conditional:
        return len(dataset.train.class_shares)
    return recipe.num_clusters if recipe.num_clusters > 1 else 0


def open_data(recipe: Recipe, on_progress: OnProgress = lambda what, share: None) -> Dataset:
    """The data set of a complete recipe."""
    found = look_at(recipe.data, recipe.reading, on_progress)
    dataset = prepare(found, recipe.size, recipe.mirror, on_progress)
    return dataset if recipe.source is None else replace(dataset, source=_open_source(recipe, dataset, on_progress))


def _open_source(recipe: Recipe, target: Dataset, on_progress: OnProgress, dry: bool = False) -> Dataset:
    """The data set that a translator is fed, with items of the target's shape."""
    assert recipe.source is not None
    found = look_at(recipe.source, replace(recipe.reading, column=None, labels=None), on_progress)
    modality = found.choices[0] if isinstance(found, Survey) else found.modality
    if modality.name != target.modality.name:
        raise UsageError(
            f"{recipe.source} holds {modality.name}, and {recipe.data} {target.modality.name}: a translator takes "
            "items of one kind"
        )
    source = prepare(found, recipe.size, recipe.mirror, on_progress, dry)
    if (given := source.modality).item_shape != target.modality.item_shape:
        raise UsageError(
            f"the items of {recipe.source} ({given.describe()}) have another shape than those of {recipe.data} "
            f"({target.modality.describe()}): make them alike, with --size if only the size differs"
        )
    return source


def _choose_preset(request: Request, modality: Modality) -> Preset:
    """The preset that the user asks for, or the modality's first one for a translator or for another generator."""
    translates = request.settings.get("source") is not None
    preset = RECIPES[request.preset] if request.preset else None
    if preset is None:
        preset = next((each for each in modality.presets if each.translates == translates), None)
        if preset is None and translates:
            raise UsageError(f"no recipe translates {modality.name}: leave --source away")
        if preset is None:
            raise UsageError(f"{modality.name} are only translated: give --source, another language")
    if preset.translates != translates:
        what = "start from noise: leave --source away" if translates else "translate: give --source, what they are fed"
        raise UsageError(f"the recipe {preset.name!r} is for generators that {what}")
    return preset


def complete(request: Request, preset: Preset, modality: Modality) -> Recipe:
    """A recipe for items of a modality, without the choices that depend on their number."""
    settings: dict[str, Any] = {**preset.settings, **request.settings}
    parts = request.parts or Parts()
    name = settings.get("network") or modality.usual_network(settings.get("normalization"))
    network = parts.find_network(name)
    settings |= {k: v for k, v in preset.by_network.get(name, {}).items() if k not in request.settings}
    penalty = parts.find_penalty(settings.get("penalty", "none"))
    if settings.get("normalization") not in (None, *network.normalizations):
        raise UsageError(
            f"the network {name!r} takes no normalization {settings['normalization']!r}, but "
            f"{' or '.join(map(repr, network.normalizations))}: leave it away, or give another --network"
        )
    default = network.normalizations[0] if modality.batch_normalization and not penalty.per_sample else "none"
    translates = settings.get("source") is not None
    if network.translates != translates:
        suited = [each.name for each in NETWORKS.values() if each.translates == translates]
        raise UsageError(
            f"the network {name!r} {'starts from noise' if translates else 'translates'}: give --network "
            f"{' or '.join(suited)}" + ("" if translates else ", or --source, the items to translate")
        )
    for restraint in settings.get("restraints", {}):
        if restraint not in RESTRAINTS:
            raise UnknownNameError("restraint", restraint, RESTRAINTS)
        if not translates:
            raise UsageError(f"the restraint {restraint!r} is for translators: give --source, or leave it away")
        if RESTRAINTS[restraint].compares_features and not network.has_features:
            suited = [each.name for each in NETWORKS.values() if each.has_features]
            raise UsageError(
                f"the restraint {restraint!r} compares features of patches, which a generator of the network {name!r} "
                f"does not have: give --network {' or '.join(suited)}, or leave the restraint away"
            )
    weight = settings.get("penalty_weight")
    chosen = {
        "data": request.data,
        "network": name,
        "size": network.fit(modality.item_shape)[1:] or None,
        "width": settings.get("width") or network.width,
        "normalization": settings.get("normalization") or default,
        "penalty_weight": penalty.weight if weight is None else weight,
    }
    recipe = Recipe(**{k: v for k, v in settings.items() if v is not None or k not in OPEN} | chosen)
    if recipe.limits == Limits():
        raise UsageError("the training would never end: give steps, images or minutes")
    parts.find_objective(recipe.objective).smooth(recipe.smoothing)  # raises an error if the objective cannot
    replace(penalty, weight=recipe.penalty_weight, interval=recipe.penalty_interval)  # raises one for a bad number
    if recipe.accumulate > 1 and penalty.whole_batch:
        raise UsageError(
            f"the penalty {recipe.penalty!r} needs the whole batch: leave accumulate={recipe.accumulate} away"
        )
    choose_device(recipe.device)
    return recipe


def _suit(recipe: Recipe, settings: Mapping[str, Any], dataset: Dataset, least_clusters: int = 1) -> Recipe:
    """A recipe with labels, clusters and augmentation that suit the data."""
    check_batch_size(recipe, dataset)
    if recipe.balance:
        Balanced(dataset.train)  # raises an error without classes
    num_items = dataset.train.num_items
    if recipe.both_ways and dataset.source is None:
        raise UsageError("only a translator goes both ways: give --source, or leave both_ways away")
    if recipe.input_warp and (dataset.source is None or dataset.modality.warp is None):
        raise UsageError("only images that are translated can be warped: leave input_warp away")
    if (recipe.augment or recipe.augment_target is not None) and dataset.modality.augmentation is None:
        raise UsageError(f"only images can be augmented, and {recipe.data} holds none: leave augment away")
    if dataset.source is not None and settings.get("conditional"):
        raise UsageError("a translator is told no labels: leave conditional away")
    has_labels = dataset.has_labels and dataset.source is None
    conditional = has_labels if settings.get("conditional") is None else bool(settings["conditional"])
    if conditional and not dataset.has_labels:
        raise UsageError(f"{recipe.data} has no labels: leave --conditional away")
    num_clusters = settings.get("num_clusters", 1)
    if num_clusters is None:
        most = min(MAX_CLUSTERS, (num_items or 0) // ITEMS_PER_CLUSTER)
        num_clusters = 1 if conditional or not num_items else max(least_clusters, most)
    elif num_clusters > 1:
        most = min(MAX_CLASSES, num_items or MAX_CLASSES)
        if conditional:
            raise UsageError("clusters stand in for labels, but the data have labels: add --conditional False")
        if num_items is None:
            raise UsageError(f"{recipe.data} holds no finite set of items to cluster: leave num_clusters away")
        if num_clusters > most:
            raise UsageError(f"{recipe.data} can have at most {most} clusters")
    num_different = (num_items or 0) // (2 if recipe.mirror else 1)
    is_open = "augment" in settings and settings["augment"] is None and recipe.augment_target is None
    are_few = 0 < num_different < FEW_ITEMS and dataset.modality.augmentation is not None
    return replace(
        recipe,
        conditional=conditional,
        num_clusters=num_clusters,
        augment_target=AUGMENT_TARGET if is_open and are_few else recipe.augment_target,
    )


def check_batch_size(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse batches that the data cannot fill, or the processes cannot share."""
    num_items, size = dataset.train.num_items, recipe.batch_size
    if num_items is not None and num_items < size:
        raise UsageError(
            f"{recipe.data} has {num_items} items to train on, fewer than a batch of {size}: lower --batch-size"
        )
    if dataset.source is not None and (num_inputs := dataset.source.train.num_items) is not None and num_inputs < size:
        raise UsageError(
            f"{recipe.source} has {num_inputs} items to translate, fewer than a batch of {size}: lower --batch-size"
        )
    parts = world_size() * recipe.accumulate * (2 if goes_both_ways(recipe) else 1)
    if size % parts:
        shares = f"shared by {world_size()} processes evenly"
        if goes_both_ways(recipe):
            shares = f"played in {parts // 2} parts with as many items of each domain"
        elif recipe.accumulate > 1:
            shares = f"played in {world_size() * recipe.accumulate} equal parts"
        raise UsageError(f"a batch of {size} cannot be {shares}: give another --batch-size")


def _choose_size(request: Request, preset: Preset, survey: Survey, on_progress: OnProgress) -> Modality:
    """The largest items that the files fill and the time allows."""
    chosen = None
    for number, modality in enumerate(survey.choices):
        recipe = complete(request, preset, modality)
        if recipe.minutes is None:
            return survey.untimed_choice
        fitting = modality.with_size(recipe.size or ())
        if chosen is not None and fitting != chosen:
            on_progress(f"trying {fitting.describe()}", number / len(survey.choices))
            if images_per_second(recipe, fitting, request.parts) * 60 * recipe.minutes < ENOUGH_IMAGES:
                break
        chosen = fitting
    assert chosen is not None
    return chosen


def images_per_second(recipe: Recipe, modality: Modality, parts: Parts | None = None) -> float:
    """Measure for about a second how many real items a second a game without labels trains on.

    Where whole batches would take long, parts of them are played: they need little memory, and have nearly that rate.
    """
    whole, size = recipe.batch_size // world_size(), 2 * recipe.accumulate
    with without_peers():
        translates, both_ways = recipe.source is not None, goes_both_ways(recipe)
        sizes = recipe.network, recipe.latent_dim, recipe.prior, recipe.width
        config = Config(modality, *sizes, source=modality if translates else None, both_ways=both_ways)
        game = build_game(recipe, config, parts or Parts())
        while True:
            size = min(size, whole)
            shape = size, *modality.item_shape
            real = [torch.zeros(shape, device=choose_device(recipe.device))] * recipe.discriminator_steps
            game.step(real)  # the first one takes longer
            if size == whole or 1 / _steps_per_second(game, real, 0.0) > SHORT_STEP_SECONDS:
                # The faster half counts: while another process holds a core, one step can take as long as a hundred.
                rate = max(_steps_per_second(game, real, CALIBRATION_SECONDS / 2) for _ in range(2))
                return size * world_size() * recipe.discriminator_steps * rate
            size *= 4


def _steps_per_second(game: Game, real: list[Tensor], seconds: float) -> float:
    """Of the steps that take so many seconds, one at least."""
    start, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - start < seconds:
        game.step(real)
        steps += 1
    return steps / (time.perf_counter() - start)

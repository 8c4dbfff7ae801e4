"""Recipes: names and numbers, checked before anything is made."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sparring import RECIPES, UnknownNameError, UsageError
from sparring.build import resolve
from sparring.recipes import SUITED, parse_setting, recipe_for


def test_a_folder_with_the_name_of_a_data_set_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert recipe_for("digits").data == "digits"
    assert recipe_for("./digits").data == str(tmp_path / "digits")


def test_a_limit_replaces_the_recipes() -> None:
    assert recipe_for("digits").minutes == 2.0
    recipe = recipe_for("digits", steps=10)
    assert (recipe.steps, recipe.images, recipe.minutes) == (10, None, None)


def test_points_get_the_recipe_for_points(tmp_path: Path) -> None:
    assert recipe_for("ring") == dataclasses.replace(RECIPES["points"].recipe, data="ring")
    np.save(tmp_path / "points.npy", np.zeros((20, 2)))
    assert recipe_for(str(tmp_path / "points.npy")).network == RECIPES["points"].recipe.network


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1e3}, "valid integer"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": -5}, "steps must be at least 1"),
        ({"minutes": 0.0}, "minutes must be greater than 0"),
        ({"minutes": float("nan")}, "minutes must be"),
        ({"learning_rate": float("inf")}, "learning_rate must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be"),
        ({"size": 3}, "size must be between"),
        ({"beta1": 1.0}, "beta1 must be"),
        ({"penalty_weight": -1.0}, "penalty_weight must be"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"learning_rte": 1.0}, "did you mean 'learning_rate'"),
    ],
)
def test_numbers_and_names_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe_for("digits", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "gan"}, "unknown objective"),
        ({"penalty": "gradient-penalty"}, "did you mean 'gradient_penalty'"),
        ({"network": "conf"}, "did you mean 'conv'"),
        ({"network": "dcgan", "size": 28}, "try --size 32"),
        ({"batch_size": 9001}, "lower --batch-size"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(recipe_for("digits", **settings))


def test_nothing_is_left_open() -> None:
    recipe, dataset = resolve(recipe_for("digits"))
    assert (recipe.network, recipe.size, recipe.normalization) == ("conv", 28, "batch")
    assert None not in (recipe.width, recipe.penalty_weight)
    assert resolve(recipe)[0] == recipe
    assert dataset.train.item_shape == (1, 28, 28)


def test_the_network_decides_the_size_where_none_is_given() -> None:
    recipe, dataset = resolve(recipe_for("digits", network="dcgan"))
    assert recipe.size == 32
    assert dataset.train.item_shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("penalty", "normalization"), [("none", "batch"), ("r1", "none"), ("weight_clipping", "batch")]
)
def test_penalties_on_single_samples_go_without_batch_statistics(penalty: str, normalization: str) -> None:
    assert resolve(recipe_for("digits", penalty=penalty))[0].normalization == normalization


@pytest.mark.parametrize(("size", "network", "normalization"), [(64, "conv", "batch"), (128, "resnet", "none")])
def test_the_size_decides_the_network_where_none_is_given(size: int, network: str, normalization: str) -> None:
    recipe, _ = resolve(recipe_for("digits", size=size))
    assert (recipe.network, recipe.normalization) == (network, normalization)
    assert resolve(recipe_for("digits", "dragan", size=size))[0].network == "conv"  # which needs batch statistics


def test_what_is_not_given_follows_the_network() -> None:
    """A norm-free network diverges at the rates of one with normalisation; what is given is kept."""
    usual, large = resolve(recipe_for("digits"))[0], resolve(recipe_for("digits", size=128))[0]
    assert (usual.objective, usual.penalty, usual.learning_rate, usual.penalty_interval) == (
        "non_saturating", "none", 4e-3, 1,
    )  # fmt: skip
    assert {name: getattr(large, name) for name in SUITED["resnet"]} == SUITED["resnet"]
    given = resolve(recipe_for("digits", size=128, penalty="r1", learning_rate=3e-4, objective="non_saturating"))[0]
    assert (given.penalty, given.penalty_interval, given.learning_rate) == ("r1", 1, 3e-4)
    assert (given.objective, given.beta1) == ("non_saturating", 0.0)
    assert resolve(recipe_for("digits", "r3gan", size=128))[0].learning_rate == 2e-4
    assert all(each.follows_network == () for each in (usual, large, given))


def test_a_network_without_normalisation_takes_none() -> None:
    with pytest.raises(UsageError, match="takes no normalization 'batch', but 'none'"):
        resolve(recipe_for("digits", network="resnet", normalization="batch"))


def test_labels_are_used_where_there_are_some() -> None:
    assert resolve(recipe_for("digits"))[0].conditional is True
    assert resolve(recipe_for("digits", conditional=False))[0].conditional is False
    assert resolve(recipe_for("ring"))[0].conditional is False
    with pytest.raises(UsageError, match="has no labels"):
        resolve(recipe_for("ring", conditional=True))


def test_clusters_stand_in_for_labels(tmp_path: Path) -> None:
    assert resolve(recipe_for("digits"))[0].num_clusters == 1
    assert resolve(recipe_for("digits", conditional=False))[0].num_clusters == 50
    assert resolve(recipe_for("digits", "dcgan"))[0].num_clusters == 1
    assert resolve(recipe_for("ring"))[0].num_clusters == 1
    assert resolve(recipe_for("stacked-digits"))[0].num_clusters == 1
    np.save(tmp_path / "few.npy", np.zeros((200, 28, 28), np.uint8))
    assert resolve(recipe_for(str(tmp_path / "few.npy")))[0].num_clusters == 3
    for num_clusters in (1001, 201):
        with pytest.raises(UsageError, match="at most"):
            resolve(recipe_for(str(tmp_path / "few.npy"), num_clusters=num_clusters))
    with pytest.raises(UsageError, match="add --conditional False"):
        resolve(recipe_for("digits", num_clusters=20))
    with pytest.raises(UsageError, match="no finite set of images"):
        resolve(recipe_for("ring", num_clusters=8))


def test_points_take_no_convolutions() -> None:
    with pytest.raises(UsageError, match="takes images"):
        resolve(recipe_for("ring", network="conv"))


def test_settings_from_text() -> None:
    assert parse_setting("steps", "100") == 100
    assert parse_setting("clip_gradients", "none") is None
    assert parse_setting("normalization", "none") == "none"
    assert parse_setting("simultaneous", "yes") is True
    for name, text in (("steps", "many"), ("learning_rate", ""), ("learning_rate", "none")):
        with pytest.raises(UsageError, match=name):
            parse_setting(name, text)
    with pytest.raises(UnknownNameError):
        parse_setting("stepz", "1")


def test_too_few_items_for_a_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((20, 28, 28), np.uint8))
    with pytest.raises(UsageError, match="18 items to train on, fewer than a batch of 32"):
        resolve(recipe_for(str(tmp_path / "few.npy")))

"""Recipes: names and numbers, checked before anything is made."""

from pathlib import Path

import numpy as np
import pytest

from sparring import RECIPES, UnknownNameError, UsageError
from sparring.training.recipe import Recipe, check_setting, make_request
from sparring.training.resolve import open_data, resolve


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)


def choose(data: str, preset: str | None = None, **settings: object) -> Recipe:
    return resolve(make_request(data, preset, **settings))[0]


def test_a_folder_with_the_name_of_a_data_set_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert make_request("digits").data == "digits"
    assert make_request("./digits").data == str(tmp_path / "digits")


def test_a_limit_replaces_the_recipes() -> None:
    assert choose("digits").minutes == 2.0
    recipe = choose("digits", steps=10)
    assert (recipe.steps, recipe.images, recipe.minutes) == (10, None, None)
    with pytest.raises(UsageError, match="never end"):
        choose("digits", minutes=None)


def test_points_get_the_recipe_for_points(tmp_path: Path) -> None:
    points = RECIPES["points"].settings
    assert {name: getattr(choose("ring"), name) for name in points} == points
    np.save(tmp_path / "points.npy", np.eye(2000, 2))
    assert choose(str(tmp_path / "points.npy")).network == points["network"]
    assert choose("digits").network == "conv"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1e3}, "valid integer"),
        ({"steps": 0}, "steps=.*greater than or equal to 1"),
        ({"steps": -5}, "steps=.*greater than or equal to 1"),
        ({"minutes": 0.0}, "minutes=.*greater than 0"),
        ({"minutes": float("nan")}, "minutes=nan: must be"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: .*less than inf"),
        ({"batch_size": 0}, "batch_size=.*greater than or equal to 1"),
        ({"seed": -1}, "seed=.*greater than or equal to 0"),
        ({"size": 3}, "size=.*greater than or equal to 4"),
        ({"size": (64, 3)}, "size=.*greater than or equal to 4"),
        ({"size": (64, 96, 3)}, "size="),
        ({"size": "64x"}, "size="),
        ({"size": 2048}, "size=.*less than or equal to 1024"),
        ({"beta1": 1.0}, "beta1=.*less than 1"),
        ({"penalty_weight": -1.0}, "penalty_weight=.*greater than or equal to 0"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"learning_rte": 1.0}, "did you mean 'learning_rate'"),
    ],
)
def test_numbers_and_names_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_request("digits", **settings)


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
        resolve(make_request("digits", **settings))


def test_nothing_is_left_open() -> None:
    recipe, dataset = resolve(make_request("digits"))
    assert (recipe.network, recipe.size, recipe.normalization) == ("conv", (28, 28), "batch")
    assert None not in (recipe.width, recipe.penalty_weight)
    assert open_data(recipe).train.item_shape == dataset.train.item_shape == (1, 28, 28)


def test_the_network_decides_the_size_where_none_is_given() -> None:
    recipe, dataset = resolve(make_request("digits", network="dcgan"))
    assert recipe.size == (32, 32)
    assert dataset.train.item_shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("penalty", "normalization"), [("none", "batch"), ("r1", "none"), ("weight_clipping", "batch")]
)
def test_penalties_on_single_samples_go_without_batch_statistics(penalty: str, normalization: str) -> None:
    assert choose("digits", penalty=penalty).normalization == normalization


@pytest.mark.parametrize(("size", "network", "normalization"), [(64, "conv", "batch"), (128, "resnet", "none")])
def test_the_size_decides_the_network_where_none_is_given(size: int, network: str, normalization: str) -> None:
    recipe, _ = resolve(make_request("digits", size=size))
    assert (recipe.network, recipe.normalization) == (network, normalization)
    assert choose("digits", "dragan", size=size).network == "conv"  # which needs batch statistics


def test_what_is_not_given_follows_the_network() -> None:
    """A norm-free network diverges at the rates of one with normalisation; what is given is kept."""
    usual, large = choose("digits"), choose("digits", size=128)
    assert (usual.objective, usual.penalty, usual.learning_rate, usual.penalty_interval) == (
        "non_saturating", "none", 4e-3, 1,
    )  # fmt: skip
    assert {name: getattr(large, name) for name in RECIPES["default"].by_network["resnet"]} == RECIPES[
        "default"
    ].by_network["resnet"]
    given = choose("digits", size=128, penalty="r1", learning_rate=3e-4, objective="non_saturating")
    assert (given.penalty, given.penalty_interval, given.learning_rate) == ("r1", 1, 3e-4)
    assert (given.objective, given.beta1) == ("non_saturating", 0.0)
    assert choose("digits", "r3gan", size=128).learning_rate == 2e-4


def test_a_network_without_normalisation_takes_none() -> None:
    with pytest.raises(UsageError, match="takes no normalization 'batch', but 'none'"):
        resolve(make_request("digits", network="resnet", normalization="batch"))


def test_labels_are_used_where_there_are_some() -> None:
    assert choose("digits").conditional is True
    assert choose("digits", conditional=False).conditional is False
    assert choose("ring").conditional is False
    with pytest.raises(UsageError, match="has no labels"):
        resolve(make_request("ring", conditional=True))


def test_clusters_stand_in_for_labels(tmp_path: Path) -> None:
    assert choose("digits").num_clusters == 1
    assert choose("digits", conditional=False).num_clusters == 50
    assert choose("digits", "dcgan").num_clusters == 1
    assert choose("ring").num_clusters == 1
    assert choose("stacked-digits").num_clusters == 1
    np.save(tmp_path / "few.npy", np.arange(200 * 28 * 28, dtype=np.uint8).reshape(200, 28, 28))
    assert choose(str(tmp_path / "few.npy")).num_clusters == 3
    for num_clusters in (1001, 201):
        with pytest.raises(UsageError, match="at most"):
            resolve(make_request(str(tmp_path / "few.npy"), num_clusters=num_clusters))
    with pytest.raises(UsageError, match="add --conditional False"):
        resolve(make_request("digits", num_clusters=20))
    with pytest.raises(UsageError, match="no finite set of items"):
        resolve(make_request("ring", num_clusters=8))


def test_points_take_no_convolutions() -> None:
    with pytest.raises(UsageError, match="takes images"):
        resolve(make_request("ring", network="conv"))


def test_settings_from_text() -> None:
    for name, text, value in (
        ("steps", "100", 100),
        ("clip_gradients", "none", None),
        ("normalization", "none", "none"),
        ("simultaneous", "yes", True),
        ("size", "64", (64, 64)),
        ("size", "64x96", (64, 96)),
        ("size", "none", None),
    ):
        assert check_setting(name, text, strict=False) == value
    for name, text in (("size", "64x"), ("steps", "many"), ("learning_rate", ""), ("learning_rate", "none")):
        with pytest.raises(UsageError, match=name):
            check_setting(name, text, strict=False)
    with pytest.raises(UnknownNameError):
        check_setting("stepz", "1", strict=False)


def test_too_few_items_for_a_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.eye(28, dtype=np.uint8)[None] * np.arange(200, 220, dtype=np.uint8)[:, None, None])
    with pytest.raises(UsageError, match="18 items to train on, fewer than a batch of 32"):
        resolve(make_request(str(tmp_path / "few.npy")))


def test_none_in_text_is_a_name_where_it_is_one() -> None:
    assert check_setting("penalty", "none", strict=False) == "none"
    assert check_setting("normalization", "none", strict=False) == "none"
    assert check_setting("minutes", "none", strict=False) is None

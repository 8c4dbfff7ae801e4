"""The trained thing: the same samples for the same seed, whatever is asked around them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import CONFIGS, make_generator

import sparring
from sparring import UnknownNameError, UsageError
from sparring.game.sources import spherical
from sparring.generator.config import Config
from sparring.generator.generator import SIZES, Generator
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.seeding import Stream

IMAGES = Images((1, 28, 28))
CONFIG = Config(IMAGES, "conv", latent_dim=16, prior="gaussian", width=4)


@pytest.fixture
def generator() -> Generator:
    with Stream(0, "test").as_default():
        return Generator(CONFIG.build(), CONFIG)


def test_samples_are_images(generator: Generator) -> None:
    images = generator.sample(3, seed=0)
    assert images.shape == (3, 28, 28)
    assert images.dtype == np.uint8


def test_ten_are_the_first_ten_of_a_hundred(generator: Generator) -> None:
    """Batch sizes change a convolution's rounding; samples must not."""
    many = generator.sample(257, seed=5)
    for count in (1, 10, 100, 101):
        assert np.array_equal(generator.sample(count, seed=5), many[:count])
    assert not np.array_equal(generator.sample(10, seed=6), many[:10])


@pytest.mark.parametrize("name", CONFIGS)
def test_bits_are_the_same_in_batches_of_every_size(name: str) -> None:
    """Of numbers before rounding; a sample keeps its place up to a multiple of sixteen, as it does in `sample`."""
    generator = make_generator(CONFIGS[name])
    latents, labels = generator.latents(SIZES[-1]), generator.random_labels(SIZES[-1])

    def run(start: int, size: int) -> torch.Tensor:
        made: torch.Tensor = generator.module(
            *(each[start : start + size] for each in (latents, labels) if each is not None)
        )
        return made

    whole = run(0, SIZES[-1])
    for size in SIZES[:-1]:
        for start in range(0, SIZES[-1] - size, 16):
            assert torch.equal(run(start, size), whole[start : start + size])


def test_classes() -> None:
    """Every label its own image; labels drawn as often as in the data; the same prefix for any number."""
    config = dataclasses.replace(CONFIG, class_shares=(0.25, 0.0, 0.75))
    generator = Generator(config.build(), config)
    drawn = generator.random_labels(10_000)
    # The share of class 0 within five standard errors: false alarm below 6e-7, and none for this fixed seed.
    assert (drawn == 0).double().mean().item() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 1e4) ** 0.5)
    assert (drawn == 1).sum() == 0
    assert torch.equal(generator.random_labels(10), drawn[:10])
    assert np.array_equal(generator.sample(5), generator.sample(5, labels=drawn[:5].tolist()))
    assert not np.array_equal(generator.sample(5, labels=0), generator.sample(5, labels=2))
    for labels in (3, -1, [0, 1]):
        with pytest.raises(UsageError):
            generator.sample(5, labels=labels)
    with pytest.raises(UsageError, match="give a label"):
        generator.generate(generator.latents(2))


def test_a_class_by_its_name() -> None:
    """See also `test_a_label_is_the_name_of_a_class`."""
    config = dataclasses.replace(CONFIG, class_shares=(0.5, 0.2, 0.3), class_names=("cat", "2", "dog"))
    generator = Generator(config.build(), config)
    for name, number in (("cat", 0), ("2", 1), (2, 1), (np.int64(2), 1), ("dog", 2)):
        drawn = generator.generate(generator.latents(2), [number] * 2)
        assert np.array_equal(generator.sample(2, labels=name), drawn)
        assert np.array_equal(generator.sample(2, labels=[name] * 2), drawn)
    with pytest.raises(UnknownNameError, match="did you mean 'dog'"):
        generator.sample(2, labels=["dog", "dogs"])
    with pytest.raises(UsageError, match="3 classes and 1 names"):
        dataclasses.replace(config, class_names=("cat",))


def test_clusters_are_no_labels() -> None:
    """They are drawn as classes are, and nobody can ask for one as if it were a label of the data."""
    config = dataclasses.replace(CONFIG, class_shares=(0.25, 0.75), classes_are_clusters=True)
    generator = Generator(config.build(), config)
    assert config.known_labels == {}
    drawn = generator.random_labels(5)
    assert np.array_equal(generator.sample(5), generator.generate(generator.latents(5), drawn))
    for rejection in (None, lambda samples: torch.zeros(len(samples))):
        with pytest.raises(UsageError, match="without labels"):
            generator.sample(5, labels=1, rejection=rejection)
    start, end = generator.latents(2)
    walk = generator.interpolate(start, end, steps=2)
    largest = generator.generate(torch.stack([start, end]), torch.tensor([1, 1]))
    assert np.abs(walk.astype(int) - largest.astype(int)).max() <= 1


def test_labels_without_classes_are_refused(generator: Generator) -> None:
    with pytest.raises(UsageError, match="without labels"):
        generator.sample(5, labels=1)


def test_save_and_load_give_the_same_samples(generator: Generator, tmp_path: Path) -> None:
    generator.save(tmp_path / "generator")
    generator.save(tmp_path / "generator")  # over itself
    modes = {path.stat().st_mode for path in (tmp_path / "generator").iterdir()}
    assert len(modes) == 1  # who may read one file may read the other
    for path in (tmp_path, tmp_path / "generator", str(tmp_path)):
        assert np.array_equal(sparring.load(path).sample(5), generator.sample(5))


def test_truncation_bounds_the_latents(generator: Generator) -> None:
    latents = generator.latents(1000, truncation=0.5)
    assert latents.abs().max() <= 0.5
    # A normal number cut at ±0.5 has a standard deviation of 0.2791; 16,000 of them, five standard errors.
    assert latents.std().item() == pytest.approx(0.2791, abs=5 * 0.2791 / (2 * 16_000) ** 0.5)
    assert torch.equal(generator.latents(10, truncation=0.5), latents[:10])


def test_interpolation_begins_and_ends_where_it_should(generator: Generator) -> None:
    start, end = generator.latents(2)
    path = generator.interpolate(start, end, steps=5)
    ends = generator.generate(torch.stack([start, end]))
    assert np.abs(path[[0, -1]].astype(int) - ends.astype(int)).max() <= 1


def test_the_sphere_keeps_the_norm() -> None:
    start, end = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    between = spherical(start, end, torch.linspace(0, 1, 9))
    torch.testing.assert_close(between.norm(dim=1), torch.full((9,), 3.0))
    torch.testing.assert_close(spherical(start, start, torch.tensor([0.3])), start[None])


def test_pixels() -> None:
    colours = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    assert Images((3, 1, 1)).decode(colours).tolist() == [[[[0, 128, 255]]]]
    assert Images((1, 2, 2)).decode(torch.full((1, 1, 2, 2), 7.0)).tolist() == [[[255, 255], [255, 255]]]


def test_a_modality_is_read_by_its_name(generator: Generator, tmp_path: Path) -> None:
    """Both the kind and its numbers survive: red where one modality is taken for another."""
    points = Points((2,), scale=0.5)
    config = Config(points, "mlp", latent_dim=8, prior="gaussian", width=16)
    Generator(config.build(), config).save(tmp_path / "points")
    assert sparring.load(tmp_path / "points").modality == points
    generator.save(tmp_path / "images")
    assert sparring.load(tmp_path / "images").modality == IMAGES


@pytest.mark.parametrize(
    "call",
    [
        lambda generator: generator.sample(0),
        lambda generator: generator.sample(1, seed=-1),
        lambda generator: generator.sample(1, truncation=0.0),
        lambda generator: generator.generate(torch.zeros(2, 5)),
        lambda generator: generator.interpolate(torch.zeros(16), torch.ones(16), steps=1),
    ],
)
def test_numbers_out_of_range_are_refused(call: object, generator: Generator) -> None:
    with pytest.raises(UsageError):
        call(generator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "os.system"}, "unknown network"),
        ({"prior": "x"}, "unknown prior"),
        ({"width": 10**9}, "between 1 and 4096"),
        ({"modality": {"name": "images", "item_shape": [1, 29, 29]}}, "cannot make items"),
        ({"modality": {"name": "smells", "item_shape": [1]}}, "modality"),
        ({"modality": {"name": "images", "item_shape": [1, 28, 28], "code": "x"}}, "code"),
        ({"width": 8}, "another network"),
        ({"code": "print()"}, "code"),
        ({"latent_dim": "16"}, "latent_dim"),
    ],
)
def test_strange_configs_are_refused(
    change: dict[str, object], message: str, generator: Generator, tmp_path: Path
) -> None:
    generator.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UsageError, match=message):
        sparring.load(tmp_path)


def test_nothing_is_unpickled(generator: Generator, tmp_path: Path) -> None:
    """A pickle in the place of the weights would run code when it is loaded as one."""

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    generator.save(tmp_path)
    torch.save(Bomb(), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="damaged"):
        sparring.load(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_no_generator_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no generator"):
        sparring.load(tmp_path)
    with pytest.raises(UnknownNameError):
        Config(IMAGES, "unknown", 16, "gaussian", 4).build()

"""Arrays: which are images, what is black and what is white, and how the arrays of a file are called."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sparring
from sparring import DataError, open_dataset
from sparring.data import arrays
from sparring.data.packed import Packed
from sparring.errors import SparringWarning
from sparring.modalities import keep
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve


def noise(*shape: int, most: int = 255, kind: str = "u1") -> np.ndarray:
    """Whole numbers of which each from 0 to `most` may occur, and both ends do."""
    array = np.random.default_rng(0).integers(0, most + 1, shape).astype(kind)
    array.flat[:2] = 0, most
    return array


def read(array: np.ndarray) -> np.ndarray:
    """Images as they are trained on, [n, channels, height, width]."""
    dataset = open_dataset(str(keep(array)))
    images = np.empty((len(array), *dataset.train.item_shape), np.uint8)
    is_heldout = np.arange(len(array)) % 10 == 9
    images[is_heldout], images[~is_heldout] = dataset.heldout.items, dataset.train.items
    return images


SIGNALS = {
    "one channel first": (200, 1, 128),
    "two channels first": (200, 2, 1500),
    "one channel last": (200, 128, 1),
    "three channels": (200, 3, 32),
    "twelve channels": (200, 12, 1500),
    "four dimensions": (200, 1, 1, 128),
    "four dimensions, channels last": (200, 1, 128, 1),
}


@pytest.mark.parametrize("case", SIGNALS)
@pytest.mark.parametrize("kind", ["f4", "u1"])
def test_signals_are_no_images(case: str, kind: str) -> None:
    """Red where a signal becomes a picture of one row. Bytes are hardly ever signals, so they may be long."""
    shape = SIGNALS[case]
    array = noise(*shape).astype(kind) / (255 if kind == "f4" else 1)
    if kind == "u1" and case == "twelve channels":
        assert read(array.astype(kind)).shape == (200, 1, 12, 1500)
        return
    length = int(np.prod(shape[1:]))
    with pytest.raises(DataError, match=rf"{str([*shape])[1:-1]}., which look like signals: .* points .200, {length}."):
        keep(array.astype(kind))


IMAGES = {
    (30, 4, 32): (1, 4, 32),
    (30, 32, 64): (1, 32, 64),
    (30, 1, 28, 28): (1, 28, 28),
    (30, 28, 28, 1): (1, 28, 28),
    (30, 3, 20, 40): (3, 20, 40),
    (30, 20, 40, 3): (3, 20, 40),
    (30, 4, 4, 4): (4, 4, 4),
    (30, 3, 16, 4): (3, 16, 4),  # 3 pixels high would be too low
}


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_images_have_plausible_sides(shape: tuple[int, ...]) -> None:
    for array in (noise(*shape), noise(*shape) / 255.0):
        assert read(array).shape[1:] == IMAGES[shape]


@pytest.mark.parametrize("size", [(32, 64), (128, 32), (96, 64)])
def test_rectangles_are_trained_on_as_they_are(size: tuple[int, int]) -> None:
    array = noise(40, *size)
    recipe, dataset = resolve(make_request(str(keep(array)), None, steps=1))
    assert recipe.size == dataset.train.item_shape[1:] == size
    assert np.array_equal(read(array)[:, 0], array)


def test_what_is_cropped_is_said() -> None:
    path = str(keep(noise(40, 30, 50)))
    with pytest.warns(
        SparringWarning, match="images of 30×50 px are cropped to the middle 30×49, and resized to 32×52"
    ):
        resolve(make_request(path, None, steps=1))
    with pytest.warns(SparringWarning, match="cropped to the middle 30×30, and resized to 64×64"):
        open_dataset(path, size=64)
    assert open_dataset(path, size=(60, 100)).train.item_shape == (1, 60, 100)  # nothing is lost


WHITE = {  # the largest value, and the one that becomes white
    1: 1, 2: 3, 5: 7, 15: 15, 31: 31, 32: 255, 200: 255, 255: 255, 256: 511, 1023: 1023, 4000: 4095, 16383: 16383,
    40000: 65535, 65535: 65535,
}  # fmt: skip


@pytest.mark.parametrize("most", WHITE)
@pytest.mark.parametrize("kind", ["u1", "u2", ">u2", "i4", "i8"])
def test_white_is_the_largest_value_of_the_bits_that_are_used(most: int, kind: str) -> None:
    """Masks and scans use all greys; what is unusual is said, and only that."""
    if np.iinfo(kind).max < most:
        return
    array, white = noise(30, 8, 8, most=most, kind=kind), WHITE[most]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SparringWarning)
        found = read(array)
    expected = (array.astype(float) * 255 / white).round()
    assert np.array_equal(found[:, 0], expected)
    messages = [str(each.message) for each in told if f"{white} is taken as white" in str(each.message)]
    assert bool(messages) == (white not in (255, 65535))


RANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0 to 1": lambda unit: unit,
    "-1 to 1": lambda unit: unit * 2 - 1,
    "a little more than 1": lambda unit: unit * 1.0000002,
    "a little less than 0": lambda unit: unit * 1.0005 - 0.0005,
    "a little less than -1": lambda unit: unit * 2.0005 - 1.0005,
    "in half precision": lambda unit: unit.astype(np.float16),
    "truth": lambda unit: unit > 0.5,
}


@pytest.mark.parametrize("case", RANGES)
def test_floats_may_be_rounded(case: str) -> None:
    unit = noise(30, 8, 8) / np.float32(255)
    found = read(RANGES[case](unit))[:, 0] / 255.0
    expected = (unit > 0.5) if case == "truth" else unit
    assert np.abs(found - expected).max() < 0.003


UNCLEAR = {
    "negative whole numbers": noise(30, 8, 8, most=3000, kind="i2") - 1000,
    "whole numbers of 17 bits": noise(30, 8, 8, most=70_000, kind="i4"),
    "floats of bytes": noise(30, 8, 8).astype("f4"),
    "floats a good deal above 1": noise(30, 8, 8) / 250,
    "floats a good deal below 0": noise(30, 8, 8) / 255 - 0.01,
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_an_unclear_range_is_refused(case: str) -> None:
    with pytest.raises(DataError, match="not clear what is black and what is white: give uint8 from 0 to 255"):
        keep(UNCLEAR[case])


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in the file if it holds bytes, and says what it must hold if they are masks."""
    monkeypatch.setattr(arrays, "LARGE", 1000)
    np.save(tmp_path / "a.npy", noise(30, 8, 8))
    assert isinstance(open_dataset(str(tmp_path / "a.npy")).train._items, Packed)
    for array in (noise(30, 8, 8, most=1), noise(30, 8, 8, kind="u2"), noise(30, 8, 8) / 255):
        np.save(tmp_path / "b.npy", array)
        with pytest.raises(DataError, match=r"a file of this size must hold uint8 from 0 to 255"):
            open_dataset(str(tmp_path / "b.npy"))


IMAGE, LABEL = noise(20, 8, 8), np.arange(20) % 2
TEST, TEST_LABEL = 255 - IMAGE[:6], np.arange(6) % 2

NAMES = {
    "x y": {"x": IMAGE, "y": LABEL},
    "X, targets": {"X": IMAGE, "targets": LABEL},
    "data, target": {"data": IMAGE, "target": LABEL},
    "images, label": {"images": IMAGE, "label": LABEL},
    "by place": {"arr_0": IMAGE},
    "keras": {"x_train": IMAGE, "y_train": LABEL, "x_test": TEST, "y_test": TEST_LABEL},
    "parts first": {"train_images": IMAGE, "train_labels": LABEL, "test_images": TEST, "test_labels": TEST_LABEL},
    "without lines": {"trainX": IMAGE, "trainY": LABEL, "testX": TEST, "testY": TEST_LABEL},
    "only one part": {"X_train": IMAGE, "y_train": LABEL},
    "without labels": {"train_images": IMAGE, "test_images": TEST},
    "three parts": {"train_images": IMAGE, "val_images": TEST[:2], "test_images": TEST[2:]},
}


@pytest.mark.parametrize("case", NAMES)
def test_arrays_of_a_file_are_known_by_usual_names(case: str, tmp_path: Path) -> None:
    given = NAMES[case]
    np.savez(tmp_path / "a.npz", **given)
    dataset = open_dataset(str(tmp_path / "a.npz"))
    has_test, has_labels = any("test" in name for name in given), any(values.ndim == 1 for values in given.values())
    assert dataset.heldout.num_items == (6 if has_test else 2)
    assert (dataset.train.num_items, bool(dataset.train.class_shares)) == (20 if has_test else 18, has_labels)
    if has_test:
        assert np.array_equal(dataset.train.items[:, 0].numpy(), IMAGE)
        assert np.array_equal(dataset.heldout.items[:, 0].numpy(), TEST)
    if has_test and has_labels:
        assert dataset.train.item_labels.tolist() == LABEL.tolist()
        assert dataset.heldout.item_labels.tolist() == TEST_LABEL.tolist()


@pytest.mark.parametrize("word", ["dev", "valid", "eval", "evaluation", "holdout", "held_out", "tests"])
def test_arrays_are_held_out_by_the_words_of_folders(word: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"x_train": IMAGE, f"x_{word}": TEST})
    assert open_dataset(str(tmp_path / "a.npz")).heldout.num_items == 6


def test_points_in_parts(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.eye(30, 2), x_test=np.eye(5, 2))
    dataset = open_dataset(str(tmp_path / "a.npz"))
    assert (dataset.modality.name, dataset.train.num_items, dataset.heldout.num_items) == ("points", 30, 5)


UNCLEAR_NAMES = {
    "two of items": ({"images": IMAGE, "x": IMAGE}, "several arrays of items, images, x: keep one"),
    "two of labels": ({"x": IMAGE, "y": LABEL, "labels": LABEL}, "several arrays of labels, y, labels: keep one"),
    "whole and part": ({"x": IMAGE, "x_train": IMAGE}, "several arrays of items, x, x_train"),
    "half of the labels": (
        {"x_train": IMAGE, "y_train": LABEL, "x_test": TEST},
        "labels for some of .* x_train, x_test",
    ),
    "other sizes": (
        {"x_train": IMAGE, "x_test": TEST[:, :4]},
        r"x_train uint8 .*, x_test uint8 \[6, 4, 8\] do not fit together",
    ),
    "other types": (
        {"x_train": IMAGE, "x_test": TEST / 255},
        "x_train uint8 .*, x_test float64 .* do not fit together",
    ),
    "only held out": ({"x_test": IMAGE}, "nothing to train on, but x_test: call the items one of arr_0, data, image"),
    "no array": ({}, "nothing to train on, but no array"),
    "no name": ({"": IMAGE, "y": LABEL}, "nothing to train on, but , y"),
}


@pytest.mark.parametrize("case", UNCLEAR_NAMES)
def test_names_that_are_not_clear_are_refused(case: str, tmp_path: Path) -> None:
    given, message = UNCLEAR_NAMES[case]
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path / "a.npz"))


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGE, arr_1=LABEL, captions=LABEL)
    with pytest.warns(SparringWarning, match="not used: arr_1, captions"):
        open_dataset(str(tmp_path / "a.npz"))


def test_an_array_of_objects_is_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGE, meta=np.array([{}], object))
    with pytest.warns(SparringWarning, match="not used: meta holds Python objects: save numbers or text"):
        assert open_dataset(str(tmp_path / "a.npz")).train.num_items == 18


def test_masks_train(tmp_path: Path) -> None:
    """And a run of them is resumed with what it began with."""
    with pytest.warns(SparringWarning, match="1 is taken as white"):
        run = sparring.train(noise(40, 8, 8, most=1), steps=1, width=4, batch_size=4, out=tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the copy in the cache is black and white
        assert sparring.resume(run.path, steps=2).summary().steps == 2

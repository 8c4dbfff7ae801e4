"""Arrays, and whatever else has items: what is trained on is what was given, and a run of it can be resumed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import sparring
from sparring.data import Items
from sparring.data.memory import Indexable, clear_memory_files, kept_files
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.modalities import keep, open_dataset

IMAGES = np.arange(30 * 8 * 8 * 3, dtype=np.uint32).reshape(30, 8, 8, 3).astype(np.uint8)
LABELS = np.arange(30) % 3


class Numbered:
    """A data set by nothing but its length and its items."""

    def __init__(self, item: Callable[[int], object]) -> None:
        self.item = item

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, number: int) -> object:
        return self.item(number)


GIVEN: dict[str, tuple[Indexable, Indexable | None]] = {
    "an array and labels": (IMAGES, LABELS),
    "a tensor, channels first": (torch.from_numpy(IMAGES).permute(0, 3, 1, 2), LABELS.tolist()),
    "floats": (torch.from_numpy(IMAGES / 255.0), torch.from_numpy(LABELS)),
    "a list of Pillow's images": ([Image.fromarray(image) for image in IMAGES], LABELS),
    "a data set of torch": (TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), None),
    "pairs": (Numbered(lambda number: (IMAGES[number], int(LABELS[number]))), None),
    "mappings": (Numbered(lambda number: {"image": Image.fromarray(IMAGES[number]), "label": LABELS[number]}), None),
}


@pytest.mark.parametrize("case", GIVEN)
def test_every_form_is_the_same_data(case: str) -> None:
    """One file, since it is named by what it holds, and in it every image with its label."""
    path = keep(*GIVEN[case])
    assert kept_files() == [path]
    assert path == keep(IMAGES, LABELS)
    dataset = open_dataset(str(path))
    train, heldout = dataset.train, dataset.heldout
    assert isinstance(train, Items)
    assert isinstance(heldout, Items)
    found = {
        (image.permute(1, 2, 0).numpy().tobytes(), int(label))
        for part in (train, heldout)
        for image, label in zip(part.items, part.item_labels, strict=True)
    }
    assert found == {(image.tobytes(), int(label)) for image, label in zip(IMAGES, LABELS, strict=True)}


def test_a_training_of_an_array_goes_on_and_says_where_its_data_went(tmp_path: Path) -> None:
    run = sparring.train(
        IMAGES.repeat(2, 0), labels=LABELS.repeat(2), steps=2, width=4, batch_size=8, out=tmp_path / "run"
    )
    assert sparring.load(run.path).sample(2, labels=2).shape == (2, 8, 8, 3)
    assert sparring.resume(run.path, steps=3).summary().steps == 3
    assert clear_memory_files() > 0
    with pytest.raises(DataError, match="no longer kept"):
        sparring.resume(run.path, steps=4)


def test_pillows_images_are_converted_as_files_are() -> None:
    """16 bits are scaled down and not clipped; hidden colours go."""
    deep = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
    (kept_image,) = np.unique(np.load(keep([deep] * 2))["images"])
    assert kept_image == 128
    hidden = Image.new("LA", (8, 8), (200, 0))
    assert not np.load(keep([hidden] * 2))["images"].any()


def test_points_in_memory(tmp_path: Path) -> None:
    run = sparring.train(
        np.eye(2, dtype=np.float32).repeat(20, 0), steps=2, width=4, batch_size=8, out=tmp_path / "run"
    )
    assert sparring.load(run.path).sample(2).shape == (2, 2)


BAD: dict[str, tuple[Indexable, Indexable | None, str]] = {
    "nothing": ([], None, "0 items"),
    "two shapes": ([np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)], None, "item 1 .* is .8, 9. and the first"),
    "NaN": (np.full((20, 8, 8), np.nan), None, "image 0 of 'the data given' is not finite"),
    "an unclear range": (IMAGES.astype(np.float32), None, "not clear what is black"),
    "two channels": (IMAGES[..., :2], None, "of 2 channels"),
    "too few labels": (IMAGES, LABELS[:5], "30 items and labels"),
    "labels of some": ([(IMAGES[0], 1), IMAGES[1]], None, "1 of the 2 items"),
    "mappings without images": ([{"text": "a"}] * 3, None, "have no 'image', but text"),
    "text": (["a", "b"], None, "images are uint8"),
    "labels of text": ([(IMAGES[0], "cat")], None, "label of item 0 .* is 'cat', and no whole number"),
    "a mapping": ({"images": IMAGES, "labels": LABELS}, None, r"have no item 0 \(dict\): give an array"),
    "32 bits": ([Image.new("F", (8, 8))], None, "its pixels have 32 bits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_in_memory_are_named(case: str, tmp_path: Path) -> None:
    data, labels, message = BAD[case]
    with pytest.raises(DataError, match=message):
        sparring.train(data, labels=labels, steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_single_class_tells_nothing() -> None:
    with pytest.warns(SparringWarning, match="all labels in .* are 1: they carry no information"):
        path = keep(IMAGES, np.ones(30, int))
    assert open_dataset(str(path)).train.class_shares == ()


def test_labels_of_files_lie_beside_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="labels go with an array"):
        sparring.train("digits", labels=[1], steps=1, out=tmp_path / "run")

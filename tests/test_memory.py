"""Arrays, and whatever else has items: what is trained on is what was given, and a run of it can be resumed."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

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


class Stream(IterableDataset):
    """A data set without a length."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(IMAGES)


GIVEN: dict[str, tuple[Indexable, Indexable | None]] = {
    "an array and labels": (IMAGES, LABELS),
    "a tensor, channels first": (torch.from_numpy(IMAGES).permute(0, 3, 1, 2), LABELS.tolist()),
    "floats": (torch.from_numpy(IMAGES / 255.0), torch.from_numpy(LABELS)),
    "a list of Pillow's images": ([Image.fromarray(image) for image in IMAGES], LABELS),
    "a data set of torch": (TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), None),
    "pairs": (Numbered(lambda number: (IMAGES[number], int(LABELS[number]))), None),
    "mappings": (Numbered(lambda number: {"image": Image.fromarray(IMAGES[number]), "label": LABELS[number]}), None),
    "mappings, other names": ([{"pixel_values": x, "target": y} for x, y in zip(IMAGES, LABELS, strict=True)], None),
    "negative strides": (IMAGES[::-1, :, ::-1, ::-1].copy()[::-1, :, ::-1, ::-1], LABELS[::-1].copy()[::-1]),
    "lists of two": ([[image, label] for image, label in zip(IMAGES, LABELS, strict=True)], None),
    "lists of an image of Pillow and a label": (
        [[Image.fromarray(image), int(label)] for image, label in zip(IMAGES, LABELS, strict=True)],
        None,
    ),
    "more than pairs": ([(image, label, "name") for image, label in zip(IMAGES, LABELS, strict=True)], None),
    "tuples of one": ([(image,) for image in IMAGES], LABELS),
    "a data set of torch without labels": (TensorDataset(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)), LABELS),
    "one-hot": (IMAGES, np.eye(3)[LABELS]),
    "whole numbers of other types": (IMAGES.astype(np.int64), LABELS[:, None].astype(np.uint8)),
    "float64, rounded": (torch.from_numpy(IMAGES / 255.0 * 1.0000002), LABELS),
    "from -1 to 1": (torch.from_numpy(IMAGES / np.float32(127.5) - 1).half().double(), LABELS),
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
    """16 bits are scaled down and not clipped; hidden colours go; they are turned upright."""
    deep = [Image.fromarray(np.full((8, 8), level * 257, np.uint16)) for level in (0, 128, 255)]
    assert np.load(keep(deep))["images"][:, 0, 0].tolist() == [0, 128, 255]
    hidden = Image.new("LA", (8, 8), (200, 0))
    shown = Image.new("LA", (8, 8), (200, 255))
    assert np.load(keep([hidden, shown]))["images"][:, 0, 0].tolist() == [[0] * 4, [200, 200, 200, 255]]
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = Image.fromarray(IMAGES[0])
    turned.info["exif"] = exif.tobytes()
    assert np.array_equal(np.load(keep([turned, Image.fromarray(IMAGES[1])]))["images"][0], IMAGES[0][::-1, ::-1])


@pytest.mark.parametrize("labels", [LABELS, [("a,b", "ü", "9")[label] for label in LABELS], None], ids=str)
def test_images_of_several_sizes_are_data_like_a_folder_of_them(labels: Indexable | None, tmp_path: Path) -> None:
    """The same pixels and classes as of the files; grey images may be among them."""
    pixels = [np.resize(image, (40 + number % 3, 40, 3)) for number, image in enumerate(IMAGES)]
    pixels[5] = pixels[5][..., 0]
    names = ["none"] * 30 if labels is None else [str(label) for label in labels]
    for number, image in enumerate(pixels):
        (tmp_path / names[number]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / names[number] / f"{number:02}.png")
    for given in (pixels, [Image.fromarray(image) for image in pixels]):
        path = keep(given, labels)
        assert kept_files() == [path]
        kept, folder = open_dataset(str(path)), open_dataset(str(tmp_path))
        assert kept.class_names == folder.class_names
        found, expected = (
            {
                (image.numpy().tobytes(), dataset.class_names[label] if dataset.class_names else "")
                for part in (dataset.train, dataset.heldout)
                for image, label in zip(part.items, [0] * 99 if labels is None else part.item_labels, strict=False)
            }
            for dataset in (kept, folder)
        )
        assert found == expected
    run = sparring.train(pixels, labels=labels, steps=1, width=4, batch_size=4, out=tmp_path / "run")
    assert sparring.resume(run.path, steps=2).summary().steps == 2


def test_bfloat16() -> None:
    images = torch.linspace(0, 1, 30 * 64).reshape(30, 8, 8)
    assert np.abs(np.load(keep(images.bfloat16()))["images"] / 255.0 - images.numpy()).max() < 0.004


def test_points_in_memory(tmp_path: Path) -> None:
    run = sparring.train(
        np.eye(2, dtype=np.float32).repeat(20, 0), steps=2, width=4, batch_size=8, out=tmp_path / "run"
    )
    assert sparring.load(run.path).sample(2).shape == (2, 2)


with io.BytesIO() as file:
    Image.effect_noise((64, 64), 50).save(file, format="PNG")
    DAMAGED = file.getvalue()[:1000]

BAD: dict[str, tuple[Indexable, Indexable | None, str]] = {
    "nothing": ([], None, "0 items"),
    "points of two shapes": ([[1.0, 2.0], [1.0, 2.0, 3.0]], None, "item 1 .* is float64 .3. and the first one float64"),
    "two types": ([IMAGES[0], IMAGES[1, :4] / 255], None, "item 1 .* is float64 .4, 8, 3. and the first one uint8"),
    "NaN in one of two shapes": ([np.ones((8, 8)), np.full((9, 9), np.nan)], None, "item 1 of .* is not finite"),
    "all the same": (IMAGES[:1].repeat(5, 0), None, "all 5 images in 'the data given' are the same"),
    "points all the same": (np.ones((5, 2)), None, "all 5 points in 'the data given' are the same"),
    "masks as labels": ([(image, image[..., 0]) for image in IMAGES], None, "give one label to each item"),
    "a damaged image": (
        [Image.open(io.BytesIO(DAMAGED))],
        None,
        "item 0 of the data given cannot be read: .*truncated",
    ),
    "sparse": (torch.eye(9).to_sparse(), None, "cannot be read: .*to_dense"),
    "NaN": (np.full((20, 8, 8), np.nan), None, "image 0 of 'the data given' is not finite"),
    "an unclear range": (IMAGES.astype(np.float32), None, "not clear what is black"),
    "two channels": (IMAGES[..., :2], None, "of 2 channels"),
    "too few labels": (IMAGES, LABELS[:5], "30 items and labels"),
    "labels of some": ([(IMAGES[0], 1), IMAGES[1]], None, "1 of the 2 items"),
    "mappings without images": ([{"text": "a"}] * 3, None, "have no 'image', but text"),
    "names of files": (["a.png", "b.png"], None, "item 0 .* is no image, but str: give the folder's path"),
    "labels first": ([(1, image) for image in IMAGES], None, r"item 0 .* cannot be read: .*a pair \(image, label\)"),
    "a number": (np.array(3), None, "hold a single number, 3"),
    "a mapping": ({"images": IMAGES, "labels": LABELS}, None, r"have no item 0 \(dict\): give an array"),
    "32 bits": ([Image.new("F", (8, 8), 9.0)], None, "from 9 to 9, and it is not clear"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_in_memory_are_named(case: str, tmp_path: Path) -> None:
    data, labels, message = BAD[case]
    with pytest.raises(DataError, match=message):
        sparring.train(data, labels=labels, steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((image for image in IMAGES), r"\(generator\): give list\(...\)"),
        (Stream(), r"\(Stream\): give list\(...\)"),
        (DataLoader(IMAGES), r"\(DataLoader\): give its .dataset"),
        (None, r"\(NoneType\): give an array"),
    ],
)
def test_what_cannot_be_read_twice_is_refused(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        keep(data)


def test_a_single_class_tells_nothing() -> None:
    with pytest.warns(SparringWarning, match="'label' is '1' for every item, which tells nothing"):
        path = keep(IMAGES, np.ones(30, int))
    assert open_dataset(str(path)).train.class_shares == ()


def test_labels_of_files_lie_beside_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="labels go with an array"):
        sparring.train("digits", labels=[1], steps=1, out=tmp_path / "run")


def test_tables_of_pandas() -> None:
    """Points, and labels with their titles."""
    pandas = pytest.importorskip("pandas")
    points = np.random.default_rng(0).normal(size=(30, 3))
    labels = pandas.DataFrame({"hair": ["black", "red"] * 15, "age": np.arange(30) / 7})
    dataset = open_dataset(str(keep(pandas.DataFrame(points, columns=list("xyz")), labels)))
    assert (dataset.modality.name, dataset.train.item_shape) == ("points", (3,))
    assert [each.name for each in dataset.attributes] == ["hair", "age"]


def test_what_is_not_used_of_items_is_said() -> None:
    frames = io.BytesIO()
    Image.new("L", (8, 8), 9).save(frames, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 99)])
    given = [{"img": Image.fromarray(image), "fine_label": 3, "coarse_label": 1} for image in IMAGES]
    with pytest.warns(SparringWarning, match="not used of the items of the data given: fine_label, coarse_label"):
        keep(given)
    with pytest.warns(SparringWarning, match="several frames in 1 image of the data given: the first of each is taken"):
        keep([Image.open(frames), Image.new("L", (8, 8), 200)])


@pytest.mark.parametrize(("black", "white", "bits"), [(0.0, 1.0, 1), (-1.0, 1.0, 1), (0.0, 1.0, 4)])
def test_dark_floats_are_stretched_as_bytes_are(black: float, white: float, bits: int, tmp_path: Path) -> None:
    """As masks of 0 and 1 are after a division by 255; in a file, in memory, and from the cache."""
    masks = np.random.default_rng(0).integers(0, 2**bits, (30, 8, 8))
    floats = (black + masks / 255 * (white - black)).astype(np.float32)
    np.save(tmp_path / "a.npy", floats)
    with pytest.warns(SparringWarning, match="is taken as white"):
        of_file = open_dataset(str(tmp_path / "a.npy"))
    with pytest.warns(SparringWarning, match="is taken as white"):
        path = keep(floats)
    expected = (masks * 255 / (2**bits - 1)).round().astype(np.uint8)
    assert np.array_equal(np.load(path)["images"], expected)
    assert of_file.train.items.equal(open_dataset(str(path)).train.items)

"""Image files with more or fewer than 8 bits, and with several frames: what is white, and what is an item."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring import DataError, open_dataset
from sparring.errors import SparringWarning
from sparring.modalities import Dataset, Survey, look_at

COUNT = 20


def levels(most: float, kind: str) -> np.ndarray:
    """As many images as values from 0 to most, each of one value."""
    steps = np.linspace(0, most, COUNT).astype(kind)
    return np.broadcast_to(steps[:, None, None], (COUNT, 28, 28)).copy()


def save(folder: Path, images: np.ndarray, ending: str, mode: str | None = None) -> None:
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        opened = Image.fromarray(image)
        (opened if mode is None else opened.convert(mode)).save(folder / f"{number:02}.{ending}")


def greys(dataset: Dataset) -> list[int]:
    """The value of each image, in order."""
    both = [*dataset.train.items[:, 0, 14, 14].tolist(), *dataset.heldout.items[:, 0, 14, 14].tolist()]
    return sorted(both)


def told(path: Path) -> str:
    survey = look_at(str(path))
    assert isinstance(survey, Survey)
    return "\n".join(survey.description)


DEPTHS = {  # the largest value, its type, the ending of the files, their mode, and what is white
    "12 bits in 16": (4000, "u2", "png", None, 4095),
    "12 bits in 16, TIFF": (4000, "u2", "tif", None, 4095),
    "14 bits in 16": (16000, "u2", "png", None, 16383),
    "16 bits": (65535, "u2", "png", None, 65535),
    "8 bits in 16": (255, "u2", "png", None, 255),
    "10 bits in 32": (1000, "i4", "tif", None, 1023),
    "floats": (1, "f4", "tif", None, 1),
    "masks": (1, "u1", "png", None, 1),
    "masks with a palette": (1, "u1", "png", "P", 1),
    "masks in colour": (1, "u1", "png", "RGB", 1),
    "labels of regions": (20, "u1", "png", None, 31),
    "dark photographs": (60, "u1", "png", None, 255),
}


@pytest.mark.parametrize("case", DEPTHS)
def test_every_depth_uses_all_greys(case: str, tmp_path: Path) -> None:
    """By the rule for arrays, and unusual choices are in the description."""
    most, kind, ending, mode, white = DEPTHS[case]
    images = levels(most, kind)
    save(tmp_path, images, ending, mode)
    dataset = open_dataset(str(tmp_path), size=28)
    assert dataset.train.item_shape == (1, 28, 28)
    expected = sorted((images[:, 0, 0].astype(float) * 255 / white).round().astype(int).tolist())
    assert greys(dataset) == expected
    assert (f"so {white} is taken as white" in told(tmp_path)) == (white not in (255, 65535) and case != "floats")
    assert greys(open_dataset(str(tmp_path), size=28)) == expected  # from the pack


def test_the_brightest_image_may_be_any_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red where the range is that of the images that are opened for their colours."""
    monkeypatch.setattr("sparring.data.survey.NUM_OPENED", 2)
    for name, images, most in (("scans", levels(600, "u2"), 4000), ("masks", levels(1, "u1"), 200)):
        images[13] = most
        save(tmp_path / name, images, "png")
        dataset = open_dataset(str(tmp_path / name), size=28)
        assert greys(dataset)[-1] == round(most * 255 / (4095 if name == "scans" else 255))


def test_files_and_arrays_of_scans_are_the_same_data(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 4096, (COUNT, 28, 28)).astype(np.uint16)
    save(tmp_path / "files", images, "tif")
    np.save(tmp_path / "a.npy", images)
    with pytest.warns(SparringWarning, match="uint16 images: the largest value is 4095, so 4095 is taken as white"):
        of_array = open_dataset(str(tmp_path / "a.npy"))
    of_files = open_dataset(str(tmp_path / "files"), size=28)
    assert np.array_equal(of_array.train.items.numpy(), of_files.train.items.numpy())


UNCLEAR = {"floats": levels(300, "f4") - 100, "negative": levels(3000, "i4") - 1000, "17 bits": levels(99_999, "i4")}


@pytest.mark.parametrize("case", UNCLEAR)
def test_an_unclear_range_is_refused_with_the_mend(case: str, tmp_path: Path) -> None:
    save(tmp_path, UNCLEAR[case], "tif")
    message = r"(?s)images in .* cannot be read:.*its values go from .* to .*save it with 8 or 16 bits"
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path))


def test_floats_a_little_below_zero_are_refused(tmp_path: Path) -> None:
    save(tmp_path, levels(1, "f4") - np.float32(0.1), "tif")
    with pytest.raises(DataError, match=r"32-bit images from -0.1 to 0.9, and it is not clear"):
        open_dataset(str(tmp_path))


def animate(path: Path, values: list[int], **options: object) -> None:
    frames = [Image.new("L", (28, 28), value) for value in values]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


FRAMES = {"tif": {}, "gif": {}, "webp": {"lossless": True}, "png": {}}


@pytest.mark.parametrize("ending", FRAMES)
@pytest.mark.parametrize("is_archive", [False, True])
def test_frames_are_counted_and_taken_if_asked_for(ending: str, is_archive: bool, tmp_path: Path) -> None:
    """Two stacks and a single image; the label of a stack is that of all its frames."""
    folder = tmp_path / "images"
    for number, name in enumerate(("a", "a", "b")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        values = [100 * number + 40 + 5 * frame for frame in range(10 if number < 2 else 1)]
        animate(folder / name / f"{number}.{ending}", values, **FRAMES[ending])
    path = folder
    if is_archive:
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as file:
            for each in sorted(folder.rglob(f"*.{ending}")):
                file.write(each, each.relative_to(folder))
    assert "2 files with 20 frames: the first of each is taken, --set frames=all takes all" in told(path)
    with pytest.warns(SparringWarning, match="single item"):
        first = open_dataset(str(path), size=28)
    assert greys(first) == [40, 140, 240]
    with pytest.warns(SparringWarning, match="single item"):
        every = open_dataset(str(path), size=28, frames="all")
    assert greys(every) == sorted([*range(40, 90, 5), *range(140, 190, 5), 240])
    labels = [*every.train.item_labels.tolist(), *every.heldout.item_labels.tolist()]
    assert (labels.count(0), labels.count(1)) == (20, 1)
    with pytest.warns(SparringWarning, match="single item"):
        dry = open_dataset(str(path), size=28, frames="all", dry=True)
    assert dry.train.num_items == every.train.num_items
    assert dry.heldout.num_items == every.heldout.num_items
    assert re.search("21 images .*\n.*\n.*20 frames: all are taken", "\n".join(dry.survey.description))


def test_all_frames_of_a_file_are_on_one_side(tmp_path: Path) -> None:
    for number in range(12):
        animate(tmp_path / f"{number:02}.tif", [20 * number + frame for frame in range(number % 3 + 1)])
    for dry in (True, False):
        dataset = open_dataset(str(tmp_path), size=28, frames="all", dry=dry)
        assert (dataset.train.num_items, dataset.heldout.num_items) == (23, 1)
    assert dataset.heldout.items[:, 0, 0, 0].tolist() == [180]


def test_a_single_animation_is_refused_with_the_mend(tmp_path: Path) -> None:
    animate(tmp_path / "a.gif", [*range(0, 200, 10)])
    with pytest.raises(DataError, match=r"holds 1 item, but .*20 frames: the first of each is taken, --set frames=all"):
        open_dataset(str(tmp_path))
    every = open_dataset(str(tmp_path), frames="all", size=28)
    assert every.heldout.items[:, 0, 0, 0].tolist() == [180, 190]


def test_black_and_white_are_those_of_all_frames(tmp_path: Path) -> None:
    """The first slice of a scan is often dark."""
    for number in range(4):
        slices = [Image.fromarray(np.full((28, 28), value, np.uint16)) for value in (100, 1000 * number, 4000)]
        slices[0].save(tmp_path / f"{number}.tif", save_all=True, append_images=slices[1:])
    dataset = open_dataset(str(tmp_path), size=28, frames="all")
    assert greys(dataset) == sorted([6] * 4 + [0, 62, 125, 187] + [249] * 4)

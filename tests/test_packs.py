"""A folder of one's own: what is seen of it, and how it is packed."""

import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import sparring
from sparring import DataError, Items, UsageError, open_dataset
from sparring.data import containers, images
from sparring.data.files import find_container
from sparring.data.images import IMAGES, fit
from sparring.data.pack import clear_packs, find_packs
from sparring.data.packed import Packed
from sparring.data.survey import ImageFindings, find_out
from sparring.errors import SparringWarning
from sparring.modalities import Survey, look_at
from sparring.modalities import images as modality
from sparring.networks import NETWORKS
from sparring.seeding import Stream
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve


def make(path: Path, number: int, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
    """An image that tells its number by its red (or its grey)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = {"L": number, "RGB": (number, 200, 0), "RGBA": (number, 200, 0, 255)}[mode]
    image = Image.new(mode, size, colour)
    if mode == "RGBA":
        image.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    image.save(path)


def look(path: Path) -> ImageFindings:
    """What there is at a path, afresh."""
    container = find_container(path, IMAGES)
    assert container is not None
    return find_out(container, lambda what, share: None)


def flipped(images: torch.Tensor) -> torch.Tensor:
    """Left and right exchanged."""
    return images.flip(3)


def numbers(items: Items) -> list[int]:
    return items.items[:, 0, 0, -1].tolist()


def test_what_is_seen_of_a_folder(tmp_path: Path) -> None:
    for number in range(20):
        make(tmp_path / ("cats" if number < 8 else "dogs/old") / f"{number:02}.png", number, (70, 64 + number))
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    (tmp_path / "dogs" / "bad.jpg").write_text("no image either")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = look(tmp_path)
    assert found.num_items == 20
    told = "\n".join(found.description)
    assert "20 images (PNG 20; RGB 20), shorter side 64 to 70, median 70 px" in told
    assert "not opened: 1 other file (.txt 1)" in told
    assert "cannot be read" not in told  # this is said once, by a warning
    assert found.faults.startswith("1 of the 21 images")
    assert "bad.jpg: it is damaged, or none of" in found.faults
    assert "2 classes from sub-folders; the smallest, cats, has 8 images" in told
    assert found.sizes == [(28, 28), (32, 32), (64, 64)]
    assert found.class_counts == {"cats": 8, "dogs": 12}
    for dry in (True, False):
        with pytest.warns(SparringWarning, match="were left out") as told_of:
            dataset = open_dataset(str(tmp_path), dry=dry)
        assert len(told_of) == 1
    assert dataset.train.item_shape == (3, 64, 64)
    assert dataset.class_names == ("cats", "dogs")
    assert numbers(dataset.heldout) == [9, 19]
    assert dataset.train.item_labels.tolist() == [0] * 8 + [1] * 10


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_channels_are_those_that_the_images_use(mode: str, channels: int, tmp_path: Path) -> None:
    for number in range(3):
        make(tmp_path / f"{number}.png", number, mode=mode)
    assert look(tmp_path).channels == channels
    grey = tmp_path / "grey"
    for number in range(3):
        Image.new("RGB", (30, 30), (number,) * 3).save(tmp_path / f"{number}.png")
        (grey.mkdir(exist_ok=True), Image.new("RGBA", (30, 30), (number,) * 3).save(grey / f"{number}.png"))
    assert look(grey).channels == 1  # colours that are all grey, and an opacity that is not used


def test_the_size_of_a_jpeg_is_that_of_the_whole(tmp_path: Path) -> None:
    """Red where the smaller image that it gives faster is measured."""
    for number in range(3):
        make(tmp_path / f"{number}.jpg", number, (1200, 1000))
    assert "shorter side 1000 px" in look(tmp_path).description[0]


PORTRAIT, LANDSCAPE, SQUARE = (60, 90), (90, 60), (64, 64)
"""Widths and heights."""

SHAPES = {
    "portraits": ([PORTRAIT] * 20, [(40, 28), (48, 32)], "1.50 times as high as wide; 0 images lose"),
    "landscapes of 4:3": ([(128, 96)] * 20, [(28, 36), (32, 40), (64, 80)], "1.33 times as wide as high; 0 images"),
    "mostly portraits": ([PORTRAIT] * 16 + [SQUARE] * 4, [(40, 28), (48, 32)], "high as wide; 4 images lose"),
    "too few portraits": ([PORTRAIT] * 14 + [SQUARE] * 6, [(28, 28), (32, 32)], "middle square; 14 images lose"),
    "of both": ([PORTRAIT, LANDSCAPE] * 10, [(28, 28), (32, 32)], "middle square; 20 images lose"),
    "nearly square": ([(72, 60)] * 20, [(28, 28), (32, 32)], "middle square; 20 images lose"),
    "strips": ([(2000, 40)] * 20, [(28, 1024), (32, 1024)], "50.00 times as wide as high; 0 images lose"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_usual_shape_is_kept(case: str, tmp_path: Path) -> None:
    """In sizes that both usual networks take as they are; what is cropped is said."""
    sizes, expected, told = SHAPES[case]
    for number, size in enumerate(sizes):
        make(tmp_path / f"{number:02}.png", number, size)
    survey, found = look_at(str(tmp_path)), look(tmp_path)
    assert isinstance(survey, Survey)
    assert [choice.item_shape[1:] for choice in survey.choices] == found.sizes == expected
    assert told in survey.description[1]
    for shape in (choice.item_shape for choice in survey.choices):
        assert NETWORKS["conv"].fit(shape) == NETWORKS["resnet"].fit(shape) == shape
    dataset = open_dataset(str(tmp_path))
    assert dataset.train.item_shape == dataset.modality.item_shape == (3, *expected[-1])
    assert open_dataset(str(tmp_path), size=(20, 30)).heldout.items.shape[1:] == (3, 20, 30)


def test_the_shape_is_that_of_upright_images(tmp_path: Path) -> None:
    """Photographs lie on their side in the file, and say so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(12):
        ending = ("jpg", "png", "webp", "tif")[number % 4]
        Image.new("RGB", LANDSCAPE, (number, 0, 0)).save(tmp_path / f"{number}.{ending}", exif=exif)
    assert look(tmp_path).sizes[-1] == (48, 32)


def test_the_largest_untimed_choice_has_a_shorter_side_of_64(tmp_path: Path) -> None:
    for number in range(10):
        make(tmp_path / f"{number}.png", number, (150, 300))
    survey = look_at(str(tmp_path))
    assert isinstance(survey, Survey)
    assert survey.choices[-1].item_shape == (3, 256, 128)
    assert survey.untimed_choice.item_shape == (3, 128, 64)


def test_arrays_keep_their_shape_unless_a_size_is_asked_for(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 12, 20), np.uint8)
    np.save(tmp_path / "a.npy", array)
    dataset = open_dataset(str(tmp_path / "a.npy"))
    assert dataset.modality.item_shape == (1, 12, 20)
    assert np.array_equal(dataset.train.items[:, 0].numpy(), array[np.arange(20) % 10 != 9])
    with pytest.warns(SparringWarning, match="12×20 px are cropped to the middle 12×16, and resized to 6×8"):
        smaller = open_dataset(str(tmp_path / "a.npy"), size=(6, 8))
    assert smaller.train.item_shape == smaller.modality.item_shape == (1, 6, 8)
    whole = Image.fromarray(array[0]).crop((2, 0, 18, 12)).resize((8, 6), Image.Resampling.BILINEAR)
    assert np.abs(smaller.train.items[0, 0].numpy().astype(int) - np.asarray(whole)).max() <= 1


def test_a_look_reads_nothing(tmp_path: Path) -> None:
    """Red where a dry run packs, or gives out items that nobody read."""
    for number in range(30):
        make(tmp_path / f"{number}.png", number)
    dry = open_dataset(str(tmp_path), size=28, mirror=True, dry=True)
    assert dry.train.item_shape == (3, 28, 28)
    assert (dry.train.num_items, dry.heldout.num_items) == (54, 6)
    with pytest.raises(DataError, match="were counted and not read"):
        dry.train.batch(5, Stream(0, "data"))
    assert find_packs() == []


def test_what_is_no_file_or_is_hidden_is_passed_over(tmp_path: Path) -> None:
    for number in range(4):
        make(tmp_path / ("cats" if number < 2 else "dogs") / f"{number}.png", number)
    make(tmp_path / ".ipynb_checkpoints" / "5.png", 5)
    os.mkfifo(tmp_path / "cats" / "pipe.png")  # which would be waited for
    found = look(tmp_path)
    assert found.class_counts == {"cats": 2, "dogs": 2}
    assert "not opened: 1 other file (.png 1)" in str(found.description)


def test_permissions_that_change_are_a_change(tmp_path: Path) -> None:
    make(tmp_path / "0.png", 0)
    before = look(tmp_path).fingerprint
    (tmp_path / "0.png").chmod(0o600)
    assert look(tmp_path).fingerprint != before


def test_a_folder_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    make(Path(path) / "0.png", 0)
    with pytest.raises(DataError, match=r"udcff' is not written in UTF-8: rename it"):
        open_dataset(path)


IN_PARTS = [
    f"{part}/{name}" for part in ("train", "val", "Test") for name in ("cats/1.png", "cats/2.png", "dogs/3.png")
]


@pytest.mark.parametrize("archived", [False, True])
def test_what_its_folders_say_is_held_out(archived: bool, tmp_path: Path) -> None:
    """As data sets are often given out; the classes are the folders below."""
    path = tmp_path / ("images.zip" if archived else "images")
    if archived:
        with zipfile.ZipFile(path, "w") as file:
            for number, name in enumerate(IN_PARTS):
                file.writestr(f"around/{name}", encoded(number))
    else:
        for number, name in enumerate(IN_PARTS):
            make(path / name, number)
    for _ in range(2):  # packed, and from the pack
        dataset = open_dataset(str(path), size=28)
        assert dataset.class_names == ("cats", "dogs")
        assert sorted(numbers(dataset.train)) == [0, 1, 2]
        assert sorted(numbers(dataset.heldout)) == [3, 4, 5, 6, 7, 8]
    dry = open_dataset(str(path), size=28, dry=True)
    assert (dry.train.num_items, dry.heldout.num_items) == (3, 6)
    ((pack_folder, _),) = find_packs()
    (pack_folder / "heldout.npy").write_bytes(b"damaged")
    with pytest.warns(SparringWarning, match="was damaged: it is made again"):
        assert sorted(numbers(open_dataset(str(path), size=28).train)) == [0, 1, 2]


def test_a_class_that_is_all_held_out(tmp_path: Path) -> None:
    for number, name in enumerate([*IN_PARTS, "test/birds/4.png", "test/birds/5.png"]):
        make(tmp_path / name, number)
    with pytest.warns(SparringWarning, match="with only held-out items: birds"):
        dataset = open_dataset(str(tmp_path), size=28)
    assert dataset.train.class_shares == pytest.approx((0.0, 2 / 3, 1 / 3))


CLASSES = {
    "none": ([f"{n}.png" for n in range(4)], (), "no sub-folders"),
    "a single one": ([f"a/{n}.png" for n in range(4)], (), "no sub-folders"),
    "some outside": (["1.png", "a/2.png", "b/3.png"], (), "1 image outside"),
    "numbers": ([f"{n}/1.png" for n in (10, 9, 2)], ("2", "9", "10"), ""),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_the_first_sub_folders(case: str, tmp_path: Path) -> None:
    names, classes, reason = CLASSES[case]
    for number, name in enumerate(names):
        make(tmp_path / name, number)
    found = look(tmp_path)
    assert tuple(found.class_counts) == classes
    assert reason in found.description[-1]


def test_a_class_with_one_image_is_named(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path / ("lonely" if number == 0 else "many") / f"{number}.png", number)
    with pytest.warns(SparringWarning, match=r"a single item.*: lonely. Add some, or train with --conditional False"):
        dataset = open_dataset(str(tmp_path), size=4)
    assert dataset.train.class_shares == pytest.approx((1 / 11, 10 / 11))


@pytest.mark.slow
def test_twenty_thousand_files_in_folders_of_folders(tmp_path: Path) -> None:
    """Each is there once and in its class; hard links make so many quickly."""
    for number in range(20):
        make(tmp_path / "originals" / f"{number}.png", number)
    root = tmp_path / "images"
    for part in range(20):
        inner = root / "ab"[part % 2] / "deep" / f"{part:02}"
        inner.mkdir(parents=True)
        for number in range(1000):
            os.link(tmp_path / "originals" / f"{number % 20}.png", inner / f"{number}.png")
    dataset = open_dataset(str(root), size=4)
    assert (len(dataset.train), len(dataset.heldout)) == (18_000, 2_000)
    assert dataset.class_names == ("a", "b")
    assert dataset.train.class_shares == pytest.approx((0.5, 0.5))


def test_images_of_one_pixel_and_of_too_many(tmp_path: Path) -> None:
    """The smallest become images as the others do; the largest are left out unseen, and named."""
    for number in range(20):
        Image.new("RGB", (1, 1), (number, 0, 0)).save(tmp_path / f"{number}.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.warns(SparringWarning, match=r"(?s)1 of the 21 images.*huge\.png: more than 100,000,000 pixels"):
        dataset = open_dataset(str(tmp_path))
    assert dataset.train.item_shape == (3, 28, 28)
    assert len(dataset.train) + len(dataset.heldout) == 20


def test_one_image_and_alike_images_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "0.png", 0)
    with pytest.raises(DataError, match="holds 1 item,"):
        open_dataset(str(tmp_path))
    with pytest.raises(DataError, match="is a single image: give the folder"):
        open_dataset(str(tmp_path / "0.png"))
    for number in range(1, 5):
        make(tmp_path / f"{number}.png", 0)
    with (
        pytest.warns(SparringWarning, match="has changed since"),
        pytest.raises(DataError, match=r"all 5 images .* are the same"),
    ):
        open_dataset(str(tmp_path))
    assert find_packs() == []


def test_images_are_packed_once_and_anew_when_they_change(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path / f"{number:02}.png", number)
    first = open_dataset(str(tmp_path), size=8)
    assert numbers(first.train) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    ((folder, info),) = find_packs()
    assert (info.num_items, info.description) == (12, "8×8 px, RGB")
    before = (folder / "items.npy").stat().st_mtime_ns
    open_dataset(str(tmp_path), size=8)
    assert (folder / "items.npy").stat().st_mtime_ns == before
    make(tmp_path / "12.png", 12)
    with pytest.warns(SparringWarning, match=r"has changed since it was packed \(12 images then, 13 now\)"):
        second = open_dataset(str(tmp_path), size=8)
    assert numbers(second.train)[-1] == 12
    assert numbers(first.train)[-1] == 11  # a training that is under way keeps what it had
    lock = (folder.parent / ".lock").stat().st_ino
    assert clear_packs() > 0
    assert find_packs() == []
    assert (folder.parent / ".lock").stat().st_ino == lock  # which others may be waiting for


def test_a_damaged_pack_is_made_anew(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path / f"{number:02}.png", number)
    open_dataset(str(tmp_path), size=8)
    ((folder, _),) = find_packs()
    data = bytearray((folder / "items.npy").read_bytes())
    data[-1] ^= 1
    (folder / "items.npy").write_bytes(data)
    with pytest.warns(SparringWarning, match="was damaged: it is made again"):
        dataset = open_dataset(str(tmp_path), size=8)
    assert (dataset.train.items[:, 2] == 0).all()


def test_damaged_labels_are_made_anew(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path / "ab"[number % 2] / f"{number:02}.png", number)
    open_dataset(str(tmp_path), size=8)
    ((folder, _),) = find_packs()
    data = bytearray((folder / "labels.npy").read_bytes())
    data[-8] ^= 1
    (folder / "labels.npy").write_bytes(data)
    with pytest.warns(SparringWarning, match="was damaged: it is made again"):
        dataset = open_dataset(str(tmp_path), size=8)
    assert dataset.train.item_labels.tolist() == [number % 2 for number in dataset.train.items[:, 0, 0, 0].tolist()]


def test_a_class_that_breaks_while_it_is_packed_stays_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header was read, its pixels cannot be: no image of it is left, and the others keep their numbers."""
    for number in range(22):
        make(tmp_path / "ab"[number % 2] / f"{number:02}.png", number)
    Image.effect_noise((64, 64), 50).save(tmp_path / "c.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "23.png").write_bytes((tmp_path / "c.png").read_bytes()[:1000])
    (tmp_path / "c.png").unlink()
    monkeypatch.setattr("sparring.data.survey.NUM_OPENED", 1)
    with pytest.warns(SparringWarning, match="were left out"):
        dataset = open_dataset(str(tmp_path), size=8)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.train.class_shares == (0.5, 0.5, 0.0)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("L", 1), ("P", 3)])
def test_of_large_images_few_are_opened(
    mode: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And found to be the same: hundreds of photographs as PNG took a minute."""
    opened = []

    def convert(image: Image.Image, *others: Any) -> Image.Image:
        opened.append(image.size)
        return images.convert(image, *others)

    monkeypatch.setattr("sparring.data.survey.convert", convert)
    for number in range(40):
        make(tmp_path / f"{number:02}.png", number + 100, (400, 400), "RGB" if mode == "P" else mode)
        if mode == "P":
            with Image.open(tmp_path / f"{number:02}.png") as image:
                image.quantize(4).save(tmp_path / f"{number:02}.png")
    few = look(tmp_path)
    assert len(opened) == 40
    opened.clear()
    monkeypatch.setattr("sparring.data.survey.LARGE_PIXELS", 4000)  # a fortieth
    assert look(tmp_path) == few
    assert few.channels == channels
    assert opened == [(256, 256)] * 5  # 200 of the size that is not large have as many pixels


def test_packing_uses_threads_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images meet while they are read; where one is read after the other the barrier breaks."""
    monkeypatch.setattr(containers, "AT_ONCE", 4)
    for number in range(12):
        make(tmp_path / f"{number:02}.png", number)
    meeting, read = threading.Barrier(2, timeout=60), modality.read_image

    def meet(*given: Any) -> Any:
        meeting.wait()
        return read(*given)

    monkeypatch.setattr(modality, "read_image", meet)
    told: list[tuple[str, float]] = []
    open_dataset(str(tmp_path), size=8, on_progress=lambda what, share: told.append((what, share)))
    shares = [share for what, share in told if what.startswith("packing")]
    assert shares == [4 / 12, 8 / 12, 1.0]


def test_a_process_that_is_killed_while_packing_leaves_nothing_half_made(tmp_path: Path) -> None:
    for number in range(30):
        make(tmp_path / f"{number:02}.png", number)
    code = (
        "import os, signal, sys, sparring\n"
        "from sparring.modalities import images\n"
        "read = images.read_image\n"
        "def deadly(*given):\n"
        "    if '20.png' in given[3]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(*given)\n"
        "images.read_image = deadly\n"
        "sparring.open_dataset(sys.argv[1], size=8)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert find_packs() == []
    dataset = open_dataset(str(tmp_path), size=8)
    assert sorted(numbers(dataset.train) + numbers(dataset.heldout)) == list(range(30))
    ((folder, _),) = find_packs()
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", folder.name, "survey.json"]


@pytest.mark.slow
def test_two_trainings_that_start_at_once_make_one_pack(tmp_path: Path) -> None:
    for number in range(30):
        make(tmp_path / f"{number:02}.png", number)
    code = (
        "import sys, sparring\n"
        "from sparring.data import pack\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"  # both go on at once
        "made, make = [], pack._make\n"
        "pack._make = lambda *given: (made.append(1), make(*given))\n"
        "images = sparring.open_dataset(sys.argv[1], size=8).train\n"
        "print(len(made), images.num_items, images.items[-1, 0, 0, 0].item())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=300)[0].split() for process in processes]
    assert sorted(made for made, _, _ in outputs) == ["0", "1"]
    assert [rest for _, *rest in outputs] == [["27", "28"]] * 2
    assert len(find_packs()) == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "0.png", 0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"where files are packed: .*SPARRING_CACHE"):
        open_dataset(str(tmp_path))


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 30), (number, 200, 0)).save(file, format="PNG")
    return file.getvalue()


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_archives(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"images.{ending}"
    members = {f"{'ab'[number % 2]}/{number:02}.png": encoded(number) for number in range(12)} | {"../x.txt": b"-"}
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz" if ending == "tar.gz" else "w") as file:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    dataset = open_dataset(str(path), size=8)
    assert sorted(numbers(dataset.train) + numbers(dataset.heldout)) == list(range(12))
    assert dataset.class_names == ("a", "b")
    assert "not opened: 1 other file (.txt 1)" in str(dataset.survey.description)
    assert sorted(os.listdir(tmp_path)) == [path.name]  # nothing was unpacked beside it
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=f"cannot read .*images.{ending}"):
        open_dataset(str(path), size=8)


def test_the_folder_around_an_archive_is_no_class(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for number in range(12):
            file.writestr(f"pictures/all/{'ab'[number % 2]}/{number}.png", encoded(number))
    assert open_dataset(str(tmp_path / "a.zip"), size=8).class_names == ("a", "b")


def test_columns_and_splits_of_tables(tmp_path: Path) -> None:
    """Each column has a pack of its own; files that are called by their splits say what is held out."""
    for split, start in (("train", 0), ("test", 100), ("extra", 200)):
        columns = {
            name: [{"bytes": encoded(start + 12 * place + number)} for number in range(12)]
            for place, name in enumerate(("image", "other"))
        }
        pyarrow.parquet.write_table(pa.table(columns), tmp_path / f"{split}-00000-of-00001.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none has changed
        for _ in range(2):
            for column, start in ((None, 0), ("other", 12)):
                dataset = open_dataset(str(tmp_path), size=8, column=column)
                assert numbers(dataset.train) == list(range(start, start + 12))
                assert numbers(dataset.heldout) == list(range(100 + start, 112 + start))
    assert "columns left aside: image; --set labels=COLUMN,... chooses" in str(dataset.survey.description)
    assert "left out beside test and train: 1 file in extra" in str(dataset.survey.description)
    assert len(find_packs()) == 2
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    with pytest.warns(SparringWarning, match="has changed"):
        dataset = open_dataset(str(tmp_path), size=8)
    assert sorted(numbers(dataset.train) + numbers(dataset.heldout)) == list(range(12))
    assert "left out beside train: 1 file" in str(dataset.survey.description)


@pytest.mark.parametrize("given", [None, -1, "no column"])
def test_a_held_out_table_without_labels_is_left_out(given: int | str | None, tmp_path: Path) -> None:
    """As tests of competitions are: the classes are worth more."""
    for split, labels in (("train", [number % 2 for number in range(12)]), ("test", [given] * 12)):
        columns = {"image": [{"bytes": encoded(number)} for number in range(12)], "label": labels}
        features = b'{"info": {"features": {"label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}'
        table = pa.table(columns if "no column" not in labels else {"image": columns["image"]})
        table = table.replace_schema_metadata({b"huggingface": features})
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    dataset = open_dataset(str(tmp_path), size=8)
    assert dataset.class_names == ("zebra", "ant")
    assert dataset.train.num_items + dataset.heldout.num_items == 12
    assert "left out, since it has no labels: test.parquet" in str(dataset.survey.description)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "images.parquet"
    pictures = [{"bytes": encoded(number), "path": None} for number in range(12)]
    table = pa.table({"image": pictures, "label": [number % 3 for number in range(12)], "text": ["x"] * 12})
    pyarrow.parquet.write_table(table, path)
    dataset = open_dataset(str(path), size=8)
    assert numbers(dataset.heldout) == [5]  # the tenth, of those sorted by class
    assert dataset.train.item_labels.tolist() == [0, 1, 2, 0, 1] + [0, 1, 2] * 2
    with pytest.raises(DataError, match=r"has no column 'photo', but image \(struct.*label \(int64\), text \(string\)"):
        open_dataset(str(path), size=8, column="photo")
    pyarrow.parquet.write_table(table.select(["text"]), tmp_path / "text.parquet")
    with pytest.raises(
        DataError, match=r"has no column of images called 'text', but text \(string\): they .* Name the"
    ):
        open_dataset(str(tmp_path / "text.parquet"), column="text")
    with pytest.raises(DataError, match="columns to learn from"):  # without pictures it is a table
        open_dataset(str(tmp_path / "text.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="cannot read"):
        open_dataset(str(tmp_path / "broken.parquet"))


def test_a_data_set_of_hugging_face_on_disk(tmp_path: Path) -> None:
    """As its library saves them: an Arrow stream whose schema tells the classes' names."""
    features = b'{"info": {"features": {"label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}'
    columns = {"image": [{"bytes": encoded(n), "path": None} for n in range(12)], "label": [n % 2 for n in range(12)]}
    table = pa.table(columns).replace_schema_metadata({b"huggingface": features})
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "dataset_info.json").write_text("{}")
        with pa.ipc.new_stream(str(tmp_path / split / "data-00000-of-00001.arrow"), table.schema) as writer:
            writer.write_table(table)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = open_dataset(str(tmp_path), size=8)
    (tmp_path / "train" / "cache-1.arrow").write_bytes(b"what its library cached")
    assert dataset.class_names == ("zebra", "ant")
    assert dataset.train.item_labels.tolist()[:4] == [0, 1, 0, 1]
    assert (dataset.train.num_items, dataset.heldout.num_items) == (12, 12)


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [([0, 2], ("zebra", "bee"), ""), ([-1, 0], (), "1 image outside the labels")],
    ids=["one is not there", "some have none"],
)
def test_classes_of_hugging_face_that_are_not_used(
    labels: list[int], names: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    features = b'{"info": {"features": {"label": {"names": ["zebra", "ant", "bee"], "_type": "ClassLabel"}}}}'
    given = [labels[0], *[labels[1]] * 11]
    table = pa.table({"image": [{"bytes": encoded(number)} for number in range(12)], "label": given})
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"huggingface": features}), tmp_path / "a.parquet")
    found = look(tmp_path / "a.parquet")
    assert tuple(found.class_counts) == names
    assert reason in found.description[-1]


def test_images_in_a_file_are_resized_when_they_are_read(tmp_path: Path) -> None:
    """As those in memory are at once: the middle square, antialiased."""
    array = np.random.default_rng(0).integers(0, 256, (20, 3, 12, 20), np.uint8)
    np.save(tmp_path / "a.npy", array)
    labels = torch.arange(20) % 2
    packed = Packed(np.load(tmp_path / "a.npy", mmap_mode="r"))
    in_file, in_memory = (
        Items(items, labels, torch.arange(0, 20, 2)).with_copies(flipped).map(lambda part: fit(part, (8, 8)), (3, 8, 8))
        for items in (packed, torch.from_numpy(array))
    )
    assert in_file.item_shape == in_memory.item_shape == (3, 8, 8)
    assert torch.equal(in_file.items, in_memory.items)
    assert in_file.class_shares == in_memory.class_shares == (1.0,)
    whole = Image.fromarray(array[0].transpose(1, 2, 0))
    by_pillow = np.asarray(whole.crop((4, 0, 16, 12)).resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(in_memory.items[0].numpy().astype(int) - by_pillow).max() <= 1


@pytest.mark.parametrize("layout", ["grey", "channels last", "channels first"])
def test_images_in_a_file_are_those_in_memory(layout: str, tmp_path: Path) -> None:
    shape = {"grey": (50, 4, 4), "channels last": (50, 4, 4, 3), "channels first": (50, 3, 4, 4)}[layout]
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    order = {"grey": lambda a: a[:, None], "channels last": lambda a: a.transpose(0, 3, 1, 2)}.get(layout, lambda a: a)
    packed, tensor = Packed(order(mapped)), torch.from_numpy(order(array))
    chosen = torch.arange(0, 50, 2)
    in_file, in_memory = Items(packed, chosen=chosen), Items(tensor[chosen])
    for step in range(5):
        stream = Stream(0, "data", step)
        assert torch.equal(in_file.batch(8, stream), in_memory.batch(8, stream))
    os.truncate(tmp_path / "a.npy", (tmp_path / "a.npy").stat().st_size - 1)
    with pytest.raises(DataError, match="ends before its item 49: it was cut off"):
        packed[torch.tensor([0, 49])]


def test_mirrored_images_come_as_often_as_the_others() -> None:
    items = Items(torch.arange(12, dtype=torch.uint8).reshape(3, 1, 2, 2), torch.tensor([0, 1, 0])).with_copies(flipped)
    assert items.num_items == 6
    rows = items.items[:, 0].tolist()
    assert rows[3:] == [[row[::-1] for row in image] for image in rows[:3]]
    assert items.item_labels.tolist() == [0, 1, 0, 0, 1, 0]
    epoch = torch.cat([items.batch(2, Stream(0, "data", step)) for step in range(3)])
    assert len({tuple(image.flatten().tolist()) for image in epoch}) == 6
    with pytest.raises(UsageError, match="no finite set of images to mirror"):
        open_dataset("ring", mirror=True)


def test_every_kind_of_images_can_be_mirrored(tmp_path: Path) -> None:
    for number in range(20):
        make(tmp_path / "folder" / f"{number}.png", number, mode="RGBA")  # the left half of which is transparent
    np.save(tmp_path / "a.npy", np.arange(20 * 16, dtype=np.uint32).reshape(20, 4, 4).astype(np.uint8))
    idx = tmp_path / "idx"
    idx.mkdir()
    for name, count in (("train", 18), ("t10k", 2)):
        images = np.arange(count * 16, dtype=np.uint32).astype(np.uint8).tobytes()
        (idx / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">HBBIII", 0, 8, 3, count, 4, 4) + images)
        (idx / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + bytes(count))
    for name in ("folder", "a.npy", "idx"):
        train = open_dataset(str(tmp_path / name), size=4, mirror=True).train
        assert train.num_items == 36
        assert torch.equal(train.items[18:], train.items[:18].flip(3))
        assert not torch.equal(train.items[18:], train.items[:18])


def test_the_size_is_the_largest_that_the_time_suffices_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        make(tmp_path / f"{number}.png", number, (130, 130))
    rates = {32: 3000.0, 64: 1300.0, 128: 200.0}  # images a second
    monkeypatch.setattr(
        "sparring.training.resolve.images_per_second", lambda recipe, modality, *_: rates[modality.item_shape[1]]
    )

    def size(**settings: object) -> int:
        recipe, dataset = resolve(make_request(str(tmp_path), None, **settings), dry=True)
        assert dataset.train.item_shape == (3, *recipe.size)
        assert recipe.size[0] == recipe.size[1]
        return recipe.size[0]

    assert (size(minutes=0.1), size(minutes=1.0), size(minutes=2.0), size(minutes=20.0)) == (28, 32, 64, 128)
    assert size(steps=5) == 64  # where no time is asked for
    assert size(size=28, minutes=20.0) == 28
    assert find_packs() == []


@pytest.mark.parametrize("side", [32, 64])
def test_transparent_images_are_trained_on_and_drawn(side: int, tmp_path: Path) -> None:
    for number in range(40):
        make(tmp_path / "images" / f"{number}.png", number, (64, 64), "RGBA")
    run = sparring.train(tmp_path / "images", size=side, steps=2, width=4, batch_size=8, out=tmp_path / "run")
    assert run.recipe().size == (side, side)
    assert sparring.load(run.path).sample(3).shape == (3, side, side, 4)
    with Image.open(tmp_path / "run" / "samples" / "step-000002.png") as picture:
        assert picture.mode == "RGB"  # on white


@pytest.mark.parametrize("count", [2, 4])
def test_each_of_several_processes_reads_its_own_images(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a set in a file: no image is read by two of them, and together they read what one process would."""
    np.save(tmp_path / "a.npy", np.zeros((50, 4, 4), np.uint8))
    images, read = Items(Packed(np.load(tmp_path / "a.npy", mmap_mode="r"))), list[int]()
    get = Packed.__getitem__
    monkeypatch.setattr(
        Packed, "__getitem__", lambda self, numbers: (read.extend(numbers.tolist()), get(self, numbers))[1]
    )
    images.batch(8, Stream(0, "data", 3))
    alone = read.copy()
    read.clear()
    for rank in range(count):
        images.batch(8 // count, Stream(0, "data", 3).for_rank(rank, count))
    assert read == alone
    assert len(set(read)) == 8

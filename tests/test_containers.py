"""The user's files, whatever holds them: what is read, held out and left out, and what is said about it."""

import io
import os
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import sparring
from sparring import DataError, open_dataset
from sparring.cli.main import main
from sparring.data.containers import Container, Reading, open_folder
from sparring.data.files import find_container
from sparring.data.images import IMAGES
from sparring.data.pack import find_packs
from sparring.errors import SparringWarning


def picture(number: int) -> Image.Image:
    """An image that tells its number by its red."""
    return Image.new("RGB", (30, 30), (number, 200, 0))


def encoded(number: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture(number).save(file, format=form)
    return file.getvalue()


def write(root: Path, files: Mapping[str, bytes], container: str) -> Path:
    """Files in a folder, or in an archive beside it, in the order of a folder's files."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    if container == "folder":
        return root
    paths = [
        Path(parent, name) for parent, names, found in os.walk(root) if names.sort() is None for name in sorted(found)
    ]
    archive = root.with_suffix(f".{container}")
    if container == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in paths:
                file.write(path, path.relative_to(root))
    else:
        with tarfile.open(archive, "w:gz" if container == "tar.gz" else "w") as tar:
            for path in paths:
                tar.add(path, path.relative_to(root))
    return archive


def pictures(names: str) -> dict[str, bytes]:
    """Files with these names, numbered; those that are not called .png hold text."""
    return {name: encoded(n) if name.endswith(".png") else b"text" for n, name in enumerate(names.split())}


def what_is_read(container: Container) -> dict[str, str]:
    """By the name of each file: its class, with ! before it if the file is held out."""
    entries = zip(container.insides, container.entries(), strict=True)
    return {inside: ("!" if entry.is_heldout else "") + entry.label for inside, entry in entries}


LAYOUTS = {
    "a stray picture": ("train/1.png= train/2.png= test/3.png=! 4.png", "1 image in no folder"),
    "a folder beside": (
        "train/a/1.png=a train/b/2.png=b test/a/3.png=!a pred/4.png",
        "left out beside test and train: 1 image in pred",
    ),
    "three parts": ("train/1.png= val/2.png=! test/3.png=!", "held out: test, val"),
    "Intel's scenes": (
        "seg_train/seg_train/a/1.png=a seg_train/seg_train/b/2.png=b seg_test/seg_test/a/3.png=!a "
        "seg_pred/seg_pred/4.png",
        "1 image in seg_pred",
    ),
    "dev": ("train/1.png= dev/2.png=!", "held out: dev"),
    "eval": ("Train/1.png= EVAL/2.png=!", "held out: EVAL"),
    "held out": ("training/1.png= held_out/2.png=!", "held out: held_out"),
    "numbers": ("train/1.png= test1/2.png=! test2/3.png=!", "held out: test1, test2"),
    "a word before": ("train/1.png= public_test/2.png=!", "held out: public_test"),
    "sets": ("training_set/a/1.png=a training_set/b/2.png=b test_set/a/3.png=!a", "held out: test_set"),
    "years": ("train2017/1.png= val2017/2.png=!", "held out: val2017"),
    "images and labels": (
        "images/train/1.png= images/val/2.png=! labels/train/1.txt labels/val/2.txt",
        "held out: val",
    ),
    "images and masks": (
        "images/train/1.png= images/val/2.png=! masks/train/1.png masks/val/2.png",
        "left out beside images: 2 images in masks",
    ),
    "masks within": (
        "train/images/1.png= train/masks/1.png valid/images/2.png=! valid/masks/2.png",
        "2 images in masks",
    ),
    "parts of each class": ("a/train/1.png=a a/test/2.png=!a b/train/3.png=b b/test/4.png=!b", "held out: test"),
    "a folder around": ("data/all/a/1.png=a data/all/b/2.png=b data/all/b/3.png=b", ""),
    "around parts": ("data/train/a/1.png=a data/train/b/2.png=b data/test/a/3.png=!a", "held out: test"),
    "vehicles": ("bus/1.png=bus train/2.png=train tram/3.png=tram", "train: taken as classes"),
    "no training": ("test/1.png=test pred/2.png=pred", "test: taken as classes"),
    "hidden": ("a/1.png=a a/._1.png b/2.png=b .trash/3.png __MACOSX/a/._1.png .4.png a/.DS_Store", ""),
    "a run": (
        "1.png= 2.png= run/recipe.json run/log.jsonl run/samples/3.png a/run/recipe.json "
        "a/run/samples/4.png a/run/checkpoints/5.txt",
        "left out, since sparring wrote them: a/run/, run/",
    ),
    "runs": (
        "1.png= 2.png= runs/x-1/recipe.json runs/x-1/log.jsonl runs/x-1/curves.png runs/grid.png",
        "sparring wrote them: runs/",
    ),
    "a study": ("1.png= 2.png= s/study.json s/trials/0001/run/recipe.json s/plot.png", "sparring wrote them: s/"),
    "a recipe of another kind": ("1.png= 2.png= a/recipe.json a/samples/3.png=a", ""),
}
"""By a name: files, with = and their class (after ! if held out) if they are read; and what is said."""


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
@pytest.mark.parametrize("case", LAYOUTS)
def test_what_folders_say(case: str, container: str, tmp_path: Path) -> None:
    pairs, told = [each.split("=") for each in LAYOUTS[case][0].split()], LAYOUTS[case][1]
    found = find_container(write(tmp_path / "data", pictures(" ".join(pair[0] for pair in pairs)), container), IMAGES)
    assert found is not None
    assert what_is_read(found) == dict(pair for pair in pairs if pair[1:])
    assert found.num_files == len(found.insides)
    assert told in "; ".join(found.notes)
    assert told or not found.notes


@pytest.mark.parametrize("container", ["folder", "zip"])
def test_two_domains_are_refused(container: str, tmp_path: Path) -> None:
    names = [f"{part}{domain}/{number}.png" for part in ("train", "test") for domain in "AB" for number in range(3)]
    path = write(tmp_path / "horse2zebra", pictures(" ".join(names)), container)
    with pytest.raises(DataError, match=r"2 sets of images.*testA and trainA; testB and trainB.*such as trainA"):
        open_dataset(str(path))
    if container == "folder":
        assert open_dataset(str(path / "trainA"), size=8).train.num_items == 2


def test_what_is_held_out_and_left_out_reaches_the_training(tmp_path: Path) -> None:
    write(
        tmp_path,
        pictures("train/a/0.png train/b/1.png train/b/2.png test/a/3.png test/b/4.png pred/5.png 6.png"),
        "folder",
    )
    dataset = open_dataset(str(tmp_path), size=8)
    assert dataset.train.items[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert dataset.heldout.items[:, 0, 0, 0].tolist() == [3, 4]
    assert dataset.class_names == ("a", "b")
    assert "left out beside test and train: 1 image in no folder, 1 image in pred" in str(dataset.survey.description)


def test_a_run_is_no_data(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=2, width=4, out=tmp_path / "run")
    for path in (run.path, write(run.path, {}, "zip")):
        with pytest.raises(DataError, match=r"is a run or a study of sparring, not data: .*sparring resume"):
            open_dataset(str(path))


def test_a_training_within_its_data_goes_on_as_if_it_were_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures in the current folder, trained on twice there, and the second run resumed."""
    generator = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(generator.integers(0, 256, (30, 30, 3), np.uint8)).save(tmp_path / f"{number:02}.png")
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {"size": 28, "width": 4, "batch_size": 8, "evaluation_share": 0.0, "sample_steps": 1}
    undisturbed = sparring.train(".", steps=6, **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has changed since it was packed")
        stopped = sparring.train(".", steps=3, **settings)
        assert undisturbed.path.parent.resolve() == stopped.path.parent.resolve() == tmp_path / "runs"
        resumed = sparring.resume(stopped.path, steps=6)
    weights = [(run.path / "generator" / "model.safetensors").read_bytes() for run in (undisturbed, resumed)]
    assert weights[0] == weights[1]
    assert len(find_packs()) == 1


@pytest.mark.parametrize("container", ["zip", "tar", "tar.gz"])
def test_the_order_of_an_archive_changes_nothing(container: str, tmp_path: Path) -> None:
    names = [*(f"{number}.png" for number in range(9)), *(f"a/{number}.png" for number in range(9))]
    files = pictures(" ".join(names))
    expected = open_dataset(str(write(tmp_path / "data", files, "folder")), size=8)
    path = tmp_path / f"a.{container}"
    if container == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in names[::-1]:
                file.writestr(name, files[name])
    else:
        with tarfile.open(path, "w:gz" if container == "tar.gz" else "w") as tar:
            for name in names[::-1]:
                tar.add(tmp_path / "data" / name, name)
    found = open_dataset(str(path), size=8)
    assert found.train.items.equal(expected.train.items)
    assert found.heldout.items.equal(expected.heldout.items)


@pytest.mark.parametrize("container", ["tar", "tar.gz"])
def test_links_in_archives_are_read(container: str, tmp_path: Path) -> None:
    """As in a folder; what they lead to outside is not."""
    data = write(tmp_path / "data", pictures(" ".join(f"{number:02}.png" for number in range(20))), "folder")
    os.link(data / "03.png", data / "20.png")
    (data / "21.png").symlink_to("05.png")
    expected = open_dataset(str(data), size=8)
    assert expected.train.num_items + expected.heldout.num_items == 22
    secret = tmp_path / "secret.png"
    picture(99).save(secret)
    (data / "22.png").symlink_to(secret)
    (data / "23.png").symlink_to("23.png")
    path = write(data, {}, container)
    with pytest.warns(SparringWarning, match="2 of the 24 images .* cannot be read") as told:
        found = open_dataset(str(path), size=8)
    assert len(told) == 1
    assert found.train.items.equal(expected.train.items)


def test_a_folder_that_is_new_beside_the_parts_is_told_of(tmp_path: Path) -> None:
    """Though nothing changes in what is read."""
    write(tmp_path, pictures("train/1.png train/2.png test/3.png"), "folder")
    assert "left out" not in str(open_dataset(str(tmp_path), size=8).survey.description)
    write(tmp_path, pictures("pred/4.png pred/notes.txt"), "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = str(open_dataset(str(tmp_path), size=8).survey.description)
    assert "1 image in pred" in told
    assert "not opened: 1 other file (.txt 1)" in told


def test_a_folder_with_the_name_of_a_data_set_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "digits", pictures("0.png 1.png 2.png"), "folder")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(SparringWarning, match=r"'digits' is the data set of .*give \./digits"):
        assert open_dataset("digits").train.num_items == 9000
    assert open_dataset("./digits", size=8).train.num_items == 2


FORMATS = {"png": "PNG", "jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "ppm": "PPM", "pgm": "PPM", "avif": "AVIF"}


@pytest.mark.parametrize("container", ["folder", "zip", "tar.gz"])
def test_files_are_known_by_their_content(container: str, tmp_path: Path) -> None:
    """Whatever their endings are; a camera's raw file begins like a TIFF, and holds a thumbnail."""
    forms = [*FORMATS.items(), ("", "PNG"), ("dat", "WEBP"), ("x", "BMP"), ("tmp", "GIF"), ("tif", "TIFF")]
    files = {f"{n}.{ending}".rstrip("."): encoded(n, form) for n, (ending, form) in enumerate(forms)}
    others = {
        "a.nef": encoded(0, "TIFF"),
        "b.dcm": b"no image",
        "c.md": b"BMI and P1 are words",
        "d.txt": b"",
        "e": b"",
    }
    found = find_container(write(tmp_path / "data", files | others, container), IMAGES)
    assert found is not None
    assert sorted(found.insides) == sorted(files)
    assert found.others == {".nef": 1, ".dcm": 1, ".md": 1, ".txt": 1, "no ending": 1}
    faults: list[str] = []
    items = found.read(
        lambda file, entry, n: Image.open(file).convert("RGB").size, faults, "", lambda what, share: None
    )
    assert [size for _, size in items] == [(30, 30)] * len(files)
    assert faults == []


def test_what_is_not_read_is_named_by_its_endings(tmp_path: Path) -> None:
    write(
        tmp_path,
        {f"{number}.dcm": b"-" for number in range(40)}
        | {"README": b"", "runs/1/recipe.json": b"", "runs/1/log.jsonl": b""},
        "folder",
    )
    told = r"no images.*, but 41 other files \(\.dcm 40, no ending 1\); .*runs/; images are read from .*\.png"
    with pytest.raises(DataError, match=told):
        open_dataset(str(tmp_path))
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "single")
    with pytest.raises(DataError, match="is a single image"):
        open_dataset(str(tmp_path / "single"))


def test_links_are_followed_if_asked_for(tmp_path: Path) -> None:
    """Each file is read once, and in a loop no further; without the option the error names it."""
    data, other = tmp_path / "data", tmp_path / "other"
    write(data, pictures("a/0.png a/1.png b/2.png"), "folder")
    write(other, pictures("3.png deep/4.png"), "folder")
    (data / "c").symlink_to(other)
    (data / "d").symlink_to(other / "deep")  # which c leads to as well
    (data / "e").symlink_to(data / "a")  # which is read where it lies
    (other / "back").symlink_to(data)
    (other / "deep" / "up").symlink_to(other)
    with pytest.raises(DataError, match=r"c' is a link to .*other', outside the folder: .*--follow-links"):
        open_folder(data, IMAGES)
    found = open_folder(data, IMAGES, Reading(follow_links=True))
    assert what_is_read(found) == {
        "a/0.png": "a", "a/1.png": "a", "b/2.png": "b", "c/3.png": "c", "d/4.png": "d",
    }  # fmt: skip
    (data / "f.png").symlink_to(tmp_path / "secret.png")
    picture(5).save(tmp_path / "secret.png")
    assert "f.png" in open_folder(data, IMAGES, Reading(follow_links=True)).insides
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", str(data), "--dry-run", "--steps", "2", "--batch-size", "2", "--follow-links"])
    dataset = open_dataset(str(data), size=8, follow_links=True)
    assert dataset.train.num_items + dataset.heldout.num_items == 6


def test_data_that_moved(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", generator.integers(0, 256, (40, 8, 8), np.uint8))
    run = sparring.train(tmp_path / "a.npy", steps=2, width=4, batch_size=8, out=tmp_path / "run")
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    with pytest.raises(
        DataError, match=r"a\.npy'; if the data of a run have moved.*: sparring resume \S+run --data NEW"
    ):
        sparring.resume(run.path, steps=4)


class Pairs(Dataset[Any]):
    """As data sets of torchvision are."""

    def __init__(self, images: list[Image.Image], labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        if number >= len(self):
            raise IndexError(number)
        return self.images[number], self.labels[number]


class Rows(Pairs):
    """As data sets of Hugging Face are."""

    def __getitem__(self, number: int) -> Any:
        image, label = super().__getitem__(number)
        return {"image": image, "label": label}


def _files(images: list[Image.Image], labels: list[int]) -> dict[str, bytes]:
    files = {}
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        image.save(data := io.BytesIO(), format="PNG", exif=image.getexif())
        files[f"{label}/{number:02}.png"] = data.getvalue()
    return files | {f"0/._{number}.png": b"what macOS adds" for number in range(9)}


def _parquet(path: Path, images: list[Image.Image], labels: list[int]) -> Path:
    cells = [{"bytes": data} for name, data in _files(images, labels).items() if "._" not in name]
    pyarrow.parquet.write_table(pa.table({"image": cells, "label": labels}), path / "data.parquet")
    return path / "data.parquet"


def _arrays(path: Path, images: list[Image.Image], labels: list[int]) -> Path:
    upright = [image.transpose(Image.Transpose.ROTATE_270) if image.getexif() else image for image in images]
    np.savez(path / "data.npz", images=np.stack([np.asarray(image) for image in upright]), labels=np.array(labels))
    return path / "data.npz"


CONTAINERS: dict[str, Callable[[Path, list[Image.Image], list[int]], Any]] = {
    "folder": lambda path, images, labels: write(path / "data", _files(images, labels), "folder"),
    "folder around": lambda path, images, labels: write(path / "in/all", _files(images, labels), "folder").parent,
    "zip": lambda path, images, labels: write(path / "data", _files(images, labels), "zip"),
    "tar": lambda path, images, labels: write(path / "data", _files(images, labels), "tar"),
    "tar.gz": lambda path, images, labels: write(path / "data", _files(images, labels), "tar.gz"),
    "Parquet": _parquet,
    "arrays": _arrays,
    "Pillow": lambda path, images, labels: list(zip(images, labels, strict=True)),
    "torch": lambda path, images, labels: Pairs(images, labels),
    "Hugging Face": lambda path, images, labels: Rows(images, labels),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_data_whatever_the_container(container: str, tmp_path: Path) -> None:
    """The same pixels, classes and split; photographs that lie on their side are turned in each."""
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (28, 28, 3), np.uint8)) for _ in range(30)]
    for image in images[::3]:
        image.getexif()[0x0112] = 6
    labels = [number // 10 for number in range(30)]
    given = CONTAINERS[container](tmp_path, images, labels)
    dataset = open_dataset(str(given if isinstance(given, Path) else sparring.modalities.keep(given)), size=28)
    expected = [image.transpose(Image.Transpose.ROTATE_270) if n % 3 == 0 else image for n, image in enumerate(images)]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in expected])).permute(0, 3, 1, 2)
    is_heldout = torch.arange(30) % 10 == 9
    assert torch.equal(dataset.train.items, pixels[~is_heldout])
    assert torch.equal(dataset.heldout.items, pixels[is_heldout])
    assert dataset.train.item_labels.tolist() == [label for n, label in enumerate(labels) if n % 10 != 9]
    assert dataset.class_names in ((), ("0", "1", "2"))

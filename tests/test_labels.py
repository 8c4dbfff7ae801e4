"""Labels: from arrays, files, names and tables to the networks, and from a caller's words back to them."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sparring
from sparring import DataError, UnknownNameError, UsageError
from sparring.data.containers import Reading
from sparring.data.items import Balanced, Items
from sparring.data.labels import Attribute, check_labels, decode, labels_of, npz_labels
from sparring.errors import SparringWarning
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities import Survey, look_at, open_dataset
from sparring.modalities.points import Points
from sparring.seeding import Stream
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

HAIR = ["black", "red", "blond"]

# labels of four items, the classes' numbers, and their names
CLASSES: dict[str, tuple[Any, list[int], tuple[str, ...]]] = {
    "contiguous": ([0, 1, 2, 1], [0, 1, 2, 1], ()),
    "with gaps": ([10, 20, 10, 20], [0, 1, 0, 1], ("10", "20")),
    "from 1": (np.array([1, 2, 3, 2], np.uint8), [0, 1, 2, 1], ("1", "2", "3")),
    "in the order of numbers": ([1001, 999, 1003, 999], [1, 0, 2, 0], ("999", "1001", "1003")),
    "below 0": ([-1, 1, 1, -1], [0, 1, 1, 0], ("-1", "1")),
    "text": (["cat", "ant", "cat", "dog"], [1, 0, 1, 2], ("ant", "cat", "dog")),
    "bytes": (np.array([b"cat", b"ant", b"cat", b"dog"]), [1, 0, 1, 2], ("ant", "cat", "dog")),
    "text of numbers": (["10", "9", "10", "9"], [1, 0, 1, 0], ("9", "10")),
    "whole floats": (torch.tensor([3.0, 1.0, 1.0, 3.0]), [1, 0, 0, 1], ("1", "3")),
    "bfloat16": (torch.tensor([3, 1, 1, 3]).bfloat16(), [1, 0, 0, 1], ("1", "3")),
    "booleans": ([True, False, False, True], [1, 0, 0, 1], ("False", "True")),
    "a column": ([[0], [1], [2], [1]], [0, 1, 2, 1], ()),
    "one-hot": (np.eye(3)[[0, 1, 2, 1]], [0, 1, 2, 1], ()),
    "one-hot without a class": (np.eye(4, dtype=int)[[1, 3, 3, 1]], [0, 1, 1, 0], ("1", "3")),
    "objects": (np.array(["b", 7, "b", 7], object), [1, 0, 1, 0], ("7", "b")),
}


@pytest.mark.parametrize("case", CLASSES)
def test_the_labels_that_occur_are_the_classes(case: str) -> None:
    """In memory, and after they were written into a file."""
    given, numbers, names = CLASSES[case]
    for labels in (given, labels_of(npz_labels(given, 4, "x"))):
        found = check_labels(labels, 4, "x")
        assert found.labels is not None
        assert found.labels.dtype == torch.int64
        assert (found.labels.tolist(), found.class_names) == (numbers, names)


# labels of four items, and the error
BAD = {
    "too few": ([1, 2], r"'x' has 4 items and labels int64 \[2\]: give one label to each"),
    "not finite": ([0.0, 1.5, np.nan, 1.0], "item 2 of 'x' has the label nan"),
    "nothing": (["a", None, "b", "b"], "item 1 of 'x' has the label None"),
    "pictures": (["a", {"bytes": bytes(5000)}, "b", "b"], r"item 1 of 'x' has the label .{,60} \(1 such items\): "),
    "ragged": ([[1, 2], [1], [1], [1]], "labels of 'x' are no array"),
    "dates": (np.array(["2020-01-01"] * 4, "datetime64[D]"), "labels of type datetime64"),
    "three dimensions": (np.zeros((4, 2, 2)), r"\[4, 2, 2\]: give one label to each"),
    "other attributes": ([{"a": 1}, {"b": 1}, {"a": 2}, {"a": 1}], "not all the same attributes"),
}


@pytest.mark.parametrize("case", BAD)
def test_labels_that_cannot_be_used_are_refused(case: str) -> None:
    labels, message = BAD[case]
    with pytest.raises(DataError, match=message):
        check_labels(labels, 4, "x")


def test_names_of_classes_can_be_written_into_files() -> None:
    assert check_labels(["a\udcff", "b", "b", "b"], 4, "x").class_names == ("a?", "b")


def test_too_many_classes_are_refused_with_the_mend() -> None:
    with pytest.raises(DataError, match=r"label has 1001 different values. Give at most 1000 classes, or numbers"):
        check_labels(np.arange(1001), 1001, "x")
    assert len(check_labels(np.arange(1000), 1000, "x").class_names) == 0


def test_attributes_are_one_hot_and_standardized() -> None:
    """From a mapping, a mapping for each item, and a file of arrays; a constant or a remark is left out, and said."""
    hair, age = ["red", "black", "red", "black"], [20.5, 30.0, 40.0, 29.5]
    remarks = {"planet": ["earth"] * 4, "remark": ["a", "b", "c", "d"]}
    columns = {"hair": hair, "age": age, **remarks}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    with pytest.warns(SparringWarning, match="'planet' is 'earth' for every item.*; remark has 4 different values"):
        arrays = npz_labels(columns, 4, "x")
    for given in (columns, rows, labels_of(arrays)):
        with pytest.warns(SparringWarning, match="left out"):
            found = check_labels(given, 4, "x")
        assert [(each.name, each.values, each.low, each.high) for each in found.attributes] == [
            ("hair", ("black", "red"), 0.0, 0.0),
            ("age", (), 20.5, 40.0),
        ]
        assert found.labels is not None
        assert found.labels.dtype == torch.float32
        assert found.labels[:, :2].tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
        assert found.labels[:, 2].mean().item() == pytest.approx(0, abs=1e-6)
        assert found.labels[:, 2].square().mean().item() == pytest.approx(1, abs=1e-6)
        assert decode(found.attributes, found.labels).tolist() == pytest.approx(np.array([[1, 0, 1, 0], age]).T)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(100) % 50, "classes"),
        (np.arange(102) % 51, "number"),
        (np.arange(100) / 7, "number"),
        ([f"word {number % 40}" for number in range(80)], "classes"),
        (list(range(20)), "number"),  # each value occurs once
    ],
)
def test_a_column_alone_is_classes_or_a_number(values: Any, kind: str) -> None:
    found = check_labels({"column": values}, len(values), "x")
    assert found.labels is not None
    assert (found.labels.ndim == 1) == (kind == "classes")


# Files of labels


def write_images(folder: Path, count: int = 30, ending: str = ".png") -> list[str]:
    """Pictures of different colours, in two folders."""
    names = [f"{'ab'[number % 2]}/{number:03d}{ending}" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (28, 28), (8 * number, 0, 255 - 8 * number)).save(folder / name, "PNG")
    return names


def write_csv(path: Path, rows: list[list[Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def read(path: Path, labels: str | None = None) -> tuple[dict[int, str], str]:
    """The class of each image by its number, and the description."""
    found = look_at(str(path), Reading(labels=labels))
    assert isinstance(found, Survey)
    dataset = found.read(None, lambda what, share: None, False)
    classes = {}
    for part in (dataset.train, dataset.heldout):
        assert isinstance(part, Items)
        assert part.item_labels is not None
        for image, label in zip(part.items, part.item_labels.tolist(), strict=True):
            classes[int(image[0, 0, 0]) // 8] = dataset.class_names[label]
    return classes, "\n".join(found.description)


def with_title(folder: Path, names: list[str]) -> None:
    write_csv(folder / "labels.csv", [["file", "label"], *([name, HAIR[n % 3]] for n, name in enumerate(names))])


def without_title(folder: Path, names: list[str]) -> None:
    write_csv(folder / "labels.csv", [[HAIR[n % 3], name] for n, name in enumerate(names)], ";")


def by_name_alone(folder: Path, names: list[str]) -> None:
    rows = [[n, Path(name).name, HAIR[n % 3], n] for n, name in enumerate(names)]
    write_csv(folder / "labels.csv", [["row", "name", "class", "x"], *rows[::-1]], "\t")


def by_stem(folder: Path, names: list[str]) -> None:
    write_csv(
        folder / "labels.csv", [["id", "breed"], *([Path(name).stem, HAIR[n % 3]] for n, name in enumerate(names))]
    )


def hugging_face(folder: Path, names: list[str]) -> None:
    for part in "ab":
        rows = [[Path(name).name, HAIR[n % 3], f"text {n}"] for n, name in enumerate(names) if name.startswith(part)]
        write_csv(folder / part / "metadata.csv", [["file_name", "label", "text"], *rows])


def lines_of_json(folder: Path, names: list[str]) -> None:
    lines = [json.dumps({"file_name": name, "label": HAIR[n % 3], "objects": []}) for n, name in enumerate(names)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def style_gan(folder: Path, names: list[str]) -> None:
    (folder / "dataset.json").write_text(json.dumps({"labels": [[name, HAIR[n % 3]] for n, name in enumerate(names)]}))


def celeba(folder: Path, names: list[str]) -> None:
    """The number of rows, titles without that of the files, and spaces that line up."""
    rows = [f"{Path(name).name} {HAIR[n % 3]:>6}  {n} \n" for n, name in enumerate(names)]
    (folder / "labels.csv").write_text(f"{len(names)}\nlabel age \n" + "".join(rows))


def pandas(folder: Path, names: list[str]) -> None:
    """With the number of each row, without a title."""
    write_csv(folder / "labels.csv", [["", "file", "hair"], *([n, name, HAIR[n % 3]] for n, name in enumerate(names))])


FILES: list[Callable[[Path, list[str]], None]] = [
    with_title, without_title, by_name_alone, by_stem, hugging_face, lines_of_json, style_gan, celeba, pandas,
]  # fmt: skip


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_usual_files_of_labels_are_found(
    write: Callable[[Path, list[str]], None], container: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "around"
    write(folder, write_images(folder))
    path = tmp_path / "data"
    if container != "folder":
        import shutil

        path = Path(shutil.make_archive(str(tmp_path / "packed"), container, tmp_path, "data"))
    classes, description = read(path)
    assert classes == {number: HAIR[number % 3] for number in range(30)}
    assert "3 classes from labels in " in description
    assert "other file" not in description


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("{TMP}/faces.tsv:hair", HAIR),
        ("faces.tsv:hair", HAIR),
        ("hair", HAIR),
        ("folders", ["a", "b"]),
        ("{part}/{number}:part", ["a", "b"]),
        ("{TMP}/plain.txt", HAIR),
    ],
)
def test_labels_that_are_asked_for(setting: str, names: list[str], tmp_path: Path) -> None:
    """A file elsewhere or within the data, a column, the folders, or the names of the files."""
    folder = tmp_path / "data"
    files = write_images(folder)
    rows = [["file", "hair", "age"], *([name, HAIR[n % 3], 20 + n / 2] for n, name in enumerate(files))]
    for path in (tmp_path / "faces.tsv", folder / "faces.tsv"):
        write_csv(path, rows, "\t")
    write_csv(folder / "labels.csv", rows)
    (tmp_path / "plain.txt").write_text("\n".join(f"{name} {HAIR[n % 3]}" for n, name in enumerate(files)))
    classes, _ = read(folder, setting.replace("{TMP}", str(tmp_path)))
    assert classes == {number: names[number % len(names)] for number in range(30)}


def test_labels_change_the_pack(tmp_path: Path) -> None:
    """Though the images are the same, and their files too."""
    names = write_images(tmp_path)
    with_title(tmp_path, names)
    assert read(tmp_path)[0][0] == "black"
    with_title(tmp_path, names[::-1])
    with pytest.warns(SparringWarning, match="changed since it was packed"):
        assert read(tmp_path)[0][0] == "blond"


def test_files_and_rows_that_do_not_match_are_said(tmp_path: Path) -> None:
    """A few files without a label are left out; more are an error, with the mend."""
    names = write_images(tmp_path)
    rows = [["file", "label"], *([name, HAIR[n % 3]] for n, name in enumerate(names)), ["gone.png", "red"]]
    rows[4][1] = ""
    write_csv(tmp_path / "labels.csv", rows)
    classes, description = read(tmp_path)
    assert classes == {number: HAIR[number % 3] for number in range(30) if number != 3}
    assert "left out, without a label in labels.csv: 1 image" in description
    assert "rows of labels.csv that name no file here: 1 of 31" in description
    write_csv(tmp_path / "labels.csv", rows[:20])
    with pytest.raises(DataError, match=r"12 of the 30 images .*the first 'a/020.png'.*set labels=folders"):
        look_at(str(tmp_path))


@pytest.mark.parametrize(
    ("rows", "setting", "message"),
    [
        ([["file", "label"], ["a/000.png", "x", "y"]], None, "row 2 of .* has 3 columns, and the first one 2"),
        ([["file", "label"], ["a/000.png", "x"], ["a/000.png", "y"]], None, "29 of the 30 images"),
        ([["file", "label"]], "labels.csv", "no row of labels.csv names a file"),
        ([["file", "label"]], "labels.csv:hair", "no row of labels.csv names a file"),
        ([["file", "label"]], "other.csv", "there is no file 'other.csv' with labels"),
        ([["file", "hair", "hair"], ["a/000.png", "x", "y"]], None, "labels.csv' has several columns called 'hair'"),
        ([["file", "label"]], "{}_{x}", "another name in each pair of braces"),
        ([["file", "label"]], "{x}_{y}", "30 of the 30 images"),
    ],
)
def test_files_of_labels_that_cannot_be_used(
    rows: list[list[str]], setting: str | None, message: str, tmp_path: Path
) -> None:
    write_images(tmp_path)
    write_csv(tmp_path / "labels.csv", rows)
    with pytest.raises(DataError, match=message):
        look_at(str(tmp_path), Reading(labels=setting))


def test_two_labels_of_one_file_are_refused(tmp_path: Path) -> None:
    names = write_images(tmp_path)
    rows = [[name, HAIR[n % 3]] for n, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", [["file", "label"], *rows, [names[4], "blond"]])
    with pytest.raises(DataError, match=r"a/004.png has two of label in labels.csv: 'red' and 'blond'"):
        look_at(str(tmp_path))


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with_title(tmp_path, write_images(tmp_path))
    with pytest.raises(UnknownNameError, match=r"unknown column of labels.csv 'labell': did you mean 'label'"):
        look_at(str(tmp_path), Reading(labels="labell"))


def test_a_file_that_says_nothing_of_the_images_is_left_aside(tmp_path: Path) -> None:
    """The sub-folders are the classes then, as if it were not there."""
    write_images(tmp_path)
    write_csv(tmp_path / "labels.csv", [["animal", "legs"], ["spider", "8"], ["ant", "6"]])
    classes, description = read(tmp_path)
    assert classes == {number: "ab"[number % 2] for number in range(30)}
    assert re.search("labels.csv was not used: no row of labels.csv names a file", description)


def test_columns_of_tables(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    names = write_images(tmp_path / "images")
    pictures = [{"bytes": (tmp_path / "images" / name).read_bytes(), "path": None} for name in names]
    table = {"image": pictures, "hair": [HAIR[n % 3] for n in range(30)], "age": [20 + n / 2 for n in range(30)]}
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "faces.parquet")
    classes, description = read(tmp_path / "faces.parquet", "hair")
    assert classes == {number: HAIR[number % 3] for number in range(30)}
    assert "3 classes from labels in the table" in description
    dataset = open_dataset(str(tmp_path / "faces.parquet"), labels="hair,age")
    assert [each.name for each in dataset.attributes] == ["hair", "age"]
    with pytest.raises(UnknownNameError, match="unknown column 'hairs': did you mean 'hair'"):
        look_at(str(tmp_path / "faces.parquet"), Reading(labels="hairs"))
    with pytest.raises(DataError, match="are columns of it"):
        look_at(str(tmp_path / "faces.parquet"), Reading(labels="faces.csv:hair"))


CELLS = {  # a column "label" of a table: the names of the classes, and what is said
    "numbers with gaps": ([1, 3] * 15, ("1", "3"), "2 classes from labels; the smallest, 1, has 15 images"),
    "whole floats": ([1.0, 2.0] * 15, ("1", "2"), "2 classes from labels in the table"),
    "one is missing, as pandas writes it": (
        [float("nan")] + [1.0, 2.0] * 14 + [1.0],
        ("1", "2"),
        "left out, without a label in the table: 1 image",
    ),
    "a number": ([n / 7 for n in range(30)], (), "label (0 to 4.14286)"),
    "lists": ([[n % 2] for n in range(30)], (), "label (list<element: int64>) left aside: labels are numbers or text"),
    "bytes": ([b"ab"[n % 2 :] for n in range(30)], (), "label (binary) left aside"),
    "nothing": ([None] * 30, (), "no classes: no labels"),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_column_of_labels(case: str, tmp_path: Path) -> None:
    """Beside a column without a name, which is none of labels."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    cells, class_names, told = CELLS[case]
    pictures = [(tmp_path / "images" / name).read_bytes() for name in write_images(tmp_path / "images")]
    table = pa.table({"image": pictures, "label": cells, "": ["x", "y"] * 15})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    dataset = open_dataset(str(tmp_path / "a.parquet"), size=8)
    assert dataset.class_names == class_names
    assert dataset.survey is not None
    assert told in "\n".join(dataset.survey.description)


def test_files_of_a_table_that_differ_are_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pictures = [(tmp_path / "images" / name).read_bytes() for name in write_images(tmp_path / "images")]
    for name, labels in {"train-0": ["x", "y"] * 15, "train-1": [0, 1] * 15}.items():
        pyarrow.parquet.write_table(pa.table({"image": pictures, "label": labels}), tmp_path / f"{name}.parquet")
    (tmp_path / "images").rename(tmp_path / ".hidden")
    with pytest.raises(DataError, match="have columns 'label' of several types: int, string"):
        look_at(str(tmp_path))


def test_arrays_that_are_asked_for(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(20) % 2, fine=np.arange(20) % 5 + 1)
    assert open_dataset(str(tmp_path / "x.npz"), labels="fine").class_names == ("1", "2", "3", "4", "5")
    assert len(open_dataset(str(tmp_path / "x.npz"), labels="fine,labels").attributes) == 2
    with pytest.raises(UnknownNameError, match="'fin': did you mean 'fine'"):
        open_dataset(str(tmp_path / "x.npz"), labels="fin")
    with pytest.raises(UsageError, match="digits brings its own labels"):
        open_dataset("digits", labels="fine")


# Sampling

ATTRIBUTES = (Attribute("hair", ("black", "red")), Attribute("age", (), 40.0, 10.0, 20.0, 60.0))
ROWS = ((0.0, 30.0), (0.0, 50.0), (1.0, 25.0), (1.0, 35.0))


def generator_with(**parts: Any) -> Generator:
    config = Config(Points((2,)), "mlp", latent_dim=8, prior="gaussian", width=16, **parts)
    with Stream(0, "test").as_default():
        return Generator(config.build(), config)


def numbers_of(generator: Generator, labels: Any, n: int = 50) -> list[list[float]]:
    vectors = generator._labels(labels, n, Stream(3, "sample"))
    assert vectors is not None
    return [[round(number, 4) for number in row] for row in decode(ATTRIBUTES, vectors).tolist()]


def test_a_label_is_the_name_of_a_class() -> None:
    """Also when it is a number, and in every way that a number is written; without names it is the number."""
    named = generator_with(class_shares=(0.5, 0.25, 0.25), class_names=("1", "2", "3"))
    second = named.generate(named.latents(2), [1, 1])
    for label in ("2", 2, np.int32(2), 2.0, [2, "2"], np.array([2, 2], np.int32), torch.tensor([2, 2])):
        assert np.array_equal(named.sample(2, labels=label), second)
    assert named.interpolate(*named.latents(2), steps=2, label="3").shape == (2, 2)
    with pytest.raises(UnknownNameError, match=r"^unknown label '0': Known: 1, 2, 3$"):
        named.sample(2, labels=0)
    plain = generator_with(class_shares=(0.5, 0.0, 0.5))
    assert np.array_equal(plain.sample(2, labels="2"), plain.sample(2, labels=2))
    with pytest.raises(UnknownNameError, match="unknown label '1': Known: 0, 2"):
        plain.sample(2, labels=1)  # no training item has it


def test_generate_takes_numbers_of_any_kind() -> None:
    generator = generator_with(class_shares=(0.5, 0.5))
    latents = generator.latents(2)
    expected = generator.generate(latents, torch.tensor([0, 1]))
    for labels in ([0, 1], np.array([0, 1], np.int32), torch.tensor([0, 1], dtype=torch.int32)):
        assert np.array_equal(generator.generate(latents, labels), expected)
    for bad in ([0, 2], [0], ["a", "b"], [0.5, 0.5], [[0], [1]]):
        with pytest.raises(UsageError, match="labels"):
            generator.generate(latents, bad)


def test_attributes_that_are_left_out_are_drawn_from_rows_that_have_the_others() -> None:
    generator = generator_with(attributes=ATTRIBUTES, rows=ROWS)
    drawn = numbers_of(generator, None)
    assert {tuple(row) for row in drawn} == set(ROWS)
    assert numbers_of(generator, None, 10) == drawn[:10]
    assert {tuple(row) for row in numbers_of(generator, {"hair": "red"})} == {(1.0, 25.0), (1.0, 35.0)}
    assert {tuple(row) for row in numbers_of(generator, "age=33")} == {(0.0, 33.0), (1.0, 33.0)}
    for both in ({"hair": "red", "age": 33}, "hair=red, age=33.0", [{"age": np.float32(33), "hair": "red"}] * 50):
        assert numbers_of(generator, both) == [[1.0, 33.0]] * 50
    each = [{"hair": "red"}, {"hair": "black"}] * 25
    assert [row[0] for row in numbers_of(generator, each)] == [1.0, 0.0] * 25
    assert generator.sample(3, labels="hair=red").shape == (3, 2)
    assert generator.interpolate(*generator.latents(2), steps=4, label={"hair": "red"}).shape == (4, 2)
    assert generator.sample(3, labels="hair=red", rejection=lambda samples: torch.zeros(len(samples))).shape == (3, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"hairs": "red"}, "unknown attribute 'hairs': did you mean 'hair'"),
        ("hair=rad", "unknown hair 'rad': did you mean 'red'"),
        ("hair=red,hair=black", "gives hair twice: give each attribute once"),
        ("red", 'give a mapping or text such as "hair=black"'),
        (1, "give a mapping"),
        ({"age": "old"}, "age is a number from 20 to 60, not 'old'"),
        ([{"hair": "red"}], "one for each of the 2 samples, not 1"),
    ],
)
def test_attributes_that_do_not_exist(labels: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generator_with(attributes=ATTRIBUTES, rows=ROWS).sample(2, labels=labels)


def test_a_number_that_the_training_never_saw_gives_a_warning() -> None:
    with pytest.warns(SparringWarning, match="age=90 lies outside the training data, which go from 20 to 60"):
        generator_with(attributes=ATTRIBUTES, rows=ROWS).sample(2, labels={"age": 90})


def test_attributes_of_a_generator_with_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="has classes and no attributes"):
        generator_with(class_shares=(0.5, 0.5)).sample(2, labels={"hair": "red"})


def test_vectors_are_weighted_rows_of_what_classes_look_up() -> None:
    """A one-hot vector is its class, in both networks; and a generator with classes trains to the same bytes."""
    from sparring.networks import NETWORKS

    for network in NETWORKS.values():
        if network.translates:
            continue
        shape = network.usual_shapes[0]
        latents, classes = torch.randn(3, 8), torch.tensor([0, 2, 1])
        generator = network.generator(shape, 8, 8, 3).eval()
        discriminator = network.discriminator(shape, 8, network.normalizations[0], 3).eval()
        for parameter in generator.parameters():
            parameter.data.add_(0.01 * torch.randn_like(parameter))
        samples = generator(latents, classes)
        assert torch.allclose(generator(latents, torch.eye(3)[classes]), samples, atol=1e-5)
        assert torch.allclose(
            discriminator(samples, torch.eye(3)[classes]), discriminator(samples, classes), rtol=1e-4, atol=1e-4
        )


# Training


def test_a_training_with_attributes(tmp_path: Path) -> None:
    """It is monitored, pictured, resumed, measured and sampled; without conditional it is told nothing of them."""
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)
    labels = {"hair": [HAIR[n % 3] for n in range(120)], "age": [20 + n / 4 for n in range(120)]}
    settings = {"steps": 2, "width": 4, "batch_size": 8, "evaluation_steps": 1, "progress": False}
    run = sparring.train(images, labels=labels, out=tmp_path / "run", **settings)
    generator = sparring.load(run.path)
    assert [each.name for each in generator.config.attributes] == ["hair", "age"]
    assert generator.config.label_size == 4
    assert len(generator.config.rows) == 108
    assert generator.sample(3, labels={"hair": "red", "age": 30}).shape == (3, 8, 8)
    assert "overfitting" in run.log()[-1]["evaluation"] or "separation" in run.log()[-1]["evaluation"]
    assert sparring.resume(run.path, steps=3, progress=False).summary().steps == 3
    without = sparring.train(images, labels=labels, conditional=False, out=tmp_path / "without", **settings)
    assert sparring.load(without.path).config.attributes == ()


def test_a_file_of_samples_keeps_its_attributes(tmp_path: Path) -> None:
    """And can be trained on: one-hot vectors without names could not."""
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)
    labels = {"hair": [HAIR[n % 3] for n in range(120)], "age": [20 + n / 4 for n in range(120)]}
    run = sparring.train(images, labels=labels, steps=1, width=4, batch_size=8, out=tmp_path / "run", progress=False)
    generator = sparring.load(run.path)
    drawn = generator.config.label_arrays(generator.random_labels(60))
    generator.modality.write(generator.sample(60), tmp_path / "a.npz", drawn)
    with np.load(tmp_path / "a.npz") as arrays:
        assert {*arrays["labels:hair"]} == {*HAIR[:3]}
        assert np.ptp(arrays["labels:age"]) > 10
    again = open_dataset(str(tmp_path / "a.npz")).attributes
    assert [(each.name, each.values) for each in again] == [("hair", tuple(sorted(HAIR[:3]))), ("age", ())]


def test_the_setting_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the run can be resumed from anywhere."""
    names = write_images(tmp_path / "data")
    with_title(tmp_path, names)
    monkeypatch.chdir(tmp_path)
    run = sparring.train("data", labels="labels.csv:label", steps=1, width=4, batch_size=4, out="run", progress=False)
    assert run.recipe().labels == f"{tmp_path / 'labels.csv'}:label"
    assert sparring.load(run.path).config.class_names == ("black", "blond", "red")


# Balance


def test_classes_are_drawn_equally_often() -> None:
    """Of 97 and 3 items: each item of a class comes once before any comes twice; each process draws its part."""
    items = Items(torch.arange(100.0).reshape(100, 1), (torch.arange(100) >= 97).long())
    balanced, stream = Balanced(items), Stream(0, "data")
    drawn = [balanced.batch(10, stream.at(step)).flatten().tolist() for step in range(3)]
    for step, batch in enumerate(drawn):
        assert [number >= 97 for number in batch] == balanced.labels(10, stream.at(step)).bool().tolist()
        assert sum(number >= 97 for number in batch) == 5
    rare = [number for batch in drawn for number in batch if number >= 97]
    assert all(sorted(rare[start : start + 3]) == [97, 98, 99] for start in range(0, 15, 3))
    common = [number for batch in drawn for number in batch if number < 97]
    assert len(set(common)) == 15
    assert Balanced(items).batch(10, stream.at(2)).flatten().tolist() == drawn[2]
    halves = [Balanced(items).batch(5, stream.at(1).for_rank(rank, 2)).flatten().tolist() for rank in range(2)]
    assert halves[0] + halves[1] == drawn[1]


def test_balance_needs_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="these data have no classes: leave it away"):
        sparring.train("ring", balance=True, steps=1, width=4, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    (tmp_path / "data").mkdir()
    rows = [f"{number}.png,{'ab'[number % 2]},{number}" for number in range(40)]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["file,hair,age", *rows]))
    for number in range(40):
        Image.new("L", (28, 28), 6 * number).save(tmp_path / "data" / f"{number}.png")
    with pytest.raises(DataError, match="these data have no classes: leave it away"):
        resolve(make_request(str(tmp_path / "data"), balance=True, steps=1), dry=True)
    run = sparring.train("digits", balance=True, steps=2, width=4, out=tmp_path / "run", progress=False)
    assert run.recipe().balance
    assert sparring.resume(run.path, steps=3, progress=False).summary().steps == 3

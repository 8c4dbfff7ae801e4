"""Whatever people bring: it is read and trained on, or refused with one clear text, and nothing half-made is left.

FUZZ_EXAMPLES=5000 pytest -n 0 tests/test_data_fuzz.py    # other examples each time; without it, always the same
"""

import csv
import io
import json
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import sparring
from sparring.data.memory import Indexable
from sparring.errors import SparringError, SparringWarning, UsageError
from sparring.modalities import Dataset, keep
from sparring.seeding import Stream
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

NUM_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
fuzz = settings(
    max_examples=NUM_EXAMPLES or 25,
    derandomize=not NUM_EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
SMALL: dict[str, Any] = {"steps": 2, "width": 4, "batch_size": 2}
LONGEST, MOST_LINES = 600, 13  # of a message: characters in a line, and lines in a list of faults
RIDDLES = re.compile(r"Traceback|<[\w.]+ object|<class |array\(|tensor\(|Error\b.*Error\b|\bErrno\b|\n\s*\n")
TEMPORARY = re.compile(r"\.\d+\.(tmp|old)")


def words(text: str, *others: Any) -> st.SearchStrategy[Any]:
    """One of the words of a text, or of the others."""
    return st.sampled_from([*text.split(), *others])


@contextmanager
def somewhere() -> Iterator[Path]:
    """A folder with a cache in it, in which nothing half-made may be left."""
    folder, before = Path(tempfile.mkdtemp()), os.environ["SPARRING_CACHE"]
    os.environ["SPARRING_CACHE"] = str(folder / "cache")
    try:
        yield folder
        left = [str(path.relative_to(folder)) for path in (folder / "cache").rglob("*")]
        assert not [name for name in left if TEMPORARY.search(name)], left
        packs = {os.path.dirname(name) for name in left if name.endswith("items.npy")}
        assert packs == {os.path.dirname(name) for name in left if name.endswith("pack.json")}, left
    finally:
        os.environ["SPARRING_CACHE"] = before
        shutil.rmtree(folder)


def check_text(text: str) -> None:
    assert text.strip()
    assert not RIDDLES.search(text), text
    lines = text.split("\n")
    assert len(lines) <= MOST_LINES, text
    assert max(map(len, lines)) <= LONGEST, text


def check_dataset(dataset: Dataset) -> None:
    """Batches are finite numbers in range, and labels those of the classes."""
    for part in (dataset.train, dataset.heldout):
        assert part.num_items is not None
        assert part.num_items > 0
        samples, labels = part.batch(4, Stream(0, "data")), part.labels(4, Stream(0, "data"))
        assert samples.shape == (4, *dataset.modality.item_shape)
        assert torch.isfinite(samples).all()
        assert dataset.modality.name == "points" or samples.abs().max() <= 1
        if labels is None:
            assert (dataset.class_names, dataset.attributes) == ((), ())
        elif labels.is_floating_point():
            assert labels.shape[1] == sum(attribute.size for attribute in dataset.attributes)
            assert torch.isfinite(labels).all()
        else:
            assert 0 <= labels.min() <= labels.max() < len(part.class_shares)
            assert len(dataset.class_names) in (0, len(part.class_shares))
            assert len(set(dataset.class_names)) == len(dataset.class_names)


def attempt(data: object, labels: object = None, *, trains: bool, out: Path, **given: object) -> None:
    """Read the data, and perhaps train on them: it works, or is refused with one clear text."""
    is_refused = False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("error")
        warnings.simplefilter("always", SparringWarning)
        try:
            if trains:
                quiet = {"evaluation_share": 0.0, "progress": False, "out": out}
                sparring.train(data, labels=labels, **SMALL, **quiet, **given)  # type: ignore[arg-type]
            else:
                path = data if isinstance(data, Path) else keep(data, labels)  # type: ignore[arg-type]
                check_dataset(resolve(make_request(str(path), None, **SMALL | given))[1])
        except SparringError as error:
            check_text(str(error))
            is_refused = isinstance(error, UsageError)
    assert not (is_refused and out.exists())
    for each in told:
        check_text(str(each.message))


# Arrays

NUMS = st.sampled_from([0, 1, 2, 3, 12, 30])
SIDES = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 12, 28, 33, 70])
SHAPES = st.one_of(
    st.sampled_from([(8, 8), (3, 8, 8), (8, 8, 3), (1, 8, 8), (8, 8, 4), (28, 28), (2,), (5,), (16, 9), (1, 128)]),
    st.lists(SIDES, max_size=4).map(tuple),
)
TYPES = words("u1 u1 f4 f4 u2 >u2 i2 i4 i8 u8 f2 f8 ? c8 U2 M8[D] S1")
RANGES = st.sampled_from(
    [(0, 255), (0, 1), (-1, 1), (0, 4095), (0, 65535), (0, 0), (5, 5), (-3, 3), (0, 1e9), (0, 1.0005), (-1e30, 1e30)]
)
ODD = st.sampled_from([None, None, None, None, np.nan, np.inf])


@st.composite
def arrays(draw: st.DrawFn, num: int | None = None) -> np.ndarray:
    shape = (draw(NUMS) if num is None else num, *draw(SHAPES))
    (low, high), kind, odd = draw(RANGES), draw(TYPES), draw(ODD)
    random = np.random.default_rng(draw(st.integers(0, 9)))
    numbers = (
        random.uniform(low, high, shape) if draw(st.booleans()) else random.choice([low, high], shape).astype("f8")
    )
    if odd is not None and numbers.size:
        numbers.reshape(-1)[0] = odd
    with np.errstate(all="ignore"):
        return numbers.round().astype("i8").astype(kind) if kind[0] == "M" else numbers.astype(kind)


TEXTS = ["a", "b", "b ", "1", "2", "1.5", "nan", "", "x" * 500, "1001", "\udcff", "2020-01-01"]
CELLS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text(max_size=5),
    st.sampled_from([*TEXTS, 0.5, 2.0, 1e300, np.nan, np.inf]),
)  # fmt: skip


@st.composite
def label_lists(draw: st.DrawFn, num: int) -> list[Any]:
    few = draw(st.lists(CELLS, min_size=1, max_size=4))
    is_regular = draw(st.booleans())
    return [few[place % len(few)] for place in range(num)] if is_regular else draw(st.lists(CELLS, max_size=num))


@st.composite
def labels(draw: st.DrawFn, num: int) -> object:
    """Labels of items in memory."""
    random = np.random.default_rng(draw(st.integers(0, 9)))
    kind = draw(st.integers(0, 8))
    if kind < 3:
        return draw(label_lists(num))
    if kind < 6:
        shape = draw(st.sampled_from([(num,), (num, 1), (num, 2), (num, 3), (num + 1,), (num, 2, 2), ()]))
        return random.integers(draw(st.sampled_from([0, 1, -2, 1000])), 1005, shape).astype(draw(TYPES))
    if kind == 6:
        names = draw(st.lists(st.sampled_from(["hair", "age", "label", "", 3]), max_size=3))
        return {name: draw(label_lists(num)) for name in names}
    return [{"hair": cell} for cell in draw(label_lists(num))] if kind == 7 else np.eye(3)[random.integers(0, 3, num)]


@st.composite
def in_memory(draw: st.DrawFn) -> tuple[object, object]:
    """Data in memory, and labels or None."""
    array = draw(arrays())
    given = draw(st.none() | labels(len(array)))
    items = list(array) if array.ndim > 1 else [array]
    kind = draw(words("array tensor list pairs mappings pictures several nested odd"))
    if kind == "tensor" and array.dtype.isnative and array.dtype.kind in "uif?":
        return torch.from_numpy(array), given
    if kind == "pairs":
        return list(zip(items, draw(label_lists(len(items))), strict=False)), None
    if kind == "mappings":
        return [{draw(st.sampled_from(["image", "x", "img"])): item, "label": 1} for item in items], given
    if kind == "pictures":
        modes = draw(st.lists(words("L RGB RGBA P 1 I;16 F CMYK LA I"), min_size=1))
        sizes = draw(st.lists(st.sampled_from([(8, 8), (9, 12), (1, 1)]), min_size=1, max_size=3))
        pictures = [picture(number, modes[number % len(modes)], sizes[number % len(sizes)]) for number in range(12)]
        return pictures, draw(st.none() | labels(12))
    if kind == "several":
        return [*items, *draw(arrays())[:5]], None
    if kind == "odd":
        odd: list[Any] = [None, 5, {}, [], "", [None], {"images": array}, iter([array]), [[]], ["a"], b"abc", object()]
        return draw(st.sampled_from(odd)), given
    return {"nested": array.tolist(), "list": items}.get(kind, array), given


@fuzz
@given(in_memory(), st.integers(0, 9))
def test_data_in_memory(given: tuple[object, object], chance: int) -> None:
    with somewhere() as folder:
        can_train = isinstance(given[0], Indexable)  # the tests' type checker refuses others first
        attempt(*given, trains=chance == 0 and can_train, out=folder / "run")


ARRAY_NAMES = words(
    "images labels x y x_train y_train x_test y_test arr_0 data points heldout labels:a labels: label test_labels foo "
    "images_val ü a/b train_train",
    "",
)


@fuzz
@given(
    st.dictionaries(ARRAY_NAMES, arrays(num=12) | arrays(num=20) | arrays(), max_size=4),
    st.sampled_from([None, None, None, "y", "foo", "labels", "a", "x,y", "heldout", ""]),
    st.sampled_from([None, 28, (28, 30), 64]),
    st.booleans(),
    st.integers(0, 9),
)
def test_files_of_arrays(
    content: dict[str, np.ndarray], labels: str | None, size: Any, mirror: bool, chance: int
) -> None:
    with somewhere() as folder:
        path = folder / "data.npz"
        if len(content) == 1:
            np.save(path := path.with_suffix(".npy"), next(iter(content.values())))
        else:
            np.savez(path, **content)  # type: ignore[arg-type]
        attempt(path, trains=chance == 0, out=folder / "run", labels=labels, size=size, mirror=mirror)


# Files


def picture(number: int, mode: str, size: tuple[int, int]) -> Image.Image:
    """Noise of any of Pillow's modes."""
    random = np.random.default_rng(number)
    if mode in ("F", "I", "I;16"):
        kind = {"F": "f4", "I": "i4", "I;16": "u2"}[mode]
        return Image.fromarray((random.random(size) * (1 if mode == "F" else 4000)).astype(kind))
    return Image.fromarray(random.integers(0, 256, (*size, 4), np.uint8)).convert(mode)


FORMS = {
    "png": ("PNG", "RGB"), "grey.png": ("PNG", "L"), "clear.png": ("PNG", "RGBA"), "deep.png": ("PNG", "I;16"),
    "mask.png": ("PNG", "1"), "palette.gif": ("GIF", "P"), "jpg": ("JPEG", "RGB"), "cmyk.jpg": ("JPEG", "CMYK"),
    "tif": ("TIFF", "F"), "webp": ("WEBP", "RGB"), "bmp": ("BMP", "RGB"), "PNG": ("PNG", "LA"), "jfif": ("JPEG", "L"),
    "dat": ("PNG", "RGB"),
}  # fmt: skip
FAULTY = {"empty.png": b"", "text.png": b"hello", "notes.txt": b"hello", "data.json": b"{}", "a.dcm": b"\0" * 300}
NAMES = words(
    "a b c train test val trainA testA testB 1 2 10 ü .hidden images masks labels __MACOSX runs -x a:b a,b {x} ... a=b "
    "[red] None",
    "a b",
    "u\u0308",
    "a\nb",
    "\udcff",
    "x" * 120,
)


def encoded(number: int, ending: str, size: tuple[int, int]) -> bytes:
    form, mode = FORMS[ending]
    picture(number, mode, size).save(file := io.BytesIO(), format=form)
    return file.getvalue()


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    """Files by their paths: several groups of alike images, and files of other kinds."""
    files: dict[str, bytes] = {}
    is_usual = draw(st.booleans())
    for group in range(draw(st.integers(1, 4))):
        parts = "/".join(draw(st.lists(NAMES, max_size=3)))
        ending = "png" if is_usual else draw(st.sampled_from([*FORMS, *FAULTY]))
        size = draw(st.sampled_from([(8, 8), (30, 30), (40, 30), (3, 200), (1, 1)]))
        step = draw(st.sampled_from([1, 1, 1, 1, 0]))  # 0 for files that are all the same
        for number in range(draw(st.sampled_from([1, 2, 12]))):
            name = f"{parts}/{draw(st.sampled_from(['', 'dog_', ' ']))}{group}{number:02}.{ending}".lstrip("/")
            files[name] = FAULTY[ending] if ending in FAULTY else encoded(group + step * number, ending, size)
    return files


@st.composite
def label_files(draw: st.DrawFn, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A file of labels for some of the files, right or not."""
    name = draw(words("labels.csv metadata.csv metadata.jsonl dataset.json faces.csv list.txt"))
    titles = st.sampled_from(["label", "hair", "age", "class", "", "a,b", "x" * 90])
    chosen = ["file_name", *draw(st.lists(titles, max_size=3))]
    rows = [
        [draw(st.sampled_from([file, file, os.path.basename(file), "none"])), *(draw(CELLS) for _ in chosen[1:])]
        for file in [*files][: draw(st.sampled_from([99, 99, 99, 3, 0]))]
    ]
    if rows and draw(st.integers(0, 5)) == 0:
        rows[-1].append("too many")
    if name == "dataset.json":
        text = json.dumps({"labels": draw(st.sampled_from([[row[:2] for row in rows], rows, None, {}, 5, [1]]))})
    elif name == "metadata.jsonl":
        text = "\n".join(json.dumps(dict(zip(chosen, row, strict=False))) for row in rows)
        text += draw(st.sampled_from(["", "", "\n5", "\n{"]))
    else:
        csv.writer(lines := io.StringIO()).writerows([chosen, *rows] if draw(st.booleans()) else rows)
        text = lines.getvalue()
    folder = draw(st.sampled_from(["", "", "a/", "train/"]))
    return {folder + name: text.encode("utf-8", draw(st.sampled_from(["replace", "surrogateescape"])))}


READING = st.fixed_dictionaries(
    {},
    optional={
        "labels": words(
            "folders label hair,age faces.csv:hair faces.csv {word}_{n} {word}_{n}:word {a}/{b} { {}{} : list.txt:a,a "
            "nowhere.csv a.b.c:d ,",
            "",
            *[None] * 9,
        ),
        "frames": st.sampled_from(["first", "all"]),
        "follow_links": st.booleans(),
        "column": st.sampled_from(["image", "label", "", "none"]),
        "size": st.sampled_from([28, (28, 36)]),
        "mirror": st.booleans(),
        "conditional": st.booleans(),
        "balance": st.booleans(),
        "num_clusters": st.sampled_from([1, 2, 90]),
    },
)


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    """Files in a folder, or in a zip archive; those whose names cannot be written are left out."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                if name.isprintable():
                    archive.writestr(name, data)
        return path
    path.mkdir()
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@fuzz
@given(st.data(), trees(), READING, st.sampled_from(["data", "data", "data.zip"]), st.integers(0, 9))
def test_folders_and_archives(
    data: st.DataObject, files: dict[str, bytes], given: dict[str, Any], name: str, chance: int
) -> None:
    more = data.draw(st.none() | label_files(files)) or {}
    with somewhere() as folder:
        attempt(write(folder / name, files | more), trains=chance == 0, out=folder / "run", **given)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Columns of any type, often with encoded images among them."""
    num, columns = draw(st.sampled_from([0, 1, 2, 20])), {}
    names = st.sampled_from(["image", "label", "img", "hair", "age", "text", ""])
    for name in draw(st.lists(names, max_size=4, unique=True)):
        few: list[Any] = draw(st.lists(st.integers(-1, 3) | st.none(), min_size=1, max_size=3))
        cells: list[Any] = [
            encoded(number, draw(st.sampled_from(["png", "grey.png"])), (30, 30)) for number in range(num)
        ]
        if name not in ("image", "img") or draw(st.integers(0, 5)) == 0:
            n = range(num)
            cells = draw(
                st.sampled_from(
                    [[{"bytes": cell, "path": None} for cell in cells], [few[k % len(few)] for k in n], [None] * num,
                     ["ab"[k % 2] for k in n], [k / 3 for k in n], [[k] for k in n], [None, *cells][:num], [b"x"] * num,
                     [float("nan")] * num, [k % 2 == 0 for k in n], [float(k % 3) for k in n]]
                )
            )  # fmt: skip
        columns[name] = cells
    names_of = [
        {"label": {"names": ["cat", "dog"]}},
        {"label": {"names": 5}},
        [],
        {"label": {"names": ["a", "a", "b"]}},
    ]
    features, table = draw(st.sampled_from([None, *names_of])), pa.table(columns)
    text = json.dumps({"info": {"features": features}})
    return table if features is None else table.replace_schema_metadata({"huggingface": text})


@fuzz
@given(
    st.lists(tables(), min_size=1, max_size=2),
    READING,
    st.sampled_from([("a", "b"), ("train", "test"), ("train-0", "train-1"), ("x/train-0", "x/val")]),
    st.integers(0, 9),
)
def test_tables(given: list[pa.Table], reading: dict[str, Any], names: tuple[str, str], chance: int) -> None:
    with somewhere() as folder:
        path = folder / "data"
        for name, table in zip(names, given, strict=False):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(table, path / f"{name}.parquet")
        path = next(path.rglob("*.parquet")) if len(given) == 1 and chance % 2 else path
        attempt(path, trains=chance == 0, out=folder / "run", **reading)

"""Samples as files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring import UsageError
from sparring.modalities.images import Images
from sparring.modalities.points import Points

write = Images((1, 8, 8)).write
IMAGES = np.arange(5 * 64, dtype=np.int64).reshape(5, 8, 8).astype(np.uint8)


def test_arrays(tmp_path: Path) -> None:
    write(IMAGES, tmp_path / "a.npz")
    assert np.array_equal(np.load(tmp_path / "a.npz")["images"], IMAGES)
    Points((2,)).write(np.zeros((5, 2), np.float32), tmp_path / "b.npz")
    assert np.load(tmp_path / "b.npz")["points"].shape == (5, 2)


def test_one_file_a_sample(tmp_path: Path) -> None:
    write(IMAGES, tmp_path / "folder")
    files = sorted((tmp_path / "folder").iterdir())
    assert [np.asarray(Image.open(file)).tolist() for file in files] == IMAGES.tolist()
    with pytest.raises(UsageError, match="not empty"):
        write(IMAGES, tmp_path / "folder")


def test_labels_stand_in_the_names_of_files(tmp_path: Path) -> None:
    """Without what a file system does not take, and cut to a length that it takes."""
    write(IMAGES, tmp_path / "folder", {"labels": np.arange(5)}, ["cat", "a/b", "hair=red,age=30", "..", "x" * 500])
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names[:4] == ["000000-cat.png", "000001-a_b.png", "000002-hair=red,age=30.png", "000003-...png"]
    assert len(names[4]) == 111


def test_one_picture(tmp_path: Path) -> None:
    write(IMAGES, tmp_path / "a.png")
    write(IMAGES, tmp_path / "a.png")  # over it
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("grid.PNG", "PNG"), ("a.NPZ", "npz"), ("truncated-0.5", "folder"), ("v1.0.2", "folder"), ("there.jpg", "folder")],
)
def test_the_ending_decides_what_is_written(name: str, kind: str, tmp_path: Path) -> None:
    """In capitals too; a number is no ending, and a folder that is there may have any name."""
    (tmp_path / "there.jpg").mkdir()
    path = tmp_path / name
    write(IMAGES, path)
    if kind == "PNG":
        with Image.open(path) as picture:
            assert picture.format == "PNG"
    elif kind == "npz":
        assert np.array_equal(np.load(path)["images"], IMAGES)
    else:
        assert len(list(path.glob("*.png"))) == 5
    assert {each.name for each in tmp_path.iterdir()} == {"there.jpg", name}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write \.bmp"):
        write(IMAGES, tmp_path / "a.bmp")
    with pytest.raises(UsageError, match=r"cannot write \.wav"):
        Images((1, 8, 8)).check_path(tmp_path / "a.wav")
    with pytest.raises(UsageError, match=r"a \.png or a \.npz"):
        Points((2,)).write(np.zeros((5, 2), np.float32), tmp_path / "folder")
    with pytest.raises(UsageError, match="give another --out"):
        write(IMAGES, tmp_path / "missing" / "a.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "precious").touch()
    with pytest.raises(UsageError, match="give another --out"):
        write(IMAGES, tmp_path / "folder.png")
    assert (tmp_path / "folder.png" / "precious").exists()

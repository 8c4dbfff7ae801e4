"""Data order, mixtures, and files of one's own."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparring import DataError, Items, UnknownNameError, UsageError, open_dataset
from sparring.data import cluster, grid, ring
from sparring.data.clusters import k_means, nearest
from sparring.data.idx import FILES
from sparring.data.items import split
from sparring.seeding import Stream

DIFFERENT = np.arange(9 * 8 * 8).reshape(9, 8, 8).astype(np.uint8)


def test_every_item_comes_once_an_epoch_across_batches_that_do_not_divide_it() -> None:
    items = Items(torch.arange(10.0)[:, None])
    drawn = torch.cat([items.batch(3, Stream(0, "data", step)) for step in range(10)]).flatten()
    for epoch in drawn.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:20].tolist()


def test_labels_go_with_their_items() -> None:
    items = Items(torch.arange(10.0)[:, None], torch.arange(10))
    for step in range(5):
        stream = Stream(0, "data", step)
        assert items.batch(3, stream).flatten().tolist() == items.labels(3, stream).tolist()
    assert items.class_shares == pytest.approx((0.1,) * 10)
    with pytest.raises(DataError, match="labels must lie"):
        Items(torch.zeros(2, 1), torch.tensor([0, -1]))


def test_a_batch_may_be_larger_than_an_epoch() -> None:
    batch = Items(torch.arange(3.0)[:, None]).batch(9, Stream(0, "data", 1))
    assert sorted(batch.flatten().tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_k_means_finds_clusters_that_lie_apart() -> None:
    """Well apart, but two first centers may be in one cluster: so there are more centers than clusters."""
    middles = torch.tensor([[-8.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    truth = Stream(0, "truth").integers(3, 300)
    points = middles[truth] + Stream(0, "noise").normal(300, 2)
    centers = k_means(points, 12)
    labels = nearest(points, centers)
    for number in labels.unique():
        members = points[labels == number]
        assert len(truth[labels == number].unique()) == 1
        assert torch.allclose(centers[number], members.mean(0), atol=1e-5)  # the fixed point of Lloyd's algorithm
    assert torch.equal(labels, torch.cdist(points, centers).argmin(1))
    assert len(k_means(points[:5], 12)) == 5


def test_clusters_label_the_held_out_images_too() -> None:
    digits = open_dataset("digits")
    arguments = digits.train, digits.heldout, digits.modality.thumbnails(), 50
    train, heldout = cluster(*arguments, seed=3)
    assert train.items is digits.train.items
    assert len(train.class_shares) == 50
    assert min(train.class_shares) > 0
    assert torch.equal(train.item_labels, cluster(*arguments, seed=3)[0].item_labels)
    assert not torch.equal(train.item_labels, cluster(*arguments, seed=4)[0].item_labels)
    # Clusters of alike images hold alike digits: the commonest digit of its cluster is right for most held-out ones.
    # (By chance it would be for a tenth.)
    common = torch.stack([
        torch.bincount(digits.train.item_labels[train.item_labels == number], minlength=10).argmax()
        for number in range(50)
    ])  # fmt: skip
    assert (common[heldout.item_labels] == digits.heldout.item_labels).double().mean() > 0.7


@pytest.mark.parametrize(("mixture", "num_modes", "sigma"), [(ring(), 8, 0.01), (grid(), 25, 0.05)])
def test_mixtures_have_their_modes_and_density(mixture: object, num_modes: int, sigma: float) -> None:
    points = mixture.batch(100_000, Stream(0, "data"))
    distances, nearest = torch.cdist(points, mixture.means).min(dim=1)
    counts = torch.bincount(nearest, minlength=num_modes)
    assert len(counts) == num_modes
    # Each count within six standard deviations: false alarm below 25 · 2e-9, and none for this fixed seed.
    assert ((counts - 1e5 / num_modes).abs() < 6 * (1e5 / num_modes) ** 0.5).all()
    assert (distances < 3 * sigma).double().mean().item() == pytest.approx(1 - np.exp(-4.5), abs=0.002)


def test_density_integrates_to_one() -> None:
    axis = torch.linspace(-1.2, 1.2, 1201, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    mass = sum(ring().log_density(part).exp().sum() for part in points.split(100_000)) * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


def test_digits_are_all_there() -> None:
    digits = open_dataset("digits")
    assert torch.bincount(digits.heldout.item_labels).min() > 80
    assert torch.bincount(digits.train.item_labels).min() > 700


def test_resizing_keeps_the_mean_and_the_range() -> None:
    small, large = open_dataset("digits").train.items, open_dataset("digits", size=64).train.items
    assert large.shape == (9000, 1, 64, 64)
    assert large.dtype == torch.uint8
    assert large.float().mean().item() == pytest.approx(small.float().mean().item(), rel=0.01)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files_in_a_given_folder(tmp_path: Path) -> None:
    arrays = [np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4), np.arange(5, dtype=np.uint8)] * 2
    for file, array in zip(FILES, arrays, strict=True):
        write_idx(tmp_path / f"{file}.gz", array)
    dataset = open_dataset(str(tmp_path))
    assert torch.equal(dataset.train.items[:, 0], torch.from_numpy(arrays[0]))
    assert dataset.heldout.item_labels.tolist() == [0, 1, 2, 3, 4]
    (tmp_path / f"{FILES[0]}.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot read"):
        open_dataset(str(tmp_path))


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.resize(DIFFERENT, (20, 8, 8, 3)))
    assert open_dataset(str(tmp_path / "a.npy")).train.item_shape == (3, 8, 8)
    np.savez(tmp_path / "b.npz", images=np.resize(DIFFERENT, (20, 8, 8)), labels=np.arange(20) // 2)
    dataset = open_dataset(str(tmp_path / "b.npz"))
    assert (dataset.train.num_items, dataset.heldout.num_items) == (18, 2)
    np.save(tmp_path / "c.npy", np.eye(20, 2))
    assert open_dataset(str(tmp_path / "c.npy")).train.item_shape == (2,)


def test_a_folder_of_images(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("RGB", (40, 30), (200, 0, number)).save(tmp_path / f"{number}.png")
    dataset = open_dataset(str(tmp_path), size=16)
    assert dataset.train.item_shape == (3, 16, 16)
    assert dataset.train.items[0, :, 8, 8].tolist() == [200, 0, 0]


def bad_npz(path: Path) -> None:
    path.write_bytes(b"PK broken")


def label_of_row_4(path: Path) -> None:
    labels = np.zeros(9)
    labels[4] = np.nan
    np.savez(path, images=DIFFERENT, labels=labels)


def mixed_shapes(path: Path) -> None:
    images = np.empty(9, object)
    images[:] = [np.zeros((8 + number % 2, 8), np.uint8) for number in range(9)]
    np.savez(path, images=images)


BAD_FILES = {
    "missing": ("x.npz", lambda path: None, "no file or folder"),
    "broken": ("x.npz", bad_npz, "cannot read"),
    "pickled": (
        "x.npy",
        lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True),
        "Python objects: save",
    ),
    "empty array": ("x.npy", lambda path: np.save(path, np.zeros((0, 8, 8), np.uint8)), "0 items"),
    "NaN in an image": ("x.npy", lambda path: np.save(path, np.full((9, 8, 8), np.nan)), "image 0 .* is not finite"),
    "zero overshot": (
        "x.npy",
        lambda path: np.save(path, np.linspace(-0.01, 1, 9 * 64).reshape(9, 8, 8)),
        "from -0.01 to 1, and it is not clear",
    ),
    "unclear range": ("x.npy", lambda path: np.save(path, np.full((9, 8, 8), 7.0)), "from 7 to 7, and it is not clear"),
    "two channels": ("x.npy", lambda path: np.save(path, np.zeros((9, 8, 8, 2), np.uint8)), "of 2 channels: give 1"),
    "wrong shape": ("x.npy", lambda path: np.save(path, np.zeros((9, 8), np.uint8)), r"uint8 \[9, 8\]: give .* images"),
    "not finite": ("x.npy", lambda path: np.save(path, np.array([[0.0, 1], [np.nan, 1]] * 9)), "row 1"),
    "labels of text": ("x.npz", lambda p: np.savez(p, images=DIFFERENT, labels=["a"] * 8), "9 items"),
    "labels too few": ("x.npz", lambda p: np.savez(p, images=DIFFERENT, labels=[1] * 8), "9 items"),
    "labels not finite": ("x.npz", label_of_row_4, "item 4 of .*x.npz' has the label nan"),
    "mixed shapes": ("x.npz", mixed_shapes, "cannot read"),
    "one dimension": ("x.npy", lambda path: np.save(path, np.zeros((9, 1))), "2 or more dimensions"),
    "unknown names": ("x.npz", lambda path: np.savez(path, pictures=np.zeros(3)), "but pictures"),
    "text": ("x.txt", lambda path: path.write_text("a"), "line 1: the word 'a' has no vector"),
    "empty folder": ("x", lambda path: path.mkdir(), "holds no images"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_data_are_named(case: str, tmp_path: Path) -> None:
    name, make, message = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(DataError, match=message) as refused:
        open_dataset(str(tmp_path / name))
    assert str(tmp_path / name) in str(refused.value)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DataError, match=r"broken\.png"):
        open_dataset(str(tmp_path))


def test_unknown_names_and_sizes() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        open_dataset("digit")
    with pytest.raises(UsageError, match="points have no size"):
        open_dataset("ring", size=8)


STACKS = {  # how many items each file has, the classes of the files, and from where on each file is held out
    "six stacks": ([20] * 6, "aaaaaa", {5: 0}),
    "many files": ([4] * 20, "a" * 20, {9: 0, 19: 0}),
    "one file": ([20], "a", {0: 18}),
    "two files": ([20, 30], "aa", {0: 18, 1: 27}),
    "a stack among images": ([1, 1, 1, 90], "aaaa", {3: 81}),
    "short animations": ([5, 5], "aa", {1: 4}),
    "a file of each class": ([20, 20, 20], "abc", {0: 18, 1: 18, 2: 18}),
    "the only one of its class": ([10, 10, 10, 10], "aaab", {2: 0}),
}


@pytest.mark.parametrize("case", STACKS)
def test_items_of_a_file_stay_together(case: str) -> None:
    """Or it is a block at its end, where whole files would be too much."""
    sizes, names, expected = STACKS[case]
    files = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    within = torch.cat([torch.arange(size) for size in sizes])
    labels = torch.tensor([ord(name) - ord("a") for name in names])[files]
    train, heldout = split("x", torch.stack([files, within], dim=1), labels, files=files)
    assert heldout.items.tolist() == [[file, n] for file, start in expected.items() for n in range(start, sizes[file])]
    assert len(train) + len(heldout) == len(files)

"""What holds for every data set and every prior that has a name."""

import gzip
import hashlib
import io
import math
import struct
from pathlib import Path

import pytest
import torch

from sparring import SOURCES, DataError, Items, Source
from sparring.data.idx import DEBIAN_FOLDER, DOWNLOADS, FILES, load_named
from sparring.game.sources import PRIORS
from sparring.modalities import Dataset
from sparring.seeding import Stream

DOWNLOADED = {"fashion-mnist", "mnist"}


def open_or_skip(name: str) -> Dataset:
    """Data sets that Debian's package does not hold are the loader's own tests."""
    if name in DOWNLOADED and not (DEBIAN_FOLDER / name).exists():
        pytest.skip(f"{name} is not on this machine")
    return SOURCES[name].open()


@pytest.fixture(params=[*SOURCES, *PRIORS])
def source(request: pytest.FixtureRequest) -> Source:
    if request.param in PRIORS:
        return PRIORS[request.param]((7,))
    return open_or_skip(request.param).train


def test_a_batch_is_a_function_of_its_stream(source: Source) -> None:
    stream = Stream(3, "data", 5)
    first, again = source.batch(16, stream), source.batch(16, stream)
    other_step, other_seed = source.batch(16, stream.at(6)), source.batch(16, Stream(4, "data", 5))
    assert first.shape == (16, *source.item_shape)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other_step)
    assert not torch.equal(first, other_seed)


def test_images_lie_between_minus_one_and_one(source: Source) -> None:
    if len(source.item_shape) == 3:
        batch = source.batch(64, Stream(0, "data"))
        assert batch.min() == -1
        assert 0.9 < batch.max() <= 1


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_held_out_is_trained_on(name: str) -> None:
    dataset = open_or_skip(name)
    if isinstance(dataset.train, Items) and isinstance(dataset.heldout, Items):
        train = {item.numpy().tobytes() for item in dataset.train.items}
        shared = sum(item.numpy().tobytes() in train for item in dataset.heldout.items)
        assert shared <= len(dataset.heldout.items) * 1e-3  # real sets hold a few doublets of their own


@pytest.mark.parametrize("name", SOURCES)
def test_it_says_what_it_is(name: str) -> None:
    assert SOURCES[name].summary
    assert SOURCES[name].source


def test_downloads_are_checked_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []

    def file(name: str) -> bytes:
        shape = (3, 4, 4) if "images" in name else (3,)
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        return gzip.compress(header + bytes(math.prod(shape)), mtime=0)

    def open_url(url: str, timeout: float) -> io.BytesIO:
        served.append(url)
        return io.BytesIO(file(url))

    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", open_url)
    right = [hashlib.md5(file(name), usedforsecurity=False).hexdigest() for name in FILES]
    monkeypatch.setitem(DOWNLOADS, "toy", ("http://localhost", " ".join([*right[:3], "0" * 32])))
    with pytest.raises(DataError, match="MD5"):
        load_named("toy")
    assert not (tmp_path / "toy" / f"{FILES[3]}.gz").exists()
    monkeypatch.setitem(DOWNLOADS, "toy", ("http://localhost", " ".join(right)))
    for _ in range(2):
        assert load_named("toy")[0].num_items == 3
    assert len(served) == 5  # four, the last of them twice; and never again


def test_a_missing_data_set_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match="mnist is not on this machine"):
        SOURCES["mnist"].open()
    assert not list(tmp_path.rglob("*.gz"))

"""The groups that stand in for labels: by what a pretrained network sees where there is one, and kept with the run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import sparring
from sparring.data.clusters import Clusters, digest_of, read_clusters
from sparring.data.digits import load_digits
from sparring.metrics.extractors import Extractor
from sparring.modalities.images import Images

SMALL = {"steps": 2, "width": 2, "batch_size": 8, "num_clusters": 2, "evaluation_share": 0.0, "progress": False}


class Corner(nn.Module):
    """Sees a single pixel, which thumbnails hardly do."""

    def forward(self, samples: Tensor) -> Tensor:
        """The first pixel's first colour."""
        return samples[:, 0, 0, :1]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A hundred coloured images of two kinds, told apart by one pixel alone."""
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(100) % 2 * 255
    np.save(tmp_path / "pictures.npy", images)
    return tmp_path / "pictures.npy"


@pytest.fixture
def knows_corners(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def extractors(self: Images) -> Iterator[Extractor]:
        yield Extractor("corner", Corner(), is_pretrained=True)

    monkeypatch.setattr(Images, "extractors", extractors)
    return monkeypatch


def corners_of(training: sparring.Run, path: Path) -> tuple[Tensor, Tensor]:
    """The kinds of the training items, and their clusters."""
    dataset = sparring.modalities.open_dataset(str(path))
    kinds = (dataset.train.take(torch.arange(dataset.train.num_items))[:, 0, 0, 0] > 0).long()  # type: ignore[attr-defined]
    return kinds, load_file(training.path / "clusters.safetensors")["train"]


def test_clusters_are_what_a_pretrained_network_sees(pictures: Path, knows_corners: pytest.MonkeyPatch) -> None:
    """Known answer: the two kinds, which pixels do not show; resuming needs no such network, and keeps them."""
    run = sparring.train(pictures, out=pictures.parent / "run", **SMALL)  # type: ignore[arg-type]
    kinds, clusters = corners_of(run, pictures)
    assert torch.equal(clusters, kinds) or torch.equal(clusters, 1 - kinds)
    assert sparring.load(run).config.clusters_by == "corner"
    knows_corners.undo()
    knows_corners.setattr("sparring.modalities.images.is_installed", lambda: False)
    knows_corners.setattr("sparring.modalities.images.note_what_is_missing", lambda: None)
    resumed = sparring.resume(run, steps=4, progress=False)
    assert resumed.summary().steps == 4
    assert torch.equal(corners_of(resumed, pictures)[1], clusters)
    assert sparring.load(resumed).config.clusters_by == "corner"
    plain = sparring.train(pictures, out=pictures.parent / "plain", **SMALL)  # type: ignore[arg-type]
    assert sparring.load(plain).config.clusters_by == "thumbnails"
    agreement = (corners_of(plain, pictures)[1] == kinds).float().mean().item()
    assert 0.2 < agreement < 0.8  # where pixels decide, the kinds are missed


def test_a_run_of_an_older_sparring_is_resumed_by_thumbnails(pictures: Path, knows_corners: pytest.MonkeyPatch) -> None:
    """It kept no clusters; those of thumbnails are found again, whatever is installed now."""
    with knows_corners.context() as before:
        before.setattr(Images, "extractors", lambda self: iter([self.neutral_extractor()]))
        run = sparring.train(pictures, out=pictures.parent / "run", **SMALL)  # type: ignore[arg-type]
    clusters = corners_of(run, pictures)[1]
    (run.path / "clusters.safetensors").unlink()
    config = run.path / "generator" / "config.json"
    config.write_text(config.read_text().replace('"thumbnails"', '""'))
    resumed = sparring.resume(run, steps=4, progress=False)
    assert torch.equal(corners_of(resumed, pictures)[1], clusters)


def test_clusters_of_other_items_are_not_taken(tmp_path: Path) -> None:
    train, heldout = load_digits()
    digest = digest_of(train)
    assert digest == digest_of(train)
    Clusters(torch.tensor([0, 1]), torch.tensor([1]), "thumbnails", digest).write(tmp_path / "kept")
    kept = read_clusters(tmp_path / "kept", digest)
    assert kept is not None
    assert (kept.train.tolist(), kept.heldout.tolist(), kept.by) == ([0, 1], [1], "thumbnails")
    assert read_clusters(tmp_path / "kept", digest_of(heldout)) is None
    assert read_clusters(tmp_path / "none", digest) is None

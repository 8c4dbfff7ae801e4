"""Checkpoints are whole or refused."""

import json
from pathlib import Path

import pytest
import torch

from sparring import RunFolderError, UsageError, checkpoint

STATE = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2, dtype=torch.int64)}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "checkpoints", STATE, step=12, images=384, seconds=1.5)
    manifest, state = checkpoint.load(path)
    assert (manifest.step, manifest.images, manifest.seconds) == (12, 384, 1.5)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000012"]


def test_the_latest_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    for step in (900_000, 1_000_000, 5):
        checkpoint.save(tmp_path, STATE, step, 0, 0.0)
    assert checkpoint.latest(tmp_path).name == "step-1000000"
    checkpoint.prune(tmp_path, keep=2)
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-900000", "step-1000000"]


def test_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no checkpoint"):
        checkpoint.latest(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, STATE, 1, 0, 0.0)
    data = bytearray((path / "state.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "state.safetensors").write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 99}, "install a newer one"), ({"step": "1"}, "step"), ({"surprise": 1}, "surprise")],
)
def test_a_strange_manifest_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, STATE, 1, 0, 0.0)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(UsageError, match=message):
        checkpoint.load(path)


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, value: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(checkpoint, "write_json", fail)
    with pytest.raises(OSError, match="full"):
        checkpoint.save(tmp_path, STATE, 1, 0, 0.0)
    assert not list(tmp_path.iterdir())

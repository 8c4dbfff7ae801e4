"""Checkpoints are whole or refused, and what is damaged is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import sparring
from sparring import CheckpointError, RunFolderError, SparringWarning, UsageError
from sparring.training import checkpoint

STATE = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2, dtype=torch.int64)}
GOLDEN = Path(__file__).parent / "golden"


def save(folder: Path, step: int, images: int = 0) -> Path:
    return checkpoint.save(folder, STATE, step, images, seconds=1.5, recipe={"learning_rate": 0.1})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    manifest, state = checkpoint.load(save(tmp_path / "checkpoints", step=12, images=384))
    assert (manifest.step, manifest.images, manifest.seconds) == (12, 384, 1.5)
    assert manifest.recipe == {"learning_rate": 0.1}
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000012"]


def test_the_latest_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    for step in (900_000, 1_000_000, 5):
        save(tmp_path, step)
    assert checkpoint.load_latest(tmp_path)[0].step == 1_000_000
    checkpoint.prune(tmp_path, keep=2, step=1_000_000)
    assert list(checkpoint.list_checkpoints(tmp_path)) == [900_000, 1_000_000]
    checkpoint.prune(tmp_path, keep=2, step=900_000)  # gone back to, and on from, so that the later one is no more
    assert list(checkpoint.list_checkpoints(tmp_path)) == [900_000]


def test_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no checkpoint"):
        checkpoint.load_latest(tmp_path)


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json"])
def test_flipped_bits_and_lost_ends_are_noticed(name: str, tmp_path: Path) -> None:
    """One bit of every third byte, and the file cut there."""
    path = save(tmp_path, 1)
    good = (path / name).read_bytes()
    for position in range(0, len(good) - 1, 3):  # but the line break at the manifest's end
        for data in (good[:position], good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :]):
            (path / name).write_bytes(data)
            with pytest.raises(CheckpointError, match="step-000001"):
                checkpoint.load(path)


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint may be whole: it must not be passed over, and then deleted."""
    save(tmp_path, 1)
    save(tmp_path, 2)

    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.load_latest(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text()) | {"format": 99}
    manifest["checksum"] = checkpoint.checksum(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="install a newer one"):
        checkpoint.load(path)


def test_the_last_whole_one_is_gone_on_from(tmp_path: Path) -> None:
    paths = [save(tmp_path, step) for step in (1, 2, 3)]
    (paths[2] / "state.safetensors").write_bytes(b"half")
    (paths[1] / "manifest.json").unlink()
    with pytest.warns(SparringWarning) as warned:
        assert checkpoint.load_latest(tmp_path)[0].step == 1
    assert [name in str(each.message) for each, name in zip(warned, ("step-000003", "step-000002"), strict=True)] == [
        True,
        True,
    ]
    shutil.rmtree(paths[0])
    with pytest.raises(CheckpointError) as error:
        checkpoint.load_latest(tmp_path)
    assert error.value.exit_code == 1
    assert all(name in str(error.value) for name in ("step-000003", "step-000002"))


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, value: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(checkpoint, "write_json", fail)
    with pytest.raises(OSError, match="full"):
        save(tmp_path, 1)
    assert not list(tmp_path.iterdir())


def test_a_run_of_this_format_goes_on(tmp_path: Path) -> None:
    """Red where a change to checkpoints, logs or recipes shuts out the runs of before without a new format."""
    run = tmp_path / "run"
    shutil.copytree(GOLDEN / f"run-format-{checkpoint.FORMAT}", run)
    manifest, _ = checkpoint.load(run / "checkpoints" / "step-000004")
    assert (manifest.format, manifest.images) == (checkpoint.FORMAT, 64)
    assert sparring.resume(run, steps=6).summary().steps == 6
    assert [line["step"] for line in sparring.Run(run).log()] == [2, 4, 6]

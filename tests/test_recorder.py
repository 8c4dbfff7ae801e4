"""Which pictures and checkpoints a run keeps, and what its log looks like."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import sparring
from sparring.training import meter, recorder
from sparring.training.run_folder import Run

SMALL = {
    "width": 2, "batch_size": 8, "evaluation_share": 0.0, "sample_steps": 3, "checkpoint_steps": 5,
    "schedule": "constant"
}  # fmt: skip


@pytest.mark.parametrize("drawn", [range(0, 5000, 7), range(200), [round(1.05**n) for n in range(200)]])
@pytest.mark.parametrize("most", [1, 2, 20])
def test_few_pictures_stay_spread_over_the_whole_training(drawn: range | list[int], most: int, tmp_path: Path) -> None:
    """The first, the newest, and between them gaps that differ as little as those that were drawn."""
    interval = drawn.step if isinstance(drawn, range) else 1
    for step in drawn:
        (tmp_path / f"{step}").touch()
        paths = {int(path.name): path for path in tmp_path.iterdir()}
        recorder._thin_out(paths, most, interval)
        kept = sorted(int(path.name) for path in tmp_path.iterdir())
        assert len(kept) <= most + 1
        assert {kept[0], kept[-1]} == {drawn[0], step}
    if isinstance(drawn, range) and most > 2:
        assert len(set(np.diff(kept[:-1]))) == 1
        assert len(kept) > most / 2


def test_a_resumed_run_keeps_the_same_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed again and again: what was drawn after the checkpoint is drawn again, and what is gone stays gone."""
    monkeypatch.setattr(recorder, "MOST_PICTURES", 4)
    whole = sparring.train("digits", steps=45, out=tmp_path / "whole", progress=False, **SMALL)
    run = sparring.train("digits", steps=5, out=tmp_path / "run", progress=False, **SMALL)
    for stop in (10, 25, 40, 45):
        shutil.copytree(run, tmp_path / "before")
        sparring.resume(run, steps=min(45, stop + 4), progress=False)
        for path in (tmp_path / "before").iterdir():  # all but the pictures is lost
            if path.name != "samples" and path.is_dir():
                shutil.rmtree(run.path / path.name)
                shutil.copytree(path, run.path / path.name)
            elif path.is_file():
                shutil.copy(path, run.path / path.name)
        shutil.rmtree(tmp_path / "before")
        run = sparring.resume(run, steps=min(45, stop), progress=False)
    kept, others = whole.sample_paths(), run.sample_paths()
    assert [*kept] == [*others] == [0, 12, 24, 36, 45]
    assert [path.read_bytes() for path in kept.values()] == [path.read_bytes() for path in others.values()]


def test_large_pictures_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PICTURES_BYTES", 200_000)
    run = sparring.train("digits", steps=60, out=tmp_path / "run", progress=False, **SMALL | {"sample_steps": 1})
    sizes = [path.stat().st_size for path in run.sample_paths().values()]
    assert 2 < len(sizes) < 60
    assert sum(sizes) < 250_000


def test_the_log_is_a_flat_table(tmp_path: Path) -> None:
    settings = SMALL | {"evaluation_steps": 10, "evaluation_share": 0.05}
    run = sparring.train("ring", steps=20, out=tmp_path, progress=False, **settings)
    frame = Run(tmp_path).frame()
    assert [*frame["step"]] == [line["step"] for line in run.log()]
    assert [*frame["evaluation.distance"]] == [line["evaluation"]["distance"] for line in run.log()]


def test_lines_of_a_long_log_thin_out_the_same_way_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each doubling of the steps adds as many lines, so that days of training make a small file."""
    monkeypatch.setattr(meter, "FULL_LINES", 10)
    settings = SMALL | {"log_steps": 2, "sample_steps": 100, "checkpoint_steps": 100}
    whole = sparring.train("digits", steps=100, out=tmp_path / "whole", progress=False, **settings)
    run = sparring.train("digits", steps=36, out=tmp_path / "run", progress=False, **settings)
    run = sparring.resume(run, steps=100, progress=False)
    steps = [line["step"] for line in whole.log()]
    assert steps == [*range(2, 20, 2), *range(20, 40, 4), *range(40, 80, 8), 80, 96, 100]
    numbers = [{name: line[name] for name in ("step", "discriminator_loss")} for line in whole.log()]
    assert numbers == [{name: line[name] for name in ("step", "discriminator_loss")} for line in run.log()]

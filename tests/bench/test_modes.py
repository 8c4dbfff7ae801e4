"""The benchmark of modes: its targets can be missed, its protocol is the paper's, and its quick form holds."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from warm import Process

from sparring import UnknownNameError, UsageError
from sparring.bench.modes import BENCHMARKS, Target, run
from sparring.metrics import ModeCount


def test_a_target_is_missed_by_each_of_its_numbers() -> None:
    target = Target(steps=1, found=8, high_quality=0.98, reverse_kl=0.01)
    assert target.is_reached(ModeCount(8, 8, 0.98, 0.01))
    for count in (ModeCount(7, 8, 1.0, 0.0), ModeCount(8, 8, 0.979, 0.0), ModeCount(8, 8, 1.0, 0.011)):
        assert not target.is_reached(count)


@pytest.mark.slow
def test_quick(tmp_path: Path) -> None:
    """One seed of the ring, trained for half of the steps, reaches the target of the quick form.

    The grid takes three times as long; `sparring bench modes --quick` trains both.
    """
    process = Process("bench", "modes", "--tasks", "ring", "--quick", "--json", cwd=tmp_path)  # no type checks: faster
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    results = [json.loads(line) for line in output.splitlines()]
    assert [(result["task"], result["found"]) for result in results] == [("ring", 8)]


def test_the_exit_code_is_1_where_a_training_misses_its_target(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the table stands below the results, with the published rows in it."""
    hurried = Target(steps=1, found=8, high_quality=0.9, reverse_kl=0.05)
    monkeypatch.setitem(BENCHMARKS, "ring", dataclasses.replace(BENCHMARKS["ring"], full=hurried))
    assert run(["ring"], seeds=2, quick=False, as_json=False) == 1
    text = capsys.readouterr().out
    assert text.startswith("ring, seed 0: ")
    assert text.count("✗") == 2
    assert "PacGAN4, published" in text


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ring'"):
        run(["rign"], None, quick=False, as_json=False)
    with pytest.raises(UsageError, match="no quick form"):
        run(["ring", "stacked-digits"], None, quick=True, as_json=False)


def test_a_thousand_modes_are_judged_by_their_protocol() -> None:
    benchmark = BENCHMARKS["stacked-digits"]
    assert (benchmark.num_samples, benchmark.seeds, benchmark.full) == (26_000, 3, Target(45_000, 1000, 0.0, 0.06))
    assert benchmark.count(torch.full((5, 3, 28, 28), -1.0)).total == 1000

"""Studies: what a file may say, what comparisons are worth, and that nothing is lost or repeated."""

import itertools
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparring
from sparring.run import COUNTERS, NUMBERS
from sparring.study.comparison import compare, holm, mean_over_seeds
from sparring.study.engines import Cluster, Local
from sparring.study.plan import read_plan
from sparring.study.report import report
from sparring.study.study import Study

SMALL = 'seeds = 2\nnum_samples = 200\n[settings]\ndata = "ring"\nsteps = {steps}\nwidth = 8\n'
ONE = SMALL.replace("seeds = 2", "seeds = 1")
VARIANTS = '[[variants]]\nname = "good"\n[[variants]]\nname = "bad"\nlearning_rate = 1e30\n'
SEARCH = "[search]\ntrials = 15\n[search.space]\nlearning_rate = [1e-12, 3e-3]\n"
GRID = SMALL + '[grid]\nobjective = ["hinge", "minimax"]\n'


def written(folder: Path, text: str, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sedes = 3", "unknown entry of a study 'sedes': did you mean 'seeds'"),
        ("[settings]\nlearning_rat = 1", "unknown setting 'learning_rat': did you mean 'learning_rate'"),
        ("[grid]\nobjctive = ['hinge']", "unknown setting 'objctive': did you mean 'objective'"),
        ("[settings]\nrecipe = 'wgn'", "unknown recipe 'wgn': did you mean 'wgan'"),
        ("[grid]\nobjective = []", "the grid is empty: objective has no values"),
        ("[grid]\nobjective = 'hinge'", "grid.objective"),
        ("seeds = 0", "the study is empty"),
        ("seeds = [3, 3]", "a seed is there twice"),
        ("seeds = 'many'", "seeds"),
        ("metric = 'fidd'\n", "unknown metric 'fidd'"),
        ("num_samples = 3", "num_samples must be at least 50"),
        ("seeds = ", "is no TOML file"),
        ("[settings]\nseed = 3", "seed is no setting of a study: give seeds"),
        ("[[variants]]\nobjective = 'hinge'", "each variant needs a name of its own"),
        ("[[variants]]\nname = 'a'\nwidth = 3\n[grid]\nwidth = [1, 2]", "width is in the grid and in the variant 'a'"),
        ("[search]\ntrials = 3\n[search.space]\nwidht = [3]", "unknown setting 'widht': did you mean 'width'"),
        ("[search]\ntrials = 3\n[search.space]\nwidth = {low = 9, hihg = 3}", "unknown entry of a range 'hihg'"),
        ("[search]\ntrials = 3\n[search.space]\nwidth = {low = 9, high = 3}", "low must be less than high"),
        ("[search]\ntrials = 3\n[search.space]\nlearning_rate = {low = 0, high = 3, log = true}", "above 0"),
        ("[search]\ntrials = 0\n[search.space]\nwidth = [3]", "a search needs trials"),
        ("[search]\ntrials = 3\n[search.space]\nwidth = [3]\n[grid]\nwidth = [3]", "a search takes no grid"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(sparring.UsageError) as refused:
        read_plan(written(tmp_path, text))
    assert message in str(refused.value)


def test_a_file_that_is_not_there_and_one_of_another_name(tmp_path: Path) -> None:
    with pytest.raises(sparring.UsageError, match=r"cannot read the study .*gone.toml: No such file"):
        Study(tmp_path / "gone.toml")
    with pytest.raises(sparring.UsageError, match=r"ends in .toml"):
        Study(written(tmp_path, GRID.format(steps=1), "study"))


def test_a_study_that_could_not_be_played_does_not_begin(tmp_path: Path) -> None:
    study = Study(written(tmp_path, "[grid]\nobjective = ['hinge', 'wassertein']"))
    with pytest.raises(sparring.UsageError, match="unknown objective 'wassertein': did you mean 'wasserstein'"):
        study.run(Local(2))
    assert not study.folder.exists()


def test_variants_are_crossed_with_the_grid(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, """
        [settings]
        steps = 5
        [grid]
        width = [8, 16]
        data = ["ring", "grid"]
        [[variants]]
        name = "WGAN"
        objective = "wasserstein"
        penalty = "weight_clipping"
        [[variants]]
        name = "plain"
    """))  # fmt: skip
    assert [(cell.data, cell.name) for cell in plan.cells] == list(
        itertools.product(("ring", "grid"), ("WGAN, width=8", "plain, width=8", "WGAN, width=16", "plain, width=16"))
    )
    assert plan.cells[0].settings == {
        "steps": 5, "data": "ring", "width": 8, "objective": "wasserstein", "penalty": "weight_clipping"
    }  # fmt: skip


def test_students_own_example() -> None:
    """Hours of sleep gained by two drugs (Student 1908, table on page 20): 1.58 on average, t = 4.06, p = .0028."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    values = {"one": dict(enumerate(first)), "two": dict(enumerate(second))}
    (pair,) = compare(values, less_is_better=False)
    assert pair.difference.value == pytest.approx(-1.58)
    assert pair.difference.low == pytest.approx(-2.4598858, abs=1e-6)
    assert pair.difference.high == pytest.approx(-0.7001142, abs=1e-6)
    assert pair.p_value == pytest.approx(0.00283289, abs=1e-7)
    assert pair.effect == pytest.approx(-4.0621277 / math.sqrt(10), abs=1e-6)
    assert pair.probability == pytest.approx(0.00283289 / 2, abs=1e-7)


def test_holms_correction() -> None:
    """As R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and with equal ones."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.5, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(sparring.UsageError):
        holm([1.5])


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=8), st.booleans())
def test_a_comparison_seen_from_the_other_side(pairs: list[tuple[int, int]], less_is_better: bool) -> None:
    sides = {name: dict(enumerate(values)) for name, values in zip("ab", zip(*pairs, strict=True), strict=True)}
    (one,) = compare(sides, less_is_better=less_is_better)
    (other,) = compare(dict(reversed(sides.items())), less_is_better=less_is_better)
    assert one.difference.value == -other.difference.value
    assert one.probability == pytest.approx(1 - other.probability)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.difference.low <= one.difference.value <= one.difference.high


def test_only_seeds_that_both_have_are_compared() -> None:
    values = {"a": {0: 1.0, 1: 2.0, 7: 100.0}, "b": {0: 2.0, 1: 4.0, 8: 0.0}, "c": {0: 1.0}}
    (pair,) = compare(values, less_is_better=True)
    assert (pair.first, pair.second, pair.num_seeds, pair.difference.value) == ("a", "b", 2, -1.5)
    assert math.isinf(mean_over_seeds([3.0]).high)


def results(study: Study) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(study.folder.glob("trials/*/result.json"))}


def test_a_study_is_played_once_and_grows(tmp_path: Path) -> None:
    """What has ended is not played again; another seed is added; the report tells of each pair."""
    study = Study(written(tmp_path, GRID.format(steps=20)))
    assert study.cost(Local(2)).trials == 4
    study.run(Local(2))
    before = results(study)
    assert len(before) == 4
    assert study.cost(Local(2)).trials == 0
    study.run(Local(2))
    assert results(study) == before
    grown = Study(written(tmp_path, GRID.format(steps=20).replace("seeds = 2", "seeds = [0, 1, 5]")))
    grown.run(Local(2))
    assert {path: time for path, time in results(grown).items() if path in before} == before
    assert sorted(trial.seed for trial in grown.trials()) == [0, 0, 1, 1, 5, 5]
    made = report(grown)
    assert [(pair.num_seeds, {pair.first, pair.second}) for pair in made.comparisons["ring"]] == [
        (3, {"hinge", "minimax"})
    ]
    assert "| hinge | 3 |" in made.text
    assert made.path.read_text() == made.text


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "sparring", "study", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_study_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9: its trials save and stop, the next one ends them from there, and all is as if nothing had happened."""
    text = ONE.format(steps=1500) + "log_steps = 10\n"
    undisturbed, disturbed = (Study(written(tmp_path, text, f"{name}.toml")) for name in ("undisturbed", "disturbed"))
    undisturbed.run(Local(2))
    process = command(disturbed.file, "--workers", "2")
    log = disturbed.trial_folder(0) / "run" / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") > 5, process)
    process.kill()
    process.communicate()
    summary = disturbed.trial_folder(0) / "run" / "summary.json"
    assert not results(disturbed)
    disturbed.run(Local(2))
    assert json.loads(summary.read_text())["steps"] == 1500
    models = [each.trial_folder(0) / "run" / "generator" / "model.safetensors" for each in (undisturbed, disturbed)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert [trial.result.value for each in (undisturbed, disturbed) for trial in each.trials() if trial.result] == [
        undisturbed.trials()[0].result.value  # type: ignore[union-attr]
    ] * 2
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_worker_that_dies_and_a_second_study_on_the_file(tmp_path: Path) -> None:
    study = Study(written(tmp_path, ONE.format(steps=1500)))
    process = command(study.file, "--workers", "2")
    log = study.trial_folder(0) / "run" / "log.jsonl"
    wait_until(log.exists, process)
    second = command(study.file)
    assert second.communicate()[1].startswith("sparring: another process plays the study")
    assert second.returncode == 2
    worker = subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()
    os.kill(int(worker[0]), signal.SIGKILL)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert study.trials()[0].state == "finished"


def test_a_worker_that_always_dies_is_a_trial_that_failed(tmp_path: Path) -> None:
    class Deadly(Local):
        def start(self, folder: Path) -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], stdin=subprocess.PIPE)

    study = Study(written(tmp_path, ONE.format(steps=5)))
    study.run(Deadly(2))
    (trial,) = study.trials()
    assert trial.state == "failed"
    assert trial.result is not None
    assert "its process died 3 times, at last with -9" in trial.result.reason
    assert "its process died" in report(study).text


def test_a_signal_stops_a_study_after_saving(tmp_path: Path) -> None:
    study = Study(written(tmp_path, ONE.format(steps=10**6)))
    process = command(study.file, "--workers", "2")
    wait_until((study.trial_folder(0) / "run" / "log.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    summary = json.loads((study.trial_folder(0) / "run" / "summary.json").read_text())
    assert (summary["status"], study.trials()[0].state) == ("stopped", "running")


def test_a_trial_that_cannot_be_played_is_told(tmp_path: Path) -> None:
    """It is left out of the means, and the others are played."""
    study = Study(written(tmp_path, ONE.format(steps=5) + VARIANTS))
    study.run(Local(2))
    assert {trial.cell.name: trial.state for trial in study.trials()} == {"good": "finished", "bad": "failed"}
    text = report(study).text
    assert "- bad, ring, seed 0: " in text
    assert "| good | 1 |" in text
    assert "nothing to compare" in text


def test_a_database_of_another_study_and_one_that_is_locked(tmp_path: Path) -> None:
    study = Study(written(tmp_path, ONE.format(steps=5)))
    study.run(Local(2))
    other = Study(written(tmp_path, ONE.format(steps=6)))
    with pytest.raises(sparring.UsageError, match="is of another study named 'study': settings differs"):
        other.run(Local(2))
    with sqlite3.connect(study.folder / "study.sqlite3", isolation_level="EXCLUSIVE") as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sparring.UsageError, match=r"cannot use the database .*database is locked"):
            study.run(Local(2))
        holder.rollback()
    holder.close()
    broken = Study(written(tmp_path, 'storage = "sqlite:////nowhere/at/all.db"\n[settings]\ndata = "ring"'))
    with pytest.raises(sparring.UsageError, match="cannot use the database sqlite:////nowhere"):
        broken.run(Local(2))


class Scripted(Local):
    """Trials that are measured once in the middle of their training, and end when they were looked at often enough."""

    LOOKS = 3

    def __init__(self) -> None:
        super().__init__(1)
        self.looks: dict[Path, int] = {}
        self.stopped: set[Path] = set()

    def start(self, folder: Path) -> Any:
        run = folder / "run"
        run.mkdir()
        distance = self.distance(folder)
        line = dict.fromkeys((*COUNTERS, *NUMBERS), 1.0) | {
            "progress": 0.5,
            "evaluation": {"seconds": 1.0, "distance": distance},
        }
        (run / "log.jsonl").write_text(json.dumps(line) + "\n")
        self.looks[folder] = 0
        return folder

    def distance(self, folder: Path) -> float:
        task = json.loads((folder / "task.json").read_text())
        return 1.0 if task["settings"]["learning_rate"] == 1e-12 else 0.1

    def ended(self, trial: Any) -> int | None:
        self.looks[trial] += 1
        if trial in self.stopped:
            return 143
        if self.looks[trial] < self.LOOKS:
            return None
        result = {"status": "finished", "value": self.distance(trial), "seconds": 2.0, "total_seconds": 3.0}
        (trial / "result.json").write_text(json.dumps(result | {"reason": ""}))
        return 0

    def stop(self, trial: Any) -> None:
        self.stopped.add(trial)


def test_a_search_prunes_what_is_worse_and_names_no_winner(tmp_path: Path) -> None:
    """From the sixth trial on, those that are worse than most at half of their training are stopped there."""
    study = Study(written(tmp_path, ONE.format(steps=300) + SEARCH))
    study.run(Scripted())
    trials = study.trials()
    assert len(trials) == 15
    bad = [trial.cell.settings["learning_rate"] == 1e-12 for trial in trials]
    assert any(bad[:5])
    assert not all(bad[:5])
    assert any(bad[5:])
    assert [trial.state for trial in trials[:5]] == ["finished"] * 5
    assert [trial.state for trial in trials[5:]] == ["pruned" if each else "finished" for each in bad[5:]]
    text = report(study).text
    assert "this is no winner yet" in text
    assert f"{sum(bad[5:])} were pruned" in text
    assert study.cost().trials == 0


def test_ray_that_is_not_installed_and_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(sparring.UsageError, match=r"pip install 'sparring\[study\]'"):
        Cluster("auto")


def test_a_study_on_ray(tmp_path: Path) -> None:
    """A real cluster, of this machine alone."""
    study = Study(written(tmp_path, ONE.format(steps=5)))
    process = command(study.file, "--ray", "local")
    told, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "on the Ray cluster at local" in told
    assert [trial.state for trial in study.trials()] == ["finished"]

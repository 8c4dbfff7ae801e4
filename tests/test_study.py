"""Studies: what a file may say, what comparisons are worth, and that nothing is lost or repeated."""

import contextlib
import csv
import itertools
import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from warm import Process

import sparring
from sparring import UsageError
from sparring.evaluation.figures import FIGURES
from sparring.study.comparison import compare, holm, mean_over_seeds
from sparring.study.engines import Cluster, Local
from sparring.study.plan import read_plan
from sparring.study.report import report, verdict
from sparring.study.study import Study
from sparring.study.trial import TrialTask, run_trial
from sparring.training.run_folder import COUNTERS, NUMBERS, Run

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
        ("[grid]\nobjective = []", "study.toml: grid.objective: List should have at least 1 item"),
        ("[grid]\nobjective = 'hinge'", "grid.objective"),
        ("seeds = 0", "study.toml: seeds: Input should be greater than or equal to 1"),
        ("seeds = [3, 3]", "a seed appears twice: [3, 3]"),
        ("seeds = []", "study.toml: seeds: List should have at least 1 item"),
        ("seeds = 'many'", "study.toml: seeds: Input should be a valid integer"),
        ("metric = 'fidd'\n", "unknown metric 'fidd'"),
        ("num_samples = 3", "num_samples: Input should be greater than or equal to 50"),
        ("seeds = ", "is not a TOML file"),
        ("[settings]\nseed = 3", "seed is not a setting of a study: give seeds"),
        ("[[variants]]\nobjective = 'hinge'", "each variant needs a name of its own"),
        ("[[variants]]\nname = 'a'\nwidth = 3\n[grid]\nwidth = [1, 2]", "width is in the grid and in the variant 'a'"),
        ("[search]\ntrials = 3\n[search.space]\nwidht = [3]", "unknown setting 'widht': did you mean 'width'"),
        ("[search]\ntrials = 3\n[search.space]\nwidth = {low = 9, hihg = 3}", "unknown entry of a range 'hihg'"),
        ("[search]\ntrials = 3\n[search.space]\nwidth = {low = 9, high = 3}", "low must be less than high"),
        ("[search]\ntrials = 3\n[search.space]\nlearning_rate = {low = 0, high = 3, log = true}", "above 0"),
        (
            "[search]\ntrials = 0\n[search.space]\nwidth = [3]",
            "search.trials: Input should be greater than or equal to 1",
        ),
        (
            "[search]\ntrials = 3\nhours = 0\n[search.space]\nwidth = [3]",
            "search.hours: Input should be greater than 0",
        ),
        ("[search]\ntrials = 3\n[search.space]\nwidth = []", "search.space.width: List should have at least 1 item"),
        (
            "[search]\ntrials = 3\n[search.space]\nobjective = {low = 1, high = 2}",
            "objective=1: must be a valid string",
        ),
        ("[search]\ntrials = 3\n[search.space]\nwidth = {low = 1.5, high = 3}", "width=1.5: must be a valid integer"),
        ("[search]\ntrials = 3\n[search.space]\nbeta1 = {low = 0, high = 1, step = 1}", "a step is for whole numbers"),
        (
            "[search]\ntrials = 3\n[search.space]\nwidth = {low = 1, high = 9, log = true, step = 2}",
            "log or a step, not both",
        ),
        ("[grid]\nobjective = ['hinge', 'hinge']", "'hinge' and 'hinge' are the same settings"),
        ("seeds = [-1]", "seeds.0: Input should be greater than or equal to 0"),
        (f"seeds = [{2**63}]", f"seeds.0: Input should be less than {2**63}"),
        (
            "[settings]\nrecipe = ['wgan', 'lsgan']",
            "recipe must be a name, and is ['wgan', 'lsgan']: put a list into [grid]",
        ),
        ("[settings]\ndata = ['ring', 'grid']", "data must be a name"),
        (
            "[settings]\nwidth = 8\n[[variants]]\nname = 'base'\n[[variants]]\nname = 'eight'\nwidth = 8",
            "'base' and 'eight' are the same settings: remove one",
        ),
        ("num_samples = '200'", "num_samples"),
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
    with pytest.raises(sparring.UsageError, match=r"must end in .toml"):
        Study(written(tmp_path, GRID.format(steps=1), "study"))


def test_a_study_that_could_not_be_played_does_not_begin(tmp_path: Path) -> None:
    study = Study(written(tmp_path, "[grid]\nobjective = ['hinge', 'wassertein']"))
    for begin in (study.run, study.cost):  # the latter is what --dry-run shows
        with pytest.raises(sparring.UsageError, match="unknown objective 'wassertein': did you mean 'wasserstein'"):
            begin(Local(2))
    assert not study.folder.exists()


def test_a_study_whose_folder_holds_something_else_is_refused(tmp_path: Path) -> None:
    """Such as the images that it is about: the trials' pictures would be among them."""
    (tmp_path / "study").mkdir()
    for name in (".lock", ".study.json.7.tmp", "study.sqlite3", "results.db"):  # of one that was killed as it began
        (tmp_path / "study" / name).touch()
    Study(written(tmp_path, "storage = 'sqlite:///study/results.db'\n" + ONE.format(steps=5)))
    (tmp_path / "study" / "cat.png").touch()
    with pytest.raises(sparring.UsageError, match=r"study, which holds something else: give .* another name"):
        Study(written(tmp_path, ONE.format(steps=5)))


def test_trainings_that_would_choose_sizes_of_their_own_are_refused(tmp_path: Path) -> None:
    """By minutes a size follows the clock; one that is given, or steps, do not."""
    (tmp_path / "cats").mkdir()
    for number in range(700):
        noise = np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "cats" / f"{number}.png")
    text = f"num_samples = 200\n[settings]\ndata = '{tmp_path / 'cats'}'\nbatch_size = 8\nwidth = 8\n"
    with pytest.raises(
        sparring.UsageError, match=r"to compare them, give size in \[settings\], such as size = (28|32)"
    ):
        _ = Study(written(tmp_path, text + "minutes = 0.1")).recipes
    assert Study(written(tmp_path, text + "minutes = 0.1\nsize = 32")).recipes
    assert Study(written(tmp_path, text + "steps = 5")).recipes
    assert Study(
        written(tmp_path, text + "minutes = 0.1\n[search]\ntrials = 2\n[search.space]\nsize = [28, 32]")
    ).recipes


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


def test_ratios_are_compared_by_their_logarithms() -> None:
    """A in the same ratio to B at every size is better for certain; by differences, the large seeds hide it."""
    second = {0: 2.0, 1: 20.0, 2: 200.0, 3: 30.0, 4: 3.0}
    values = {"A": {seed: value / 3 * 1.01**seed for seed, value in second.items()}, "B": second}
    (by_ratio,) = compare(values, less_is_better=True, by_ratio=True)
    (by_difference,) = compare(values, less_is_better=True)
    assert by_ratio.difference.value == pytest.approx(1.01**2 / 3)
    assert by_ratio.difference.low < by_ratio.difference.value < by_ratio.difference.high < 1
    assert by_ratio.p_value < 1e-5 < 0.05 < by_difference.p_value
    assert by_ratio.probability > 0.99
    assert mean_over_seeds([1.0, 10.0, 100.0], by_ratio=True).value == pytest.approx(10.0)
    assert {name for name, figure in FIGURES.items() if figure.has_scale} == {"frechet_distance", "fid"}


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


class Scripted(Local):
    """Trials without processes: measured once in the middle of their training, and over when looked at three times.

    Their value is what the test says of their settings.
    """

    LOOKS = 3

    def __init__(self, value: Callable[[dict[str, Any], int], float], places: int = 1) -> None:
        super().__init__(places)
        self.value = value
        self.begun: list[tuple[dict[str, Any], int]] = []
        self.looks: dict[Path, int] = {}
        self.stopped: set[Path] = set()

    def start(self, folder: Path) -> Any:
        task = json.loads((folder / "task.json").read_text())
        self.begun.append((task["settings"], task["seed"]))
        run = folder / "run"
        run.mkdir(exist_ok=True)
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
        return self.value(task["settings"], task["seed"])

    def exit_code(self, trial: Any) -> int | None:
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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session looks again without a pause."""
    monkeypatch.setattr("sparring.study.study.POLL_SECONDS", 0.0)


def width(settings: dict[str, Any], seed: int) -> float:
    return float(settings.get("width", 0)) + seed / 10


def values(study: Study) -> dict[str, float | None]:
    return {f"{trial.cell.name} {trial.seed}": trial.result.value for trial in study.trials() if trial.result}


WIDTHS = 'seeds = {seeds}\nnum_samples = 200\n[settings]\ndata = "ring"\nsteps = 5\n[grid]\n{grid}'
BOTH = "width = [8, 16]\nobjective = ['hinge', 'minimax']"


@pytest.mark.usefixtures("at_once")
def test_trials_stay_what_they_are_however_the_file_is_written(tmp_path: Path) -> None:
    """Entries change places, values come and go: what was played is not repeated, and has the name of its setting."""
    first = Study(written(tmp_path, WIDTHS.format(seeds=1, grid=BOTH)))
    first.run(Scripted(width))
    assert values(first) == {f"width={w}, {o} 0": float(w) for w in (8, 16) for o in ("hinge", "minimax")}
    turned = Study(
        written(tmp_path, WIDTHS.format(seeds=1, grid="objective = ['minimax', 'hinge']\nwidth = [16, 24, 8]"))
    )
    engine = Scripted(width)
    turned.run(engine)
    assert [settings["width"] for settings, _ in engine.begun] == [24, 24]
    assert values(turned) == {f"{o}, width={w} 0": float(w) for w in (8, 16, 24) for o in ("hinge", "minimax")}
    fewer = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="width = [8]\nobjective = ['hinge']")))
    assert (fewer.cost().trials, values(fewer)) == (0, {"width=8, hinge 0": 8.0})
    named = "[[variants]]\nname = 'mine'\nwidth = 8\nobjective = 'hinge'\n"
    variants = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="").replace("[grid]\n", named)))
    assert (variants.cost().trials, values(variants)) == (0, {"mine 0": 8.0})
    renamed = named.replace("mine", "before") + named.replace("width = 8", "width = 16")
    variants = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="").replace("[grid]\n", renamed)))
    assert values(variants) == {"before 0": 8.0, "mine 0": 16.0}


@pytest.mark.usefixtures("at_once")
def test_seeds_that_change(tmp_path: Path) -> None:
    """Red where what was begun or queued before is played all the same, or what is left is counted below 0."""
    grid = "width = [8, 16]"
    many = Study(written(tmp_path, WIDTHS.format(seeds=3, grid=grid)))

    class Stopped(Scripted):
        def start(self, folder: Path) -> Any:
            if len(self.begun) == 2:
                signal.raise_signal(signal.SIGINT)
            return super().start(folder)

    with pytest.raises(KeyboardInterrupt):
        many.run(Stopped(width))
    assert len(values(many)) == 2
    other = Study(written(tmp_path, WIDTHS.format(seeds="[7]", grid=grid)))
    assert other.cost().trials == 2
    engine = Scripted(width)
    other.run(engine)
    assert [seed for _, seed in engine.begun] == [7, 7]
    assert values(other) == {"width=8 7": 8.7, "width=16 7": 16.7}
    assert other.cost().trials == 0


@pytest.mark.usefixtures("at_once")
def test_a_search_that_is_played_in_two_parts_does_not_repeat_itself(tmp_path: Path) -> None:
    text = (
        ONE.replace("width = 8", "").format(steps=5)
        + "[search]\ntrials = {}\n[search.space]\nwidth = {{low = 1, high = 900}}\n"
    )
    engine = Scripted(width)
    for trials in (4, 8):
        Study(written(tmp_path, text.format(trials))).run(engine)
    assert len(engine.begun) == 8
    first, second = engine.begun[:4], engine.begun[4:]
    assert second != first
    assert len({json.dumps(each) for each in engine.begun}) == 8
    alike = written(tmp_path, text.format(3).replace("{low = 1, high = 900}", "[8]"), "alike.toml")
    engine = Scripted(width)
    Study(alike).run(engine)
    assert [seed for _, seed in engine.begun] == [0, 1, 2]  # the same settings again, with other seeds


@pytest.mark.usefixtures("at_once")
def test_what_died_is_played_again_the_next_time(tmp_path: Path) -> None:
    class Dying(Scripted):
        def exit_code(self, trial: Any) -> int | None:
            return -9

    study = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="width = [8]")))
    dying = Dying(width)
    study.run(dying)
    assert len(dying.begun) == 3
    (study.trial_folder(0) / "run" / "checkpoints").mkdir()
    assert study.trials()[0].result.status == "died"  # type: ignore[union-attr]
    assert study.cost().trials == 1
    study.run(Scripted(width))
    assert values(study) == {"width=8 0": 8.0}
    assert (study.trial_folder(1) / "run" / "checkpoints").exists()  # it went on from there
    search = WIDTHS.format(seeds=1, grid="").replace("[grid]", "[search]\ntrials = 2\n[search.space]\nwidth = [8]")
    study = Study(written(tmp_path, search, "search.toml"))
    dying = Dying(width)
    study.run(dying)
    assert (len(dying.begun), study.cost().trials) == (6, 2)
    study.run(Scripted(width))
    assert [value for value in values(study).values() if value is not None] == [8.2, 8.3]  # with other seeds
    assert study.cost().trials == 0


@pytest.mark.usefixtures("at_once")
def test_folders_of_a_study_that_is_gone_are_not_taken_for_its_own(tmp_path: Path) -> None:
    study = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="width = [8]")))
    study.run(Scripted(width))
    (study.folder / "study.sqlite3").unlink()
    other = Study(written(tmp_path, WIDTHS.format(seeds=1, grid="width = [16]")))
    with pytest.raises(sparring.UsageError, match=r"written for another training .* or delete .*0000"):
        other.run(Scripted(width))


@pytest.mark.usefixtures("at_once")
def test_one_database_holds_the_studies_of_several_folders_apart(tmp_path: Path) -> None:
    text = f'storage = "sqlite:///{tmp_path}/all.sqlite3"\n' + WIDTHS.format(seeds=1, grid="width = [8]")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Study(written(tmp_path / "a", text)).run(Scripted(width))
    with pytest.raises(sparring.UsageError, match="to another study named 'study': folder differs"):
        Study(written(tmp_path / "b", text)).run(Scripted(width))
    beside = Study(written(tmp_path / "b", text.replace(f"{tmp_path}/all", "own")))
    beside.run(Scripted(width))
    assert (tmp_path / "b" / "own.sqlite3").exists()  # beside the file, wherever the command is given


@pytest.mark.usefixtures("at_once")
def test_a_report_of_two_data_sets_and_a_figure_to_maximise(tmp_path: Path) -> None:
    """The better setting is first, and called so only where all pairs show it and none of it failed."""
    text = WIDTHS.format(seeds=4, grid='data = ["ring", "grid"]\nwidth = [8, 16, 24]').replace('data = "ring"\n', "")
    study = Study(written(tmp_path, 'metric = "coverage"\n' + text))

    def value(settings: dict[str, Any], seed: int) -> float:
        far_apart = settings["data"] == "ring"
        return settings["width"] * (0.01 if far_apart else 0.0) + 0.001 * (
            seed if far_apart else (seed * settings["width"]) % 7
        )

    study.run(Scripted(value))
    made = report(study)
    assert [pair.num_seeds for pair in made.comparisons["ring"]] == [4, 4, 4]
    ring, grid = made.text.split("## grid")
    assert ring.index("| width=24 |") < ring.index("| width=16 |") < ring.index("| width=8 |")
    assert "width=24 has the best mean, but is not shown to be better" in ring  # signs alone: p = 2/2⁴, times 3
    assert "no winner" in grid
    assert len(made.plots) == 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made.plots)


def test_figures_by_two_extractors_are_not_compared(tmp_path: Path) -> None:
    """As if a package with another extractor had been installed between two trials."""
    study = Study(written(tmp_path, WIDTHS.format(seeds=2, grid="width = [8, 16]")))
    study.run(Scripted(lambda settings, seed: 1.0 + seed))
    files = sorted(study.folder.glob("trials/*/result.json"))
    for file, extractor in zip(files, ("one", "one", "one", "another"), strict=True):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"extractor": extractor}))
    with pytest.raises(UsageError, match="measured by another and by one, whose figures cannot be compared: give"):
        report(study)
    files[3].write_text(json.dumps(json.loads(files[3].read_text()) | {"extractor": "one"}))
    assert report(study).text


def test_verdicts() -> None:
    base = {seed: float(value) for seed, value in enumerate((1.0, 1.2, 0.9, 1.1, 1.05))}
    worse = {seed: value + 1 + 0.01 * seed for seed, value in base.items()}
    pairs = compare({"A": base, "B": worse}, less_is_better=True)
    assert (
        verdict(["A", "B"], pairs, set()) == "A is better than each of the others (p < 0.05 after Holm's correction)."
    )
    assert verdict(["A", "B"], pairs, {"A"}).endswith("some of its trainings failed: no winner.")
    # B's mean may be the better one by a seed that only B has; on the common ones it is surely worse.
    assert verdict(["B", "A"], pairs, set()) == "B has the best mean, but is not shown to be better than A: no winner."


@pytest.mark.parametrize(
    ("first", "second"), [((0.505, 0.75), (0.5, 0.745)), ((0.5, 0.75), (0.25, 0.5)), ((0.3, 0.7), (0.1, 0.5))]
)
def test_differences_that_are_all_alike_prove_little(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    """Up to rounding, by which they differ in their last bits."""
    (pair,) = compare({"A": dict(enumerate(first)), "B": dict(enumerate(second))}, less_is_better=False)
    assert (pair.p_value, pair.probability) == (0.5, 0.75)
    (pair,) = compare({"A": dict(enumerate(first)), "B": dict(enumerate(first))}, less_is_better=False)
    assert (pair.p_value, pair.probability, pair.effect) == (1.0, 0.5, 0.0)


def test_all_pairs_are_corrected_together() -> None:
    values = {
        name: {seed: place + 0.1 * ((seed * 7 + place) % 5) for seed in range(4)} for place, name in enumerate("abc")
    }
    pairs = compare(values, less_is_better=True)
    alone = [
        compare({pair.first: values[pair.first], pair.second: values[pair.second]}, less_is_better=True)[0]
        for pair in pairs
    ]
    assert [pair.p_value for pair in pairs] == pytest.approx(holm([pair.p_value for pair in alone]))
    assert any(pair.p_value > other.p_value for pair, other in zip(pairs, alone, strict=True))


@pytest.mark.usefixtures("short_divergence")
def test_a_trial_whose_run_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    """Its folder has a recipe and pictures, and nothing to go on from."""
    task = TrialTask({"data": "ring", "steps": 5, "width": 8}, 0, "frechet_distance", 200)
    for number, left in enumerate(((), ("recipe.json",), ("recipe.json", "summary.json", "samples"))):
        folder = tmp_path / str(number)
        (folder / "run" / "checkpoints").mkdir(parents=True)
        for name in left:
            (folder / "run" / name).write_text("{}")
        (folder / "task.json").write_text(json.dumps(vars(task)))
        assert run_trial(folder) == 0
        assert json.loads((folder / "result.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'metric = "class_entropy"\n[settings]\ndata = "ring"',
            "class_entropy needs a trained classifier, and ring comes with none",
        ),
        (
            'metric = "class_agreement"\n[settings]\nconditional = false',
            "class_agreement needs labels, and a training on digits is given none",
        ),
        ("num_samples = 60", "takes at least [0-9]+ training"),
    ],
)
def test_a_figure_that_no_card_will_have_is_refused_before_the_trainings(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(sparring.UsageError, match=message):
        Study(written(tmp_path, text)).run(Local(1))


def test_a_fault_of_the_machine_is_none_of_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk or data that are not mounted: another try may do better, so nothing is written about the trial."""
    (tmp_path / "task.json").write_text(
        json.dumps(vars(TrialTask({"data": str(tmp_path / "cats"), "steps": 5}, 0, "frechet_distance", 200)))
    )
    assert run_trial(tmp_path) == 2
    assert "cats" in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


class Warm:
    """An engine for what does not depend on how trials start: it forks."""

    num_slots, num_threads, description = 2, 1, "forks"
    code = """
import sys
from pathlib import Path
from sparring.study.trial import run_trial
sys.exit(run_trial(Path(sys.argv[1])))
"""

    def start(self, folder: Path) -> Process:
        return Process(str(folder), code=self.code, cwd=folder)

    def exit_code(self, trial: Process) -> int | None:
        return trial.poll()

    def stop(self, trial: Process) -> None:
        os.kill(trial.pid, signal.SIGTERM)


def results(study: Study) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(study.folder.glob("trials/*/result.json"))}


@pytest.mark.slow
def test_a_study_is_played_once_and_grows(tmp_path: Path) -> None:
    """What has ended is not played again; another seed is added; the report tells of each pair."""
    study = Study(written(tmp_path, GRID.format(steps=20).replace("seeds = 2", "seeds = 1")))
    assert study.cost(Warm()).trials == 2
    study.run(Warm())
    before = results(study)
    assert len(before) == 2
    assert study.cost(Warm()).trials == 0
    study.run(Warm())
    assert results(study) == before
    grown = Study(written(tmp_path, GRID.format(steps=20).replace("seeds = 2", "seeds = [0, 5]")))
    grown.run(Warm())
    assert {path: time for path, time in results(grown).items() if path in before} == before
    assert sorted(trial.seed for trial in grown.trials()) == [0, 0, 5, 5]
    made = report(grown)
    assert [(pair.num_seeds, {pair.first, pair.second}) for pair in made.comparisons["ring"]] == [
        (2, {"hinge", "minimax"})
    ]
    assert "| hinge | 2 |" in made.text
    assert "| A | B | seeds | A / B, 95 % interval |" in made.text
    rows = list(csv.DictReader((grown.folder / "trials.csv").read_text().splitlines()))
    assert sorted((row["setting"], row["seed"]) for row in rows) == [(s, n) for s in ("hinge", "minimax") for n in "05"]
    cards = [json.loads(path.read_text()) for path in grown.folder.glob("trials/*/run/card.json")]
    assert [list(card["figures"]) for card in cards] == [["frechet_distance"]] * 4
    assert not any(card["classes"] for card in cards)
    assert made.path.read_text() == made.text


Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command() -> Iterator[Command]:
    """`sparring study` in a process of its own, which is killed where the test does not see to its end."""
    with contextlib.ExitStack() as stack:

        def command(*arguments: str | Path) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sparring", "study", *map(str, arguments)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            stack.enter_context(process)  # closes its pipes, and waits
            stack.callback(process.kill)
            return process

        yield command


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_where_it_was(tmp_path: Path, command: Command) -> None:
    """kill -9: its trials save and stop, the next one ends them from there, and all is as if nothing had happened."""
    text = ONE.format(steps=600) + "log_steps = 10\n"
    undisturbed, disturbed = (Study(written(tmp_path, text, f"{name}.toml")) for name in ("undisturbed", "disturbed"))
    undisturbed.run(Warm())
    process = command(disturbed.file, "--workers", "2")
    log = disturbed.trial_folder(0) / "run" / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") > 5, process)
    process.kill()
    process.communicate()
    begun = log.read_text().splitlines()[:3]
    summary = disturbed.trial_folder(0) / "run" / "summary.json"
    assert not results(disturbed)
    disturbed.run(Warm())
    assert json.loads(summary.read_text())["steps"] == 600
    models = [each.trial_folder(0) / "run" / "generator" / "model.safetensors" for each in (undisturbed, disturbed)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert [trial.result.value for each in (undisturbed, disturbed) for trial in each.trials() if trial.result] == [
        undisturbed.trials()[0].result.value  # type: ignore[union-attr]
    ] * 2
    assert log.read_text().splitlines()[:3] == begun  # with their seconds: it did not begin anew
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_second_study_on_the_file_is_refused(tmp_path: Path) -> None:
    study = Study(written(tmp_path, ONE.format(steps=5)))
    with study._lock():
        second = Process("study", str(study.file), cwd=tmp_path)
        _, errors = second.communicate(timeout=300)
    assert errors.startswith("sparring: another process is running the study")
    assert second.returncode == 2


def test_studies_that_begin_at_once_share_a_new_database(tmp_path: Path) -> None:
    """Each makes what it does not find, and another may have made it in between: most are refused once."""
    num_studies = 4
    for attempt in range(4):
        text = f'storage = "sqlite:///all-{attempt}.db"\n' + ONE.format(steps=5)
        studies = [Study(written(tmp_path, text, f"{attempt}-{number}.toml")) for number in range(num_studies)]
        ready = threading.Barrier(num_studies)

        def begin(study: Study, ready: threading.Barrier = ready) -> str:
            ready.wait()
            with study._open() as opened:
                return str(opened.study_name)

        with ThreadPoolExecutor(num_studies) as pool:
            assert list(pool.map(begin, studies)) == [study.file.stem for study in studies]


@pytest.mark.slow
def test_a_worker_that_dies_goes_on(tmp_path: Path) -> None:
    class DyingOnce(Local):
        deaths = 0

        def exit_code(self, trial: subprocess.Popen[bytes]) -> int | None:
            log = study.trial_folder(0) / "run" / "log.jsonl"
            if self.deaths == 0 and log.exists():
                self.deaths = 1
                trial.kill()
                trial.wait()
            return super().exit_code(trial)

    study = Study(written(tmp_path, ONE.format(steps=300)))
    engine = DyingOnce(2)
    study.run(engine)
    assert engine.deaths == 1
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
    assert trial.result.reason == "its process died 3 times, the last time with exit code -9: it printed nothing"
    assert "its process died" in report(study).text


@pytest.mark.slow
def test_a_signal_stops_a_study_after_saving(tmp_path: Path, command: Command) -> None:
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
    study.run(Warm())
    assert {trial.cell.name: trial.state for trial in study.trials()} == {"good": "finished", "bad": "failed"}
    text = report(study).text
    assert "- bad, ring, seed 0: " in text
    assert "| good | 1 |" in text
    assert "nothing to compare" in text


def test_a_database_of_another_study_and_one_that_is_locked(tmp_path: Path) -> None:
    study = Study(written(tmp_path, ONE.format(steps=5)))
    study.run(Warm())
    other = Study(written(tmp_path, ONE.format(steps=5).replace("num_samples = 200", "num_samples = 201")))
    with pytest.raises(sparring.UsageError, match="belongs to another study named 'study': num_samples differs"):
        other.run(Warm())
    with sqlite3.connect(study.folder / "study.sqlite3", isolation_level="EXCLUSIVE") as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sparring.UsageError, match=r"cannot use the database .*database is locked"):
            study.run(Warm())
        holder.rollback()
    holder.close()
    with contextlib.closing(sqlite3.connect(study.folder / "study.sqlite3")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.0.0'")
    with pytest.raises(sparring.UsageError, match=r"cannot use the database .*no longer compatible"):
        study.run(Warm())
    broken = Study(written(tmp_path, 'storage = "sqlite:////nowhere/at/all.db"\n[settings]\ndata = "ring"'))
    with pytest.raises(sparring.UsageError, match="cannot use the database sqlite:////nowhere"):
        broken.run(Warm())


@pytest.mark.usefixtures("at_once")
def test_a_search_prunes_what_is_worse_and_names_no_winner(tmp_path: Path) -> None:
    """From the sixth trial on, those that are worse than most at half of their training are stopped there.

    Which come is Optuna's choice of two, fifteen times: the first five are alike, or the others none of the bad, once
    in 16 trials of the test if its random numbers changed.
    """
    study = Study(written(tmp_path, ONE.format(steps=300) + SEARCH))
    study.run(Scripted(lambda settings, seed: 1.0 if settings["learning_rate"] == 1e-12 else 0.1))
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


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(sparring.UsageError, match=r"pip install .*'ray"):
        Cluster("auto")


def test_a_cluster_that_is_not_there_is_named() -> None:
    """At once: Ray itself would go on trying. A port that was just freed has nobody listening."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    with pytest.raises(sparring.UsageError, match=f"no Ray cluster at 127.0.0.1:{port}: .*refused"):
        Cluster(f"127.0.0.1:{port}")


def test_a_machine_of_the_cluster_that_cannot_play_is_named() -> None:
    """Its error is that of a task, before there was a process: no trial died."""

    class Exceptions:
        class TaskCancelledError(Exception): ...

        class RayError(Exception): ...

        class RayTaskError(RayError): ...

    class Ray:
        exceptions = Exceptions

        def wait(self, trials: list[object], timeout: float) -> tuple[list[object], list[object]]:
            return trials, []

        def get(self, trial: Exception) -> int:
            raise trial

    cluster = Cluster.__new__(Cluster)
    cluster._ray = Ray()
    with pytest.raises(sparring.UsageError, match=r"the Ray cluster cannot run trials: FileNotFoundError: /study"):
        cluster.exit_code(Exceptions.RayTaskError("Traceback:\nFileNotFoundError: /study"))
    assert cluster.exit_code(Exceptions.RayError("a node died")) == -9


@pytest.mark.slow
def test_a_study_on_ray(tmp_path: Path, command: Command) -> None:
    """A real cluster, of this machine alone. Stopped, what plays saves at once and not at its end."""
    text = ONE.replace("steps = {steps}\n", "") + "[grid]\nsteps = [5, 1000000]\n"
    study = Study(written(tmp_path, text))
    process = command(study.file, "--ray", "local")
    wait_until(lambda: any(trial.state == "finished" for trial in study.trials()), process)
    wait_until((study.trial_folder(1) / "run" / "log.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "on the Ray cluster at local" in told
    assert [trial.state for trial in study.trials()] == ["finished", "running"]
    assert Run(study.trial_folder(1) / "run").summary().status == "stopped"

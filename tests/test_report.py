"""The report: one file that needs no other, and says what the run's folder says."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparring
from sparring import UsageError
from sparring.training.run_folder import Run
from sparring.web.report import diagnose

SMALL = {"width": 4, "batch_size": 16}
VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Collects the text, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.images: list[str] = []
        self.data: dict[str, Any] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.images += [value or "" for name, value in attrs if name == "src"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    text = path.read_text(encoding="utf-8")
    reader.feed(text)
    assert reader.open == []
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    reader.data = json.loads(data[1])
    return reader


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return sparring.train(
        "digits", steps=320, evaluation_steps=80, schedule="constant", learning_rate=1e-9, sample_steps=80,
        out=tmp_path_factory.mktemp("runs") / "a <sick> run", **SMALL,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("short_divergence")
def test_a_sick_run_is_explained(sick: Run) -> None:
    sparring.evaluate(sick.path, n=200)
    page = read(diagnose(sick.path))
    assert "a <sick> run" in page.text
    assert "after 320 steps" in page.text
    for alarm in sick.summary().health:
        assert alarm.meaning in page.text
        assert alarm.advice in page.text
    assert "collapse, problem since step" in page.text
    assert "28×28 px, grey" in page.text
    (shown,) = page.data["runs"]
    assert shown["lines"] == sick.log()
    assert [frame["step"] for frame in shown["frames"]] == sick.frame_steps()
    card = json.loads((sick.path / "card.json").read_text())
    assert all(name.replace("_", " ") in page.text for name in card["figures"])
    assert len(page.images) == 2  # generated and real ones
    assert all(source.startswith("data:image/png;base64,") for source in page.images)


def test_a_healthy_run_says_so_and_what_to_do(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=300, evaluation_steps=100, batch_size=256, out=tmp_path / "run")
    text = read(diagnose(run.path)).text
    assert "There are no alarms" in text
    assert f"sparring evaluate {run.path}" in text


def test_a_run_too_short_to_measure(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=2, width=4, out=tmp_path / "run")
    assert "were not measured" in read(diagnose(run.path)).text


def test_a_run_that_goes_on_and_one_that_was_cut_off(tmp_path: Path) -> None:
    """Both say "running" in their summary; the lock tells them apart."""
    run = sparring.train("ring", steps=50, width=4, out=tmp_path / "run")
    path = run.path / "summary.json"
    path.write_text(path.read_text().replace('"finished"', '"running"'))
    run.lock()
    assert "still training, and was at step 50" in read(diagnose(run.path)).text
    run.unlock()
    text = read(diagnose(run.path)).text
    assert "stopped without warning" in text
    assert f"sparring resume {run.path}" in text


def test_alarms_that_ended_are_listed(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=150, width=4, evaluation_share=0.0, out=tmp_path / "run")
    alarm = {"name": "collapse", "since": 50, "severity": "problem", "meaning": "", "evidence": {}, "advice": ""}
    lines = run.log()
    lines[1]["alarms"], lines[2]["alarms"] = [alarm], []
    (run.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "step 50 to 150" in read(diagnose(run.path)).text


def test_data_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(50, 2)))
    run = sparring.train(tmp_path / "points.npy", steps=2, out=tmp_path / "run", **SMALL)
    assert len(read(diagnose(run.path)).images) == 2  # generated and real ones
    (tmp_path / "points.npy").unlink()
    page = read(diagnose(run.path))
    assert "There is nothing to show" in page.text
    assert not page.images


def test_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        diagnose(tmp_path)

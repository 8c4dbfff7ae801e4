"""Lines of a log by bytes: what was appended, what was cut, what is torn, and an even choice from a long one."""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sparring.web import log_lines
from sparring.web.log_lines import LogLines


def make_line(step: int, **others: Any) -> dict[str, Any]:
    return {"step": step, "seconds": step / 7, "generator_loss": 0.5} | others


def to_bytes(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def read(logs: LogLines, path: Path, after: str = "") -> tuple[list[int], str, bool]:
    """The steps of the lines after a place, the next place, and whether they begin anew."""
    with opened(path) as descriptor:
        lines, place, reset = logs.read(descriptor, after)
    return [json.loads(line)["step"] for line in lines], place, reset


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(to_bytes(*map(make_line, range(5))))
    return path


def test_only_new_whole_lines_follow(log: Path) -> None:
    logs = LogLines()
    steps, place, reset = read(logs, log)
    assert (steps, reset) == ([0, 1, 2, 3, 4], False)
    assert read(logs, log, place) == ([], place, False)
    whole = to_bytes(make_line(5))
    with log.open("ab") as file:
        file.write(whole[:20])
    assert read(logs, log, place) == ([], place, False)  # torn
    with log.open("ab") as file:
        file.write(whole[20:])
    assert read(logs, log, place)[0] == [5]
    assert read(LogLines(), log, place)[0] == [5]  # by a server that was started again


def test_a_log_that_was_cut_begins_anew_even_if_it_grew_beyond_the_place(log: Path) -> None:
    logs = LogLines()
    _, place, _ = read(logs, log)
    log.write_bytes(to_bytes(*map(make_line, range(2))))
    assert read(logs, log, place)[::2] == ([0, 1], True)
    again = [make_line(step, seconds=step / 6) for step in range(2, 9)]
    with log.open("ab") as file:
        file.write(to_bytes(*again))
    assert log.stat().st_size > int(place.partition("-")[0])
    assert read(logs, log, place)[::2] == ([*range(9)], True)


def test_a_bare_number_of_bytes_is_a_place_too(log: Path) -> None:
    first = len(to_bytes(make_line(0)))
    assert read(LogLines(), log, str(first))[::2] == ([1, 2, 3, 4], False)
    assert read(LogLines(), log, str(first + 1))[2]  # within a line
    assert read(LogLines(), log, "999999999999999999999999")[2]
    assert read(LogLines(), log, "-5")[::2] == ([0, 1, 2, 3, 4], False)
    assert read(LogLines(), log, "x")[2]


def test_lines_that_no_training_wrote_are_left_out(log: Path) -> None:
    bad = [b"", b"no json", b"[1]", b'{"step": NaN}', b'{"step": 1', b"\xff\xfe", b"{\x00", b"[" * 100_000, b"1], [1"]
    log.write_bytes(to_bytes(make_line(0)) + b"\n".join(bad) + b"\n" + to_bytes(make_line(1)))
    assert read(LogLines(), log)[0] == [0, 1]


def test_many_lines_are_chosen_evenly_and_marked_ones_all(tmp_path: Path) -> None:
    for count, width in ((3000, 1), (60_000, 100)):  # split in memory; by places in the file
        path, marked = tmp_path / f"{count}.jsonl", {7, 1234, count - 3}
        notes: dict[int, dict[str, Any]] = {7: {"evaluation": {}}, 1234: {"alarms": []}, count - 3: {"changed": {}}}
        path.write_bytes(to_bytes(*(make_line(step, note="x" * width) | notes.get(step, {}) for step in range(count))))
        assert (path.stat().st_size > log_lines.SMALL) == (width > 1)
        steps, place, _ = read(LogLines(), path)
        assert marked <= set(steps)
        assert (steps[0], steps[-1]) == (0, count - 1)
        assert steps == sorted(set(steps))
        assert 1400 <= len(steps) <= log_lines.NUM_CHOSEN + 3
        assert max(after - before for before, after in pairwise(steps)) <= 2 * count / 1500 + 1
        assert place.startswith(f"{path.stat().st_size}-")


def test_a_place_in_the_middle_of_a_long_log(tmp_path: Path) -> None:
    path, logs = tmp_path / "log.jsonl", LogLines()
    lines = [make_line(step, note="x" * 100) | ({"alarms": []} if step == 30_007 else {}) for step in range(70_000)]
    path.write_bytes(to_bytes(*lines[:30_000]))
    _, place, _ = read(logs, path)
    with path.open("ab") as file:
        file.write(to_bytes(*lines[30_000:]))
    steps, _, reset = read(logs, path, place)
    assert not reset
    assert steps[0] == 30_000
    assert steps[-1] == 69_999
    assert 30_007 in steps


def test_the_last_line_and_the_last_evaluation(log: Path) -> None:
    with log.open("ab") as file:
        file.write(to_bytes(make_line(5, evaluation={"distance": 0.3}), make_line(6)) + b'{"step": 7')
    with opened(log) as descriptor:
        line, evaluation = LogLines().last(descriptor, "evaluation")
    assert (line["step"], evaluation) == (6, {"distance": 0.3})
    log.write_bytes(b"")
    with opened(log) as descriptor:
        assert LogLines().last(descriptor, "evaluation") == ({}, {})


def test_followers_see_what_a_reader_of_the_whole_file_sees(tmp_path: Path) -> None:
    """Random appends, torn lines and cuts; each client polls at its own times, and ends with the file's own lines."""
    draw, path, logs = random.Random(0), tmp_path / "log.jsonl", LogLines()
    path.write_bytes(b"")
    lines: list[dict[str, Any]] = []
    clients: list[tuple[list[int], str]] = [([], "")] * 3
    for turn in range(600):
        move = draw.random()
        if move < 0.1:  # a resumed run
            lines = lines[: draw.randint(0, len(lines))]
            path.unlink()
            path.write_bytes(to_bytes(*lines))
        elif move < 0.8:
            new = [make_line(len(lines) + number, turn=turn) for number in range(draw.randint(1, 4))]
            lines += new
            data = path.read_bytes()
            path.write_bytes(data[: data.rfind(b"\n") + 1] + to_bytes(*new) + b'{"step": 1'[: draw.choice([0, 0, 5])])
        number = draw.randrange(3)
        steps, place, reset = read(logs, path, clients[number][1])
        clients[number] = ([] if reset else clients[number][0]) + steps, place
        assert clients[number][0] == [line["step"] for line in lines]

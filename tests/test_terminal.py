"""What a pseudo-terminal shows of a training."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from screen import Line, show, words

BAR = re.compile(r"[━╸╺ ]{4} +(\d+)% (--:--|\d\d:\d\d) (.*)")


def check_bar(lines: list[Line], columns: int, first: int) -> None:
    """It keeps within the terminal, grows from a share on, and tells the time that is left."""
    bars = [match for line in lines if (match := BAR.match(line.text))]
    bars = [match for match in bars if "packing" not in match[3] and "looking" not in match[3]]
    assert max(len(bar[0]) for bar in bars) <= columns
    shares = [int(bar[1]) for bar in bars]
    assert shares == sorted(shares)
    half = first + (100 - first) / 2
    assert first <= shares[0] < half
    assert shares[-1] == 100
    assert {bar[2] for bar in bars if 1 + first < int(bar[1]) < half} - {"--:--", "00:00"}
    assert "00:00" not in {bar[2] for bar in bars if int(bar[1]) < half}  # seconds are left
    assert any("images/s" in bar[3] for bar in bars)
    if columns == 80:  # in one line
        assert all("D(fake)" in bar[3] for bar in bars if "images/s" in bar[3])


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_the_bar_of_a_training_and_of_its_resumption(kind: str, columns: int, tmp_path: Path) -> None:
    """Also after the data were packed, by which a bar was complete once and stayed so: no time was left."""
    numbers = np.random.default_rng(0).integers(0, 256, (80, 32, 32), np.uint8)
    for number, image in enumerate(numbers):
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "data" / f"{number}.png")
    if kind == "archive":
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for path in sorted((tmp_path / "data").iterdir()):
                archive.write(path, path.name)
    data = {"folder": "data", "archive": "data.zip"}[kind]
    options = ["--width", "4", "--batch-size", "16", "--size", "28", "--set", "evaluation_share=0"]
    lines = show(columns, "train", data, *options, "--minutes", "0.04", "--out", "run", cwd=tmp_path)
    check_bar(lines, columns, first=0)
    begun = next(number for number, line in enumerate(lines) if "into run, to 0.04 minutes;" in line.text)
    assert begun < next(number for number, line in enumerate(lines) if "images/s  loss" in line.text)
    assert any(line.text.startswith("finished after") for line in lines)
    lines = show(columns, "resume", "run", "--minutes", "0.08", cwd=tmp_path)
    check_bar(lines, columns, first=50)
    assert re.search(r"resuming run from step [\d,]+, to 0.08 minutes; Ctrl-C saves", words(lines))


def test_alarms_are_wrapped_and_remain_once(tmp_path: Path) -> None:
    """Samples stay grey at a rate of nearly nothing."""
    settings = ["learning_rate=1e-9", "schedule=constant", "evaluation_steps=110"]
    options = [part for setting in settings for part in ("--set", setting)]
    shown = show(60, "train", "--steps", "440", "--width", "4", "--batch-size", "16", *options, cwd=tmp_path)
    lines = [line.text for line in shown]
    alarms = [number for number, line in enumerate(lines) if re.match(r"  \w[\w ]+ since step \d+: ", line)]
    end = next(number for number, line in enumerate(lines) if line.startswith("finished after"))
    assert [number for number in alarms if number < end]  # below the bar
    after = [number for number in alarms if number > end]
    names = [re.match(r"  (.*) since", lines[number])[1] for number in after]  # type: ignore[index]
    assert names
    assert len(names) == len(set(names))
    assert max(len(line) for number in alarms for line in lines[number : number + 6] if "sparring" not in line) <= 60
    last_bar = max(number for number, line in enumerate(lines) if BAR.match(line))
    assert not [number for number in alarms if last_bar < number < end]  # they stand below only

"""One trial of a study, in a process of its own: `python -m sparring.study.trial FOLDER`.

The folder holds task.json, and becomes a run's folder in run/; result.json says how it ended. Whatever stops it, the
same command goes on from the last checkpoint. It stops itself, saving, when its standard input is closed: so no trial
outlives the study that began it.
"""

import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sparring.errors import SparringError
from sparring.evaluation import evaluate
from sparring.files import read_json, write_json
from sparring.run import Run
from sparring.study.plan import recipe_of
from sparring.training import play, play_on

LOCK_SECONDS = 0.2


@dataclass(frozen=True)
class Task:
    """What to play: `task.json`.

    Args:
        settings: fields of the recipe; `data` and `recipe` among them.
        seed: of the training and of the card.
        metric: the figure of the card.
        num_samples: that the card is about.
    """

    settings: dict[str, Any]
    seed: int
    metric: str
    num_samples: int


@dataclass(frozen=True)
class Result:
    """How a trial ended: `result.json`.

    Args:
        status: "finished", or "failed" where it cannot be played or came to nothing.
        value: the metric, or None.
        seconds: training time.
        total_seconds: with evaluation, from the last start on.
        reason: why it failed.
    """

    status: Literal["finished", "failed"]
    value: float | None
    seconds: float
    total_seconds: float
    reason: str = ""


def play_trial(folder: Path) -> int:
    """Play or go on with a trial, and return the exit code."""
    if (folder / "result.json").exists():
        return 0
    task, path, begun = read_json(folder / "task.json", Task), folder / "run", time.monotonic()
    try:
        run = Run(path)
        while path.exists() and run.is_locked():  # by the same trial of a study that was killed, which is saving
            time.sleep(LOCK_SECONDS)
        if not (path / "recipe.json").exists():
            run, outcome = play(recipe_of(task.settings, task.seed), path)
        elif run.summary().status != "finished":
            run, outcome = play_on(path, None, None, None)
        else:
            outcome = None
        if outcome is not None and outcome.signal is not None:
            return outcome.exit_code
        card = evaluate(path, task.num_samples, task.seed)
        if task.metric not in card.figures:
            raise SparringError(f"the card has no {task.metric}: it has {', '.join(card.figures)}")
        value, seconds, reason = card.figures[task.metric].generated.value, run.summary().seconds, ""
    except SparringError as error:
        value, seconds, reason = None, 0.0, str(error)
    status: Literal["finished", "failed"] = "failed" if value is None else "finished"
    write_json(folder / "result.json", asdict(Result(status, value, seconds, time.monotonic() - begun, reason)))
    return 0


def _stop_when_alone() -> None:
    """Stop this process, which saves, as soon as nobody holds its standard input."""

    def wait() -> None:
        os.read(0, 1)  # not by sys.stdin, whose lock would keep Python from ending
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _stop_when_alone()
    sys.exit(play_trial(Path(sys.argv[1])))

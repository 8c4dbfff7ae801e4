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

from sparring.errors import DataError, DivergenceError, RunFolderError, UsageError
from sparring.evaluation import evaluate
from sparring.files import read_json, write_json
from sparring.run import Run
from sparring.study.plan import recipe_of
from sparring.training import forgotten, play, play_on

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
        status: "finished"; "failed" where it cannot be played or diverges; or "died" where its process did too often,
            so that another try may do better.
        value: the metric, or None.
        seconds: training time.
        total_seconds: with evaluation, over all starts that were not killed.
        reason: why it failed.
    """

    status: Literal["finished", "failed", "died"]
    value: float | None
    seconds: float
    total_seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Spent:
    """Time that earlier starts of a trial took: `spent.json`.

    Args:
        seconds: of them all.
    """

    seconds: float


def play_trial(folder: Path) -> int:
    """Play or go on with a trial, and return the exit code."""
    if (folder / "result.json").exists() and read_json(folder / "result.json", Result).status != "died":
        return 0
    before = read_json(folder / "spent.json", Spent).seconds if (folder / "spent.json").exists() else 0.0
    begun = time.monotonic()

    def spent() -> float:
        return before + time.monotonic() - begun

    run = Run(folder / "run")
    try:
        code, value = _measured(run, read_json(folder / "task.json", Task))
        result = None if value is None else Result("finished", value, run.summary().seconds, spent())
    except (DataError, RunFolderError) as error:  # of this machine, now
        print(f"sparring: {error}", file=sys.stderr)
        code, result = error.exit_code, None
    except (UsageError, DivergenceError) as error:  # which come again
        seconds = run.summary().seconds if (run.path / "summary.json").exists() else 0.0
        code, result = 0, Result("failed", None, seconds, spent(), str(error))
    finally:
        write_json(folder / "spent.json", asdict(Spent(spent())))
    if result is not None:
        write_json(folder / "result.json", asdict(result))
    return code


def _measured(run: Run, task: Task) -> tuple[int, float | None]:
    """Play to the end; the exit code, and the figure of the card unless a signal stopped it."""
    while run.path.exists() and run.is_locked():  # by the same trial of a study that was killed, which is saving
        time.sleep(LOCK_SECONDS)
    if forgotten(run):
        _, outcome = play(recipe_of(task.settings, task.seed), run.path)
    elif run.summary().status != "finished":
        _, outcome = play_on(run.path, None, None, None)
    else:
        outcome = None
    if outcome is not None and outcome.signal is not None:
        return outcome.exit_code, None
    card = evaluate(run.path, task.num_samples, task.seed)
    if task.metric not in card.figures:
        raise UsageError(f"the card has no {task.metric}: it has {', '.join(card.figures)}")
    return 0, card.figures[task.metric].generated.value


def _stop_when_alone() -> None:
    """Stop this process, which saves, as soon as nobody holds its standard input."""

    def wait() -> None:
        os.read(0, 1)  # not by sys.stdin, whose lock would keep Python from ending
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _stop_when_alone()
    sys.exit(play_trial(Path(sys.argv[1])))

"""One trial of a study, in a process of its own: `python -m sparring.study.trial FOLDER`.

The folder holds task.json. The trial trains in run/ and writes result.json when it ends. The same command resumes from
the last checkpoint. A trial saves and stops when its standard input is closed, so none outlives its study.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sparring.errors import DataError, DivergenceError, RunFolderError, UsageError
from sparring.files import read_json, write_json
from sparring.study.plan import Cell, Settings, request_training
from sparring.training.evaluate import evaluate
from sparring.training.run_folder import Run, delete_if_never_saved
from sparring.training.train import go_on, start

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class TrialTask:
    """What to train and measure: `task.json`."""

    settings: dict[str, Any]  # fields of the recipe, and `data` and `recipe`
    seed: int  # of the training and of the card
    metric: str  # a figure of the card
    num_samples: int  # for the card
    full_card: bool = False  # whether to measure the other figures as well


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended: `result.json`."""

    status: Literal["finished", "failed", "died"]  # died: its process crashed too often, but may succeed the next time
    value: float | None  # of the metric
    seconds: float  # training time
    total_seconds: float  # with evaluation, over all starts that were not killed
    reason: str = ""  # why it failed
    extractor: str = ""  # whose features the metric compares; empty if an older sparring measured it


@dataclass(frozen=True)
class Trial:
    """A trial and how it stands."""

    number: int  # from 0 on; its folder is trials/NUMBER
    cell: Cell
    seed: int
    state: str  # waiting, running, finished, pruned or failed
    result: TrialResult | None  # if it finished or failed

    @property
    def has_died(self) -> bool:
        """Whether its process crashed too often, so that another attempt may succeed."""
        return self.result is not None and self.result.status == "died"

    @property
    def is_over(self) -> bool:
        """Whether it need not be run again."""
        return self.state in ("finished", "pruned", "failed") and not self.has_died


def make_key(settings: Settings, seed: int) -> str:
    """What identifies a trial."""
    return json.dumps([settings, seed], sort_keys=True)


def seconds_spent(folder: Path) -> float:
    """How long the trial in a folder has taken, over all starts that were not killed: `spent.json`."""
    path = folder / "spent.json"
    return float(read_json(path, dict)["seconds"]) if path.exists() else 0.0


def run_trial(folder: Path) -> int:
    """Start or resume the trial in a folder, and return the exit code."""
    if (folder / "result.json").exists() and read_json(folder / "result.json", TrialResult).status != "died":
        return 0
    run, begun = Run(folder / "run"), time.monotonic() - seconds_spent(folder)
    try:
        task, outcome = read_json(folder / "task.json", TrialTask), None
        while run.path.exists() and run.is_locked():  # the same trial of a study that was killed is still saving
            time.sleep(POLL_SECONDS)
        if delete_if_never_saved(run):
            _, outcome = start(request_training(task.settings, task.seed), run.path)
        elif run.summary().status != "finished":
            _, outcome = go_on(run.path)
        if outcome and outcome.signal is not None:
            return outcome.exit_code
        only = None if task.full_card else task.metric
        figures = evaluate(run.path, task.num_samples, task.seed, only=only, progress=False).figures
        if task.metric not in figures:
            raise UsageError(f"the card has no {task.metric}: it has {', '.join(figures)}")
        row, seconds = figures[task.metric], run.summary().seconds
        total = time.monotonic() - begun
        result = TrialResult("finished", row.generated.value, seconds, total, extractor=row.extractor)
    except (DataError, RunFolderError) as error:  # the machine's fault: another attempt may succeed
        print(f"sparring: {error}", file=sys.stderr)
        return error.exit_code
    except (UsageError, DivergenceError) as error:  # the settings' fault
        seconds = run.summary().seconds if (run.path / "summary.json").exists() else 0.0
        result = TrialResult("failed", None, seconds, time.monotonic() - begun, str(error))
    finally:
        write_json(folder / "spent.json", {"seconds": time.monotonic() - begun})
    write_json(folder / "result.json", asdict(result))
    return 0


def _stop_when_alone() -> None:
    """Have this process save and stop as soon as nobody holds its standard input."""
    os.read(0, 1)  # not by sys.stdin, whose lock would keep Python from ending
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    sys.exit(run_trial(Path(sys.argv[1])))

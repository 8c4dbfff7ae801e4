"""Listeners that show a training in TensorBoard, Weights & Biases, MLflow or trackio, from the user's installation.

The run's folder stays the truth: a tracker gets copies, and a tracker that fails never stops or changes a training.
"""

import io
import os
import secrets
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from queue import SimpleQueue
from typing import Any, ClassVar, final

import numpy as np
from PIL import Image

from sparring.errors import SparringWarning, UnknownNameError, UsageError
from sparring.evaluation.health import Alarm
from sparring.files import read_json, write_json
from sparring.game.game import Report
from sparring.training.loop import Listener, Outcome, Training
from sparring.training.run_folder import Run
from sparring.types import LogLine

PROJECT = "sparring"  # of a tracker that groups runs, unless the tracker's own variable in the environment names one
PATIENCE_SECONDS = 120.0  # how long the end of a training waits for a tracker that makes no progress
FILE_LOCK = threading.Lock()  # of `RUN/trackers.json`, which each tracker's thread writes
Jobs = SimpleQueue[tuple[Any, ...] | None]  # a method of a writer and its arguments each; None at the end


class Writer:
    """The interface of trackers. To add one, write its class and add it to `TRACKERS`.

    All but `check` are called in a thread beside the training's, one by one. What they raise becomes a warning.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    package: ClassVar[str]  # what pip installs
    needs: ClassVar[tuple[str, str]]  # a module, and a name in it that is used

    @classmethod
    def check(cls) -> None:
        """Raise an error if the tracker cannot be used."""
        getattr(import_module(cls.needs[0]), cls.needs[1])  # a folder of that name is a module too, but an empty one

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        """Begin at a step, or go on with what `known` names, and return a name for that."""
        raise NotImplementedError

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        """Write the numbers of a step; the time, in seconds since 1970, leaves evaluations and pauses out."""

    def write_picture(self, step: int, picture: Image.Image) -> None:
        """Write a picture of samples."""

    def write_alarm(self, step: int, alarm: Alarm) -> None:
        """Tell that an alarm has begun."""

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        """Write how the training ended and the numbers of its best generator, and finish."""


class TensorBoard(Writer):
    """Writes event files into `RUN/tensorboard`: `tensorboard --logdir runs` shows all runs."""

    name = "tensorboard"
    summary = "event files in RUN/tensorboard, for `tensorboard --logdir runs`"
    package = "tensorboard"
    needs = "torch.utils.tensorboard", "SummaryWriter"

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        """Begin a file; what older files hold of later steps is hidden."""
        tensorboard: Any = import_module(self.needs[0])
        self.writer = tensorboard.SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1 if step else None)
        self.recipe = {name: value if isinstance(value, int | float) else str(value) for name, value in recipe.items()}
        rows = "".join(f"| {name} | {value} |\n" for name, value in recipe.items())
        self.writer.add_text("recipe", f"| field | value |\n|---|---|\n{rows}", step)
        return ""

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        """Write scalars."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step, time_seconds)
        self.writer.flush()

    def write_picture(self, step: int, picture: Image.Image) -> None:
        """Write an image."""
        self.writer.add_image("samples", np.asarray(picture), step, dataformats="HWC")

    def write_alarm(self, step: int, alarm: Alarm) -> None:
        """Write a text."""
        self.writer.add_text(f"alarms/{alarm.name}", f"{alarm.meaning}: {alarm.advice}", step)

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        """Write a text, and the recipe as hyperparameters beside the best numbers."""
        self.writer.add_text("outcome", f"{outcome.status}: {outcome.reason}", step)
        self.writer.close()
        if os.path.isdir(self.writer.log_dir):  # else the run's folder was deleted, and this would make it again
            self.writer.add_hparams(self.recipe, best, run_name=".")
            self.writer.close()


class WandB(Writer):
    """Writes a run of Weights & Biases, below `RUN/wandb` where it is offline."""

    name = "wandb"
    summary = "Weights & Biases; WANDB_MODE=offline keeps it in RUN/wandb"
    package = "wandb"
    needs = "wandb", "login"

    @classmethod
    def check(cls) -> None:
        """Log in, which asks for a key in a terminal or a notebook; offline it does nothing."""
        import_module("wandb").login(verify=False)

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        """Begin a run, beside one of the caller's if there is one."""
        self.wandb: Any = import_module("wandb")
        key = known or secrets.token_hex(4)
        project, folder = os.environ.get("WANDB_PROJECT", PROJECT), os.environ.get("WANDB_DIR", str(run.path))
        given: dict[str, Any] = {"project": project, "id": key, "name": run.path.resolve().name, "dir": folder}
        self.run = self.wandb.init(**given, resume="allow", reinit="create_new")
        self.run.config.update(recipe, allow_val_change=True)
        return key

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        """Log the numbers; of steps that it has already, Weights & Biases keeps the first ones."""
        self.run.log(numbers, step=step)

    def write_picture(self, step: int, picture: Image.Image) -> None:
        """Log an image."""
        self.run.log({"samples": self.wandb.Image(picture)}, step=step)

    def write_alarm(self, step: int, alarm: Alarm) -> None:
        """Send an alert."""
        self.run.alert(alarm.name.replace("_", " "), f"step {step}: {alarm.meaning}: {alarm.advice}", level="WARN")

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        """Write the run's summary, and finish it."""
        self.run.summary.update({"status": outcome.status, "reason": outcome.reason, **best})
        self.run.finish(exit_code=int(outcome.status == "failed"))


class MLflow(Writer):
    """Writes a run of MLflow, by its tracking URI; the caller's active run stays as it is."""

    name = "mlflow"
    summary = "MLflow, at its tracking URI (MLFLOW_TRACKING_URI)"
    package = "mlflow"
    needs = "mlflow", "MlflowClient"

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        """Begin a run, with the recipe as parameters; those that a resumed run changed become tags."""
        self.mlflow: Any = import_module("mlflow")
        self.client = self.mlflow.MlflowClient()
        texts = {name: str(value)[:500] for name, value in recipe.items()}
        if known:
            self.key, params = known, self.client.get_run(known).data.params
            for name, value in texts.items():
                if params.get(name, value) != value:
                    self.client.set_tag(known, f"changed.{name}", value)
            self.client.update_run(known, status="RUNNING")
            return known
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        self.key = str(self.client.create_run(number, run_name=run.path.resolve().name).info.run_id)
        self.client.log_batch(self.key, params=[self.mlflow.entities.Param(*each) for each in texts.items()])
        return self.key

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        """Log metrics."""
        stamp = int(1000 * time_seconds)
        self.client.log_batch(self.key, [self.mlflow.entities.Metric(*each, stamp, step) for each in numbers.items()])

    def write_picture(self, step: int, picture: Image.Image) -> None:
        """Log an image."""
        self.client.log_image(self.key, picture, key="samples", step=step)

    def write_alarm(self, step: int, alarm: Alarm) -> None:
        """Set a tag."""
        self.client.set_tag(self.key, f"alarm.{alarm.name}", f"step {step}: {alarm.meaning}: {alarm.advice}")

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        """Set the reason as a tag, and the run's status."""
        self.client.set_tag(self.key, "reason", outcome.reason)
        for name, value in best.items():
            self.client.log_metric(self.key, name, value, step=step)
        status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[outcome.status]
        self.client.set_terminated(self.key, status)


class Trackio(Writer):
    """Writes a run of trackio, which keeps its files on this computer (TRACKIO_DIR)."""

    name = "trackio"
    summary = "trackio, on this computer: `trackio show`"
    package = "trackio"
    needs = "trackio", "init"

    def open(self, run: Run, recipe: dict[str, Any], step: int, known: str) -> str:
        """Begin a run; trackio finds it again by its name."""
        self.trackio: Any = import_module("trackio")
        project, name = os.environ.get("TRACKIO_PROJECT", PROJECT), known or f"{run.path.name}-{secrets.token_hex(2)}"
        self.run = self.trackio.init(project, name=name, config=recipe, resume="allow", embed=False)
        return name

    def write_numbers(self, step: int, numbers: dict[str, float], time_seconds: float) -> None:
        """Log the numbers."""
        self.run.log(numbers, step=step)

    def write_picture(self, step: int, picture: Image.Image) -> None:
        """Log an image."""
        self.run.log({"samples": self.trackio.Image(picture)}, step=step)

    def write_alarm(self, step: int, alarm: Alarm) -> None:
        """Send an alert."""
        self.run.alert(alarm.name.replace("_", " "), f"{alarm.meaning}: {alarm.advice}", step=step)

    def close(self, step: int, outcome: Outcome, best: dict[str, float]) -> None:
        """Log the outcome, and finish the run."""
        self.run.log({"status": outcome.status, "reason": outcome.reason, **best}, step=step)
        self.run.finish()


TRACKERS: dict[str, type[Writer]] = {each.name: each for each in (TensorBoard, WandB, MLflow, Trackio)}
"""The trackers by name."""


@final
class Tracker(Listener):
    """Copies a run to a tracker: recipe, log, pictures of samples, alarms, and how it ended.

    It writes in a thread of its own, so a slow tracker does not slow the training down. If the tracker fails, there is
    a warning, and the training goes on without it. A resumed run goes on in the same place: `RUN/trackers.json` has the
    tracker's name for it.

    Args:
        name: a name in `TRACKERS`.

    Raises:
        UsageError: if the tracker is not installed, or nobody is logged in.

    Example:
        >>> sparring.train("ring", listeners=[sparring.Tracker("tensorboard")])  # doctest: +SKIP
    """

    def __init__(self, name: str) -> None:
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        self.name = name
        self._jobs: Jobs | None = None  # what the writer is to do; None without a writer
        try:
            TRACKERS[name].check()
        except Exception as error:
            package, is_missing = TRACKERS[name].package, isinstance(error, ImportError | AttributeError)
            mend = f"pip install {package}" if is_missing else "mend that, or leave the tracker away"
            raise UsageError(f"the tracker {name} cannot be used ({error}): {mend}") from error

    def started(self, training: Training) -> None:
        """Begin, or go on after a resume."""
        assert training.folder is not None
        self._run, step = Run(training.folder), training.game.steps
        self._pictured = step if step else -1  # the step of the latest picture; that of a resumed run was sent before
        self._alarms = {alarm.name for alarm in training.alarms}
        self._begin = time.time() - training.seconds
        self._jobs, self._errors = Jobs(), list[BaseException]()
        arguments = self._jobs, self._errors, self._run, asdict(training.recipe), step
        self._thread = threading.Thread(target=self._work, args=arguments, daemon=True)
        self._thread.start()
        self.stepped(training, None)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Send the line of the log, the picture and the alarms of a step that has them."""
        if self._jobs is None:
            return
        step = training.game.steps
        if training.line is not None:
            self._jobs.put(("write_numbers", step, _flatten(training.line), self._begin + training.seconds))
        for alarm in training.alarms:
            if alarm.name not in self._alarms:
                self._jobs.put(("write_alarm", step, alarm))
        self._alarms = {alarm.name for alarm in training.alarms}
        path = self._run.sample_path(step)
        if step != self._pictured and path.exists():
            self._pictured = step
            try:
                self._jobs.put(("write_picture", step, Image.open(io.BytesIO(path.read_bytes())).convert("RGB")))
            except OSError as error:
                self._errors.append(error)
        if self._errors:
            self._give_up(self._errors[0])

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Send the rest, and wait until it is written."""
        self.stepped(training, None)
        if self._jobs is None:
            return
        best: dict[str, float] = {}
        with suppress(OSError, UsageError):  # the disk may be what failed
            if line := self._run.best_line():
                best = {"step": line["step"], **line["evaluation"]}
        numbers = {f"best/{name}": float(value) for name, value in best.items()}
        self._jobs.put(("close", training.game.steps, outcome, numbers))
        self._jobs.put(None)
        left = self._jobs.qsize() + 1
        while self._thread.is_alive() and self._jobs.qsize() < left:
            left = self._jobs.qsize()
            self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            self._errors.append(TimeoutError(f"it has not answered for {PATIENCE_SECONDS:g} seconds"))
        if self._errors:
            self._give_up(self._errors[0])
        self._jobs = None

    def _work(self, jobs: Jobs, errors: list[BaseException], run: Run, recipe: dict[str, Any], step: int) -> None:
        """Do the jobs until the end or an error, in a thread that may wait for a network."""
        path, writer = run.path / "trackers.json", TRACKERS[self.name]()
        try:
            known = read_json(path, dict) if path.exists() else {}
            key = writer.open(run, recipe, step, str(known.get(self.name, "")))
            with FILE_LOCK:
                known = read_json(path, dict) if path.exists() else {}
                if key != known.get(self.name, ""):
                    write_json(path, known | {self.name: key})
            while (job := jobs.get()) is not None:
                getattr(writer, job[0])(*job[1:])
        except BaseException as error:
            errors.append(error)

    def _give_up(self, error: BaseException) -> None:
        self._jobs = None
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        message = f"the tracker {self.name} failed, and the training goes on without it: {reason}"
        warnings.warn(SparringWarning(message), stacklevel=3)


def _flatten(line: LogLine) -> dict[str, float]:
    """The numbers of a line of the log; those of its evaluation by names such as "evaluation/distance"."""
    flat = line | {f"evaluation/{key}": value for key, value in line.get("evaluation", {}).items()}
    return {key: float(value) for key, value in flat.items() if key != "step" and isinstance(value, int | float)}

"""The loop: data order → `Game.step` → average → evaluate → log → samples → checkpoint → stop."""

import errno
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparring import checkpoint, distributed, pictures
from sparring.augment import Adaptive
from sparring.checkpoint import Manifest, State
from sparring.data import Source
from sparring.ema import Average
from sparring.errors import DivergenceError, ProcessError, SparringWarning, TrainingError
from sparring.game import Game, Report
from sparring.generator import Config, Generator
from sparring.health import Alarm, Doctor, not_finite
from sparring.monitor import Monitor
from sparring.recipes import Change
from sparring.run import COUNTERS, NUMBERS, LogLine, Run, Status, Summary
from sparring.seeding import Stream
from sparring.stopping import Goal, Limits, Plateau, signals_received

NUM_SAMPLES_POINTS = 2500
COLUMNS = 10
"""Of a picture of images, which has ten rows; or one for each class, of ten at most."""
MAX_LEFT_OUT = 3
"""So many updates in a row whose numbers are not finite end a training."""


@dataclass(frozen=True)
class Intervals:
    """How often the trainer does what is not training.

    Args:
        log_steps: a line of the log, each the mean of the steps since the one before.
        sample_seconds: a picture of samples, in seconds of training time.
        sample_steps: the same in steps, instead; None for none.
        checkpoint_seconds: a checkpoint, in seconds of training time.
        checkpoint_steps: the same in steps, instead; None for none.
        keep_checkpoints: how many of the last ones to keep.
    """

    log_steps: int = 20
    sample_seconds: float = 15.0
    sample_steps: int | None = None
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep_checkpoints: int = 2


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Args:
        status: "finished" where a limit or a plateau ended it, "stopped" where a signal did.
        reason: the same in words.
        signal: the number of the signal that stopped it, or None.
    """

    status: Status
    reason: str
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0, or 128 and the number of the signal that stopped it; but 0 after SIGUSR1, by which clusters warn."""
        return 0 if self.signal in (None, signal.SIGUSR1) else 128 + self.signal


RUNNING = Outcome("running", "it has not ended")


@dataclass(frozen=True)
class Progress:
    """What a progress display is told after each line of the log.

    Args:
        share: of the training that is done, 0 to 1.
        seconds: training time so far.
        line: the log's latest line.
        alarms: those that stand.
    """

    share: float
    seconds: float
    line: LogLine
    alarms: list[Alarm]


class Trainer:
    """Plays a game on data until a limit is reached, and keeps what comes of it in a run's folder.

    To go on with a run, call `resume` before `train`. Of several processes the first one has the run, measures, writes
    and decides by the clock; the others play along, without one.

    Args:
        game: the game.
        data: what the real samples are drawn from.
        config: what the generator is, for saving it.
        batch_size: real samples an update, all processes together.
        limits: when to stop.
        schedule: the factor on both learning rates as a function of the share of the training that is done.
        penalty_final: the share of the penalties' weights that is left at the end.
        average_decay: of the generator's averaged weights, in [0, 1).
        plateau: stops as well when the game's value stays on a plateau; or None.
        monitor: measures the samples meanwhile, so that the best generator is kept too; or None.
        goal: stops as well when what the log says reaches it; or None.
        intervals: how often to log, draw and save.
    """

    def __init__(
        self,
        game: Game,
        data: Source,
        config: Config,
        *,
        batch_size: int,
        limits: Limits,
        schedule: Callable[[float], float] = lambda share: 1.0,
        penalty_final: float = 1.0,
        average_decay: float = 0.998,
        plateau: Plateau | None = None,
        monitor: Monitor | None = None,
        goal: Goal | None = None,
        intervals: Intervals = Intervals(),
    ) -> None:
        self.game = game
        self.data = data
        self.config = config
        self.batch_size = batch_size
        self.limits = limits
        self.schedule = schedule
        self.penalty_final = penalty_final
        self.average = Average(game.generator, average_decay)
        self.plateau = plateau
        self.monitor = monitor
        self.goal = goal
        self.intervals = intervals
        self.images = 0
        self.seconds = 0.0
        self.alarms: list[Alarm] = []
        self._doctor = Doctor()
        self._rates = [group["lr"] for group in self._parameter_groups()]
        self._pending: list[dict[str, float]] = []
        self._changes: dict[str, Change] = {}
        self._left_out = 0  # updates in a row, whose numbers were not finite
        self.reached = ""  # why the plateau or the goal ended it, where one did
        self._device = next(game.generator.parameters()).device

    def train(self, run: Run | None, on_progress: Callable[[Progress], None] = lambda progress: None) -> Outcome:
        """Play until a limit, a plateau, or SIGINT, SIGTERM or SIGUSR1; then save.

        Args:
            run: the folder, locked by this process; None in all processes but the first.
            on_progress: called after each line of the log.

        Returns:
            How it ended.

        Raises:
            DivergenceError: if losses or gradients of three steps in a row are not finite. The last checkpoint stays.
            ProcessError: if another process ended or cannot be reached. The last checkpoint stays.
            TrainingError: if memory does not suffice, or the end cannot be saved. The last checkpoint stays.
        """
        torch.set_flush_denormal(True)
        # To the end of what is said of an error, too: where a process died, launchers tell the others to stop.
        with signals_received() as received:
            try:
                if run is not None:
                    self._begin(run)
                outcome = self._agreed(received)
                while outcome == RUNNING:
                    seconds_before = self.seconds
                    self._iterate()
                    if run is not None:
                        self._record(run, on_progress, seconds_before)
                    outcome = self._agreed(received)
                if run is not None:
                    self._finish(run, on_progress, outcome)
                return outcome
            except BaseException as error:
                mended = self._explained(error, run)
                if run is not None:
                    if isinstance(error, DivergenceError):
                        others = [alarm for alarm in self.alarms if alarm.name != "divergence"]
                        self.alarms = [*others, not_finite(self.game.steps + 1, str(error))]
                    with suppress(OSError):  # the disk may be what failed
                        self._write_summary(run, Outcome("failed", str(mended) or type(mended).__name__))
                if mended is error:
                    raise
                raise mended from error

    def _agreed(self, received: list[int]) -> Outcome:
        """Whether and why to stop: the same in all processes, whichever received a signal or has the clock."""
        seconds = self.seconds if distributed.rank() == 0 else 0.0  # by the clock of the first
        number, self.seconds, reached = distributed.largest([max(received, default=0), seconds, bool(self.reached)])
        if number:
            name = signal.Signals(int(number)).name
            return Outcome("stopped", f"{name} was received", int(number))
        self.reached = self.reached or ("the first process says so" if reached else "")
        reason = self.end()
        return Outcome("finished", reason) if reason else RUNNING

    def _begin(self, run: Run) -> None:
        self._write_summary(run, RUNNING)
        self._drop_samples(run)
        if self.game.steps == 0:
            self._draw_samples(run)
            self._save(run)
        if self.monitor:
            self.monitor.prepare()

    def _finish(self, run: Run, on_progress: Callable[[Progress], None], outcome: Outcome) -> None:
        if outcome.status == "finished":
            self._log(run, on_progress)
        self._save(run)
        self._draw_samples(run)
        if log := run.log():
            with _or_without(run.path / "curves.png") as path:
                pictures.save(pictures.curves(log), path)
        self._write_summary(run, outcome)

    def _explained(self, error: BaseException, run: Run | None) -> BaseException:
        """What to do where memory, the disk or another process fails."""
        if run is None:
            return error
        stays = f" The last checkpoint stays in {run.checkpoints}." if checkpoint.saved(run.checkpoints) else ""
        if isinstance(error, ProcessError):
            return ProcessError(f"{error}: go on with `sparring resume {run.path}`.{stays}")
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            return TrainingError(
                f"memory does not suffice for step {self.game.steps + 1} of the network {self.config.network!r} with "
                f"width {self.config.width} and batches of {self.batch_size}: train with a smaller --batch-size, "
                f"--width or --size.{stays} ({error})"
            )
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            mend = "free some space, then go on with `sparring resume`" if stays else "free some space"
            return TrainingError(f"cannot write into {run.path}: {error.strerror}: {mend}.{stays}")
        return error

    def resume(self, run: Run | None, manifest: Manifest, state: State, changes: Mapping[str, Change] = {}) -> None:
        """Go back to a checkpoint of a run, so that `train` goes on from there.

        Args:
            run: the folder, locked by this process; None in all processes but the first.
            manifest: of the checkpoint.
            state: of the checkpoint.
            changes: to the recipe since then, for the log.
        """
        self._changes = dict(changes)
        average = {name.removeprefix("average."): value for name, value in state.items() if name.startswith("average.")}
        self.game.load_state(state, manifest.step)
        self.average.module.load_state_dict(average)
        self.images, self.seconds = manifest.images, manifest.seconds
        self._left_out = 0 if changes else int(state.get("left_out", 0))
        self._pending = [dict(zip(NUMBERS, line, strict=True)) for line in state["log.pending"].tolist()]
        if run is None:
            return
        run.cut_log(manifest.step)
        for line in run.log():
            self._read(line)
        if self.monitor and (best := run.best_distance()) is not None:
            self.monitor.best = min(best, math.inf if self.monitor.best is None else self.monitor.best)

    def generator(self) -> Generator:
        """The averaged generator as it is now."""
        return Generator(self.average.module, self.config)

    def _iterate(self) -> None:
        start = time.perf_counter()
        self._follow_schedules()
        report = self._play_or_leave_out()
        self.images += self.batch_size * self.game.discriminator_steps
        if report is not None:
            self.average.update(self.game.steps)
            self._pending.append({name: getattr(report, name) for name in NUMBERS})
        self.seconds += time.perf_counter() - start

    def _record(self, run: Run, on_progress: Callable[[Progress], None], seconds_before: float) -> None:
        """What is not training: measuring, logging, drawing, saving."""
        every = self.intervals
        step = self.game.steps
        evaluate = self.monitor is not None and self.monitor.is_due(step, self.seconds, self.progress())
        if evaluate or step % every.log_steps == 0:
            self._log(run, on_progress, evaluate)
        if _due(every.sample_steps, every.sample_seconds, step, seconds_before, self.seconds):
            self._draw_samples(run)
        due = _due(every.checkpoint_steps, every.checkpoint_seconds, step, seconds_before, self.seconds)
        if due and not self._left_out:  # what led to numbers that are not finite is nothing to go back to
            with _or_without(run.checkpoints):
                self._save(run)

    def _play_or_leave_out(self) -> Report | None:
        """The next step; or none, where its numbers are not finite: another batch may do better."""
        try:
            report = self._play()
        except DivergenceError as error:
            self._left_out += 1
            if self._left_out >= MAX_LEFT_OUT:
                raise
            warnings.warn(SparringWarning(f"{error}. The update was left out"), stacklevel=2)
            self.game.steps += 1
            return None
        self._left_out = 0
        return report

    def _play(self) -> Report:
        first = self.game.steps * self.game.discriminator_steps
        steps = range(first, first + self.game.discriminator_steps)
        part = distributed.rank(), distributed.count()
        streams = [Stream(self.game.seed, "data", step).shared(*part) for step in steps]
        size = self.batch_size // distributed.count()
        real = [self.data.batch(size, stream).to(self._device) for stream in streams]
        if not self.config.class_shares:
            return self.game.step(real)
        labels = [self.data.labels(size, stream) for stream in streams]
        return self.game.step(real, [batch.to(self._device) for batch in labels if batch is not None])

    def _follow_schedules(self) -> None:
        share = self.progress()
        self.game.penalty_factor = self.penalty_final**share
        factor = self.schedule(share)
        for group, rate in zip(self._parameter_groups(), self._rates, strict=True):
            group["lr"] = rate * factor

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return self.game.generator_optimizer.param_groups + self.game.discriminator_optimizer.param_groups

    def progress(self) -> float:
        """The share of the training that is done, 0 to 1."""
        return self.limits.progress(self.game.steps, self.images, self.seconds)

    def end(self) -> str:
        """Why the training is over, or nothing."""
        if self.progress() >= 1:
            return "its limit was reached"
        return self.reached

    def _log(self, run: Run, on_progress: Callable[[Progress], None], evaluate: bool = False) -> None:
        if not self._pending:
            return
        count = len(self._pending)
        means = {name: sum(line[name] for line in self._pending) / count for name in self._pending[0]}
        counters = self.game.steps, self.images, round(self.seconds, 3), round(self.progress(), 4)
        line: LogLine = dict(zip(COUNTERS, counters, strict=True)) | means
        self._pending.clear()
        if isinstance(self.game.augment, Adaptive):
            line["augment"] = self.game.augment.probability
        if self._changes:
            line["changed"], self._changes = self._changes, {}
        if self.monitor and evaluate:
            line["evaluation"] = self.monitor.measure(self.generator())
        before = {alarm.name for alarm in self.alarms}
        if self._read(line):
            with _or_without(run.best):
                self.generator().save(run.best)
                run.write_best(line)
        if before != {alarm.name for alarm in self.alarms}:
            line["alarms"] = [asdict(alarm) for alarm in self.alarms]
            with _or_without(run.path / "summary.json"):
                self._write_summary(run, RUNNING)
        with _or_without(run.path / "log.jsonl"):
            run.append(line)
        on_progress(Progress(self.progress(), self.seconds, line, self.alarms))

    def _read(self, line: LogLine) -> bool:
        """Take in a line of the log: what a resumed training must know of the lines before it.

        Returns:
            Whether the generator was measured and is the best so far.
        """
        self.alarms = self._doctor.see(line)
        if self.plateau and self.plateau.reached(-line["discriminator_loss"]):
            self.reached = "the game's value reached a plateau"
        if self.goal and (reason := self.goal.reached(line)):
            self.reached = reason
        if self.monitor is None or "evaluation" not in line:
            return False
        return self.monitor.see(line["step"], line["seconds"], line["evaluation"])

    def _draw_samples(self, run: Run) -> None:
        rows = min(self.config.num_labels, COLUMNS)
        are_points = len(self.config.item_shape) == 1
        count = NUM_SAMPLES_POINTS if are_points else COLUMNS * (rows or COLUMNS)
        labels = [number * rows // count for number in range(count)] if rows else None
        items = self.generator().sample(count, self.game.seed, labels=labels)
        picture = pictures.samples(items, self.config.scale, COLUMNS)
        path = run.sample_path(self.game.steps)
        with _or_without(path.parent):
            path.parent.mkdir(exist_ok=True)
            pictures.save(picture, path)

    def _drop_samples(self, run: Run) -> None:
        """Those that an undisturbed training would not have: of steps that come again, and of where it stopped."""
        now, every = self.game.steps, self.intervals.sample_steps
        for step, path in run.sample_paths().items():
            if step > now or (step == now and every is not None and step % every):
                path.unlink()

    def _save(self, run: Run) -> None:
        state = self.game.state()
        state |= {f"average.{name}": value for name, value in self.average.module.state_dict().items()}
        pending = [list(line.values()) for line in self._pending]
        state["left_out"] = torch.tensor(self._left_out)
        state["log.pending"] = torch.tensor(pending, dtype=torch.float64).reshape(-1, len(NUMBERS))
        recipe = run.played | {name: before for name, (before, _) in self._changes.items()}  # not yet in the log
        checkpoint.save(run.checkpoints, state, self.game.steps, self.images, self.seconds, recipe)
        checkpoint.prune(run.checkpoints, self.intervals.keep_checkpoints, self.game.steps)
        self.generator().save(run.generator)

    def _write_summary(self, run: Run, outcome: Outcome) -> None:
        seconds = round(self.seconds, 3)
        summary = Summary(
            outcome.status, self.game.steps, self.images, seconds, outcome.reason, metrics={}, health=self.alarms
        )
        run.write_summary(summary)


def _due(every_steps: int | None, every_seconds: float, step: int, before: float, after: float) -> bool:
    """Whether it is time: at a multiple of the steps if given, else where the seconds pass a multiple."""
    if every_steps is not None:
        return step % every_steps == 0
    return int(before / every_seconds) != int(after / every_seconds)


@contextmanager
def _or_without(path: Path) -> Iterator[Path]:
    """Something that a training can do without, for now: where it cannot be written, a warning says so, once."""
    try:
        yield path
    except OSError as error:
        warnings.warn(
            SparringWarning(f"cannot write {path}: {error.strerror or error}; the training goes on without"),
            stacklevel=3,
        )

"""The training loop: draw a batch, play a step, average the weights, and call the listeners."""

import errno
import math
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sparring.data.clusters import Clusters
from sparring.distributed.collectives import maximum, rank, world_size
from sparring.errors import DivergenceError, ProcessError, SparringWarning, TrainingError, UsageError
from sparring.evaluation.health import Alarm, not_finite
from sparring.game.ema import Average
from sparring.game.game import Game, Report
from sparring.game.sources import Source
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.training.parts import Parts
from sparring.training.recipe import Recipe
from sparring.training.run_folder import REPORTED, Status
from sparring.training.stopping import catch_signals
from sparring.types import Labels, LogLine, Samples

MAX_LEFT_OUT = 3  # fail after this many updates in a row with numbers that are not finite

# The factor on the learning rates as a function of progress, 0 to 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "late": lambda share: min(1.0, 3.0 * (1.0 - share)),
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
}


@dataclass(frozen=True)
class Outcome:
    """How and why a training ended."""

    status: Status  # "finished" by a limit or a goal, "stopped" by a signal, or "failed"
    reason: str
    signal: int | None = None  # the number of the signal that stopped it

    @property
    def exit_code(self) -> int:
        """0, or 128 plus the signal's number; SIGUSR1, a cluster's warning, counts as 0."""
        return 0 if self.signal in (None, signal.SIGUSR1) else 128 + self.signal


@dataclass
class Training:
    """The state of a training: `play` changes it, and listeners read it."""

    recipe: Recipe
    game: Game
    dataset: Dataset  # with the labels for the networks
    data: Source  # of real samples as the networks see them
    average: Average  # of the generator's weights
    config: Config  # of the generator, for saving it
    folder: Path | None = None  # of the run
    parts: Parts = field(default_factory=Parts)  # the caller's own
    clusters: Clusters | None = None  # in place of labels
    images: int = 0  # real samples shown to the discriminator, over all processes
    seconds: float = 0.0  # training time, without evaluation and saving
    left_out: int = 0  # updates in a row with numbers that were not finite
    reached: str = ""  # the goal that was reached, in words
    pending: list[list[float]] = field(default_factory=list)  # numbers of the steps since the log's last line
    line: LogLine | None = None  # the log's line of the latest step, if it has one
    alarms: list[Alarm] = field(default_factory=list)  # active ones

    @property
    def progress(self) -> float:
        """The finished share of the training, 0 to 1."""
        return self.recipe.limits.progress(self.game.steps, self.images, self.seconds)

    def generator(self) -> Generator:
        """The averaged generator as it is now."""
        return Generator(self.average.module, self.config)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, and the pending numbers of the log."""
        average = self.average.module.state_dict(prefix="average.")
        pending = torch.tensor(self.pending, dtype=torch.float64).reshape(-1, len(REPORTED))
        return self.game.state() | average | {"left_out": torch.tensor(self.left_out), "log.pending": pending}

    def load_state(self, state: dict[str, Tensor], step: int, images: int, seconds: float) -> None:
        """Restore a state and its counters."""
        average = {name.removeprefix("average."): value for name, value in state.items() if name.startswith("average.")}
        self.game.load_state(state, step)
        self.average.module.load_state_dict(average)
        self.images, self.seconds = images, seconds
        self.left_out = int(state["left_out"])
        pending = state["log.pending"].tolist()
        self.pending = [row + [0.0] * (len(REPORTED) - len(row)) for row in pending]  # there were no restraints once

    def stop_reason(self) -> str:
        """Why the training is over, in words; empty if it is not."""
        return self.recipe.limits.stop_reason(self.game.steps, self.images, self.seconds) or self.reached


class Listener:
    """Follows a training: writes, measures, or shows it. Only the first of several processes has listeners."""

    def started(self, training: Training) -> None:
        """Called when the training begins or resumes."""

    def stepped(self, training: Training, report: Report | None) -> None:
        """Called after each step; the report is None if the update was left out. See also `training.line`."""

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Called when the training has finished, was stopped, or failed."""


def play(training: Training, listeners: Sequence[Listener] = ()) -> Outcome:
    """Train until a limit or a goal is reached, or a signal arrives."""
    for listener in listeners:
        if lacking := [name for name in ("started", "stepped", "ended") if not callable(getattr(listener, name, None))]:
            raise UsageError(f"{listener!r} is no listener, since it has no {lacking[0]}: inherit sparring.Listener")
    torch.set_flush_denormal(True)
    with catch_signals() as signals:  # errors too are handled in here: launchers send a signal after a process fails
        try:
            for listener in listeners:
                listener.started(training)
            while (outcome := _agree_to_stop(training, signals)) is None:
                report = play_step(training)
                for listener in listeners:
                    listener.stepped(training, report)
            for listener in listeners:
                listener.ended(training, outcome)
            return outcome
        except BaseException as error:
            if isinstance(error, DivergenceError):
                others = [alarm for alarm in training.alarms if alarm.name != "divergence"]
                training.alarms = [*others, not_finite(training.game.steps + 1, str(error))]
            advised = with_advice(error, training)
            for listener in listeners:
                with suppress(OSError):  # the disk may be what failed
                    listener.ended(training, Outcome("failed", str(advised) or type(advised).__name__))
            if advised is error:
                raise
            raise advised from error


def play_step(training: Training) -> Report | None:
    """Draw real samples, play a step of the game, and average the generator's weights; None for an update left out."""
    start = time.perf_counter()
    game, recipe = training.game, training.recipe
    _follow_schedules(training)
    real, labels = draw_real(training)
    try:
        report = game.step(real, labels)
        training.left_out = 0
        training.average.update(game.steps)
        training.pending.append([getattr(report, name) for name in REPORTED])
    except DivergenceError as error:
        training.left_out += 1
        if training.left_out >= MAX_LEFT_OUT:
            raise
        warnings.warn(SparringWarning(f"{error}. The update was left out"), stacklevel=2)
        game.steps += 1
        report = None
    training.images += recipe.images_per_step
    training.seconds += time.perf_counter() - start
    return report


def draw_real(training: Training) -> tuple[list[Samples], list[Labels] | None]:
    """This process's real samples of the coming step and their labels, for each update of the discriminator."""
    game, size = training.game, training.recipe.batch_size // world_size()
    first, part = game.steps * game.discriminator_steps, (rank(), world_size())
    streams = [Stream(game.seed, "data", first + turn).for_rank(*part) for turn in range(game.discriminator_steps)]
    device = next(game.generator.parameters()).device
    real = [training.data.batch(size, stream).to(device) for stream in streams]
    drawn = [training.data.labels(size, stream) for stream in streams] if training.config.label_size else []
    return real, [batch.to(device) for batch in drawn if batch is not None] or None


def _follow_schedules(training: Training) -> None:
    recipe, game, share = training.recipe, training.game, training.progress
    game.penalty_factor = recipe.penalty_final**share
    factor = SCHEDULES[recipe.schedule](share)
    rates = recipe.learning_rate, recipe.learning_rate * recipe.learning_rate_ratio
    for optimizer, rate in zip((game.generator_optimizer, game.discriminator_optimizer), rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def _agree_to_stop(training: Training, signals: list[int]) -> Outcome | None:
    """How to stop, or None: the same in all processes, even if only one of them caught a signal."""
    seconds = training.seconds if rank() == 0 else 0.0  # the first process tells the time
    number, training.seconds, reached = maximum([max(signals, default=0), seconds, bool(training.reached)])
    if number:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(int(number)).name
        return Outcome("stopped", f"stopped by {name}; everything is saved", int(number))
    training.reached = training.reached or ("the first process reached its goal" if reached else "")
    return Outcome("finished", reason) if (reason := training.stop_reason()) else None


def with_advice(error: BaseException, training: Training) -> BaseException:
    """The error, with advice if memory, the disk or another process failed."""
    folder, recipe = training.folder, training.recipe
    if folder is None:
        return error
    stays = f" The last checkpoint stays in {folder / 'checkpoints'}." if any(folder.glob("checkpoints/step-*")) else ""
    if isinstance(error, ProcessError):
        return ProcessError(f"{error}: go on with `sparring resume {folder}`.{stays}")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return TrainingError(
            f"memory does not suffice for step {training.game.steps + 1} of the network {recipe.network!r} with width "
            f"{recipe.width} and batches of {recipe.batch_size}: train with a smaller --batch-size, --width or --size, "
            f"or play each batch in parts by --accumulate {2 * recipe.accumulate}.{stays} ({error})"
        )
    if isinstance(error, OSError) and not folder.is_dir():
        return TrainingError(f"{folder} was deleted or moved during the training, which can no longer be saved")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space" + (", then go on with `sparring resume`" if stays else "")
        return TrainingError(f"cannot write into {folder}: {error.strerror}: {advice}.{stays}")
    return error

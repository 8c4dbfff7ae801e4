"""The listener that writes a run's log, pictures, checkpoints, generators and summary."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from sparring.errors import SparringWarning
from sparring.game.game import Report
from sparring.training import checkpoint
from sparring.training.loop import Listener, Outcome, Training
from sparring.training.plots import curves, save
from sparring.training.recipe import Change
from sparring.training.run_folder import CLUSTERS, Run, Summary
from sparring.types import Labels

COLUMNS = 10  # of a picture of samples, and the most classes in it
MOST_PICTURES, PICTURES_BYTES = 300, 40_000_000
"""Pictures that are kept: so many, and so many bytes if each has the newest one's size; larger ones make it 50 MB."""


class Recorder(Listener):
    """Writes a run's folder."""

    def __init__(self, run: Run, changes: Mapping[str, Change] | None = None) -> None:
        self.run = run
        self.best = run.best_distance()
        self._old_values = {name: before for name, (before, _) in (changes or {}).items()}  # not in the log yet
        self._seconds = 0.0

    def started(self, training: Training) -> None:
        """Write the summary, delete pictures that will be drawn again, and save a new training."""
        if training.clusters is not None and not (self.run.path / CLUSTERS).exists():
            training.clusters.write(self.run.path / CLUSTERS)
        self._seconds = training.seconds
        self._write_summary(training, Outcome("running", "it has not ended"))
        now, every = training.game.steps, training.recipe.sample_steps
        for step, path in self.run.sample_paths().items():
            if step > now or (step == now and every is not None and step % every):  # drawn because it was stopped
                path.unlink()
        if now == 0:
            self._draw_samples(training)
            self._save(training)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Write the line of the log, and a picture and a checkpoint if they are due."""
        recipe, step, before, now = training.recipe, training.game.steps, self._seconds, training.seconds
        self._seconds = now
        self._write_line(training)
        if _is_due(recipe.sample_steps, recipe.sample_seconds, step, before, now):
            self._draw_samples(training)
        due = _is_due(recipe.checkpoint_steps, recipe.checkpoint_seconds, step, before, now)
        if due and not training.left_out:  # after an update was left out, the state may be no good to go back to
            with _warn_if_unwritable(self.run.checkpoints):
                self._save(training)
                self._write_summary(training, Outcome("running", "it has not ended"))

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Save everything, or only the summary of a failed training."""
        if outcome.status != "failed":
            self._write_line(training)
            self._save(training)
            self._draw_samples(training)
            if log := self.run.log():
                with _warn_if_unwritable(self.run.path / "curves.png") as path:
                    save(curves(log), path)
        self._write_summary(training, outcome)

    def _write_line(self, training: Training) -> None:
        if (line := training.line) is None:
            return
        self.run.path.stat()  # fails if it was deleted: saving the best generator would make it again
        distance = line.get("evaluation", {}).get("distance", math.inf)
        if distance < self.best:
            self.best = distance
            with _warn_if_unwritable(self.run.best):
                self._save_generator(training, self.run.best)
                self.run.write_best(line)
        if "changed" in line:
            self._old_values = {}
        if "alarms" in line:
            with _warn_if_unwritable(self.run.path / "summary.json"):
                self._write_summary(training, Outcome("running", "it has not ended"))
        with _warn_if_unwritable(self.run.path / "log.jsonl"):
            self.run.append(line)

    def _draw_samples(self, training: Training) -> None:
        generator, (inputs, own) = training.generator(), draw_inputs(training)
        items, modality, source = generator.generate(inputs, own), generator.modality, generator.config.source
        given = None if source is None else source.decode(inputs * source.scale)
        picture = modality.picture(items, COLUMNS) if given is None else modality.picture_rows(COLUMNS, given, items)
        path = self.run.sample_path(training.game.steps)
        with _warn_if_unwritable(path.parent):
            path.parent.mkdir(exist_ok=True)
            save(picture, path)
            most = min(MOST_PICTURES, PICTURES_BYTES // path.stat().st_size)
            _thin_out(self.run.sample_paths(), max(1, most), training.recipe.sample_steps or 1)

    def _save(self, training: Training) -> None:
        step, folder = training.game.steps, self.run.checkpoints
        recipe = asdict(training.recipe) | self._old_values  # a resume before the next line logs the changes too
        checkpoint.save(folder, training.state(), step, training.images, training.seconds, recipe)
        checkpoint.prune(folder, training.recipe.keep_checkpoints, step)
        self._save_generator(training, self.run.generator)

    def _save_generator(self, training: Training, folder: Path) -> None:
        training.generator().save(folder)
        (folder / "card.json").unlink(missing_ok=True)  # of the generator before

    def _write_summary(self, training: Training, outcome: Outcome) -> None:
        counters = training.game.steps, training.images, round(training.seconds, 3)
        self.run.write_summary(Summary(outcome.status, *counters, outcome.reason, {}, training.alarms))


def draw_inputs(training: Training) -> tuple[Tensor, Labels | None]:
    """What the generator is fed for the samples that are shown, always the same: a row of each class, if there are any.

    They are latents, or items to translate, and their labels.
    """
    generator, classes = training.generator(), [*training.config.known_labels][:COLUMNS]
    count = generator.modality.num_pictured(len(classes))
    labels = [classes[number * len(classes) // count] for number in range(count)] if classes else None
    return generator.inputs(count, training.game.seed, training.dataset, labels)


def _thin_out(paths: Mapping[int, Path], most: int, interval: int) -> None:
    """Delete all pictures but the newest and the first in each interval, doubled until at most so many are begun.

    Which ones stay is a function of the steps alone, so a resumed run has the same ones.
    """
    newest = max(paths)
    while newest // interval >= most:
        interval *= 2
    firsts = {step // interval: step for step in sorted(paths, reverse=True)}
    for step in paths.keys() - {*firsts.values(), newest}:
        paths[step].unlink()


def _is_due(every_steps: int | None, every_seconds: float, step: int, before: float, now: float) -> bool:
    """Whether the steps, if given, are at a multiple, or else the seconds have passed one."""
    if every_steps is not None:
        return step % every_steps == 0
    return int(before / every_seconds) != int(now / every_seconds)


@contextmanager
def _warn_if_unwritable(path: Path) -> Iterator[Path]:
    """Turn an OSError into a warning, for files in a run's folder that a training can do without."""
    try:
        yield path
    except OSError as error:
        if not path.parent.is_dir():  # the run's folder itself is gone
            raise
        message = f"cannot write {path}: {error.strerror or error}; the training goes on without"
        warnings.warn(SparringWarning(message), stacklevel=3)

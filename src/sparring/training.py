"""`train` and `resume`: from a recipe to a run, in one call."""

import os
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sparring import checkpoint, distributed
from sparring.build import build, resolve
from sparring.checkpoint import Manifest, State
from sparring.data import Dataset, Indexable, keep
from sparring.data import OnProgress as OnWork
from sparring.errors import DivergenceError, SparringWarning, UsageError
from sparring.files import read_json
from sparring.generator import Config
from sparring.recipes import Change, Recipe, changed, recipe_for
from sparring.run import Run, create, open_run
from sparring.trainer import Outcome, Progress, Trainer

MAX_ROLLBACKS = 3


@dataclass(frozen=True)
class Audience:
    """Who is told what, while a training is prepared and played.

    Args:
        on_work: what is being done before it begins, and the share of it that is done.
        on_ready: the recipe with everything filled in, and the data, just before it begins.
        on_progress: each line of the log.
    """

    on_work: OnWork = lambda what, share: None
    on_ready: Callable[[Recipe, Dataset], None] = lambda recipe, dataset: None
    on_progress: Callable[[Progress], None] = lambda progress: None


NOBODY = Audience()


def train(
    data: str | Path | Indexable = "digits",
    *,
    labels: Indexable | None = None,
    recipe: str | None = None,
    out: str | Path | None = None,
    **settings: object,
) -> Run:
    """Train a GAN.

    Args:
        data: a name in `SOURCES`, or a path; or an array of images or points [n, ...]; or anything with a length and
            items by number, which are images, pairs (image, label), or mappings with an "image" and perhaps a "label".
            What is in memory is copied into a file of the cache, so that the run can be resumed.
        labels: of an array, whole numbers, one to each item.
        recipe: a name in `RECIPES`; None for the one that suits the data.
        out: the run's folder; the first free `runs/NAME-N` if None.
        settings: fields of `Recipe`, such as `objective="wasserstein"` or `steps=1000`.

    Returns:
        The run; its `path` is what `sparring.load` takes. After SIGUSR1, by which clusters warn of their end, its
        `summary().status` is "stopped", and `sparring.resume` goes on with it.

    Raises:
        UsageError: where something that is asked for cannot be done; no folder is made then.
        DataError: where the data cannot be used; likewise.
        DivergenceError: if losses or gradients are no longer finite, even with an eighth of the learning rate.
        KeyboardInterrupt: on Ctrl-C, after the step is finished and everything saved.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> sparring.load(run.path).sample(3).shape
        (3, 2)
    """
    if not isinstance(data, str | Path):
        data = keep(data, labels)
    elif labels is not None:
        raise UsageError("labels go with an array: files bring their own, by sub-folders or in a column or an array")
    return _unless_stopped(*play(recipe_for(str(data), recipe, **settings), None if out is None else Path(out)))


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    exact: bool = False,
) -> Run:
    """Go on with a run that was stopped, to where its recipe ends or further.

    Args:
        path: the run's folder.
        steps: the iteration at which to stop, in place of the recipe's limits; likewise the next two.
        images: the number of real samples.
        minutes: the training time, counted from the run's beginning.
        exact: refuse to go on with another number of processes, which sums in another order.

    Raises:
        UsageError: if there is no such run, or nothing left to do.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> sparring.resume(run.path, steps=8).summary().steps
        8
    """
    return _unless_stopped(*play_on(Path(path), steps, images, minutes, exact=exact))


def play(recipe: Recipe, out: Path | None, audience: Audience = NOBODY) -> tuple[Run, Outcome]:
    """Train by a recipe, and tell how it ended as well."""
    with distributed.joined():
        recipe, dataset = _resolved(recipe, audience.on_work)
        is_restarted = distributed.is_restarted()
        again, ended = distributed.by_the_first(lambda: _restarted(out, recipe, is_restarted))
        if again and ended:
            return again, ended
        if again:
            return play_on(again.path, None, None, None, audience)
        audience.on_ready(recipe, dataset)
        trainer = build(recipe, dataset)
        run = distributed.by_the_first(lambda: _begun(out, recipe))
        try:
            return run, _train(run, recipe, dataset, trainer, audience.on_progress)
        finally:
            run.unlock()


def _restarted(out: Path | None, recipe: Recipe, is_restarted: bool) -> tuple[Run | None, Outcome | None]:
    """The run that `torchrun` starts again, if it does; and how it ended, if only a process failed after that."""
    if out is None and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        raise UsageError("torchrun --max-restarts must find the run again: give --out")
    if out is None or not is_restarted or not (out / "recipe.json").exists() or not Run(out).is_of_this_launch(recipe):
        return None, None
    if forgotten(Run(out)):
        return None, None
    summary = Run(out).summary()
    return Run(out), Outcome("finished", summary.reason) if summary.status == "finished" else None


def forgotten(run: Run) -> bool:
    """Remove a run that was killed before its first checkpoint: there is nothing to go on from.

    A generator comes after it: where there is one, somebody took the checkpoints away.
    """
    if checkpoint.saved(run.checkpoints) or run.generator.exists():
        return False
    shutil.rmtree(run.path.resolve(), ignore_errors=True)
    return True


def _resolved(recipe: Recipe, on_work: OnWork) -> tuple[Recipe, Dataset]:
    """By the first process first, so that what is wrong is said once, and what it chooses holds for all."""
    opened: list[Dataset] = []

    def first() -> Recipe:
        resolved, dataset = resolve(recipe, on_work)
        opened.append(dataset)
        return resolved

    resolved = distributed.by_the_first(first, preparing=True)
    dataset = opened[0] if opened else resolve(resolved)[1]
    distributed.meet_prepared()  # of several machines, each packs the data for itself
    return resolved, dataset


def _begun(out: Path | None, recipe: Recipe) -> Run:
    run = create(out, Path(recipe.data).stem)
    run.write_recipe(recipe)
    return run


def play_on(
    path: Path,
    steps: int | None,
    images: int | None,
    minutes: float | None,
    audience: Audience = NOBODY,
    *,
    exact: bool = False,
) -> tuple[Run, Outcome]:
    """Resume a run, and tell how it ended as well."""
    with distributed.joined():
        run, recipe = distributed.by_the_first(lambda: _opened(path))
        try:
            further = (steps, images, minutes) != (None, None, None)
            if further:
                recipe = replace(recipe, steps=steps, images=images, minutes=minutes)
            resolved, dataset = _resolved(recipe, audience.on_work)
            trainer = build(resolved, dataset)
            manifest, state, changes = distributed.by_the_first(lambda: _last_state(run, trainer, exact))
            trainer.resume(_where_first(run), manifest, state, changes)
            if further and trainer.reached:  # what ended it lies behind, and who goes on wants to
                trainer.goal, trainer.plateau, trainer.reached = None, None, ""
                resolved = replace(resolved, until=None, plateau_lines=None)
            distributed.by_the_first(lambda: _begin_again(run, trainer, resolved))
            return run, _train(run, resolved, dataset, trainer, audience.on_progress)
        finally:
            run.unlock()


def _opened(path: Path) -> tuple[Run, Recipe]:
    run = open_run(path)
    recipe = run.recipe()
    run.lock()
    return run, recipe


def _last_state(run: Run, trainer: Trainer, exact: bool) -> tuple[Manifest, State, dict[str, Change]]:
    """What to go on from, and what was changed in the recipe since."""
    before, now = run.processes(), distributed.count()
    if before != now:
        rounding = f"the run was played by {before} processes and is now by {now}, so that sums are rounded otherwise"
        if exact:
            raise UsageError(f"{rounding}: leave --exact away, or give --processes {before}")
        warnings.warn(SparringWarning(rounding), stacklevel=2)
    run.clear_leftovers()
    manifest, state = checkpoint.load_latest(run.checkpoints)
    _check_data(run, trainer)
    changes = changed(manifest.recipe, run.recipe())
    if changes:
        listed = ", ".join(f"{name} {before} → {now}" for name, (before, now) in changes.items())
        warnings.warn(SparringWarning(f"the recipe was changed after step {manifest.step}: {listed}"), stacklevel=2)
    return manifest, state, changes


def _begin_again(run: Run, trainer: Trainer, recipe: Recipe) -> None:
    if (reason := trainer.end()) and run.summary().status == "finished":  # else it was killed while it ended
        raise UsageError(
            f"{run.path} is finished at step {trainer.game.steps}, since {reason}: to go further, give --steps, "
            "--images or --minutes"
        )
    run.write_recipe(recipe)
    (run.path / "card.json").unlink(missing_ok=True)  # it was of another generator


def _where_first(run: Run) -> Run | None:
    """The run in the process that writes; nothing in the others."""
    return run if distributed.rank() == 0 else None


def _check_data(run: Run, trainer: Trainer) -> None:
    """Refuse to go on with images of another shape, other classes, or other clusters: their numbers mean something."""
    path = run.generator / "config.json"
    if not path.exists():
        return
    before, now = read_json(path, Config), trainer.config
    alike = (before.item_shape, len(before.class_shares)) == (now.item_shape, len(now.class_shares))
    renamed = bool(before.class_names) and before.class_names != now.class_names
    if not alike or renamed or (now.classes_are_clusters and before != now):
        raise UsageError(
            f"the images of {run.recipe().data} are not those that the run began with, nor are their classes: bring "
            "them back, or start a new run"
        )


def _train(
    run: Run, recipe: Recipe, dataset: Dataset, trainer: Trainer, on_progress: Callable[[Progress], None]
) -> Outcome:
    """Train; where it diverges, again from the last checkpoint with half of the learning rate, at most three times."""
    for _ in range(MAX_ROLLBACKS):
        try:
            return trainer.train(_where_first(run), on_progress)
        except DivergenceError as error:
            # The newest may be too near.
            manifest, state = distributed.by_the_first(lambda: checkpoint.load_oldest(run.checkpoints))
            rate = recipe.learning_rate / 2
            warnings.warn(
                SparringWarning(f"{error}. Gone back to step {manifest.step}, with the learning rate {rate:g}"),
                stacklevel=2,
            )
            slower = replace(recipe, learning_rate=rate)
            changes = changed(manifest.recipe, slower)
            if distributed.rank() == 0:
                run.write_recipe(slower)
            recipe, trainer = slower, build(slower, dataset)
            trainer.resume(_where_first(run), manifest, state, changes)
    return trainer.train(_where_first(run), on_progress)


def _unless_stopped(run: Run, outcome: Outcome) -> Run:
    """The run; a signal that stopped it is passed on, now that everything is saved.

    But not SIGUSR1 where nobody else waits for it: it would end the process.
    """
    unheard = outcome.signal == signal.SIGUSR1 and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    if outcome.signal is not None and not unheard:
        signal.raise_signal(outcome.signal)
    return run

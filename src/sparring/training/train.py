"""Train and resume: a run begins with a request or a checkpoint, and goes on the same way."""

import os
import shutil
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from sparring.data.memory import Indexable
from sparring.distributed.collectives import barrier, is_restarted, on_rank_zero, process_group, rank, world_size
from sparring.errors import DivergenceError, SparringWarning, UsageError
from sparring.files import clear_leftovers, read_json
from sparring.generator.config import Config
from sparring.modalities import keep
from sparring.modalities.modality import Dataset
from sparring.training.build import build
from sparring.training.checkpoint import Checkpoint, list_checkpoints, load_first, load_latest
from sparring.training.loop import Listener, Outcome, Training, play
from sparring.training.meter import Meter
from sparring.training.recipe import Change, Recipe, Request, changes_since, make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import check_batch_size, open_data, resolve
from sparring.training.run_folder import Run, create_run, name_of_launch, open_run
from sparring.training.stopping import Limits
from sparring.types import OnProgress

MAX_ROLLBACKS = 3


def train(
    data: str | Path | Indexable = "digits",
    *,
    labels: Indexable | None = None,
    recipe: str | None = None,
    out: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    **settings: object,
) -> Run:
    """Train a GAN.

    Args:
        data: a name in `SOURCES`, or a path; or an array of images or points [n, ...]; or anything with a length and
            items by number: images, pairs (image, label), or mappings with an "image" and perhaps a "label". Data in
            memory are copied into a file of the cache, so that the run can be resumed.
        labels: the labels of an array, a whole number for each item.
        recipe: a name in `RECIPES`; None for the one that suits the data.
        out: the run's folder; None for the first free `runs/NAME-N`.
        listeners: called after each step.
        settings: fields of `Recipe`, such as `objective="wasserstein"` or `steps=1000`.

    Returns:
        The run; `sparring.load` takes its `path`. After SIGUSR1, which clusters send before a job's time ends, its
        `summary().status` is "stopped", and `sparring.resume` goes on with it.

    Raises:
        UsageError: if the settings cannot be used; no folder is made then.
        DataError: if the data cannot be used; no folder is made then.
        DivergenceError: if losses or gradients are no longer finite, even with an eighth of the learning rate.
        KeyboardInterrupt: on Ctrl-C, after the step is finished and everything is saved.

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
    request = make_request(str(data), recipe, **settings)
    return _raise_signal(*start(request, None if out is None else Path(out), listeners=listeners))


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    exact: bool = False,
    listeners: Sequence[Listener] = (),
) -> Run:
    """Resume a run, to the end of its recipe or further.

    Args:
        path: the run's folder.
        steps: the iteration at which to stop; each of these three replaces all limits of the recipe.
        images: the number of real samples at which to stop.
        minutes: the training time at which to stop, counted from the run's beginning.
        exact: refuse another number of processes, which rounds sums differently.
        listeners: called after each step.

    Raises:
        UsageError: if there is no such run, or nothing left to do.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> sparring.resume(run.path, steps=8).summary().steps
        8
    """
    return _raise_signal(*go_on(Path(path), Limits(steps, images, minutes), exact=exact, listeners=listeners))


def start(
    request: Request,
    out: Path | None = None,
    *,
    listeners: Sequence[Listener] = (),
    on_progress: OnProgress = lambda what, share: None,
) -> tuple[Run, Outcome]:
    """Begin a run in a folder, or in the first free `runs/NAME-N`, and train it to its end."""

    def create() -> Run:
        run = create_run(out, Path(recipe.data).stem)
        run.write_recipe(recipe)
        return run

    with process_group():
        again = is_restarted()
        if on_rank_zero(lambda: _is_restarted_run(out, request, again)):
            assert out is not None
            run = Run(out)
            if (summary := on_rank_zero(run.summary)).status == "finished":
                return run, Outcome("finished", summary.reason)
            return go_on(out, listeners=listeners, on_progress=on_progress)
        recipe, dataset = _open_everywhere(lambda: resolve(request, on_progress))
        training = build(recipe, dataset)
        run = on_rank_zero(create)
        training.folder = run.path
        try:
            return run, _play(run, training, [Meter(training), Recorder(run)] if rank() == 0 else [], listeners)
        finally:
            run.unlock()


def go_on(
    path: Path,
    limits: Limits = Limits(),
    *,
    exact: bool = False,
    listeners: Sequence[Listener] = (),
    on_progress: OnProgress = lambda what, share: None,
) -> tuple[Run, Outcome]:
    """Resume a run from its newest checkpoint, and train it to the limits, or to those of its recipe."""

    def open_first() -> tuple[Recipe, Dataset]:
        recipe = run.recipe() if limits == Limits() else replace(run.recipe(), **asdict(limits))
        return recipe, open_data(recipe, on_progress)

    with process_group():
        run = on_rank_zero(lambda: open_run(path).lock())
        try:
            recipe, dataset = _open_everywhere(open_first)
            check_batch_size(recipe, dataset)
            training = build(recipe, dataset, run.path)
            checkpoint, changes = on_rank_zero(lambda: _load_checkpoint(run, training, exact))
            own = _restore(run, training, checkpoint, changes)
            if training.reached and limits != Limits():  # the user asks to go on after the goal
                training.reached, training.recipe = "", replace(recipe, until=None)
            on_rank_zero(lambda: _begin_again(run, training))
            return run, _play(run, training, own, listeners)
        finally:
            run.unlock()


def _open_everywhere(open_first: Callable[[], tuple[Recipe, Dataset]]) -> tuple[Recipe, Dataset]:
    """Open the data in the first process, then in the others: errors come once, and its choices hold for all."""
    opened: list[Dataset] = []

    def remember() -> Recipe:
        recipe, dataset = open_first()
        opened.append(dataset)
        return recipe

    recipe = on_rank_zero(remember, may_take_hours=True)
    dataset = opened[0] if opened else open_data(recipe)
    barrier()  # each of several machines packs the data for itself
    return recipe, dataset


def _is_restarted_run(out: Path | None, request: Request, again: bool) -> bool:
    """Whether `torchrun` started this run before, and it can be resumed."""
    if out is None and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        raise UsageError("torchrun --max-restarts must find the run again: give --out")
    if out is None or not again or not (out / "recipe.json").exists():
        return False
    file, launch = Run(out).recipe_file(), name_of_launch()
    is_ours = launch not in ("", "none") or request.agrees_with(file.recipe)  # without a rendezvous, launches are alike
    return file.launch == launch and is_ours and not delete_if_never_saved(Run(out))


def delete_if_never_saved(run: Run) -> bool:
    """Delete a run that was killed before its first checkpoint, and return whether it is gone.

    A run with a generator but no checkpoint stays: somebody moved its checkpoints.
    """
    if list_checkpoints(run.checkpoints) or run.generator.exists():
        return False
    shutil.rmtree(run.path.resolve(), ignore_errors=True)
    return True


def _load_checkpoint(run: Run, training: Training, exact: bool) -> tuple[Checkpoint, dict[str, Change]]:
    """The newest checkpoint, and the changes to the recipe since then."""
    processes = run.recipe_file().processes
    if processes != world_size():
        rounding = f"{processes} processes began this run and {world_size()} go on, so sums are rounded differently"
        if exact:
            raise UsageError(f"{rounding}: leave --exact away, or give --processes {processes}")
        warnings.warn(SparringWarning(rounding), stacklevel=2)
    clear_leftovers(run.path, names_in_use=("card.json", "report.html"))
    manifest, state = load_latest(run.checkpoints)
    config, now = run.generator / "config.json", training.config
    was = read_json(config, Config) if config.exists() else now
    same = (was.modality.item_shape, len(was.class_shares)) == (now.modality.item_shape, len(now.class_shares))
    renamed = bool(was.class_names) and was.class_names != now.class_names
    if not same or renamed or (now.classes_are_clusters and was != now):  # networks know classes by their numbers
        raise UsageError(
            f"the {now.modality.name} of {training.recipe.data} or their classes are not those that the run began "
            "with: restore them, or start a new run"
        )
    changes = changes_since(manifest.recipe, run.recipe())
    if changes:
        listed = ", ".join(f"{name} {before} → {now}" for name, (before, now) in changes.items())
        warnings.warn(SparringWarning(f"the recipe was changed after step {manifest.step}: {listed}"), stacklevel=2)
        state["left_out"].zero_()
    run.cut_log(manifest.step)
    return (manifest, state), changes


def _begin_again(run: Run, training: Training) -> None:
    if (reason := training.stop_reason()) and run.summary().status == "finished":  # else it was killed at its end
        raise UsageError(
            f"{run.path} is finished at step {training.game.steps}, since {reason}: to go further, give --steps, "
            "--images or --minutes"
        )
    run.write_recipe(training.recipe)
    (run.path / "card.json").unlink(missing_ok=True)  # of the generator before


def _restore(run: Run, training: Training, checkpoint: Checkpoint, changes: dict[str, Change]) -> list[Listener]:
    """Restore a checkpoint into a new training, and make the listeners of the first process."""
    manifest, state = checkpoint
    own = [Meter(training, run.log(), changes), Recorder(run, changes)] if rank() == 0 else []
    training.load_state(state, manifest.step, manifest.images, manifest.seconds)
    return own


def _play(run: Run, training: Training, own: Sequence[Listener], others: Sequence[Listener]) -> Outcome:
    """Train; after a divergence go back to a checkpoint and halve the learning rate, at most three times."""
    rollbacks = 0
    while True:
        try:
            return play(training, [*own, *others] if rank() == 0 else [])
        except DivergenceError as error:
            rollbacks += 1
            if rollbacks > MAX_ROLLBACKS:
                raise
            # The oldest one: the newest may already lead to the divergence.
            manifest, state = on_rank_zero(
                lambda: load_first(run.checkpoints, list_checkpoints(run.checkpoints).values())
            )
            slower = replace(training.recipe, learning_rate=training.recipe.learning_rate / 2)
            rate = f"with the learning rate {slower.learning_rate:g}"
            warnings.warn(SparringWarning(f"{error}. Gone back to step {manifest.step}, {rate}"), stacklevel=2)
            training = build(slower, training.dataset, run.path)
            state["left_out"].zero_()
            if rank() == 0:
                run.write_recipe(slower)
                run.cut_log(manifest.step)
            own = _restore(run, training, (manifest, state), changes_since(manifest.recipe, slower))


def _raise_signal(run: Run, outcome: Outcome) -> Run:
    """Raise the signal that stopped a run again, now that everything is saved; else return the run."""
    # Without another handler, SIGUSR1 would end the process.
    has_no_handler = outcome.signal == signal.SIGUSR1 and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    if outcome.signal is not None and not has_no_handler:
        signal.raise_signal(outcome.signal)
    return run

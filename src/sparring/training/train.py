"""Train and resume: a run begins with a request or a checkpoint, and goes on the same way."""

import os
import shutil
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import torch
from rich.console import Console
from torch import nn

from sparring.data.memory import Indexable
from sparring.distributed.collectives import barrier, is_restarted, on_rank_zero, process_group, rank, world_size
from sparring.errors import DataError, DivergenceError, SparringWarning, UsageError
from sparring.files import clear_leftovers, read_json
from sparring.generator.config import Config
from sparring.modalities import keep
from sparring.modalities.modality import Dataset
from sparring.training.build import build
from sparring.training.checkpoint import Checkpoint, list_checkpoints, load_first, load_latest
from sparring.training.frames import Frames
from sparring.training.loop import Listener, Outcome, Training, play
from sparring.training.meter import Meter
from sparring.training.parts import Parts, take_parts
from sparring.training.progress import Terminal
from sparring.training.recipe import LIMITS, Change, Recipe, Request, changes_since, check_settings, make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import check_batch_size, open_data, resolve
from sparring.training.run_folder import Run, create_run, delete_if_never_saved, name_of_launch, open_run
from sparring.training.settings import Changes, Settings
from sparring.training.start_from import open_start
from sparring.training.torch_defaults import torch_defaults
from sparring.types import OnProgress

MAX_ROLLBACKS = 3


def train(
    data: str | PathLike[str] | Indexable = "digits",
    *,
    labels: Indexable | Mapping[str, Indexable] | None = None,
    recipe: str | None = None,
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    out: str | PathLike[str] | None = None,
    listeners: Sequence[Listener] = (),
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Run:
    """Train a GAN.

    Args:
        data: a name in `SOURCES`, or a path; or an array of images or points [n, ...]; or anything with a length and
            items by number: images, pairs (image, label), or mappings with an "image" and perhaps a "label". Data in
            memory are copied into a file of the cache, so that the run can be resumed.
        labels: of data in memory, one for each item, as `sparring.data.labels.check_labels` takes them: the class, or
            a mapping from the names of attributes to values. For a path, the setting of `Recipe`: "FILE:COLUMN,...".
        recipe: a name in `RECIPES`; None for the one that suits the data.
        generator: a network of your own, as `Game` takes it, and a discriminator with it; copies of both are trained.
            Its latents are [batch, latent_dim], its samples have the shape of the data, or the one to resize images
            to; with `conditional=True` both networks get labels as their second argument.
        discriminator: from samples to one logit each, without a sigmoid.
        out: the run's folder; None for the first free `runs/NAME-N`.
        listeners: called after each step.
        progress: show what is trained and how it goes: on the standard error, or in the notebook.
        settings: fields of `Recipe`, such as `objective="wasserstein"` or `steps=1000`; an `Objective` and a `Penalty`
            of your own stand for their names.

    Returns:
        The run, which `sparring.load` and `sparring.evaluate` take. After SIGUSR1, which clusters send before a job's
        time ends, and after an interrupt in a notebook, its `summary().status` is "stopped", and `sparring.resume` goes
        on with it.

    Raises:
        UsageError: if the settings cannot be used; no folder is made then.
        DataError: if the data cannot be used; no folder is made then.
        DivergenceError: if losses or gradients are no longer finite, even with an eighth of the learning rate.
        KeyboardInterrupt: on Ctrl-C, after the step is finished and everything is saved; it names the run.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> sparring.load(run).sample(3).shape
        (3, 2)
    """
    named, parts = take_parts(settings, generator, discriminator)
    if not isinstance(source := settings.get("source"), str | PathLike | None):
        named["source"] = keep(source, None, settings.get("sample_rate_hz"))
    if not isinstance(data, str | PathLike):
        data = keep(data, labels, settings.get("sample_rate_hz"))
    elif isinstance(labels, str):
        named["labels"] = labels
    elif labels is not None:
        raise UsageError('labels go with an array: for files give the text labels="FILE:COLUMN" or labels="COLUMN"')
    request = make_request(os.fspath(data), recipe, parts, **named)
    with Terminal(stderr=True, quiet=not progress) as show:
        folder = None if out is None else Path(out)
        ended = start(request, folder, listeners=[show, *listeners], on_progress=show.on_progress)
    return _raise_signal(*ended)


def resume(
    path: str | PathLike[str],
    *,
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    data: str | PathLike[str] | None = None,
    exact: bool = False,
    listeners: Sequence[Listener] = (),
    progress: bool = True,
    **settings: Unpack[Changes],
) -> Run:
    """Resume a run, to the end of its recipe or further.

    Args:
        path: the run, or its folder.
        generator: the module that `train` got, if it got one: a copy gets the weights of the checkpoint.
        discriminator: likewise.
        data: other data, with items of the same shape and the same classes; None for the run's own.
        exact: refuse another number of processes or threads, which rounds sums differently.
        listeners: called after each step.
        progress: show how it goes, as in `train`.
        settings: fields of `Recipe` to change. `steps`, `images` or `minutes`, each counted from the run's beginning,
            replaces all limits. An `Objective` or a `Penalty` of your own must be given again.

    Raises:
        UsageError: if there is no such run, nothing left to do, or a setting that cannot change.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> sparring.resume(run, steps=8).summary().steps
        8
    """
    named, parts = take_parts(settings, generator, discriminator)
    given = {name: value for name, value in named.items() if generator is None or name not in ("network", "latent_dim")}
    with Terminal(stderr=True, quiet=not progress) as show:
        own, on_progress = [show, *listeners], show.on_progress
        ended = go_on(Path(path), given | {"data": data}, parts, exact=exact, listeners=own, on_progress=on_progress)
    return _raise_signal(*ended)


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
        try:
            run.write_recipe(recipe)
        except BaseException:
            shutil.rmtree(run.path)
            raise
        return run

    with process_group(), torch_defaults():
        again = is_restarted()
        if on_rank_zero(lambda: _is_restarted_run(out, request, again)):
            assert out is not None
            run = Run(out)
            if (summary := on_rank_zero(run.summary)).status == "finished":
                return run, Outcome("finished", summary.reason)
            return go_on(out, parts=request.parts, listeners=listeners, on_progress=on_progress)
        parts = request.parts or Parts()
        recipe, dataset = _open_everywhere(lambda: resolve(request, on_progress))
        start_from = on_rank_zero(lambda: open_start(recipe.start_from, parts) if recipe.start_from else None)
        training = build(recipe, dataset, start=start_from, parts=parts, is_new=True, on_progress=on_progress)
        meters = [Meter(training)] if rank() == 0 else []  # whatever can fail does so before there is a folder
        run = on_rank_zero(create)
        training.folder = run.path
        try:
            return run, _play(run, training, [*meters, Recorder(run), Frames(run)] if rank() == 0 else [], listeners)
        except BaseException:
            if rank() == 0 and training.game.steps == 0:
                delete_if_never_saved(run)
            raise
        finally:
            run.unlock()


def go_on(
    path: Path,
    settings: Mapping[str, Any] = {},
    parts: Parts | None = None,
    *,
    exact: bool = False,
    listeners: Sequence[Listener] = (),
    on_progress: OnProgress = lambda what, share: None,
) -> tuple[Run, Outcome]:
    """Resume a run from its newest checkpoint, and train it to the given limits, or to those of its recipe."""
    data = settings.get("data")
    given = check_settings({name: value for name, value in settings.items() if value is not None and name != "data"})
    is_limited = any(limit in given for limit in LIMITS)

    def open_first() -> tuple[Recipe, Dataset]:
        recipe = replace(run.recipe(), **given)
        (parts or Parts()).check(asdict(recipe))
        recipe = recipe if data is None else replace(recipe, data=make_request(os.fspath(data)).data)
        try:
            return recipe, open_data(recipe, on_progress)
        except DataError as error:
            if not Path(recipe.data).is_absolute() or Path(recipe.data).exists():
                raise
            raise DataError(str(error).replace("resume RUN", f"resume {path}")) from error

    with process_group(), torch_defaults():
        run = on_rank_zero(lambda: open_run(path).lock())
        try:
            recipe, dataset = _open_everywhere(open_first)
            check_batch_size(recipe, dataset)
            training = build(recipe, dataset, run.path, parts=parts or Parts(), on_progress=on_progress)
            checkpoint, changes = on_rank_zero(lambda: _load_checkpoint(run, training, exact))
            own = _restore(run, training, checkpoint, changes)
            if training.reached and is_limited:  # the user asks to go on after the goal
                training.reached, training.recipe = "", replace(recipe, until=None)
            on_rank_zero(lambda: _begin_again(run, training, is_limited))
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


def _load_checkpoint(run: Run, training: Training, exact: bool) -> tuple[Checkpoint, dict[str, Change]]:
    """The newest checkpoint, and the changes to the recipe since then."""
    file, threads = run.recipe_file(), torch.get_num_threads()
    is_on_cpu = next(training.game.generator.parameters()).is_cpu
    for what, began, now_on, mend in (
        ("processes", file.processes, world_size(), "give --processes "),
        ("threads", file.threads if file.threads and is_on_cpu else threads, threads, "set OMP_NUM_THREADS="),
    ):
        if began != now_on:
            rounding = f"{began} {what} began this run and {now_on} go on, so sums are rounded differently"
            if exact:
                raise UsageError(f"{rounding}: leave --exact away, or {mend}{began}")
            warnings.warn(SparringWarning(rounding), stacklevel=2)
            break  # the number of processes decides that of threads
    clear_leftovers(run.path, names_in_use=("card.json", "report.html"))
    manifest, state = load_latest(run.checkpoints)
    changes = changes_since(manifest.recipe, training.recipe)
    config, now = run.generator / "config.json", training.config
    was = read_json(config, Config) if config.exists() else now
    same = (was.modality.item_shape, was.label_size) == (now.modality.item_shape, now.label_size)
    renamed = (bool(was.class_names) and was.class_names != now.class_names) or was.attributes != now.attributes
    if not same or renamed or (now.classes_are_clusters and was != now):  # networks know classes by their numbers
        raise UsageError(
            f"the {now.modality.name} of {training.recipe.data} or their classes are not those that the run began "
            f"with: restore them, or train a new run with `--start-from {run.path}`"
        )
    if changes:
        listed = ", ".join(f"{name} {before} → {now}" for name, (before, now) in changes.items())
        warnings.warn(SparringWarning(f"the recipe was changed after step {manifest.step}: {listed}"), stacklevel=2)
        state["left_out"].zero_()
    run.cut_log(manifest.step)
    return (manifest, state), changes


def _begin_again(run: Run, training: Training, is_limited: bool) -> None:
    is_finished = run.summary().status == "finished"  # else it was killed at its end
    if (reason := training.stop_reason()) and (is_finished or is_limited):
        state = f"finished at step {training.game.steps}, since {reason}"
        if is_limited:
            seconds = f"{training.seconds / 60:.3g} minutes"
            state = f"already at step {training.game.steps}, after {training.images} images and {seconds}"
        limits = "more than that by " if is_limited else ""
        raise UsageError(f"{run.path} is {state}: to go further, give {limits}--steps, --images or --minutes")
    run.write_recipe(training.recipe)
    (run.path / "card.json").unlink(missing_ok=True)  # of the generator before


def _restore(run: Run, training: Training, checkpoint: Checkpoint, changes: dict[str, Change]) -> list[Listener]:
    """Restore a checkpoint into a new training, and make the listeners of the first process."""
    manifest, state = checkpoint
    own = [Meter(training, run.log(), changes), Recorder(run, changes), Frames(run)] if rank() == 0 else []
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
            training = build(slower, training.dataset, run.path, parts=training.parts)
            state["left_out"].zero_()
            if rank() == 0:
                run.write_recipe(slower)
                run.cut_log(manifest.step)
            own = _restore(run, training, (manifest, state), changes_since(manifest.recipe, slower))


def _raise_signal(run: Run, outcome: Outcome) -> Run:
    """Raise the signal that stopped a run again, now that everything is saved; else return the run."""
    number = outcome.signal
    handler = None if number is None else signal.getsignal(number)
    if number is None or (number == signal.SIGUSR1 and handler == signal.SIG_DFL):  # which would end the process
        return run
    if number == signal.SIGINT and Console().is_jupyter:  # a notebook goes on
        return run
    if number == signal.SIGINT and handler is signal.default_int_handler:
        step, path = run.summary().steps, str(run.path)
        raise KeyboardInterrupt(f"stopped at step {step}; everything is saved: sparring.resume({path!r}) goes on")
    signal.raise_signal(number)
    return run

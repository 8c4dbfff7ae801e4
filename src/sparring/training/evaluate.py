"""Measure the generator of a run."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from os import PathLike, fspath
from pathlib import Path

from torch import nn

from sparring.data.containers import Reading
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.evaluation.card import Card, measure
from sparring.files import read_json, write_json
from sparring.generator.generator import Generator, load
from sparring.generator.hub import find_folder
from sparring.metrics import Estimate
from sparring.modalities import look_at, prepare
from sparring.modalities.modality import Dataset, Survey
from sparring.training.progress import Terminal
from sparring.training.recipe import make_request
from sparring.training.resolve import open_data
from sparring.training.run_folder import Run, find_run
from sparring.training.torch_defaults import torch_defaults
from sparring.types import OnProgress


def evaluate(
    path: str | PathLike[str],
    n: int = 10_000,
    seed: int = 0,
    *,
    data: str | PathLike[str] | None = None,
    module: nn.Module | None = None,
    fid: bool = False,
    only: str | None = None,
    progress: bool = True,
) -> Card:
    """Measure a generator, and write the card into its folder; that of a run also goes into the run's summary.

    Args:
        path: a run, its folder, `best/` or a checkpoint in it, which get their own cards, or a generator's folder
            or address.
        n: samples to generate, and the most to take from the data; more than the number of features.
        seed: random seed; the same seed gives the same card, byte for byte.
        module: a generator of your own, as `load` takes it.
        data: what the generator was trained on, a name or a path, if that was moved or there is no run.
        fid: also compute the Fréchet distance of Inception's features, for images; it takes minutes, more than 2,048
            samples, and the extra `fid`.
        only: the one figure to measure; None for all that the data allow, of all samples and of each class.
        progress: show it on the standard error, if that is a terminal or a notebook.

    Raises:
        UsageError: if there is no generator, the data are missing or changed, or n is too small.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> card = sparring.evaluate(run, n=500)
        >>> list(card.extractors), sorted(card.figures)[:3]
        (['coordinates'], ['coverage', 'density', 'divergence'])
    """
    folder = find_folder(path, module)
    with torch_defaults(), Terminal(stderr=True, quiet=not progress) as show:
        generator = load(folder, module=module)
        run = find_run(folder)
        with suppress(UsageError):  # no card, or a damaged one
            if (before := read_json(folder / "card.json", Card).num_generated) > n:
                message = f"the card of {before:,} samples in {folder} gives way to one of {n:,}, which is less exact"
                warnings.warn(SparringWarning(message), stacklevel=2)
        dataset = open_data_of(generator, run, None if data is None else fspath(data), show.on_progress)
        card = measure(generator, dataset, n, seed, fid=fid, only=only, on_progress=show.on_progress)
    try:
        write_json(folder / "card.json", asdict(card))
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}: copy the generator to your own") from error
    if run is not None and run.path == folder:
        metrics = {name: row.generated.value for name, row in card.figures.items()}
        run.write_summary(replace(run.summary(), metrics=metrics))
    return card


def evaluate_dictionary(path: str | PathLike[str], dictionary: str | PathLike[str]) -> Mapping[str, Sequence[Estimate]]:
    r"""How many words a translator of words translates as a dictionary says.

    Args:
        path: a run, its folder, or a generator's.
        dictionary: a file with a word and a right translation a line, separated by a tab or a space.

    Returns:
        P@1, P@5 and P@10, the shares of words with a right translation among the best 1, 5 and 10, with Wilson's
        intervals of 95 %: of this map for all pairs and for half of them, of a map that is taught by the other half
        (Procrustes), and of chance. The names say how many words were judged.

    Raises:
        UsageError: if the generator translates no words.
        DataError: if the file is no dictionary, or has no pair of known words.

    Example: two languages whose words have the same vectors
        >>> import tempfile, numpy, sparring
        >>> folder, vectors = Path(tempfile.mkdtemp()), numpy.random.default_rng(0).normal(size=(60, 8))
        >>> for name in ("one", "two"):
        ...     numpy.savez(folder / name, words=[f"{name}{number}" for number in range(60)], vectors=vectors)
        >>> _ = (folder / "pairs.tsv").write_text("".join(f"one{n} two{n}\n" for n in range(60)))
        >>> run = sparring.train(folder / "two.npz", source=folder / "one.npz", batch_size=32, out=folder / "run")
        >>> evaluate_dictionary(run, folder / "pairs.tsv")["this map (60)"][0].value
        1.0
    """
    generator = load(path)
    source, target = generator.domains()
    return source.check_dictionary(Path(dictionary), generator.translate, target)


def open_data_of(
    generator: Generator,
    run: Run | None,
    data: str | None = None,
    on_progress: OnProgress = lambda what, share: None,
) -> Dataset:
    """What a generator was trained on, by its run or by the user; a DataError if it has other classes now."""
    config, place = generator.config, None if data is None else make_request(data).data
    if run is not None:
        recipe = run.recipe()
        dataset = open_data(recipe if place is None else replace(recipe, data=place), on_progress)
    elif place is not None:
        found = look_at(place, Reading(), on_progress)
        kind = (found.choices[0] if isinstance(found, Survey) else found.modality).name
        if kind != config.modality.name:
            raise DataError(f"{place} holds {kind}, and the generator makes {config.modality.name}: give the same data")
        dataset = prepare(found, config.modality.item_shape[1:] or None, False, on_progress)
    else:
        raise UsageError("this generator is in no run, so nothing says what it was trained on: give its data")
    if config.known_labels and config.class_names != dataset.class_names:
        raise DataError(
            f"the classes of {dataset.name} are not those that the generator was trained with "
            f"({', '.join(config.known_labels)}): give the same data"
        )
    return dataset

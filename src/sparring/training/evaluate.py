"""Measure the generator of a run."""

from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

from sparring.evaluation.card import Card, measure
from sparring.files import write_json
from sparring.generator.generator import load
from sparring.training.progress import Terminal
from sparring.training.resolve import open_data
from sparring.training.run_folder import open_run
from sparring.training.torch_defaults import torch_defaults


def evaluate(
    path: str | PathLike[str],
    n: int = 10_000,
    seed: int = 0,
    *,
    fid: bool = False,
    only: str | None = None,
    progress: bool = True,
) -> Card:
    """Measure a run's generator, and write the card into the run's folder and its summary.

    Args:
        path: a run, its folder, or `best/` in it, which gets its own card.
        n: samples to generate, and the most to take from the data; more than the number of features.
        seed: random seed; the same seed gives the same card, byte for byte.
        fid: also compute the Fréchet distance of Inception's features, for images; it takes minutes, more than 2,048
            samples, and the extra `fid`.
        only: the one figure to measure; None for all that the data allow, of all samples and of each class.
        progress: show it on the standard error, if that is a terminal or a notebook.

    Raises:
        UsageError: if there is no run or no generator, the data are missing or changed, or n is too small.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> card = sparring.evaluate(run, n=500)
        >>> list(card.extractors), sorted(card.figures)[:3]
        (['coordinates'], ['coverage', 'density', 'divergence'])
    """
    folder = Path(path)
    is_best = folder.name == "best" and not (folder / "recipe.json").exists()
    run = open_run(folder.parent if is_best else folder)
    with torch_defaults(), Terminal(stderr=True, quiet=not progress) as show:
        generator, dataset = load(folder), open_data(run.recipe(), show.on_progress)
        card = measure(generator, dataset, n, seed, fid=fid, only=only, on_progress=show.on_progress)
    write_json(folder / "card.json", asdict(card))
    if not is_best:
        metrics = {name: row.generated.value for name, row in card.figures.items()}
        run.write_summary(replace(run.summary(), metrics=metrics))
    return card

"""The report on a run, `report.html`: a page of plain words and pictures in a single file."""

import shlex
from os import PathLike
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from sparring.data.labels import names_of
from sparring.errors import SparringError
from sparring.evaluation.card import Card
from sparring.evaluation.figures import draw
from sparring.files import read_json, write_atomically
from sparring.generator.config import Config
from sparring.generator.generator import load
from sparring.modalities.output import Html, picture_url
from sparring.seeding import Stream
from sparring.training import plots
from sparring.training.evaluate import open_data_of
from sparring.training.run_folder import Run, open_run
from sparring.types import LogLine

NUM_PICTURES = 6
NUM_COMPARED, COLUMNS = 2000, 10  # training items among which the nearest are; in a row of translations
MIN_EVALUATIONS = 4
"""With fewer, nobody can tell whether the samples were still improving."""


def diagnose(path: str | PathLike[str]) -> Path:
    """Explain a run, finished or not, in `report.html` in its folder.

    Args:
        path: the run, or its folder.

    Returns:
        The page's path.

    Raises:
        UsageError: if there is no run.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> diagnose(run).name
        'report.html'
    """
    run = open_run(Path(path))
    page, report = _render(run), run.path / "report.html"
    write_atomically(report, lambda beside: beside.write_text(page, encoding="utf-8"))
    return report


def _render(run: Run) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": "{:,.0f}".format, "words": lambda name: name.replace("_", " ")}
    recipe, summary, log = run.recipe(), run.summary(), run.log()
    evaluations = [line["evaluation"] for line in log if "evaluation" in line]
    measured = [figures for figures in evaluations if "distance" in figures]
    best_is_last = best_is_earlier = False
    if len(measured) >= MIN_EVALUATIONS:
        best, last = min(measured, key=lambda figures: float(figures["distance"])), measured[-1]
        margin = max(0.5 * abs(best["distance"]), 2 * last["distance_error"])
        best_is_last, best_is_earlier = best is last, last["distance"] - best["distance"] > margin
    config, card = run.generator / "config.json", run.path / "card.json"
    return environment.get_template("report.html").render(
        title=run.path.resolve().name,
        path=shlex.quote(str(run.path)),
        recipe=recipe,
        recipe_fields=vars(recipe),
        item=read_json(config, Config).modality.describe() if config.exists() else "",
        summary=summary,
        last_step=log[-1]["step"] if log else 0,
        is_training=summary.status == "running" and run.is_locked(),
        evaluations=evaluations,
        past_alarms=_past_alarms(log),
        best_is_last=best_is_last,
        best_is_earlier=best_is_earlier,
        pictures=_pictures(run),
        examples=_examples(run) if config.exists() else None,
        figure_curves=picture_url(plots.evaluations(log)) if measured else "",
        loss_curves=picture_url(plots.curves(log)) if log else "",
        card=read_json(card, Card) if card.exists() else None,
    )


def _past_alarms(log: list[LogLine]) -> list[tuple[str, int, int]]:
    """The name of each alarm that has ended, its first step, and the step at which it was gone."""
    active: dict[str, int] = {}
    past = []
    for line in log:
        if "alarms" in line:
            now = {alarm["name"]: alarm["since"] for alarm in line["alarms"]}
            past += [(name, since, line["step"]) for name, since in active.items() if name not in now]
            active = now
    return past


def _examples(run: Run) -> dict[str, Html] | str:
    """Generated items and real ones, by what they are, or why there are none."""
    try:
        generator = load(run)
        if not generator.is_finite():
            return "the generator's weights are not finite"
        dataset = open_data_of(generator, run)
    except SparringError as error:
        return str(error)
    config, modality = generator.config, dataset.modality
    real = draw(dataset.train, modality.num_shown, Stream(0, "report"))
    n, labels = len(real["samples"]), real.get("labels", real.get("vectors"))
    names = [] if labels is None else names_of(labels, dataset.class_names, dataset.attributes)
    inputs, own = generator.inputs(n, 0, dataset)
    wanted = own if config.classes_are_clusters or not config.label_size else labels
    items = generator.generate(inputs, wanted)
    if (source := config.source) is not None:
        near = draw(dataset.train, NUM_COMPARED, Stream(0, "report/nearest"))["samples"]
        look = modality.thumbnails()
        nearest = modality.decode(near[torch.cdist(look(modality.encode(items)), look(near)).argmin(1)])
        picture = modality.picture_rows(COLUMNS, source.decode(inputs * source.scale), items, nearest)
        title = f"What went in, what came out, and the nearest of {len(near):,} training items:"
        return {title: Html(f'<img alt="{title}" src="{picture_url(picture)}">')}
    return {
        "Generated:": modality.show(items, config.label_names(wanted)),
        "Real, with the same labels if there are any:": modality.show(modality.decode(real["samples"]), names),
    }


def _pictures(run: Run) -> list[tuple[int, str]]:
    """Some pictures of samples with their steps, evenly spread over the run."""
    paths = list(run.sample_paths().items())
    last = len(paths) - 1
    chosen = sorted({round(last * number / (NUM_PICTURES - 1)) for number in range(NUM_PICTURES)}) if paths else []
    return [(paths[index][0], picture_url(Image.open(paths[index][1]))) for index in chosen]

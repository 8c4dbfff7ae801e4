"""The page on one run in a single file: `report.html`, with the story in plain words above it; or in a notebook."""

import json
import shlex
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sparring.data.labels import names_of
from sparring.errors import SparringError
from sparring.evaluation.card import Card
from sparring.evaluation.figures import draw
from sparring.files import read_json, write_atomically
from sparring.generator.config import Config
from sparring.generator.generator import load
from sparring.modalities.output import Html, in_frame, picture_url
from sparring.seeding import Stream
from sparring.training.evaluate import open_data_of
from sparring.training.run_folder import Run, open_run
from sparring.types import LogLine
from sparring.web.explore import Explorer, describe_run
from sparring.web.found import FoundRun, NotFoundError
from sparring.web.page import FOLDER, build_page
from sparring.web.reading import Runs

NUM_COMPARED, COLUMNS = 2000, 10  # training items among which the nearest are; in a row of translations
MIN_EVALUATIONS = 4
"""With fewer, nobody can tell whether the samples were still improving."""
FRAME_BYTES, NEAREST_BYTES = 1_500_000, 500_000  # in a report
NOTEBOOK_BYTES = 400_000  # of frames in a notebook, which keeps them for each time that a run is shown


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
    title, report = run.path.resolve().name, run.path / "report.html"
    page = build_page({"runs": [collect(run, FRAME_BYTES, NEAREST_BYTES)]}, title=title, story=_tell(run))
    write_atomically(report, lambda beside: beside.write_text(page, encoding="utf-8"))
    return report


def show_in_notebook(run: Run) -> str:
    """The page on a run in a frame of its own, as HTML for notebooks."""
    page = build_page({"runs": [collect(run, NOTEBOOK_BYTES)]}, title=run.path.resolve().name)
    return in_frame(repr(run), page)


def collect(run: Run, frame_bytes: int, nearest_bytes: int = 0) -> dict[str, Any]:
    """What a page needs of a run: `info`, `lines` of the log, `frames`, `points`, `nearest`.

    Args:
        run: the run.
        frame_bytes: as many frames, evenly chosen, as need about this much.
        nearest_bytes: at most this much of the training items nearest to the newest samples.
    """
    runs = Runs([run.path])
    (found,) = runs.find().values()
    lines = json.loads(runs.log(found, "0"))["lines"]
    listed = runs.frames(found)
    steps = listed["steps"]
    newest = runs.frame(found, steps[-1]) if steps else {}
    count = max(2, frame_bytes // max(1, len(json.dumps(newest))))
    places = {round(number * (len(steps) - 1) / (count - 1)) for number in range(count)} if steps else set()
    return {
        "info": runs.list_runs()[0] | describe_run(runs, found),
        "lines": lines,
        "frames": [runs.frame(found, steps[place]) for place in sorted(places)],
        "points": listed["data"],
        "nearest": {steps[-1]: _nearest(runs, found, newest, nearest_bytes)} if steps and nearest_bytes else {},
    }


def _nearest(runs: Runs, found: FoundRun, frame: dict[str, Any], most_bytes: int) -> list[dict[str, Any]]:
    """The training items nearest to each sample of a frame, until there are too many bytes."""
    explorer, answers, size = Explorer(runs), list[dict[str, Any]](), 0
    try:
        for index in range(len(frame.get("probabilities", [])) if "picture" in frame else 0):
            answers.append(explorer.nearest(found, frame["step"], index))
            size += len(json.dumps(answers[-1]))
            if size > most_bytes:
                break
    except (SparringError, NotFoundError):
        return []
    return answers


def _tell(run: Run) -> str:
    """What happened and what to do next, in words, with samples and the metric card, as HTML."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
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
    modality = read_json(config, Config).modality if config.exists() else None
    return environment.get_template("story.html").render(
        title=run.path.resolve().name,
        path=shlex.quote(str(run.path)),
        recipe=recipe,
        item=modality.describe() if modality is not None else "",
        sample_file="grid.png" if modality is None else modality.sample_file,
        summary=summary,
        last_step=log[-1]["step"] if log else 0,
        is_training=summary.status == "running" and run.is_locked(),
        evaluations=evaluations,
        past_alarms=_past_alarms(log),
        best_is_last=best_is_last,
        best_is_earlier=best_is_earlier,
        examples=_examples(run) if modality is not None else None,
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
        "Real, with the same labels:" if names else "Real:": modality.show(modality.decode(real["samples"]), names),
    }

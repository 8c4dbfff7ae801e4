"""A run explained in one page of plain words and pictures, `report.html`: one file that needs no other."""

import base64
import io
import shlex
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from sparring import pictures
from sparring.evaluation import Card
from sparring.files import read_json, write_atomically
from sparring.run import LogLine, Run, Summary, open_run

NUM_PICTURES = 6

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top } td + td { text-align: left }
.alarm { border-left: 4px solid #c33; padding: .3rem 1rem; margin: 1rem 0; background: #fbf2f1 }
.notice { border-color: #c90; background: #fdf8ec } .good { border-color: #393; background: #f1f8f1 }
.strip { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem } figure { margin: 0 } img { width: 100% }
figcaption, .quiet { color: #666; font-size: .9rem } code { background: #f3f3f3; padding: .1rem .3rem }
"""


def diagnose(path: str | Path) -> Path:
    """Explain a run, finished or not, in `report.html` in its folder.

    Args:
        path: the run's folder.

    Returns:
        The report's path.

    Raises:
        UsageError: if there is no run.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=5, width=8, out=tempfile.mkdtemp())
        >>> diagnose(run.path).name
        'report.html'
    """
    run = open_run(Path(path))
    page = _page(run)
    report = run.path / "report.html"
    write_atomically(report, lambda beside: beside.write_text(page, encoding="utf-8"))
    return report


def _page(run: Run) -> str:
    summary, log = run.summary(), run.log()
    title = escape(run.path.resolve().name)
    sections = [
        f"<h1>{title}</h1>",
        f"<p>{escape(_what_was_trained(run))} {escape(_how_it_ended(run, summary, log))}</p>",
        *_health(summary, log),
        "<h2>What to try next</h2><ul>",
        *(f"<li>{step}</li>" for step in _next_steps(run, summary, log)),
        "</ul>",
        *_samples(run),
        *_curves(log),
        *_card(run),
        *_recipe(run),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _what_was_trained(run: Run) -> str:
    recipe = run.recipe()
    size = f" at {recipe.size}×{recipe.size} pixels" if recipe.size else ""
    penalty = "" if recipe.penalty == "none" else f", penalty {recipe.penalty}"
    labels = ", told the labels" if recipe.conditional else ""
    if recipe.num_clusters is not None and recipe.num_clusters > 1:
        labels = f", told {recipe.num_clusters} clusters in place of labels"
    return (
        f"A GAN of the family {recipe.network} (width {recipe.width}) learnt to imitate {recipe.data}{size}{labels}; "
        f"objective {recipe.objective}{penalty}, batches of {recipe.batch_size}, seed {recipe.seed}."
    )


def _how_it_ended(run: Run, summary: Summary, log: list[LogLine]) -> str:
    if summary.status == "running":
        last = log[-1]["step"] if log else 0
        if run.is_locked():
            return f"It is still training, and was at step {last:,} when this page was made."
        return f"It was cut off without a word (a power cut, a kill) after step {last:,} at least."
    rate = summary.images / max(summary.seconds, 1e-9)
    return (
        f"It {'ended' if summary.status == 'finished' else summary.status} after {summary.steps:,} steps, "
        f"{summary.images:,} real samples and {summary.seconds:,.0f} seconds of training "
        f"({rate:,.0f} samples a second): {summary.reason}."
    )


def _health(summary: Summary, log: list[LogLine]) -> Iterable[str]:
    yield "<h2>Health</h2>"
    if not any("evaluation" in line for line in log):
        yield "<p class='alarm notice'>The samples were not measured: the training was too short, or told not to.</p>"
    elif not summary.health:
        yield "<p class='alarm good'>No alarm stands at the end.</p>"
    for alarm in summary.health:
        notice = " notice" if alarm.severity == "notice" else ""
        yield (
            f"<div class='alarm{notice}'><b>{_words(alarm.name)}</b>, {alarm.severity} since step {alarm.since:,}: "
            f"{escape(alarm.meaning)}.<br>Seen: {_numbers(alarm.evidence)}<br>Try: {escape(alarm.advice)}</div>"
        )
    if passed := _passed(log):
        rows = (
            f"<tr><td>{_words(name)}</td><td>step {since:,} to {until:,}</td></tr>" for name, since, until in passed
        )
        yield "<p>Alarms that came and went:</p><table>" + "".join(rows) + "</table>"


def _passed(log: list[LogLine]) -> list[tuple[str, int, int]]:
    """Name, first step, and the step at which it had gone."""
    open_since: dict[str, int] = {}
    passed = []
    for line in log:
        if "alarms" in line:
            now = {alarm["name"]: alarm["since"] for alarm in line["alarms"]}
            passed += [(name, since, line["step"]) for name, since in open_since.items() if name not in now]
            open_since = now
    return passed


def _next_steps(run: Run, summary: Summary, log: list[LogLine]) -> Iterable[str]:
    path = escape(shlex.quote(str(run.path)))
    if summary.status in ("running", "stopped", "failed") and not run.is_locked():
        yield f"Go on where it was: <code>sparring resume {path}</code>"
    if summary.health:
        yield "What the alarms above say to try, one change at a time."
    measured = [line["evaluation"] for line in log if "distance" in line.get("evaluation", {})]
    if len(measured) >= 4:
        best, last = min(measured, key=lambda figures: float(figures["distance"])), measured[-1]
        if last is best and summary.status == "finished":
            yield (
                "The samples were at their best at the end: train longer. "
                f"<code>sparring resume {path} --steps {2 * summary.steps}</code> goes on; where the rates fell to "
                "zero, a new training of twice the length does better."
            )
        elif last["distance"] - best["distance"] > max(0.5 * abs(best["distance"]), 2 * last["distance_error"]):
            yield f"Earlier samples were better: <code>sparring sample {path}/best -n 64 --out best.png</code>"
    if not (run.path / "card.json").exists():
        yield f"Measure it with thousands of samples: <code>sparring evaluate {path}</code>"
    yield f"Draw from it: <code>sparring sample {path} -n 64 --out grid.png</code>"


def _samples(run: Run) -> Iterable[str]:
    paths = list(run.sample_paths().items())
    if not paths:
        return
    last = len(paths) - 1
    chosen = sorted({round(last * number / max(1, NUM_PICTURES - 1)) for number in range(NUM_PICTURES)})
    yield "<h2>Samples over time</h2><p class='quiet'>Always the same latents.</p><div class='strip'>"
    for index in chosen:
        step, path = paths[index]
        yield f"<figure>{_embedded(Image.open(path))}<figcaption>step {step:,}</figcaption></figure>"
    yield "</div>"


def _curves(log: list[LogLine]) -> Iterable[str]:
    if not log:
        return
    yield "<h2>Curves</h2>"
    if any("distance" in line.get("evaluation", {}) for line in log):
        yield (
            "<p>The distance says whether the samples become better: it is the kernel distance between features of "
            "images; of points, 1 − (precision + coverage) / 2. Precision: samples among the data. Recall and "
            f"coverage: data among the samples.</p>{_embedded(pictures.evaluations(log))}"
        )
    yield (
        "<p>The losses say how the game stands, not how good the samples are: a discriminator that gives one half to "
        f"all is at the equilibrium, or asleep.</p>{_embedded(pictures.curves(log))}"
    )


def _card(run: Run) -> Iterable[str]:
    if not (run.path / "card.json").exists():
        return
    card = read_json(run.path / "card.json", Card)
    yield "<h2>The card</h2><table><tr><th></th><th>generated</th><th>as many as held out</th><th>held out</th></tr>"
    for name, figure in card.figures.items():
        cells = "".join(f"<td>{each or '–'}</td>" for each in (figure.generated, figure.matched, figure.floor))
        yield f"<tr><td>{_words(name)}</td>{cells}</tr>"
    extractors = ", ".join(f"{name} ({digits})" for name, digits in card.extractors.items())
    yield (
        f"</table><p class='quiet'>{card.num_generated:,} generated and {card.num_heldout:,} held-out samples against "
        f"{card.num_real:,} of the {card.split} split, seed {card.seed}, intervals of 95 %; features: "
        f"{escape(extractors)}. A perfect generator would get the last column.</p>"
    )


def _recipe(run: Run) -> Iterable[str]:
    rows = "".join(
        f"<tr><td>{name}</td><td>{escape(str(value))}</td></tr>" for name, value in vars(run.recipe()).items()
    )
    yield f"<h2>Recipe</h2><details><summary>every setting</summary><table>{rows}</table></details>"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _numbers(evidence: dict[str, Any]) -> str:
    return ", ".join(f"{_words(name)} {value:.3g}" for name, value in evidence.items()) or "–"


def _embedded(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'

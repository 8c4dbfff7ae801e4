"""The page on trainings: one file of HTML for a server, a report and a notebook.

`build_page` joins the modules in `page/` into one script, so that a page needs nothing from anywhere. A page that
gets data holds them; one that gets none asks the server that sent it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from sparring.files import join_modules

FOLDER = Path(__file__).parent / "page"
MODULES = (  # in the order in which they need each other
    "elements", "state", "source", "series", "charts", "scrubber", "film", "points", "samples", "classes", "lesson",
    "explorer", "runs", "main",
)  # fmt: skip

# The charts: what each shows, which way is better, and the numbers of the log in it.
CHARTS: tuple[dict[str, Any], ...] = (
    {"title": "losses", "names": ["discriminator_loss", "generator_loss"], "short": ["discriminator", "generator"],
     "sentence": "the balance of the two networks. They do not tell how good the samples are."},
    {"title": "probabilities", "names": ["real_probability", "fake_probability"], "short": ["real", "generated"],
     "range": [0, 1],
     "sentence": "the discriminator's average for real and for generated samples. One half is a draw."},
    {"title": "gradient norms", "names": ["discriminator_gradient_norm", "generator_gradient_norm"],
     "short": ["discriminator", "generator"], "log": True,
     "sentence": "the lengths of both networks' gradients. Jumps mean that the training is unstable."},
    {"title": "penalty", "names": ["penalty", "restraint"], "sentence": "what was added to the losses."},
    {"title": "learning rates", "names": ["discriminator_rate", "generator_rate"],
     "short": ["discriminator", "generator"], "sentence": "how fast both networks learn, by the recipe's schedule."},
    {"title": "speed", "names": ["images_per_second"], "unit": "a second",
     "sentence": "real samples a second that the discriminator saw."},
    {"title": "augmentation", "names": ["augment"], "range": [0, 1],
     "sentence": "the probability of each change to what the discriminator sees."},
)  # fmt: skip


def build_page(data: dict[str, Any] | None = None, *, title: str = "sparring", story: str = "") -> str:
    """A page in one file.

    Args:
        data: `{"runs": [...]}` as `web.reading` collects them, for a page that needs no server; or None.
        title: of the window.
        story: HTML above the curves and pictures.
    """
    content = {} if data is None else {"meta": describe_numbers()} | data
    policy = "" if data is None else f'<meta http-equiv="Content-Security-Policy" content="{policy_of(data)}">'
    parts = {
        "policy": policy,
        "title": escape(title),
        "style": _join("vendor/uPlot.min.css", "page.css"),
        "story": story,
        "data": json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script(),
    }
    return re.sub(r"\[\[ (\w+) \]\]", lambda match: parts[match[1]], (FOLDER / "page.html").read_text(encoding="utf-8"))


def policy_of(data: dict[str, Any] | None = None) -> str:
    """The content security policy of a page: its own script alone, and its own server where it has no data."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script()}\n".encode()).digest()).decode()
    own = "'self'" if data is None else "'none'"
    pictures = "data: blob: 'self'" if data is None else "data: blob:"
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src {pictures}; "
        f"media-src data: blob:; connect-src {own}; frame-src {own}; base-uri 'none'; form-action 'none'"
    )


@cache
def script() -> str:
    """All modules in one."""
    joined = join_modules(FOLDER / f"{name}.js" for name in MODULES)
    return f'{_join("vendor/uPlot.iife.min.js")}\n(() => {{\n"use strict";\n{joined}\n}})();'


def _join(*names: str) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def describe_numbers() -> dict[str, Any]:
    """What the numbers of a log mean, the same for all runs: a chart for each kind, and the formulas of the losses."""
    from sparring.evaluation.figures import FIGURES
    from sparring.game.objectives import OBJECTIVES

    better = {"lower": "Lower is better.", "higher": "Higher is better.", "": ""}
    figures = [
        {
            "title": figure.name.replace("_", " "),
            "names": [figure.name],
            "range": [0, 1] if figure.is_share else None,
            "sentence": f"{figure.summary}. {better[figure.better]}".strip(),
        }
        for figure in FIGURES.values()
        if figure.in_monitor and not figure.name.endswith("_error")
    ]
    return {
        "charts": [*figures, *CHARTS],
        "objectives": {
            name: {"discriminator": _formula(each.discriminator), "generator": _formula(each.generator)}
            for name, each in OBJECTIVES.items()
        },
    }


def _formula(loss: Callable[..., Any]) -> str:
    """The formula with which a loss's docstring begins."""
    return (loss.__doc__ or "").partition(":")[0].partition("\n")[0].rstrip(".")

"""A generator as one file of HTML that draws its samples in any browser, without a network.

The page holds the network as a list of steps and its weights (see `program`), an engine that carries them out (see
`page/engine.js` and `page/kernel.wat`), and numpy's random numbers (`page/random.js`), so that a seed draws the same
samples as in Python, up to one level of grey.
"""

import base64
import json
import re
import shlex
import zlib
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparring.data.labels import encode
from sparring.errors import UsageError
from sparring.files import join_modules
from sparring.generator.directions import principal_directions
from sparring.generator.export.assemble import assemble
from sparring.generator.export.header import Request
from sparring.generator.export.program import compile_network
from sparring.generator.generator import Generator
from sparring.modalities.output import in_frame
from sparring.modalities.plane import EXTENT
from sparring.seeding import Stream

FOLDER = Path(__file__).parent / "page"
SHARED = Path(__file__).parents[2] / "web" / "page"  # what the live page's modules are made of
MODULES = (
    SHARED / "elements.js",
    *(FOLDER / f"{name}.js" for name in ("random", "engine", "sampler", "sound", "table", "plane", "main")),
)
NUM_DIRECTIONS = 6
NUM_SHOWN, NUM_LARGE, LARGE_PIXELS = 64, 16, 64 * 64


def to_html(request: Request) -> tuple[bytes, str]:
    """The page's bytes, and what it is; its weights always have 16 bits."""
    page = build_html(Generator(request.module, request.config), licence=request.licence)
    return page.encode(), "a page that draws samples in any browser"


def build_html(generator: Generator, *, name: str = "samples", licence: str = "", run: str = "RUN") -> str:
    """A page that draws a generator's samples.

    Args:
        generator: of one of this project's families that starts from latents.
        name: the page's title.
        licence: a sentence under the samples, such as the licence of the training data.
        run: the generator in the command that draws the same.

    Raises:
        UsageError: if it translates, has a network of its own kind, or has weights that are not finite.
    """
    config, modality = generator.config, generator.modality
    if config.source is not None:
        raise UsageError(f"this generator translates {config.source.name}: a page draws samples of noise")
    if not generator.is_finite():
        raise UsageError("this generator has weights that are not finite: export an earlier checkpoint")
    program = compile_network(generator.module, config.latent_dim + config.label_size)
    num_directions = min(NUM_DIRECTIONS, config.latent_dim)
    directions = program.put_single(principal_directions(generator, num_directions).numpy())
    facts = {
        name: program.put_single(fact) if isinstance(fact, np.ndarray) else fact
        for name, fact in modality.page_facts.items()
    }
    about = (
        _describe(generator)
        | facts
        | {
            "name": name,
            "run": shlex.quote(run),
            "words": f"Made here, in this page, by a generator of {modality.name}: {modality.describe()}.",
            "licence": licence,
            "style": (FOLDER / "page.css").read_text(encoding="utf-8"),
            "kernel": base64.b64encode(assemble((FOLDER / "kernel.wat").read_text(encoding="utf-8"))).decode(),
            "steps": program.steps,
            "numHalves": sum(each.size for each in program.halves),
            "directionsAt": directions,
            "numDirections": num_directions,
        }
    )
    parts = {
        "title": escape(name),
        "about": json.dumps(about, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        "weights": _pack(program.halves, program.singles),
        "script": join_modules(MODULES),
    }
    return re.sub(r"\[\[ (\w+) \]\]", lambda match: parts[match[1]], (FOLDER / "page.html").read_text(encoding="utf-8"))


def show_in_notebook(generator: Generator) -> str:
    """The page in a frame of its own, or some samples where no page can draw them; below it the words of `repr`."""
    words = escape(repr(generator))
    if not generator.is_finite() or generator.config.source is not None:
        return words
    try:
        return in_frame(repr(generator), build_html(generator)) + words
    except UsageError:  # a network of another kind
        n = generator.modality.num_shown
        labels = generator.config.label_names(generator.random_labels(n))
        return generator.modality.show(generator.sample(n), labels) + words


def _describe(generator: Generator) -> dict[str, Any]:
    """What the page must know of a generator besides its network."""
    config, modality = generator.config, generator.modality
    shape = (*modality.item_shape, 1, 1)[:3]
    count = NUM_LARGE if shape[1] * shape[2] > LARGE_PIXELS else max(NUM_SHOWN, modality.num_shown)
    edges = torch.tensor(config.class_shares).cumsum(0).tolist()
    rows = encode(config.attributes, torch.tensor(config.rows, dtype=torch.float64)).tolist() if config.rows else []
    stream = Stream(0, "sample")
    return {
        "itemShape": shape,
        "shownAs": modality.shown_as,
        "count": count,
        "extent": EXTENT,
        "latentDim": config.latent_dim,
        "prior": config.prior,
        "deviation": 1.0 if config.prior == "gaussian" else 3**-0.5,
        "scale": modality.scale,
        "purposes": {"latents": str(stream.purpose_number), "labels": str(stream.part("labels").purpose_number)},
        "labelSize": config.label_size,
        "labels": [*config.known_labels.items()],
        "attributes": [asdict(attribute) for attribute in config.attributes],
        "edges": edges,
        "rows": rows,
    }


def _pack(halves: list[np.ndarray], singles: list[np.ndarray]) -> str:
    """All numbers, compressed, in base64; apart from each other, high bytes of halves take less room."""
    planes = np.concatenate(halves).astype("<f2").view(np.uint8).reshape(-1, 2).T
    content = planes.tobytes() + np.concatenate(singles).astype("<f4").tobytes()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress(content) + packer.flush()).decode()

"""Trains every recipe on the digits for the same time, and writes docs/recipes.md with samples of each.

    python benchmarks/recipes.py [--minutes 2] [--only NAME ...]

A recipe that was trained before for the same time is not trained again; delete its folder to do so.
"""

import argparse
import os
import platform
import shutil
from datetime import date
from pathlib import Path

import torch

import sparring
from sparring import RECIPES

RUNS, PAGE, PICTURES = Path("runs/recipes"), Path("docs/recipes.md"), Path("docs/images")


def machine() -> str:
    """The processor, its cores, and the versions that matter."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def train(name: str, minutes: float) -> sparring.Run:
    """Train one recipe, or open its finished run."""
    path = RUNS / f"{name}-{minutes:g}"
    if not (path / "summary.json").exists() or sparring.Run(path).summary().status != "finished":
        shutil.rmtree(path, ignore_errors=True)
        return sparring.train("digits", recipe=name, minutes=minutes, out=path)
    return sparring.Run(path)


def section(name: str, run: sparring.Run) -> list[str]:
    """The section on one recipe."""
    preset, summary = RECIPES[name], run.summary()
    picture = PICTURES / f"recipe-{name}.png"
    shutil.copy(run.sample_path(summary.steps), picture)
    settings = {key: value for key, value in preset.settings.items() if value is not None}
    listed = ", ".join(f"{key} {value}" for key, value in settings.items())
    return [
        f"## {name}",
        "",
        f"{preset.summary[0].upper()}{preset.summary[1:]}. Source: {preset.source}.",
        "",
        f"`sparring train --recipe {name}`: {listed}.",
        "",
        f"{summary.status} after {summary.steps:,} steps, {summary.images:,} images "
        f"({summary.images / summary.seconds:,.0f} images/s).",
        "",
        f"![samples of {name}](images/{picture.name})",
        "",
    ]


def main() -> None:
    """Train and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--only", nargs="*", default=[name for name in RECIPES if name != "points"])
    arguments = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Recipes",
        "",
        f"Samples of every recipe after the same {arguments.minutes:g} minutes of training on the digits, seed 0. The",
        "samples come from the averaged generator, always from the same latents. Made by",
        f"`python benchmarks/recipes.py` on {date.today()} ({machine()}). There is one run per recipe, so this is not",
        "a ranking.",
        "",
        "The default recipe uses the digits' labels. The classics do not, as in their papers (`--conditional True`",
        "makes them). The classics have their papers' settings where the paper gives them, on the networks named",
        "below. All samples come from the averaged weights (`--set average_decay=0` gives the last weights instead).",
        "The papers trained for hours; two minutes show only how each recipe begins.",
        "",
    ]
    for name in arguments.only:
        print(name, flush=True)
        lines += section(name, train(name, arguments.minutes))
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Curves of a training."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sparring.files import write_atomically

BLUE, ORANGE, GREY = "#2f6fbb", "#d9661f", "#8a8a8a"


def curves(log: list[dict[str, int | float]]) -> Image.Image:
    """Plot the losses and the discriminator's probabilities over steps."""
    figure, (losses, probabilities) = _figure(8, 6, rows=2)
    for axes, name, color, label in (
        (losses, "discriminator_loss", BLUE, "discriminator"),
        (losses, "generator_loss", ORANGE, "generator"),
        (probabilities, "real_probability", BLUE, "on real samples"),
        (probabilities, "fake_probability", ORANGE, "on generated samples"),
    ):
        axes.plot([line["step"] for line in log], [line[name] for line in log], color=color, label=label)
        axes.legend(frameon=False)
    losses.set(ylabel="loss")
    probabilities.axhline(0.5, color=GREY, linewidth=0.8)
    probabilities.set(xlabel="step", ylabel="discriminator's probability of real", ylim=(0, 1))
    return _render(figure)


def races(lines: dict[str, list[tuple[list[float], list[float]]]], ylabel: str) -> Image.Image:
    """Plot a figure over training time: for each setting the seconds and values of its trainings."""
    from matplotlib import colormaps

    figure, axes = _figure(8, 5)
    for number, (name, trainings) in enumerate(lines.items()):
        color = colormaps["tab10" if len(lines) <= 10 else "tab20"](number % 20)
        for place, (seconds, values) in enumerate(trainings):
            axes.plot(seconds, values, color=color, linewidth=1, alpha=0.7, label=None if place else name)
    axes.set(xlabel="training time in seconds", ylabel=ylabel)
    axes.set_yscale("symlog", linthresh=0.05)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _render(figure)


def strips(values: dict[str, list[float]], xlabel: str) -> Image.Image:
    """Plot a row of points for each setting, the first one on top."""
    figure, axes = _figure(8, 1 + 0.4 * len(values))
    for row, points in enumerate(values.values()):
        axes.scatter(points, [-row] * len(points), color=f"C{row % 10}", alpha=0.7)
    axes.set_yticks(range(0, -len(values), -1), list(values))
    every = [point for points in values.values() for point in points]
    axes.set(xlabel=xlabel.replace("_", " "), xscale="log" if max(every) > 10 * min(every) > 0 else "linear")
    return _render(figure)


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as a PNG, atomically."""
    write_atomically(path, lambda beside: picture.save(beside, format="PNG"))


def _figure(width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1)


def _render(figure: Any) -> Image.Image:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")

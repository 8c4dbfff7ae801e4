"""Pictures for people: grids of images, scatter plots of points, curves of a training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TILE_PIXELS = 56
"""Images smaller than this are enlarged by a whole factor, so that a grid can be read on a screen."""

SHARES = ("precision", "recall", "coverage")

BLUE, ORANGE, GREY = "#2f6fbb", "#d9661f", "#8a8a8a"


def grid(images: np.ndarray, columns: int | None = None) -> Image.Image:
    """Images side by side, row by row.

    Args:
        images: uint8 [n, H, W] or [n, H, W, C]; of four channels, what is transparent is shown on white.
        columns: how many in a row; as many as rows if None.

    Example:
        >>> grid(np.zeros((4, 28, 28), np.uint8)).size  # two tiles of 56 pixels and three lines of 2 between them
        (118, 118)
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    images = _on_white(images)
    factor = max(1, TILE_PIXELS // images.shape[1])
    tiles = images.repeat(factor, axis=1).repeat(factor, axis=2)
    gap, (height, width) = 2, tiles.shape[1:3]
    rows = math.ceil(len(tiles) / columns)
    shape = (gap + rows * (height + gap), gap + columns * (width + gap), *tiles.shape[3:])
    sheet = np.full(shape, 64, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)


def _on_white(images: np.ndarray) -> np.ndarray:
    if images.shape[3:] != (4,):
        return images
    opacity = images[..., 3:] / 255
    laid: np.ndarray = (images[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    return laid


def scatter(points: np.ndarray, scale: float = 1.0) -> Image.Image:
    """Points in the plane.

    Args:
        points: float [n, 2] or more dimensions, of which the first two are drawn.
        scale: the root mean square of the coordinates of the data; what is shown reaches a little over twice as far.
    """
    figure, axes = _figure(4, 4)
    axes.scatter(points[:, 0], points[:, 1], s=2, alpha=0.5, color=BLUE, linewidths=0)
    extent = 2.2 * scale
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axes.set_aspect("equal")
    return _rendered(figure)


def samples(items: np.ndarray, scale: float = 1.0, columns: int | None = None) -> Image.Image:
    """Generated items as a picture: a grid of images, or a scatter plot of points."""
    return scatter(items, scale) if items.ndim == 2 else grid(items, columns)


def curves(log: list[dict[str, int | float]]) -> Image.Image:
    """The losses and the discriminator's probabilities over the steps of a log."""
    figure, (losses, probabilities) = _figure(8, 6, rows=2)
    steps = [line["step"] for line in log]
    losses.plot(steps, [line["discriminator_loss"] for line in log], color=BLUE, label="discriminator")
    losses.plot(steps, [line["generator_loss"] for line in log], color=ORANGE, label="generator")
    losses.set(ylabel="loss")
    probabilities.plot(steps, [line["real_probability"] for line in log], color=BLUE, label="on real samples")
    probabilities.plot(steps, [line["fake_probability"] for line in log], color=ORANGE, label="on generated samples")
    probabilities.axhline(0.5, color=GREY, linewidth=0.8)
    probabilities.set(xlabel="step", ylabel="discriminator's probability of real", ylim=(0, 1))
    for axes in (losses, probabilities):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return _rendered(figure)


def evaluations(log: list[dict[str, Any]]) -> Image.Image:
    """The distance to the data, with two standard errors, and the shares of good and of covered samples, over steps."""
    measured = [line for line in log if "distance" in line.get("evaluation", {})]
    steps = [line["step"] for line in measured]
    figures = {name: [line["evaluation"][name] for line in measured] for name in ("distance", *SHARES)}
    errors = [2 * line["evaluation"]["distance_error"] for line in measured]
    figure, (distances, shares) = _figure(8, 6, rows=2)
    distances.errorbar(steps, figures["distance"], errors, color=BLUE, ecolor=GREY, elinewidth=0.8, marker=".")
    distances.set(ylabel="distance to the data")
    distances.set_yscale("symlog", linthresh=0.05)
    for name, color in zip(SHARES, (BLUE, ORANGE, GREY), strict=True):
        shares.plot(steps, figures[name], color=color, label=name, marker=".")
    shares.set(xlabel="step", ylabel="share", ylim=(0, 1))
    shares.legend(frameon=False)
    for axes in (distances, shares):
        axes.spines[["top", "right"]].set_visible(False)
    return _rendered(figure)


def races(lines: dict[str, list[tuple[list[float], list[float]]]], ylabel: str) -> Image.Image:
    """Several trainings of each setting, by their training time.

    Args:
        lines: by the setting's name, of each training its seconds and what was measured then.
        ylabel: what that is.
    """
    from matplotlib import colormaps

    figure, axes = _figure(8, 5)
    for number, (name, trainings) in enumerate(lines.items()):
        color = colormaps["tab10" if len(lines) <= 10 else "tab20"](number % 20)
        for place, (seconds, values) in enumerate(trainings):
            axes.plot(seconds, values, color=color, linewidth=1, alpha=0.7, label=None if place else name)
    axes.set(xlabel="training time in seconds", ylabel=ylabel)
    axes.set_yscale("symlog", linthresh=0.05)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return _rendered(figure)


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as a PNG, whole or not at all."""
    from sparring.files import write_atomically

    write_atomically(path, lambda beside: picture.save(beside, format="PNG"))


def _figure(width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1)


def _rendered(figure: Any) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")

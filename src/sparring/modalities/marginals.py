"""Pictures of a table: the distribution of each of its columns, of generated rows over that of the data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.data.columns import Column

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PANELS, PANELS_IN_ROW = 24, 4
WIDTH, HEIGHT, MARGIN, TITLE = 200, 110, 8, 16  # of a panel in pixels
NUM_BINS, MAX_BARS, MAX_NAME = 20, 20, 28
GREY, BLUE, BLACK = (205, 205, 205), (47, 111, 187), (40, 40, 40)


def draw_marginals(items: np.ndarray, columns: Sequence[Column]) -> "Image":
    """A panel for each of the first columns that vary: grey bars for the data, blue outlines for these rows.

    Args:
        items: rows with a field for each column.
        columns: of the table, which know the data's distributions.
    """
    from PIL import Image, ImageDraw, ImageFont

    drawn = [column for column in columns if column.size][:MAX_PANELS]
    num_rows = -(-len(drawn) // PANELS_IN_ROW)
    picture = Image.new("RGB", (min(len(drawn), PANELS_IN_ROW) * WIDTH, num_rows * HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for number, column in enumerate(drawn):
        left, top = number % PANELS_IN_ROW * WIDTH + MARGIN, number // PANELS_IN_ROW * HEIGHT + MARGIN
        name = column.name if len(column.name) <= MAX_NAME else f"{column.name[:MAX_NAME]}…"
        draw.text((left, top - 4), name, BLACK, font=font)
        real, made = compare_shares(column, items[column.name])
        most = max(real.max(), made.max(), 1e-9)
        width, floor = (WIDTH - 2 * MARGIN) / len(real), top + HEIGHT - 2 * MARGIN
        room = HEIGHT - 2 * MARGIN - TITLE
        for place, (share, other) in enumerate(zip(real, made, strict=True)):
            start, end = left + place * width, left + (place + 0.9) * width
            draw.rectangle((start, floor - room * share / most, end, floor), GREY)
            draw.line((start, floor - room * other / most, end, floor - room * other / most), BLUE, 2)
    return picture


def compare_shares(column: Column, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of the data and of cells [n], in the same bins: of numbers between bounds, and of each value.

    Example:
        >>> column = Column("sex", "category", ("f", "m"), shares=(0.5, 0.5))
        >>> [share.tolist() for share in compare_shares(column, np.array(["m", "m", "f", "m"]))]
        [[0.5, 0.5], [0.25, 0.75]]
    """
    has_place, num_choices = column.sizes
    real, edges = data_shares(column)
    chosen = column.to_parts(cells)[:, -1].astype(int) if num_choices else np.zeros(len(cells), int)
    made = np.bincount(chosen, minlength=max(num_choices, 1)) / max(len(cells), 1)
    if has_place:
        own = np.histogram(np.clip(column.to_numbers(cells[chosen == 0]), edges[0], edges[-1]), edges)[0]
        made = np.concatenate([own / max(len(cells), 1), made[1:]])
    return real, made[: NUM_BINS + MAX_BARS]


def data_shares(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """The shares of the data in the bins of a column's picture, and the edges of those of numbers, if there are any."""
    has_place, num_choices = column.sizes
    count, edges = max(num_choices, 1), np.zeros(0)
    real = np.array(column.shares) if column.shares else np.ones(count) / count
    if has_place:
        values, _, high = np.array(column.knots).T
        edges = np.linspace(values[0], np.interp(0.99, high, values), NUM_BINS + 1)  # a long tail would hide the rest
        below = np.interp(edges, values, high)
        below[0], below[-1] = 0, 1
        real = np.concatenate([real[0] * np.diff(below), real[1:]])
    return real[: NUM_BINS + MAX_BARS], edges


def describe_columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What a page must know of each column but free text, to write its cells and draw its distribution."""
    found, start = [], 0
    for column in columns:
        if column.kind == "text":
            continue
        has_place, num_choices = column.sizes
        bars, edges = data_shares(column) if column.size else (np.zeros(0), np.zeros(0))
        is_day = column.step > 0 and column.step % 86_400 == 0
        form = column.form or ("%Y-%m-%d" if is_day else "%Y-%m-%d %H:%M:%S")
        places = {"start": start, "hasPlace": has_place, "numChoices": num_choices}
        found.append(asdict(column) | places | {"form": form, "bars": bars.tolist(), "edges": edges.tolist()})
        start += column.size
    return found

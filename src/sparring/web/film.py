"""The film of a training: what the live page shows of it through time, as a .gif, .webp or .mp4."""

import base64
from bisect import bisect_right
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from sparring.errors import UsageError
from sparring.files import read_json
from sparring.generator.config import Config
from sparring.generator.film import FRAMES_PER_SECOND, check_film, count_frames, enlarge, write_film
from sparring.modalities.modality import Modality
from sparring.training.run_folder import open_run
from sparring.web.found import NotFoundError
from sparring.web.reading import Runs

HELD = 0.2  # of the film, for which it stays on its last picture
TEXT_PIXELS, LINE_PIXELS = 18, 30  # of the line with the step: its letters, and itself


def film_training(path: Path, out: Path, seconds: float | None = None) -> int:
    """Write the frames of a run, which always show the same latents, as a film, and return the number of its pictures.

    The steps go by evenly; at the end, the last picture stays for a fifth of the film.

    Args:
        path: the run's folder. It may still be training.
        out: a .gif, .webp or .mp4.
        seconds: the film's length; None for one in which each frame is shown once.

    Raises:
        UsageError: if there is no run, it keeps no frames, or the film cannot be written.

    Example:
        >>> import tempfile, sparring
        >>> folder = Path(tempfile.mkdtemp())
        >>> run = sparring.train("ring", steps=5, width=4, out=folder / "run")
        >>> film_training(run.path, folder / "training.webp", seconds=1)
        25
    """
    check_film(out)
    run = open_run(path)
    runs = Runs([run.path])
    (found,) = runs.find().values()
    listed, config = runs.frames(found), run.generator / "config.json"
    modality = read_json(config, Config).modality if config.exists() else None
    data, frames = listed["data"] or {}, list[dict[str, Any]]()
    for step in listed["steps"]:
        try:
            frame = runs.whole_frame(found, step)
            _draw(frame, data, modality)
            frames.append(frame)
        except (NotFoundError, KeyError, TypeError, ValueError, OSError):
            continue  # it was thinned out just now, or is damaged
    if not frames:
        raise UsageError(f"{path} keeps no frames to film: it was trained without (page_frames=0), or has just begun")
    count = count_frames(len(frames) / (1 - HELD) / FRAMES_PER_SECOND if seconds is None else seconds)
    write_film(_caption(frames, count, lambda frame: _draw(frame, data, modality)), out)
    return count


def _draw(frame: dict[str, Any], data: dict[str, Any], modality: Modality | None) -> Image.Image:
    """The picture in a frame, or what its modality makes of the game in it."""
    if "picture" in frame:
        encoded = base64.b64decode(frame["picture"].partition(",")[2])
        with Image.open(BytesIO(encoded), formats=["WEBP"]) as picture:
            return enlarge(picture.convert("RGB"))
    if modality is None:
        raise ValueError("without a generator, nothing says what the frame shows")
    return enlarge(modality.picture_game(frame, data))


def _caption(
    frames: list[dict[str, Any]], count: int, draw: Callable[[dict[str, Any]], Image.Image]
) -> Iterator[Image.Image]:
    """The pictures of a film, all of the last one's size, with the step below."""
    font = ImageFont.load_default(TEXT_PIXELS)
    steps = [int(frame["step"]) for frame in frames]
    width, height = draw(frames[-1]).size
    moving = max(1, round(count * (1 - HELD)) - 1)
    shown, page = -1, Image.new("RGB", (width, height + LINE_PIXELS))
    for number in range(count):
        place = max(0, bisect_right(steps, steps[-1] * min(1.0, number / moving)) - 1)
        if place != shown:
            shown, page = place, Image.new("RGB", page.size, "white")
            page.paste(draw(frames[place]), (0, 0))
            text = ImageDraw.Draw(page)
            text.rectangle((0, height, *page.size), "white")  # where the frame is larger
            text.text((8, height + LINE_PIXELS / 2), f"step {steps[place]:,}", "black", font, anchor="lm")
        yield page

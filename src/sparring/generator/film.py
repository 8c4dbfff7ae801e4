"""Films as .gif, .webp or .mp4: a walk through the latents. That of a training is in `sparring.web.film`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sparring.errors import UsageError, how_to_install
from sparring.files import write_atomically
from sparring.game.sources import spherical
from sparring.generator.generator import Generator, Label
from sparring.modalities.output import ending_of, explain_errors

if TYPE_CHECKING:
    from PIL.Image import Image

FILMS = (".gif", ".webp", ".mp4")
FRAMES_PER_SECOND = 25  # a GIF counts hundredths of a second
SECONDS_A_SEED, MOST_SECONDS = 2.0, 600.0  # of a walk
LEAST_PIXELS = 256  # smaller pictures are shown larger, by a whole factor


def walk(
    generator: Generator,
    seeds: Sequence[int],
    num_frames: int,
    n: int = 1,
    label: Label | None = None,
    truncation: float | None = None,
) -> Iterator[np.ndarray]:
    """Samples along a closed path: from those of the first seed to those of the next, and at the end back again.

    Each sample's latent goes along the great circle between its latents of two seeds (White 2016, arXiv:1609.04468).
    Labels stay as they are at the first seed.

    Args:
        generator: makes the samples.
        seeds: at least two; frame `number * num_frames // len(seeds)` shows the samples of seed `number`.
        num_frames: of the whole path, at least one for each seed.
        n: how many samples walk at once.
        label: of all samples, as `Generator.sample` takes it.
        truncation: as `Generator.sample` takes it.

    Yields:
        The n samples of each frame, in the form of `Generator.sample`.

    Raises:
        UsageError: for too few seeds or frames, or what `Generator.sample` refuses.

    Example:
        >>> import tempfile, sparring
        >>> run = sparring.train("ring", steps=1, width=4, out=tempfile.mkdtemp())
        >>> [frame.shape for frame in walk(sparring.load(run), [3, 7], num_frames=4, n=2)]
        [(2, 2), (2, 2), (2, 2), (2, 2)]
    """
    if len(seeds) < 2:
        raise UsageError("a walk goes through two seeds or more, such as 3,7,12")
    if num_frames < len(seeds):
        raise UsageError(f"a walk through {len(seeds)} seeds has at least as many frames, not {num_frames}")
    stops = [generator.latents(n, seed, truncation) for seed in seeds]
    labels = generator.random_labels(n, seeds[0], label)
    edges = [number * num_frames // len(seeds) for number in range(len(seeds) + 1)]
    for number, start in enumerate(stops):
        end, length = stops[(number + 1) % len(stops)], edges[number + 1] - edges[number]
        for frame in range(length):
            at = torch.tensor([frame / length])
            latents = [spherical(*pair, at)[0] for pair in zip(start, end, strict=True)]
            yield generator.generate(torch.stack(latents), labels)


def film_walk(
    generator: Generator,
    seeds: str,
    seconds: float | None,
    n: int,
    label: Label | None,
    truncation: float | None,
    path: Path,
) -> int:
    """Write a walk as a film, and return the number of its frames; what is wrong with it is a UsageError.

    Args:
        generator: makes the samples.
        seeds: as people write them, such as "3,7,12".
        seconds: the film's length; None for two seconds for each seed.
        n: how many samples walk at once.
        label: see `walk`.
        truncation: see `walk`.
        path: a .gif, .webp or .mp4.
    """
    if not re.fullmatch(r"\d+(,\d+)+", seeds):
        raise UsageError(f"--walk takes two seeds or more, such as 3,7,12, not {seeds!r}")
    stops = [int(each) for each in seeds.split(",")]
    check_film(path)
    num_frames = max(len(stops), count_frames(SECONDS_A_SEED * len(stops) if seconds is None else seconds))
    write_film(map(generator.modality.picture, walk(generator, stops, num_frames, n, label, truncation)), path)
    return num_frames


def count_frames(seconds: float) -> int:
    """How many frames so many seconds have, at least one; a UsageError if no film is as long."""
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds must be greater than 0 and at most {MOST_SECONDS:g}, not {seconds:g}")
    return max(1, round(seconds * FRAMES_PER_SECOND))


def check_film(path: Path) -> str:
    """The ending of a film's path; a UsageError if it is another one, or needs a package that is missing."""
    ending = ending_of(path)
    if ending not in FILMS:
        raise UsageError(f"a film is a {', '.join(FILMS[:-1])} or {FILMS[-1]}, not {path.name!r}: give another --out")
    if ending == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"an .mp4 needs imageio-ffmpeg ({error}): pip install 'sparring[video]', which is "
                f"{how_to_install('video')}, or give a .webp"
            ) from error
    return ending


def write_film(pictures: "Iterable[Image]", path: Path) -> None:
    """Write pictures of one size as a film that repeats, at 25 frames a second.

    Raises:
        UsageError: if it cannot be written there.
    """
    ending = check_film(path)
    enlarged = map(enlarge, pictures)
    first = next(enlarged)

    def save(beside: Path) -> None:
        if ending == ".mp4":
            _write_mp4(first, enlarged, beside)
        else:
            form, milliseconds = ending[1:].upper(), 1000 // FRAMES_PER_SECOND
            first.save(beside, form, save_all=True, append_images=enlarged, duration=milliseconds, loop=0, quality=85)

    with explain_errors(path):
        write_atomically(path, save)


def _write_mp4(first: "Image", rest: "Iterable[Image]", path: Path) -> None:
    from imageio_ffmpeg import write_frames

    size = first.width // 2 * 2, first.height // 2 * 2  # the encoder takes even numbers
    film = write_frames(str(path), size, fps=FRAMES_PER_SECOND, macro_block_size=1, quality=8, ffmpeg_log_level="error")
    film.send(None)
    try:
        for picture in chain([first], rest):
            film.send(picture.convert("RGB").crop((0, 0, *size)).tobytes())
    finally:
        film.close()


def enlarge(picture: "Image") -> "Image":
    """A picture by a whole factor larger, so that one side has at least 256 pixels."""
    factor = -(-LEAST_PIXELS // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), resample=0) if factor > 1 else picture

"""The listener that keeps what the live page shows of a training through time: a JSON file a frame.

A frame shows the samples of samples/*.png, always of the same latents, with the discriminator's probability for each;
of points in the plane, also what `sparring.modalities.plane` draws. Nothing here changes the training: both networks
are looked at in evaluation mode, and gradients go to no weight.
"""

import base64
import io
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from sparring.files import write_atomically
from sparring.game.both_ways import one_way
from sparring.game.game import Game, Report
from sparring.modalities.drawing import Scene
from sparring.modalities.output import data_url
from sparring.seeding import Stream
from sparring.training.loop import Listener, Outcome, Training, draw_real
from sparring.training.recorder import COLUMNS, draw_inputs, warn_if_unwritable
from sparring.training.run_folder import Run
from sparring.types import Features, Samples

SHARE = 0.03  # of the training time, that all frames but the first and the last may take
MOST_BYTES = 20_000_000  # of all frames
MOST_SAMPLES = 500  # in a frame
DEEP = 8  # each so many frames, one also shows what takes long
QUALITY = 80  # of pictures, unless they are smaller without any loss


@dataclass
class _Lesson:
    """A frame that waits for the end of the iteration that it shows."""

    step: int
    frame: dict[str, Any]
    begun: Any  # by the view


class Frames(Listener):
    """Writes frames into a run's folder, so many that they are at most `SHARE` of the training time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seconds = 0.0  # that frames took since the training began or was resumed
        self._cost = 0.0  # seconds of the latest frame
        self._sizes: dict[int, int] = {}  # bytes by the steps of frames
        self._lesson: _Lesson | None = None

    def started(self, training: Training) -> None:
        """Delete frames that will be drawn again, and draw the first one."""
        now = training.game.steps
        for step in self.run.frame_steps():
            path = self.run.frame_path(step)
            if step > now:
                path.unlink()
            else:
                self._sizes[step] = path.stat().st_size
        self._since, self._place = training.seconds, self._find_place(training)
        if not training.recipe.page_frames:
            return
        with self._timed():
            self._begin(training)
            if not self._sizes:
                self._draw(training, is_deep=True)

    def stepped(self, training: Training, report: Report | None) -> None:
        """Draw a frame when the next share of the training is done, as soon as there is time for it."""
        if not training.recipe.page_frames:
            return
        if self._lesson is not None:
            with self._timed():
                self._finish_lesson(training, report)
        place = self._find_place(training)
        allowed = SHARE * (training.seconds - self._since)
        if place > self._place and self.seconds + 2 * self._cost <= allowed:  # one is kept for the last frame
            self._place = place
            with self._timed() as began:
                self._count += 1
                self._draw(training, is_deep=self._count % DEEP == 0)
            self._cost = time.perf_counter() - began

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Draw the last frame."""
        if not training.recipe.page_frames or outcome.status == "failed":
            return
        with self._timed():
            if self._lesson is not None:
                self._finish_lesson(training, None)
            if training.game.steps not in self._sizes:
                self._draw(training, is_deep=True, is_last=True)

    def _find_place(self, training: Training) -> int:
        return int(training.progress * training.recipe.page_frames)

    @contextmanager
    def _timed(self) -> Iterator[float]:
        began = time.perf_counter()
        yield began
        self.seconds += time.perf_counter() - began

    def _begin(self, training: Training) -> None:
        """Draw what all frames share."""
        modality, seed = training.dataset.modality, training.game.seed
        self._count, self._is_lossless = 0, False
        inputs, labels = draw_inputs(training)
        chosen = torch.arange(0, len(inputs), math.ceil(len(inputs) / MOST_SAMPLES))  # of each class as many
        device = next(training.game.generator.parameters()).device
        self._labels = None if labels is None else labels[chosen].to(device)
        self._inputs = inputs[chosen].to(device)
        self._names = training.config.label_names(self._labels)
        self._thumbnails = modality.thumbnails()
        self._view = modality.draw_game(training.dataset.train, seed)
        path = self.run.frames / "data.json"
        if self._view is not None and not path.exists():
            with warn_if_unwritable(self.run.frames):
                self.run.frames.mkdir(exist_ok=True)
                self._write(path, self._view.data())

    def _draw(self, training: Training, *, is_deep: bool, is_last: bool = False) -> None:
        game, config, modality = training.game, training.config, training.dataset.modality
        with look_at(game, training.recipe.compile):
            generator, labels = one_way(training.average.module), self._labels
            fed = labels if config.source is None else None
            with torch.no_grad():
                samples = generator(*(each for each in (self._inputs, fed) if each is not None)).float()
                logits = game.logits(samples, labels, one_way(game.discriminator))
            if not (samples.isfinite().all() and logits.isfinite().all()):
                return  # it is about to fail, and there is nothing to see
            frame: dict[str, Any] = {
                "step": game.steps,
                "seconds": round(training.seconds, 3),
                "images": training.images,
                "labels": self._names,
                "probabilities": [round(each, 3) for each in game.objective.probability(logits).tolist()],
                "thumbnails": pack_features(self._thumbnails((samples * modality.scale).cpu())),
            }
            view = None if config.both_ways else self._view
            if view is None:
                frame |= self._draw_picture(training, samples, is_deep)
                self._save(game.steps, frame, training)
                return
            frame[view.name] = view.draw(Scene(game, generator, samples, labels), is_deep=is_deep)
            if is_deep and not is_last:
                real, real_labels = draw_real(training)
                begun = view.begin_lesson(game, real[-1], None if real_labels is None else real_labels[-1])
                self._lesson = _Lesson(game.steps, frame, begun)
            else:
                self._save(game.steps, frame, training)

    def _finish_lesson(self, training: Training, report: Report | None) -> None:
        """Save the frame that waits, with its lesson if the iteration went well."""
        lesson, self._lesson, game = self._lesson, None, training.game
        assert lesson is not None
        assert self._view is not None
        if report is not None and lesson.begun is not None:
            with look_at(game, training.recipe.compile):
                lesson.frame[self._view.name]["lesson"] = self._view.end_lesson(game, lesson.begun, report)
        self._save(lesson.step, lesson.frame, training)

    def _draw_picture(self, training: Training, samples: Samples, is_deep: bool) -> dict[str, Any]:
        """The samples as tiles of one picture; a picture of another kind is one tile."""
        modality = training.dataset.modality
        samples = samples * modality.scale
        tiles = modality.draw_tiles(samples)
        if tiles is None:
            picture, columns = modality.picture(modality.decode(samples), COLUMNS), 1
            tile = picture.size
        else:
            picture, columns = lay_out(tiles, COLUMNS), COLUMNS
            tile = tiles.shape[2], tiles.shape[1]
        if is_deep:
            self._is_lossless = len(encode(picture, lossless=True)) < len(encode(picture, lossless=False))
        url = data_url(encode(picture, lossless=self._is_lossless), "image/webp")
        return {"picture": url, "columns": columns, "tile": list(tile), "gap": 0}

    def _save(self, step: int, frame: dict[str, Any], training: Training) -> None:
        with warn_if_unwritable(self.run.frames):
            self.run.frames.mkdir(exist_ok=True)
            self._sizes[step] = self._write(self.run.frame_path(step), frame)
            most = 2 * training.recipe.page_frames
            for gone in thin_out(self._sizes, most, MOST_BYTES):
                self.run.frame_path(gone).unlink(missing_ok=True)
                del self._sizes[gone]

    def _write(self, path: Any, value: dict[str, Any]) -> int:
        """Write JSON without waiting for the disk, which would take longer than drawing, and return its bytes."""
        data = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        write_atomically(path, lambda beside: beside.write_bytes(data), flush=False)
        return len(data)


@contextmanager
def look_at(game: Game, is_compiled: bool = False) -> Iterator[None]:
    """Both networks in evaluation mode, which changes no buffer, and torch's random numbers from a stream of frames."""
    modules = [module for player in (game.generator, game.discriminator) for module in player.modules()]
    were_training = [module.training for module in modules]
    with ExitStack() as stack:
        stack.enter_context(Stream(game.seed, "frames", game.steps).as_default())
        if is_compiled:  # shapes that the training does not have would be compiled for minutes
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            game.generator.eval()
            game.discriminator.eval()
            yield
        finally:
            for module, was_training in zip(modules, were_training, strict=True):
                module.training = was_training


def thin_out(sizes: dict[int, int], most: int, most_bytes: int) -> list[int]:
    """The steps to delete so that at most so many frames and bytes stay: neither the first nor the last.

    Each time the one goes whose neighbours are nearest to each other, so those that stay are spread evenly.

    Example:
        >>> thin_out({0: 9, 10: 9, 12: 9, 30: 9}, most=3, most_bytes=1000)
        [10]
    """
    steps, gone, total = sorted(sizes), list[int](), sum(sizes.values())
    while len(steps) > 2 and (len(steps) > most or total > most_bytes):
        gaps = [after - before for before, after in zip(steps, steps[2:], strict=False)]
        gone.append(steps.pop(1 + gaps.index(min(gaps))))
        total -= sizes[gone[-1]]
    return gone


def lay_out(tiles: np.ndarray, columns: int) -> Image.Image:
    """Pictures [n, height, width(, 3)] side by side, row by row, with no gap."""
    rows = math.ceil(len(tiles) / columns)
    missing = np.zeros((rows * columns - len(tiles), *tiles.shape[1:]), tiles.dtype)
    height, width = tiles.shape[1:3]
    placed = np.concatenate([tiles, missing]).reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return Image.fromarray(placed.reshape(rows * height, columns * width, *tiles.shape[3:]))


def encode(picture: Image.Image, *, lossless: bool) -> bytes:
    """A picture as WebP, made fast rather than small."""
    data = io.BytesIO()
    picture.save(data, "WEBP", lossless=lossless, quality=20 if lossless else QUALITY, method=2)
    return data.getvalue()


def pack_features(features: Features) -> dict[str, Any]:
    """Features of samples as bytes, and what their least and their greatest value is."""
    values = features.numpy()
    low, high = float(values.min()), float(values.max())
    scaled = np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return {"shape": [*values.shape], "data": base64.b64encode(scaled.tobytes()).decode(), "low": low, "high": high}

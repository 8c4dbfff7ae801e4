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
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparring.errors import SparringWarning, UsageError
from sparring.files import read_json, write_atomically
from sparring.game.both_ways import one_way
from sparring.game.game import Game, Report
from sparring.modalities.drawing import Scene
from sparring.modalities.output import data_url
from sparring.seeding import Stream
from sparring.training.loop import Listener, Outcome, Training, draw_real
from sparring.training.recorder import COLUMNS, draw_inputs
from sparring.training.run_folder import Run
from sparring.types import Features, Samples

SHARE = 0.03  # of the training time, that all frames but the first and the last may take
MOST_BYTES = 20_000_000  # of all frames
MOST_SAMPLES, LEAST_SAMPLES = 500, 4  # in a frame
USUAL = 128  # the number of frames for which there should be time
RESERVE = 1.2  # a factor on what a frame takes, since that varies
STEPS_TO_TIME = 5  # after so many, it is known how long a step takes
DEEP = 8  # each so many frames, one also shows what takes long
QUALITY = 80  # of pictures, unless they are smaller without any loss


@dataclass
class _Moment:
    """What a frame is made of."""

    counters: dict[str, Any]  # of the training
    samples: Samples  # as the networks see them
    probabilities: Tensor
    view: dict[str, Any] | None = None  # what the modality's view drew
    begun: Any = None  # the view's lesson on the coming iteration


class Frames(Listener):
    """Writes frames into a run's folder, so many that they take at most `SHARE` of the training time.

    Where the usual number of samples would take too long, frames show fewer.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seconds = 0.0  # that frames took since the training began or was resumed
        self._cost = 0.0  # seconds of the latest frame; the first one warms up, and does not count
        self._count = 0
        self._is_lossless = self._is_warned = False
        self._sizes: dict[int, int] = {}  # bytes by the steps of frames
        self._lesson: _Moment | None = None  # a frame that waits for the end of the iteration that it shows
        self._first: _Moment | None = None  # the first frame, until it is known how many samples there is time for
        self._early = 0.0, 0.0  # the seconds and the progress after the first step

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
        if self._lesson is not None or self._first is not None:
            with self._timed():
                self._finish_lesson(training, report)
                self._choose_number(training)
        place = self._find_place(training)
        allowed = SHARE * (training.seconds - self._since)
        if place > self._place and self.seconds + 2 * self._cost <= allowed:  # one is kept for the last frame
            self._place = place
            self._count += 1
            with self._timed() as began:
                self._draw(training, is_deep=self._count % DEEP == 0)
            self._cost = time.perf_counter() - began

    def ended(self, training: Training, outcome: Outcome) -> None:
        """Draw the last frame."""
        if not training.recipe.page_frames or outcome.status == "failed":
            return
        with self._timed():
            self._finish_lesson(training, None)
            if self._first is not None:
                self._save(training, self._first, is_deep=True)
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
        modality, device = training.dataset.modality, next(training.game.generator.parameters()).device
        inputs, labels = draw_inputs(training)
        self._inputs, self._labels = inputs.to(device), None if labels is None else labels.to(device)
        self._thumbnails = modality.thumbnails()
        self._view = (
            None if training.config.both_ways else modality.draw_game(training.dataset.train, training.recipe.seed)
        )
        stride = math.ceil(len(inputs) / MOST_SAMPLES)
        if self._sizes:  # as many samples as before
            with suppress(UsageError):  # a power cut may have left an empty file
                before = read_json(self.run.frame_path(max(self._sizes)), dict)
                stride = max(1, round(len(inputs) / max(1, len(before.get("probabilities", [])))))
        self._thin_samples(training, stride)
        path = self.run.frames / "data.json"
        if self._view is not None and not path.exists():
            self._write(path, to_json(self._view.data()))

    def _thin_samples(self, training: Training, stride: int) -> None:
        """Show every so many of the samples, of each class about as many."""
        self._inputs = self._inputs[::stride]
        self._labels = None if self._labels is None else self._labels[::stride]
        self._names = training.config.label_names(self._labels)

    def _choose_number(self, training: Training) -> None:
        """After a few steps, save the first frame, and show fewer samples if frames of all would take too long."""
        first, steps = self._first, training.game.steps
        if first is None or steps < STEPS_TO_TIME:
            self._early = (training.seconds, training.progress) if steps == 1 else self._early
            return
        self._first = None
        seconds, progress = training.seconds - self._early[0], training.progress - self._early[1]
        left = SHARE * seconds / max(progress, 1e-9) - self.seconds  # since the first frame took long, to warm up
        each = max(1e-9, left / (min(training.recipe.page_frames, USUAL) + 2))
        stride = most = max(1, len(self._inputs) // LEAST_SAMPLES)
        few = _Moment(first.counters, first.samples[::most], first.probabilities[::most])
        self._describe(training, few, is_deep=True)  # the first time takes long
        began = time.perf_counter()
        if (half := self._look(training, is_deep=False, stride=min(2, most))) is not None:
            self._describe(training, half, is_deep=False)
            taken = (time.perf_counter() - began) * len(self._inputs) / len(half.samples)
            stride = min(most, max(1, math.ceil(RESERVE * taken / each)))
        self._thin_samples(training, stride)
        first.samples, first.probabilities = first.samples[::stride], first.probabilities[::stride]
        self._save(training, first, is_deep=True)

    def _draw(self, training: Training, *, is_deep: bool, is_last: bool = False) -> None:
        """Save a frame, or remember it if it waits for its lesson or for the number of samples."""
        moment = self._look(training, is_deep, has_lesson=is_deep and not is_last)
        if moment is None:
            return  # the training is about to fail, and there is nothing to see
        if moment.begun is not None:
            self._lesson = moment
        elif training.game.steps == 0 and moment.view is None and not is_last:
            self._first = moment
        else:
            self._save(training, moment, is_deep)

    def _look(self, training: Training, is_deep: bool, has_lesson: bool = False, stride: int = 1) -> _Moment | None:
        """What there is to see now; None if it is not finite."""
        game, inputs = training.game, self._inputs[::stride]
        labels = None if self._labels is None else self._labels[::stride]
        counters = {"step": game.steps, "seconds": round(training.seconds, 3), "images": training.images}
        with look_at(game, training.recipe.compile):
            generator = one_way(training.average.module)
            fed = labels if training.config.source is None else None
            with torch.no_grad():
                samples = generator(*(each for each in (inputs, fed) if each is not None)).float()
                logits = game.logits(samples, labels, one_way(game.discriminator))
            if not (samples.isfinite().all() and logits.isfinite().all()):
                return None
            moment = _Moment(counters, samples, game.objective.probability(logits).cpu())
            if self._view is not None:
                moment.view = self._view.draw(Scene(game, generator, samples, labels), is_deep=is_deep)
            if self._view is not None and has_lesson:
                real, real_labels = draw_real(training)
                moment.begun = self._view.begin_lesson(game, real[-1], None if real_labels is None else real_labels[-1])
        return moment

    def _finish_lesson(self, training: Training, report: Report | None) -> None:
        """Save the frame that waits, with its lesson if the iteration went well."""
        moment, self._lesson, game = self._lesson, None, training.game
        if moment is None:
            return
        assert self._view is not None
        assert moment.view is not None
        if report is not None:
            with look_at(game, training.recipe.compile):
                moment.view["lesson"] = self._view.end_lesson(game, moment.begun, report)
        self._save(training, moment, is_deep=True)

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
        if is_deep:  # the first row tells which way is smaller, in little time
            row = picture.crop((0, 0, picture.width, tile[1]))
            self._is_lossless = len(encode(row, lossless=True)) < len(encode(row, lossless=False))
        encoded = encode(picture, lossless=self._is_lossless)
        return {"picture": data_url(encoded, "image/webp"), "columns": columns, "tile": list(tile), "gap": 0}

    def _describe(self, training: Training, moment: _Moment, is_deep: bool) -> bytes:
        """A frame as JSON."""
        samples = moment.samples
        frame = moment.counters | {
            "labels": self._names,
            "probabilities": [round(each, 3) for each in moment.probabilities.tolist()],
            "thumbnails": pack_features(self._thumbnails((samples * training.dataset.modality.scale).cpu())),
        }
        if moment.view is None or self._view is None:
            frame |= self._draw_picture(training, samples, is_deep)
        else:
            frame[self._view.name] = moment.view
        return to_json(frame)

    def _save(self, training: Training, moment: _Moment, is_deep: bool) -> None:
        """Write a frame, and delete others if they have become too many."""
        step = moment.counters["step"]
        if size := self._write(self.run.frame_path(step), self._describe(training, moment, is_deep)):
            self._sizes[step] = size
        for gone in thin_out(self._sizes, 2 * training.recipe.page_frames, MOST_BYTES):
            with suppress(OSError):
                self.run.frame_path(gone).unlink()
            del self._sizes[gone]

    def _write(self, path: Path, data: bytes) -> int:
        """Write, not waiting for the disk, which would take longer than drawing; return the bytes, 0 if it failed."""
        try:
            self.run.frames.mkdir(exist_ok=True)
            write_atomically(path, lambda beside: beside.write_bytes(data), flush=False)
            return len(data)
        except OSError as error:
            if not self.run.path.is_dir():
                raise  # the run's folder itself is gone
            if not self._is_warned:
                reason = error.strerror or error
                message = f"cannot write {self.run.frames}: {reason}; the training goes on without"
                warnings.warn(SparringWarning(message), stacklevel=2)
            self._is_warned = True
            return 0


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
    picture.save(data, "WEBP", lossless=lossless, quality=20 if lossless else QUALITY, method=1)
    return data.getvalue()


def to_json(value: dict[str, Any]) -> bytes:
    """An object as short JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def pack_features(features: Features) -> dict[str, Any]:
    """Features of samples as bytes, and what their least and their greatest value is."""
    values = features.numpy()
    low, high = float(values.min()), float(values.max())
    scaled = np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return {"shape": [*values.shape], "data": base64.b64encode(scaled.tobytes()).decode(), "low": low, "high": high}

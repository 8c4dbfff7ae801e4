"""What the live page asks a generator: the page that draws its samples, and the training items near a sample."""

import base64
import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparring.data.labels import names_of
from sparring.errors import SparringError, UsageError
from sparring.files import parse_json
from sparring.generator.config import Config
from sparring.generator.export.to_html import build_html
from sparring.generator.generator import Generator, load
from sparring.modalities.modality import Dataset, Modality
from sparring.modalities.output import data_url, picture_url
from sparring.seeding import Stream
from sparring.training.evaluate import open_data_of
from sparring.training.loop import SCHEDULES
from sparring.training.run_folder import Run
from sparring.web.found import FoundRun, NotFoundError
from sparring.web.reading import Runs

NUM_NEAREST = 3
NUM_COMPARED = 20_000  # training items
AT_ONCE = 500  # of them in memory
MAX_NUMBERS = 16  # of an item that is given as numbers, such as a point
NUM_FACTORS = 200  # of a schedule
NUM_KEPT = 2  # data sets in memory
DRAW = Stream(0, "page/nearest")


@dataclass(frozen=True)
class Compared:
    """Thumbnails of training items to compare samples with; items are drawn again when they are shown."""

    dataset: Dataset
    features: Tensor  # [n, d]
    usual_distance: float  # between two of them

    def show(self, number: int) -> dict[str, Any]:
        """One of the items, and its label."""
        data, stream, place = self.dataset, DRAW.at(number // AT_ONCE), number % AT_ONCE
        sample, labels = data.train.batch(AT_ONCE, stream)[[place]], data.train.labels(AT_ONCE, stream)
        names = [""] if labels is None else names_of(labels[[place]], data.class_names, data.attributes)
        return show_each(data.modality, data.modality.decode(sample))[0] | {"label": names[0]}


class Explorer:
    """Generators of runs, and the training items that their samples are compared with.

    Args:
        runs: where they are.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._compared: dict[str, Compared] = {}

    def build_page(self, run: FoundRun) -> str:
        """The page that draws samples; a UsageError if the generator is of a kind that no page can draw."""
        return build_html(self._load(run), name=run.name, run=run.shown)

    def nearest(self, run: FoundRun, step: int, index: int) -> dict[str, Any]:
        """The training items that are nearest to a sample of a frame, by their thumbnails."""
        thumbnails = read_thumbnails(self._runs.whole_frame(run, step).get("thumbnails"))
        if index >= len(thumbnails):
            raise UsageError(f"the frame has {len(thumbnails)} samples, and none with the number {index}")
        compared = self._compare_with(run)
        if thumbnails.shape[1] != compared.features.shape[1]:
            raise NotFoundError("the training data are no longer of the shape of the samples")
        distances = torch.cdist(thumbnails[index : index + 1], compared.features)[0]
        least = (distances / compared.usual_distance).topk(min(NUM_NEAREST, len(distances)), largest=False)
        return {
            "items": [
                compared.show(number) | {"distance": round(distance, 4)}
                for number, distance in zip(least.indices.tolist(), least.values.tolist(), strict=True)
            ],
            "of": len(distances),
            "unit": "1 is the usual distance between two training items",
        }

    def _load(self, run: FoundRun) -> Generator:
        """The generator of a run, as it was saved last."""
        files = "generator/config.json", "generator/model.safetensors"
        if None in [self._runs.changed_ns(run, name) for name in files]:
            raise NotFoundError(f"the run {run.shown} has saved no generator yet")
        return load(run.path / "generator")

    def _compare_with(self, run: FoundRun) -> Compared:
        """The run's training items; a NotFoundError where the data are gone."""
        if run.id not in self._compared:
            try:
                self._compared[run.id] = _open_items(self._load(run), run)
            except (SparringError, OSError) as error:
                raise NotFoundError(f"the training data cannot be read, so none can be compared: {error}") from error
        while len(self._compared) > NUM_KEPT:
            del self._compared[next(iter(self._compared))]
        return self._compared[run.id]


def describe_run(runs: Runs, run: FoundRun) -> dict[str, Any]:
    """A run's settings, results and classes, as far as they are there."""
    summary = runs.read_object(run, "summary.json")
    recipe = runs.recipe(run)
    data = runs.read_object(run, "generator/config.json")
    try:
        config = parse_json(json.dumps(data).encode(), Config, "config.json") if data else None
    except UsageError:  # of another version
        config = None
    known = config.known_labels if config is not None else {}
    saved_ns = runs.changed_ns(run, "generator/model.safetensors")
    can_be_explored = config is not None and config.source is None and saved_ns is not None
    return {
        "id": run.id,
        "name": run.name,
        "path": run.shown,
        "recipe": recipe,
        "summary": summary,
        "modality": config.modality.name if config is not None else "",
        "item": config.modality.describe() if config is not None else "",
        "classes": [*known],
        "class_shares": [config.class_shares[number] for number in known.values()] if config is not None else [],
        "is_training": runs.is_training(run),
        "generator_saved": str(saved_ns) if can_be_explored else None,
        "rates": _rates(recipe),
    }


def _rates(recipe: dict[str, Any]) -> dict[str, Any] | None:
    """Both learning rates at the start, and the factors on them along the training."""
    schedule, rate, ratio = recipe.get("schedule"), recipe.get("learning_rate"), recipe.get("learning_rate_ratio")
    if schedule not in SCHEDULES or not isinstance(rate, int | float) or not isinstance(ratio, int | float):
        return None
    factors = [SCHEDULES[schedule](place / NUM_FACTORS) for place in range(NUM_FACTORS + 1)]
    return {"generator": rate, "discriminator": rate * ratio, "factors": factors}


def show_each(modality: Modality, items: np.ndarray) -> list[dict[str, Any]]:
    """What a page shows of each item: its numbers if these are few, or else its picture; its sound if it has one."""
    write_sound, shown = modality.file_writers.get(".wav"), []
    for item in np.split(items, len(items)):
        sound = io.BytesIO()
        if write_sound is not None:
            write_sound(item, sound)
        shown.append(
            {
                "picture": picture_url(modality.picture(item)) if item.size > MAX_NUMBERS else None,
                "sound": data_url(sound.getvalue(), "audio/wav") if write_sound is not None else None,
                "numbers": modality.to_numbers(item) if item.size <= MAX_NUMBERS else None,
            }
        )
    return shown


def read_thumbnails(value: object) -> Tensor:
    """The thumbnails of a frame's samples, float32 [n, d]; a NotFoundError if it holds none."""
    try:
        assert isinstance(value, dict)
        (n, d), low, high = value["shape"], float(value["low"]), float(value["high"])
        numbers = np.frombuffer(base64.b64decode(value["data"], validate=True), np.uint8).reshape(n, d)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise NotFoundError("the frame holds no thumbnails to compare") from error
    return low + (high - low) / 255 * torch.from_numpy(numbers.astype(np.float32))


def _open_items(generator: Generator, run: FoundRun) -> Compared:
    dataset = open_data_of(generator, Run(run.path))
    count, look = min(NUM_COMPARED, dataset.train.num_items or NUM_COMPARED), dataset.modality.thumbnails()
    # Batches of successive steps are of different items.
    batches = (dataset.train.batch(AT_ONCE, DRAW.at(step)) for step in range(math.ceil(count / AT_ONCE)))
    features = torch.cat([look(batch) for batch in batches])[:count]
    usual = (features - features.roll(1, 0)).norm(dim=1).mean().item()  # they are in a random order
    return Compared(dataset, features, usual or 1.0)

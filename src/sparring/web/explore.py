"""What the live page asks a generator: what it is, samples at chosen latents, and the training items near a sample."""

import base64
import io
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparring.data.labels import names_of
from sparring.errors import SparringError, UsageError
from sparring.files import parse_json
from sparring.game.sources import spherical
from sparring.generator.config import Config
from sparring.generator.directions import principal_directions
from sparring.generator.generator import Generator, load
from sparring.modalities.modality import Dataset, Modality
from sparring.modalities.output import data_url, picture_url
from sparring.seeding import Stream
from sparring.training.evaluate import open_data_of
from sparring.training.loop import SCHEDULES
from sparring.training.run_folder import Run
from sparring.web.found import FoundRun, NotFoundError
from sparring.web.reading import Runs

MAX_DIRECTIONS = 8
MAX_SAMPLES, MAX_SEEDS = 64, 16  # in a request, and mixed in one sample
MAX_DEVIATIONS = 20.0  # along a direction
NUM_NEAREST = 3
NUM_COMPARED = 20_000  # training items
AT_ONCE = 500  # of them in memory
MAX_NUMBERS = 16  # of an item that is given as numbers, such as a point
NUM_FACTORS = 200  # of a schedule
NUM_KEPT = 2  # generators, and data sets, in memory
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
    """Generators of runs, loaded when they are first asked for, and again when a training has saved them anew.

    Args:
        runs: where they are.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._generators: dict[str, tuple[object, Generator, Tensor]] = {}
        self._compared: dict[str, Compared] = {}

    def describe(self, run: FoundRun) -> dict[str, Any]:
        """What can be chosen: labels, and the number of directions; a UsageError for a translator."""
        generator, directions = self._load(run)
        config = generator.config
        return {
            "latent_dim": config.latent_dim,
            "prior": config.prior,
            "labels": [*config.known_labels],
            "directions": len(directions),
            "kind": generator.modality.shown_as,
        }

    def samples(self, run: FoundRun, request: dict[str, Any]) -> dict[str, Any]:
        """Samples at mixes of the latents of seeds, moved along directions.

        Args:
            run: whose generator makes them.
            request: `seeds`, for each sample a list of pairs of a seed and its weight; `directions`, how far to go
                along each, in standard deviations of the latents; `label` and `truncation` as `Generator.sample` takes
                them.

        Raises:
            UsageError: if the request asks for what the generator cannot make.
        """
        generator, directions = self._load(run)
        mixes, moves = _check_mixes(request.get("seeds")), _check_moves(request.get("directions", []), len(directions))
        label, truncation = request.get("label"), request.get("truncation")
        if label is not None and not isinstance(label, str):
            raise UsageError("label must be the name of a class")
        if truncation is not None and not _is_number(truncation):
            raise UsageError("truncation must be a number")
        latents = torch.stack([mix_latents(generator, mix, truncation) for mix in mixes])
        deviation = 1.0 if generator.config.prior == "gaussian" else 3**-0.5
        latents += deviation * (torch.tensor(moves) @ directions[: len(moves)])
        # The label of a mix is that of the seed with the most weight.
        labels = [generator.random_labels(1, max(mix, key=lambda pair: pair[1])[0], label) for mix in mixes]
        given = torch.cat([each for each in labels if each is not None]) if labels[0] is not None else None
        items = show_each(generator.modality, generator.generate(latents, given))
        is_plain = len(mixes) == len(mixes[0]) == 1 and not any(moves)
        return {"items": items, "command": _command(run, mixes[0][0][0], label, truncation) if is_plain else ""}

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

    def _load(self, run: FoundRun) -> tuple[Generator, Tensor]:
        """The generator of a run and its directions."""
        if not all(self._runs.has_file(run, f"generator/{name}") for name in ("config.json", "model.safetensors")):
            raise NotFoundError(f"the run {run.shown} has saved no generator yet")
        state = (run.path / "generator" / "model.safetensors").stat()
        version = state.st_ino, state.st_size, state.st_mtime_ns
        kept = self._generators.pop(run.id, None)
        if kept is None or kept[0] != version:
            generator = load(run.path / "generator")
            if not generator.is_finite():
                raise NotFoundError("the generator's weights are not finite: the training failed")
            kept = version, generator, principal_directions(generator, min(MAX_DIRECTIONS, generator.config.latent_dim))
        self._generators[run.id] = kept
        while len(self._generators) > NUM_KEPT:
            del self._generators[next(iter(self._generators))]
        return kept[1], kept[2]

    def _compare_with(self, run: FoundRun) -> Compared:
        """The run's training items; a NotFoundError where the data are gone."""
        if run.id not in self._compared:
            try:
                self._compared[run.id] = _open_items(self._load(run)[0], run)
            except (SparringError, OSError) as error:
                raise NotFoundError(f"the training data cannot be read, so none can be compared: {error}") from error
        while len(self._compared) > NUM_KEPT:
            del self._compared[next(iter(self._compared))]
        return self._compared[run.id]


def describe_run(runs: Runs, run: FoundRun) -> dict[str, Any]:
    """A run's settings, results and classes, as far as they are there."""
    file, summary, card = (runs.read_object(run, f"{name}.json") for name in ("recipe", "summary", "card"))
    recipe: Any = file.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    data = runs.read_object(run, "generator/config.json")
    try:
        config = parse_json(json.dumps(data).encode(), Config, "config.json") if data else None
    except UsageError:  # of another version
        config = None
    known = config.known_labels if config is not None else {}
    limits = {name: recipe.get(name) for name in ("steps", "images", "minutes", "until")}
    return {
        "id": run.id,
        "name": run.name,
        "path": run.shown,
        "recipe": recipe,
        "versions": file.get("versions", {}),
        "summary": summary,
        "card": card or None,
        "modality": config.modality.name if config is not None else "",
        "item": config.modality.describe() if config is not None else "",
        "classes": [*known],
        "class_shares": [config.class_shares[number] for number in known.values()] if config is not None else [],
        "is_training": runs.is_training(run),
        "has_latents": config is not None and config.source is None,
        "rates": _rates(recipe),
        "limits": ", ".join(f"{value} {name}" for name, value in limits.items() if value is not None),
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
    for item in items:
        sound = io.BytesIO()
        if write_sound is not None:
            write_sound(item[None], sound)
        shown.append(
            {
                "picture": picture_url(modality.picture(item[None])) if item.size > MAX_NUMBERS else None,
                "sound": data_url(sound.getvalue(), "audio/wav") if write_sound is not None else None,
                "numbers": np.ravel(item).tolist() if item.size <= MAX_NUMBERS else None,
            }
        )
    return shown


def mix_latents(generator: Generator, mix: Sequence[tuple[int, float]], truncation: float | None = None) -> Tensor:
    """The latent of one seed, a point on the great circle between those of two, or a mix of several, [latent_dim].

    Several Gaussian latents z with weights w that sum to 1 make Σ w z / √(Σ w²), which is as long as each of them.
    """
    latents = torch.cat([generator.latents(1, seed, truncation) for seed, _ in mix])
    total = sum(weight for _, weight in mix)
    weights = torch.tensor([weight / total for _, weight in mix])
    if len(mix) == 1:
        return latents[0]
    if len(mix) == 2:
        return spherical(latents[0], latents[1], weights[1:])[0]
    length = weights.square().sum().sqrt() if generator.config.prior == "gaussian" else 1.0
    return weights @ latents / length


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


def _check_mixes(value: object) -> list[list[tuple[int, float]]]:
    """The seeds of each sample with their weights."""
    each = f"at most {MAX_SEEDS} pairs of a seed and its weight"
    wrong = UsageError(f"seeds must hold, for each of at most {MAX_SAMPLES} samples, {each}")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SAMPLES:
        raise wrong
    for mix in value:
        if not isinstance(mix, list) or not 1 <= len(mix) <= MAX_SEEDS:
            raise wrong
        for pair in mix:
            if not isinstance(pair, list) or len(pair) != 2 or not _is_number(pair[1]) or not 0 <= pair[1] <= 1e6:
                raise wrong
            if not isinstance(pair[0], int) or isinstance(pair[0], bool) or not 0 <= pair[0] < 2**64:
                raise wrong
        if not sum(weight for _, weight in mix) > 0:
            raise wrong
    return [[(seed, float(weight)) for seed, weight in mix] for mix in value]


def _check_moves(value: object, most: int) -> list[float]:
    """How far to go along each direction."""
    if not isinstance(value, list) or len(value) > most or not all(_is_number(each) for each in value):
        raise UsageError(f"directions must be at most {most} numbers")
    return [max(-MAX_DEVIATIONS, min(MAX_DEVIATIONS, float(each))) for each in value]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _command(run: FoundRun, seed: int, label: str | None, truncation: float | None) -> str:
    """The command that draws the same sample."""
    words = ["sparring", "sample", run.shown, "-n", "1", "--seed", str(seed)]
    words += [] if label is None else ["--label", label]
    words += [] if truncation is None else ["--truncation", f"{truncation:g}"]
    return shlex.join([*words, "--out", "sample.png"])

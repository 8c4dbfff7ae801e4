"""A modality that nobody needs, short sequences of digits: one class and one entry, and no more is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sparring.data.containers import Kind, Reading
from sparring.data.files import find_container
from sparring.data.items import split
from sparring.errors import DataError
from sparring.metrics.extractors import Extractor, coordinates
from sparring.modalities import MODALITIES, RECIPES, SOURCES, Dataset, Modality, NamedSource, Preset
from sparring.types import OnProgress, Samples

TEXTS = Kind("sequences", frozenset({".txt"}))


@final
@dataclass(frozen=True)
class Sequences(Modality):
    """So many whole numbers from 0 to 9, one after the other: int64 [n, length]."""

    item_shape: tuple[int, ...]
    name: Literal["sequences"] = "sequences"

    summary = "short sequences of digits"
    array_name = "sequences"
    layouts = "sequences are whole numbers from 0 to 9 [n, length]"
    batch_normalization = False
    presets = (Preset("sequences", "few steps", "tests", {"network": "mlp", "batch_size": 16, "latent_dim": 8}),)

    def encode(self, items: np.ndarray) -> Samples:
        return torch.from_numpy(items).float() / 4.5 - 1

    def decode(self, samples: Tensor) -> np.ndarray:
        items: np.ndarray = ((samples.float() + 1) * 4.5).round().clamp(0, 9).long().cpu().numpy()
        return items

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Sequences, np.ndarray] | None":
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
            return None
        if array.size and (array.min() < 0 or array.max() > 9):
            raise DataError(f"{name!r} holds numbers from {array.min()} to {array.max()}: give 0 to 9")
        return cls(array.shape[1:]), array.astype(np.int64)

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Dataset | None:
        container = find_container(path, TEXTS, reading)
        if container is None or not container.num_files:
            return None
        found = container.read(lambda file, entry, number: file.read().split(), [], "reading", on_progress)
        items = np.array([line for _, line in found]).astype(np.int64)
        modality = cls(items.shape[1:])
        return Dataset(str(path), modality, *split(str(path), modality.encode(items)))

    def usual_network(self, normalization: str | None) -> str:
        return "mlp"

    def neutral_extractor(self) -> Extractor:
        return coordinates()

    def thumbnails(self) -> Extractor:
        return coordinates()

    def describe(self) -> str:
        return f"sequences of {self.item_shape[0]} digits"

    def num_pictured(self, num_rows: int) -> int:
        return 20

    def picture(self, items: np.ndarray, columns: int | None = None) -> Image.Image:
        return Image.fromarray((items * 28).astype(np.uint8)).resize((8 * items.shape[1], 8 * len(items)), 0)

    def write_files(self, items: np.ndarray, folder: Path, names: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for item, name in zip(items, names, strict=True):
            (folder / f"{name}.txt").write_text(" ".join(map(str, item)))


def count_up() -> Dataset:
    """Five digits in a row, from any first one on, with its parity as label."""
    modality, starts = Sequences((5,)), np.arange(600) % 6
    samples = modality.encode(starts[:, None] + np.arange(5))
    return Dataset("counting", modality, *split("counting", samples, torch.from_numpy(starts % 2)))


Sequences.sources = (NamedSource("counting", "five digits in a row", "tests", count_up),)


@pytest.fixture
def sequences(monkeypatch: pytest.MonkeyPatch) -> type[Sequences]:
    """The toy modality, registered while a test lasts."""
    monkeypatch.setitem(MODALITIES, Sequences.name, Sequences)
    for preset in Sequences.presets:
        monkeypatch.setitem(RECIPES, preset.name, preset)
    for source in Sequences.sources:
        monkeypatch.setitem(SOURCES, source.name, source)
    return Sequences

"""Points of two or more dimensions, in any units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from sparring.data.arrays import check_different, check_finite
from sparring.data.containers import Reading
from sparring.data.mixtures import Mixture, grid, ring
from sparring.game.sources import Source
from sparring.metrics.extractors import Extractor, coordinates
from sparring.metrics.neighbors import neighbor_distance
from sparring.modalities.drawing import GameView
from sparring.modalities.modality import Dataset, Modality, NamedSource
from sparring.modalities.plane import EXTENT, Plane, draw_plane
from sparring.modalities.preset import Preset
from sparring.types import Z_95, Features, Samples

if TYPE_CHECKING:
    from PIL.Image import Image


@final
@dataclass(frozen=True)
class Points(Modality):
    """Points with two or more coordinates."""

    item_shape: tuple[int, ...]  # (dimensions,)
    scale: float = 1.0  # the root mean square of the data's coordinates, so that no setting depends on their units
    name: Literal["points"] = "points"

    summary = "points of two or more dimensions, in any units"
    array_name = tensor_name = "points"
    layouts = "points, as floats [n, 2 or more dimensions]"
    batch_normalization = False
    num_shown = 2500
    shown_as = "points"

    def encode(self, items: np.ndarray) -> Samples:
        """The same points as a tensor."""
        return torch.from_numpy(items).float()

    def decode(self, samples: Tensor) -> np.ndarray:
        """The same points as an array."""
        points: np.ndarray = samples.float().cpu().numpy()
        return points

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Points, np.ndarray] | None":
        """Floats [n, 2 or more dimensions]."""
        if array.ndim != 2 or array.shape[1] < 2 or not np.issubdtype(array.dtype, np.floating):
            return None
        check_finite(array, name, "row")
        check_different(array, name, "points")
        points = array.astype(np.float32)
        scale = torch.from_numpy(points).square().mean().sqrt().item() if points.size else 1.0
        return cls(points.shape[1:], scale or 1.0), points

    def usual_network(self, normalization: str | None) -> str:
        """Fully connected."""
        return "mlp"

    def neutral_extractor(self) -> Extractor:
        """The coordinates."""
        return coordinates()

    def distance(self, real: Features, fake: Features, seed: int) -> tuple[float, float]:
        """By nearest neighbours: the moments of points may agree although no mode is found."""
        distance = neighbor_distance(real, fake)
        error = (distance.value - distance.low) / Z_95
        return distance.value, max(error, 1 / len(fake))  # no neighbour of the other set: too few samples to find one

    def describe(self) -> str:
        """The number of dimensions."""
        return f"points of {self.item_shape[0]} dimensions"

    def num_pictured(self, num_rows: int) -> int:
        """As many as a scatter plot can show."""
        return self.num_shown

    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """A scatter plot of the first two dimensions, from −2.2 to 2.2 times the scale."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.scatter(items[:, 0], items[:, 1], s=2, alpha=0.5, color="#2f6fbb", linewidths=0)
        extent = EXTENT * self.scale
        axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def draw_game(self, data: Source, seed: int) -> GameView | None:
        """Maps and arrows in the plane, for points of two dimensions."""
        return Plane(data, self.scale, seed) if self.item_shape == (2,) else None

    def picture_game(self, frame: Mapping[str, Any], data: Mapping[str, Any]) -> "Image":
        """The plane as the live page draws it at first."""
        return draw_plane(frame[Plane.name], data)


def _open(name: str, mixture: Mixture) -> Dataset:
    return Dataset(name, Points(mixture.item_shape, mixture.scale), mixture, mixture)


# fmt: off
Points.sources = (
    NamedSource(
        "ring", "8 Gaussians on a circle of radius 1, σ 0.01: points whose density is known",
        source="the mode-coverage benchmark of Lin et al. 2018 (PacGAN), arXiv:1712.04086",
        open=lambda: _open("ring", ring()),
    ),
    NamedSource(
        "grid", "25 Gaussians on a 5×5 grid of step 2, σ 0.05: points whose density is known",
        source="the mode-coverage benchmark of Lin et al. 2018 (PacGAN), arXiv:1712.04086",
        open=lambda: _open("grid", grid()),
    ),
)

Points.presets = (
    Preset(
        "points", "for points: relativistic, both zero-centred penalties, and a discriminator that sees detail",
        source="this project, docs/log.md, after Huang et al. 2024, arXiv:2501.05441",
        settings={
            "network": "fourier", "latent_dim": 10, "objective": "relativistic", "penalty": "r1r2",
            "penalty_weight": 5.0, "penalty_interval": 8, "penalty_final": 2e-5, "batch_size": 1024,
            "learning_rate": 1e-3, "learning_rate_ratio": 2.0, "beta1": 0.0, "beta2": 0.99, "schedule": "cosine",
            "average_decay": 0.999, "log_steps": 50,
        },
    ),
)

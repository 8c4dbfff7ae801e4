"""Draws a game of points in the plane, for the live page: maps, arrows, and an iteration step by step."""

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import logsigmoid

from sparring.data.mixtures import Mixture
from sparring.game.game import Game, Report
from sparring.game.sources import Gaussian, Source, Uniform
from sparring.modalities.drawing import GameView, Scene
from sparring.seeding import Stream
from sparring.types import Labels, Logits, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENT = 2.2  # of drawings, in both directions from the origin, in units of the data's scale
CELLS = 48  # of a map in each direction
GRID, GRID_EXTENT = 25, 2.0  # lines of the latents' grid in each direction, and how far they reach
NUM_REAL = 500  # real points that are shown
NUM_IN_LESSON = 64  # real and generated points in a lesson
NUM_FOR_DENSITY = 4096  # samples from which the generator's density is estimated
MAX_LABELS = 8  # with labels, a map is the average over so many of them
REAL, FAKE = (0, 114, 178), (213, 94, 0)  # blue and vermillion: told apart by everybody
PIXELS = 420  # of a picture of the plane
BLUR = 1.0  # the standard deviation, in cells, by which both densities are smoothed for the optimum


@final
class Plane(GameView):
    """A game of points in the plane.

    Args:
        data: the real points, in their units.
        scale: one unit of the networks in the data's units.
        seed: of the real points that are shown, and of the latents of the generator's density.
    """

    name = "points"

    def __init__(self, data: Source, scale: float, seed: int) -> None:
        self.scale, self.extent, self.seed = scale, EXTENT * scale, seed
        self.real = data.batch(NUM_REAL, Stream(seed, "frames/real"))
        self.mass = cell_masses(data, self.extent) if isinstance(data, Mixture) else None
        centers = (torch.arange(CELLS) + 0.5) * (2 * EXTENT / CELLS) - EXTENT
        self._centers = torch.cartesian_prod(centers, centers).flip(1)  # row by row, x runs first
        line = torch.linspace(-1, 1, GRID)
        self._grid = torch.cartesian_prod(line, line).flip(1)

    def data(self) -> dict[str, Any]:
        """Some real points and, where it is known, their density, averaged over each cell of a map."""
        drawn: dict[str, Any] = {"extent": self._extent(), "real": self._places(self.real)}
        if self.mass is not None:
            area = (2 * self.extent / CELLS) ** 2
            drawn["density"] = _pack(self.mass / area, "<f4")
        return drawn

    def draw(self, scene: Scene, *, is_deep: bool) -> dict[str, Any]:
        """Samples, arrows, the discriminator's map and the image of the latents' grid; the optimum if it is deep."""
        game, samples, labels = scene.game, scene.samples, scene.labels
        real = (self.real / self.scale).to(samples)
        real = real.repeat(math.ceil(len(samples) / len(real)), 1)[: len(samples)]  # only paired losses need them
        drawn: dict[str, Any] = {
            "extent": self._extent(),
            "samples": self._places(samples * self.scale),
            "map": _pack(self._map(game, labels), "<u2", 65535),
            "gradients": _pack(self._arrows(game, samples, real, labels), "<f4"),
        }
        if (grid := self._image_of_grid(game, scene.generator, labels)) is not None:
            drawn["grid"] = self._places(grid * self.scale)
        if is_deep and labels is None and self.mass is not None:
            p, q = self._densities(game)
            drawn["optimum"] = _pack(optimum(p, q), "<u2", 65535)
            js, bound = js_and_bound(p, q, self._map(game, labels).reshape(CELLS, CELLS).logit(1e-6))
            drawn |= {"js": round(js, 4), "bound": round(bound, 4)}
        return drawn

    def begin_lesson(self, game: Game, real: Samples, labels: Labels | None) -> dict[str, Any]:
        """The batch, what the generator makes of the iteration's latents, and the map before both updates."""
        part = len(real) // game.accumulate
        real, labels = real[:part], None if labels is None else labels[:part]
        with torch.no_grad():
            latents, fakes, _ = game.generate(part, game.discriminator_steps - 1, labels)
        latents, fakes, real = latents[:NUM_IN_LESSON], fakes[:NUM_IN_LESSON], real[:NUM_IN_LESSON]
        labels = None if labels is None else labels[:NUM_IN_LESSON]
        begun = {"latents": latents, "fakes": fakes, "real": real, "labels": labels}
        return begun | self._judge(game, begun)

    def end_lesson(self, game: Game, begun: dict[str, Any], report: Report) -> dict[str, Any]:
        """The map changed by the discriminator's update alone, and the fakes by the generator's."""
        latents, labels, after = begun["latents"], begun["labels"], self._judge(game, begun)
        with torch.no_grad():
            fakes_after = game.generator(*(each for each in (latents, labels) if each is not None))
        judge = begun if game.simultaneous else after  # the discriminator by which the generator was updated
        return {
            "real": self._places(begun["real"] * self.scale),
            "fakes": self._places(begun["fakes"] * self.scale),
            "fakes_after": self._places(fakes_after * self.scale),
            "map": _pack(begun["map"], "<u2", 65535),
            "map_after": _pack(after["map"], "<u2", 65535),
            "gradients": _pack(judge["arrows"], "<f4"),
            "real_probability": [round(each["real_probability"], 4) for each in (begun, after)],
            "fake_probability": [round(each["fake_probability"], 4) for each in (begun, after)],
            "discriminator_loss": report.discriminator_loss,
            "generator_loss": report.generator_loss,
            "latents": _pack(latents.flatten(1)[:, :2], "<f4"),
        }

    def _judge(self, game: Game, begun: dict[str, Any]) -> dict[str, Any]:
        """What the discriminator says of a lesson's points now."""
        real, fakes, labels = begun["real"], begun["fakes"], begun["labels"]
        with torch.no_grad():
            probabilities = [game.objective.probability(game.logits(each, labels)) for each in (real, fakes)]
        return {
            "map": self._map(game, labels),
            "arrows": self._arrows(game, fakes, real, labels),
            "real_probability": probabilities[0].mean().item(),
            "fake_probability": probabilities[1].mean().item(),
        }

    @torch.no_grad()
    def _map(self, game: Game, labels: Labels | None) -> Tensor:
        """The discriminator's probability in the middle of each cell, averaged over some labels."""
        points = self._centers.to(next(game.discriminator.parameters()))
        if labels is None:
            return game.objective.probability(game.logits(points))
        some = torch.unique(labels, dim=0)[:MAX_LABELS]
        logits = [game.logits(points, each.expand(len(points), *each.shape)) for each in some]
        return torch.stack([game.objective.probability(each) for each in logits]).mean(0)

    def _arrows(self, game: Game, samples: Samples, real: Samples, labels: Labels | None) -> Tensor:
        """−∂ℓ/∂x of the generator's loss ℓ of each sample x, in the data's units."""
        with torch.enable_grad():
            x = samples.detach().clone().requires_grad_()
            fake_logits = game.logits(x, labels)
            real_logits: Logits = game.logits(real, labels).detach() if game.objective.paired else fake_logits
            loss = game.objective.generator(real_logits, fake_logits).sum()
            (gradient,) = torch.autograd.grad(loss, x)
        return -gradient.nan_to_num() / self.scale

    @torch.no_grad()
    def _image_of_grid(self, game: Game, generator: Module, labels: Labels | None) -> Tensor | None:
        """Where the generator takes a square in the plane of the first two latents; None if it takes no latents."""
        shape = game.prior.item_shape
        if not isinstance(game.prior, Gaussian | Uniform) or shape[0] < 2:
            return None
        reach = 1.0 if isinstance(game.prior, Uniform) else GRID_EXTENT
        latents = torch.zeros(len(self._grid), *shape)
        latents.flatten(1)[:, :2] = reach * self._grid
        inputs = [latents.to(next(generator.parameters()))]
        if labels is not None:
            inputs.append(labels[:1].expand(len(latents), *labels.shape[1:]))
        image: Tensor = generator(*inputs)
        return image

    @torch.no_grad()
    def _densities(self, game: Game) -> tuple[Tensor, Tensor]:
        """The masses p of the data, which are exact, and q of the generator, counted in samples; both are smoothed."""
        assert self.mass is not None
        latents = game.prior.batch(NUM_FOR_DENSITY, Stream(self.seed, "frames/density"))
        fakes = game.generator(latents.to(next(game.generator.parameters()))).float().cpu() * self.scale
        cells = ((fakes / self.extent + 1) * (CELLS / 2)).floor().long()
        inside = cells[((cells >= 0) & (cells < CELLS)).all(1)]
        counts = torch.bincount(inside[:, 1] * CELLS + inside[:, 0], minlength=CELLS**2)
        return smooth(self.mass), smooth(counts.reshape(CELLS, CELLS).double() / NUM_FOR_DENSITY)

    def _extent(self) -> list[float]:
        return [-self.extent, self.extent, -self.extent, self.extent]

    def _places(self, points: Tensor) -> str:
        """Points as numbers from 0 to 65535 over the extent."""
        return _pack((points.float() / (2 * self.extent) + 0.5).clamp(0, 1), "<u2", 65535)


def optimum(p: Tensor, q: Tensor) -> Tensor:
    """The optimal discriminator of masses of cells, p / (p + q); ½ where neither has any.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, eq. 2.
    """
    least = 1e-6 / CELLS
    return (p + least) / (p + q + 2 * least)


def js_and_bound(p: Tensor, q: Tensor, logits: Tensor) -> tuple[float, float]:
    """The Jensen-Shannon divergence of masses of cells in nats, and the most that a discriminator shows of it.

    2 JS ≥ V(D) + log 4 with V(D) = Σ p log D + Σ q log(1 − D), for every D = σ(logits + c); c is the best one, since
    some objectives leave it open. Equal where the logits are log p − log q.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, Theorem 1.
    """
    p, q, logits = p / p.sum(), q / q.sum().clamp(min=1e-12), logits.double()
    middle = (p + q) / 2
    js = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).nan_to_num().sum().item() / 2
    low, high = -50.0, 50.0
    for _ in range(60):  # dV/dc falls in c
        c = (low + high) / 2
        slope = (p * torch.sigmoid(-logits - c) - q * torch.sigmoid(logits + c)).sum()
        low, high = (c, high) if slope > 0 else (low, c)
    value = (p * logsigmoid(logits + c) + q * logsigmoid(-logits - c)).sum().item()
    return js, max(0.0, (value + math.log(4)) / 2)


def cell_masses(mixture: Mixture, extent: float) -> Tensor:
    """The probability of each cell of a map, float64 [CELLS, CELLS], the lowest row first."""
    edges = torch.linspace(-extent, extent, CELLS + 1, dtype=torch.float64)
    below = torch.special.ndtr((edges[:, None] - mixture.means.double().flatten()) / mixture.sigma)
    shares = below.diff(dim=0).reshape(CELLS, -1, 2)
    return torch.einsum("yk,xk->yx", shares[..., 1], shares[..., 0]) / len(mixture.means)


def smooth(masses: Tensor) -> Tensor:
    """Masses of cells, each spread over its neighbours by a Gaussian; mass beyond the edges is lost."""
    distances = torch.arange(CELLS, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((distances[:, None] - distances) / BLUR).square()) / (BLUR * math.sqrt(2 * math.pi))
    return kernel @ masses @ kernel


def draw_plane(drawn: Mapping[str, Any], data: Mapping[str, Any]) -> "Image":
    """The plane as the live page draws it at first: real points in blue and samples in vermillion on the map.

    Args:
        drawn: what `Plane.draw` gave.
        data: what `Plane.data` gave; without it, no real points are shown.
    """
    from PIL import Image, ImageDraw

    leaning = 2 * _unpack(drawn["map"], CELLS) - 1  # from -1, generated, over 0 to 1, real
    strength = 0.75 * np.abs(leaning) / max(0.01, np.abs(leaning).max())  # small differences count
    ends = np.where(leaning[..., None] > 0, REAL, FAKE)
    colours = np.rint(255 + (ends - 255) * strength[..., None]).astype(np.uint8)
    picture = Image.fromarray(colours[::-1].copy()).resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture, "RGBA")
    for places, colour, opacity in ((data.get("real"), REAL, 180), (drawn["samples"], FAKE, 230)):
        for x, y in [] if places is None else PIXELS * _unpack(places, 2):
            draw.rectangle((x - 1.5, PIXELS - y - 1.5, x + 1.5, PIXELS - y + 1.5), (*colour, opacity))
    return picture


def _unpack(text: str, columns: int) -> np.ndarray:
    """Numbers from 0 to 1 that `_pack` made whole."""
    return np.frombuffer(base64.b64decode(text), "<u2").reshape(-1, columns) / 65535


def _pack(values: Tensor, kind: str, largest: int | None = None) -> str:
    """Numbers as base64, little endian; from 0 to 1 as whole numbers up to the largest."""
    array = values.detach().cpu().double().numpy()
    if largest is not None:
        array = np.rint(np.nan_to_num(array) * largest)
    return base64.b64encode(np.ascontiguousarray(array.astype(kind)).tobytes()).decode()

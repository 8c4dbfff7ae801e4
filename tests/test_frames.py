"""Frames for the live page: what they show, how many there are, what they cost, and that they change nothing."""

import base64
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sparring
from sparring.data import Mixture, ring
from sparring.errors import UsageError
from sparring.game.game import Game, Report
from sparring.game.sources import Gaussian
from sparring.modalities.drawing import Scene
from sparring.modalities.plane import CELLS, EXTENT, Plane, cell_masses, js_and_bound
from sparring.seeding import Stream
from sparring.training import frames
from sparring.training.build import build
from sparring.training.frames import Frames, look_at, thin_out
from sparring.training.loop import Outcome, Training, draw_real, play_step
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve
from sparring.training.run_folder import Run, check_line, create_run

SMALL = {"width": 4, "batch_size": 16, "schedule": "constant", "evaluation_steps": 10, "log_steps": 5}


def begin(data: str = "ring", **settings: Any) -> Training:
    recipe, dataset = resolve(make_request(data, None, **{"steps": 1000, "width": 8, "batch_size": 128} | settings))
    return build(recipe, dataset)


def read(run: Run, step: int) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(run.frame_path(step).read_text())
    return frame


def unpack(text: str, kind: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape).astype(float)


def places(text: str, extent: list[float], *shape: int) -> Tensor:
    """Points in the units of the data."""
    low, high = extent[:2]
    return torch.from_numpy(unpack(text, "<u2", *shape, 2) / 65535 * (high - low) + low).float()


@pytest.fixture
def no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames take whatever time they like."""
    monkeypatch.setattr(frames, "SHARE", 1e9)


@pytest.mark.usefixtures("no_budget")
@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ("ring", {"penalty_interval": 2}),
        ("ring", {"objective": "hinge", "penalty": "spectral_norm", "discriminator_steps": 2, "batch_size": 32}),
        ("ring", {"objective": "wasserstein", "penalty": "gradient_penalty", "simultaneous": True, "accumulate": 2}),
        ("digits", {"conditional": True, "normalization": "batch"}),
        ("digits", {"augment": 0.2, "augment_target": 0.6, "penalty": "spectral_norm", "normalization": "none"}),
        ("digits", {"network": "resnet", "penalty": "r1", "conditional": False}),
    ],
)
def test_frames_change_nothing(data: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """The weights, the optimisers and the log of a training are the same bytes with many frames and with none."""
    settings = SMALL | {"steps": 20} | settings
    runs = [
        sparring.train(data, out=tmp_path / str(number), page_frames=number, progress=False, **settings)
        for number in (0, 10)
    ]
    assert [len(run.frame_steps()) for run in runs] == [0, 11]
    for name in ("checkpoints/step-000020/state.safetensors", "generator/model.safetensors"):
        assert len({(run.path / name).read_bytes() for run in runs}) == 1, name
    logs = [run.log() for run in runs]
    for line in logs[0] + logs[1]:
        del line["seconds"]
        line.get("evaluation", {}).pop("seconds", None)
    assert logs[0] == logs[1]


def test_looking_leaves_every_module_in_its_mode_and_no_gradient() -> None:
    training = begin()
    game = training.game
    part = next(game.discriminator.children()).eval()  # as a frozen part of a network of one's own
    modes = [module.training for module in game.discriminator.modules()]
    plane = Plane(training.dataset.train, training.dataset.modality.scale, 0)
    before, random = {name: each.clone() for name, each in game.state().items()}, torch.get_rng_state()
    with look_at(game):
        assert not any(module.training for module in game.discriminator.modules())
        torch.randn(3)
        samples = game.generator(torch.randn(5, 10))
        plane.draw(Scene(game, training.average.module, samples, None), is_deep=True)
    assert not part.training
    assert [module.training for module in game.discriminator.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], each) for name, each in game.state().items())
    players = [*game.generator.parameters(), *game.discriminator.parameters()]
    assert all(each.grad is None and each.requires_grad for each in players)


@pytest.mark.usefixtures("no_budget")
def test_a_frame_shows_the_samples_and_what_the_discriminator_says(tmp_path: Path) -> None:
    training, run = begin(objective="non_saturating"), create_run(tmp_path, "")
    for _ in range(3):
        play_step(training)
    Frames(run).started(training)
    listener = Frames(run)
    listener.started(training)
    listener.ended(training, Outcome("finished", ""))
    frame, scale, game = read(run, 3), training.dataset.modality.scale, training.game
    points = frame["points"]
    samples = places(points["samples"], points["extent"], 500)
    own = torch.from_numpy(training.generator().sample(2500, seed=0)[::5])
    assert (samples - own).abs().max() < 1e-4
    with torch.no_grad():
        logits = game.logits(samples / scale)
        assert torch.tensor(frame["probabilities"]) == pytest.approx(torch.sigmoid(logits).numpy(), abs=1e-3)
        x, y = 7, 40
        center = torch.tensor([[(x + 0.5) * 2 / CELLS - 1, (y + 0.5) * 2 / CELLS - 1]]) * EXTENT
        said = unpack(points["map"], "<u2", CELLS, CELLS)[y, x] / 65535
        assert said == pytest.approx(torch.sigmoid(game.logits(center)).item(), abs=0.5 / 65535 + 1e-6)
        grid = places(points["grid"], points["extent"], 25, 25)
        latents = torch.zeros(2, 10)
        latents[:, :2] = torch.tensor([[2.0, -2.0], [-1.0, 0.5]])  # row 0 to the right; row 15, column 6
        image = training.average.module(latents) * scale
        assert (grid[0, 24] - image[0]).abs().max() < 1e-4
        assert (grid[15, 6] - image[1]).abs().max() < 1e-4


class ByLabel(nn.Module):
    """A smooth discriminator in float64, whose logits depend on a label if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)).double()

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.layers(samples)
        return logits if labels is None else logits * (1 + labels[:, None])


@pytest.mark.parametrize("objective", ["non_saturating", "wasserstein", "least_squares", "relativistic"])
@pytest.mark.parametrize("is_conditional", [False, True])
def test_arrows_point_where_the_generators_loss_falls(objective: str, is_conditional: bool) -> None:
    """Against central differences of the loss of each sample in float64, in the data's units."""
    scale, discriminator = 3.0, ByLabel()
    mixture = Mixture(3 * ring().means, 0.1)
    game = Game(nn.Linear(4, 2), discriminator, objective=objective, prior=Gaussian((4,)))
    plane = Plane(mixture, scale, 0)
    samples = Stream(0, "x").normal(20, 2).double()
    labels = torch.arange(20) % 3 if is_conditional else None
    drawn = plane.draw(Scene(game, _Ignoring(), samples, labels), is_deep=False)
    arrows = torch.from_numpy(unpack(drawn["gradients"], "<f4", 20, 2))

    def losses(points: Tensor) -> Tensor:
        with torch.no_grad():
            real = game.logits(plane.real[:20].double() / scale, labels)
            return game.objective.generator(real, game.logits(points / scale, labels))

    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-5
        slope = (losses(samples * scale + step) - losses(samples * scale - step)) / 2e-5
        assert arrows[:, axis] == pytest.approx(-slope.numpy(), rel=1e-5, abs=1e-7)


class _Ignoring(nn.Module):
    """A generator that makes the first two latents of a normal distribution, whatever the label."""

    def __init__(self, center: tuple[float, float] = (0.0, 0.0), sigma: float = 1.0) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.tensor(center))
        self.sigma = sigma

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.center + self.sigma * latents[:, :2]


def test_the_mass_of_cells_is_the_integral_of_the_density() -> None:
    mixture = Mixture(torch.tensor([[-0.5, 0.2], [0.7, -0.4]]), 0.3)
    masses = cell_masses(mixture, 2.2)
    assert masses.sum() == pytest.approx(1, abs=1e-4)
    fine = (torch.arange(CELLS * 8) + 0.5) * 4.4 / (CELLS * 8) - 2.2
    density = mixture.log_density(torch.cartesian_prod(fine, fine).flip(1).double()).exp()
    summed = density.reshape(CELLS, 8, CELLS, 8).sum((1, 3)) * (4.4 / (CELLS * 8)) ** 2
    assert (masses - summed).abs().max() < 1e-6
    narrow = cell_masses(ring(), EXTENT * ring().scale)  # whose modes are far smaller than cells
    assert narrow.sum() == pytest.approx(1)


def test_the_optimum_of_a_known_generator() -> None:
    """Two normal distributions beside each other: p / (p + q) is known, and smoothing by a cell changes it little."""
    scale, sigma, center = 1.5, 0.45, (0.6, -0.3)
    mixture = Mixture(torch.tensor([[-0.6, 0.0]]), sigma)
    game = Game(_Ignoring((center[0] / scale, center[1] / scale), sigma / scale), ByLabel(), prior=Gaussian((4,)))
    plane = Plane(mixture, scale, 0)
    drawn = plane.draw(Scene(game, game.generator, torch.zeros(3, 2).double(), None), is_deep=True)
    optimum = torch.from_numpy(unpack(drawn["optimum"], "<u2", CELLS, CELLS) / 65535)
    cell = 2 * EXTENT * scale / CELLS
    axis = ((torch.arange(CELLS) + 0.5) * cell - EXTENT * scale).double()
    points, wide = torch.cartesian_prod(axis, axis).flip(1), math.hypot(sigma, cell)
    p, q = (Mixture(each, wide).log_density(points).exp() for each in (mixture.means, torch.tensor([center])))
    exact, seen = (p / (p + q)).reshape(CELLS, CELLS), (p + q).reshape(CELLS, CELLS) > 0.05
    assert seen.sum() > 300
    assert (optimum - exact)[seen].abs().max() < 0.12
    assert (optimum - exact)[seen].abs().mean() < 0.02
    assert optimum[0, 0] == pytest.approx(0.5, abs=0.01)  # nothing is there


def test_js_and_what_a_discriminator_shows_of_it() -> None:
    p, q = torch.rand(CELLS, CELLS, dtype=torch.float64), torch.rand(CELLS, CELLS, dtype=torch.float64)
    p, q = p / p.sum(), q / q.sum()
    js, bound = js_and_bound(p, q, (p / q).log() + 3)  # the best logits, up to a constant
    assert 0 < js < math.log(2)
    assert bound == pytest.approx(js, abs=1e-12)
    assert js_and_bound(p, q, torch.randn(CELLS, CELLS))[1] < js
    assert js_and_bound(p, p, torch.zeros(CELLS, CELLS)) == pytest.approx((0, 0), abs=1e-12)
    left = torch.zeros(CELLS, CELLS, dtype=torch.float64)
    left[:, :9] = 1
    assert js_and_bound(left, 1 - left, 60 * (2 * left - 1)) == pytest.approx((math.log(2),) * 2)


def test_the_optimum_against_a_perfect_generator_is_one_half() -> None:
    mixture = Mixture(torch.zeros(1, 2), 0.5)
    game = Game(_Ignoring(sigma=0.5), ByLabel(), prior=Gaussian((4,)))
    drawn = Plane(mixture, 1.0, 0).draw(Scene(game, game.generator, torch.zeros(3, 2).double(), None), is_deep=True)
    optimum = unpack(drawn["optimum"], "<u2", CELLS, CELLS) / 65535
    assert abs(optimum[20:28, 20:28] - 0.5).max() < 0.1


@pytest.mark.parametrize("settings", [{}, {"simultaneous": True}, {"discriminator_steps": 2}, {"accumulate": 2}])
def test_a_lesson_is_one_real_iteration(settings: dict[str, Any], tmp_path: Path) -> None:
    """Recomputed from copies of the networks before and after it."""
    training, run = begin(objective="non_saturating", **settings), create_run(tmp_path, "")
    game, scale, listener = training.game, training.dataset.modality.scale, Frames(run)
    listener.started(training)
    assert run.frame_steps() == []  # it waits for its lesson
    real, _ = draw_real(training)
    latents = game.generate(len(real[-1]) // game.accumulate, game.discriminator_steps - 1)[0][:64]
    maps, fakes, said = [], [], []
    centers = (torch.arange(CELLS) + 0.5) * (2 * EXTENT / CELLS) - EXTENT
    points = torch.cartesian_prod(centers, centers).flip(1)

    def note() -> None:
        with torch.no_grad():
            maps.append(torch.sigmoid(game.logits(points)).reshape(CELLS, CELLS).numpy())
            fakes.append(game.generator(latents) * scale)
            said.append([torch.sigmoid(game.logits(each)).mean().item() for each in (real[-1][:64], fakes[0] / scale)])

    note()
    by = ["gradients"] if game.simultaneous else []
    slopes = [slope(game, fakes[0] / scale) / scale]
    report = play_step(training)
    assert report is not None
    listener.stepped(training, report)
    note()
    slopes.append(slope(game, fakes[0] / scale) / scale)
    assert run.frame_steps() == [0]
    drawn, extent = read(run, 0)["points"]["lesson"], read(run, 0)["points"]["extent"]
    assert (places(drawn["real"], extent, 64) - real[-1][:64] * scale).abs().max() < 1e-4
    assert (places(drawn["fakes"], extent, 64) - fakes[0]).abs().max() < 1e-4
    assert (places(drawn["fakes_after"], extent, 64) - fakes[1]).abs().max() < 1e-4
    for name, exact in zip(("map", "map_after"), maps, strict=True):
        assert abs(unpack(drawn[name], "<u2", CELLS, CELLS) / 65535 - exact).max() < 0.5 / 65535 + 1e-5
    assert drawn["real_probability"] == pytest.approx([each[0] for each in said], abs=1e-4)
    assert drawn["fake_probability"] == pytest.approx([each[1] for each in said], abs=1e-4)
    assert unpack(drawn["gradients"], "<f4", 64, 2) == pytest.approx(slopes[0 if by else 1].numpy(), abs=1e-5)
    assert unpack(drawn["latents"], "<f4", 64, 2) == pytest.approx(latents[:, :2].numpy())
    assert drawn["discriminator_loss"] == report.discriminator_loss
    assert drawn["generator_loss"] == report.generator_loss


def slope(game: Game, samples: Tensor) -> Tensor:
    """The direction in which the non-saturating loss of each sample falls."""
    x = samples.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-game.logits(x)).sum(), x)
    return -gradient


def test_an_update_left_out_has_no_lesson(tmp_path: Path) -> None:
    training, run = begin(), create_run(tmp_path, "")
    listener = Frames(run)
    listener.started(training)
    listener.stepped(training, None)
    assert "lesson" not in read(run, 0)["points"]
    assert "optimum" in read(run, 0)["points"]


def test_networks_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    training, run = begin(), create_run(tmp_path, "")
    with torch.no_grad():
        next(training.average.module.parameters()).fill_(math.nan)
    Frames(run).started(training)
    assert run.frame_steps() == []


def test_real_points_are_written_once(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=2, out=tmp_path / "run", progress=False, **SMALL)
    data = json.loads((run.frames / "data.json").read_text())
    real = places(data["real"], data["extent"], 500)
    assert (real.norm(dim=1) - 1).abs().max() < 0.06  # six standard deviations
    area = (2 * data["extent"][1] / CELLS) ** 2
    assert unpack(data["density"], "<f4", CELLS, CELLS).sum() * area == pytest.approx(1, abs=1e-5)
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32))
    run = sparring.train(tmp_path / "points.npy", steps=2, out=tmp_path / "own", progress=False, **SMALL)
    assert "density" not in json.loads((run.frames / "data.json").read_text())
    assert "optimum" not in read(run, 0)["points"]


def test_points_of_three_dimensions_are_a_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    run = sparring.train(tmp_path / "points.npy", steps=1, out=tmp_path / "run", progress=False, **SMALL)
    assert read(run, 1)["columns"] == 1
    assert not (run.frames / "data.json").exists()


@pytest.mark.parametrize("every", [1, 7])
def test_frames_thin_out_evenly(every: int) -> None:
    """However long it lasts: the first, the newest, at least a hundred, and none of the gaps is much larger."""
    sizes: dict[int, int] = {}
    for number in range(1500):
        sizes[number * every] = 1000
        for gone in thin_out(sizes, most=256, most_bytes=10**9):
            del sizes[gone]
        steps = sorted(sizes)
        assert steps[0] == 0
        assert steps[-1] == number * every
        assert len(steps) == min(number + 1, 256)
    assert max(np.diff(steps)) <= 4 * np.median(np.diff(steps))


def test_large_frames_thin_out_by_their_bytes() -> None:
    sizes: dict[int, int] = {}
    for number in range(500):
        sizes[number] = 150_000
        for gone in thin_out(sizes, most=256, most_bytes=20_000_000):
            del sizes[gone]
    assert 100 <= len(sizes) <= 133
    assert {0, 499} <= sizes.keys()
    assert thin_out({0: 10, 1: 10}, most=1, most_bytes=1) == []


def test_no_frames(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=3, page_frames=0, out=tmp_path / "run", progress=False, **SMALL)
    assert not run.frames.exists()
    with pytest.warns(sparring.SparringWarning, match="page_frames 0 → 4"):
        run = sparring.resume(run, steps=5, page_frames=4, progress=False)
    assert run.frame_steps()[-1] == 5


@pytest.mark.usefixtures("no_budget")
def test_a_resumed_run_draws_its_frames_again(tmp_path: Path) -> None:
    run = sparring.train(
        "digits", steps=10, checkpoint_steps=4, keep_checkpoints=9, out=tmp_path, progress=False, **SMALL
    )
    assert run.frame_steps() == [*range(11)]
    kept = run.frame_path(4).read_bytes()
    later = run.frame_path(9).read_bytes()
    for step in (8, 10):
        shutil.rmtree(run.checkpoints / f"step-{step:06d}")
    with pytest.warns(sparring.SparringWarning, match="page_frames 128 → 0"):
        run = sparring.resume(run, steps=7, page_frames=0, progress=False)
    assert run.frame_steps() == [*range(5)]
    assert run.frame_path(4).read_bytes() == kept
    with pytest.warns(sparring.SparringWarning, match="page_frames 0 → 10"):
        run = sparring.resume(run, steps=10, page_frames=10, progress=False)
    assert run.frame_steps() == [*range(5), 8, 9, 10]
    assert read(run, 9)["probabilities"] == json.loads(later)["probabilities"]


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def follow(training: Training, listener: Frames, steps: int, step_seconds: float) -> None:
    """Let a listener follow a training of which only the time passes."""
    training.game.steps, training.seconds = 0, 0.0
    listener.started(training)
    for step in range(1, steps + 1):
        training.game.steps, training.seconds = step, step * step_seconds
        listener.stepped(training, Report(step, 0, 0, 0, 0, 0, 0, 0))
    listener.ended(training, Outcome("finished", ""))


@pytest.mark.parametrize("cost", [0.001, 0.05, 0.25, 0.5])
@pytest.mark.parametrize("limit", ["steps", "minutes"])
def test_slow_frames_keep_to_their_share(
    cost: float, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of all samples takes so many seconds, of a training of 60."""
    clock, run = Clock(), create_run(tmp_path, "")
    monkeypatch.setattr("sparring.training.frames.time.perf_counter", clock)
    draw = Frames._draw_picture

    def draw_slowly(self: Frames, training: Training, samples: Tensor, is_deep: bool) -> dict[str, Any]:
        clock.now += cost * len(samples) / 100
        return draw(self, training, samples, is_deep)

    monkeypatch.setattr(Frames, "_draw_picture", draw_slowly)
    training = begin(
        "digits", **{limit: 600 if limit == "steps" else 1.0} | ({"steps": None} if limit == "minutes" else {})
    )
    listener = Frames(run)
    follow(training, listener, 600, 0.1)
    assert listener.seconds == pytest.approx(clock.now)
    steps = run.frame_steps()
    assert {0, 600} <= {*steps}
    if cost < 0.5:
        assert len(steps) > 100
        assert max(np.diff(steps)) <= 50  # the first frame, and finding out what one takes, are paid first
    assert listener.seconds <= frames.SHARE * 60 + 3 * cost
    counts = {len(read(run, step)["probabilities"]) for step in steps}
    assert len(counts) == 1  # the first frame shows the same samples
    assert (counts.pop() == 100) == (cost < 0.01)


def test_only_one_row_is_compressed_to_choose_the_smaller_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Noise that was blurred is smaller with losses, and black squares without; the rest is compressed once."""
    pixels: list[int] = []
    encode = frames.encode

    def count(picture: Image.Image, *, lossless: bool) -> bytes:
        pixels.append(picture.width * picture.height)
        return encode(picture, lossless=lossless)

    monkeypatch.setattr(frames, "encode", count)
    training = begin("digits", batch_size=16)
    listener = Frames(create_run(tmp_path, ""))
    listener._begin(training)
    smooth = torch.nn.functional.avg_pool2d(Stream(0, "x").normal(100, 1, 32, 32), 5, stride=1)
    for samples, is_lossless in ((smooth * 4, False), (torch.ones(100, 1, 28, 28).sign(), True)):
        pixels.clear()
        listener._draw_picture(training, samples, is_deep=True)
        assert listener._is_lossless == is_lossless
        assert sum(pixels) == 1.2 * 280 * 280


def test_lines_of_the_log_hold_the_classes_shares(tmp_path: Path) -> None:
    run = sparring.train("digits", steps=10, out=tmp_path / "run", progress=False, **SMALL)
    (line,) = [line for line in run.log() if "evaluation" in line]
    assert len(line["class_shares"]) == 10
    assert sum(line["class_shares"]) == pytest.approx(1)
    assert "class_shares" in run.frame()
    with pytest.raises(UsageError, match="class_shares in it are no numbers"):
        check_line(line | {"class_shares": ["a"]}, "it")

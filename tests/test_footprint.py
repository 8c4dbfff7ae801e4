"""Trainings larger than memory: activations that are computed again, and what a training takes, said before it."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from float64 import train_to_the_end
from torch import Tensor, nn

import sparring
from sparring.errors import UsageError
from sparring.modalities import keep
from sparring.modalities.images import Images
from sparring.networks import NETWORKS
from sparring.networks.recompute import recompute_activations
from sparring.training import footprint
from sparring.training.build import build
from sparring.training.footprint import machine_memory, predict_memory
from sparring.training.parts import Parts
from sparring.training.progress import _describe_memory
from sparring.training.recipe import Recipe, make_request
from sparring.training.resolve import resolve

SMALL = {"width": 4, "steps": 3, "batch_size": 8, "evaluation_share": 0.0, "conditional": True}
RESNET = {"network": "resnet", "normalization": "none", "size": 32, "width": 2}


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "conv", "normalization": "batch"},
        {"network": "conv", "penalty": "spectral_norm"},
        RESNET | {"penalty": "r1r2", "penalty_interval": 2},
        RESNET | {"penalty": "gradient_penalty", "accumulate": 2, "discriminator_steps": 2},
        {"network": "dcgan", "size": 32, "generator_steps": 2, "simultaneous": True},
    ],
)
def test_activations_computed_again_train_to_the_same_bits(settings: dict[str, object]) -> None:
    """Red where batch normalisation counts a batch twice, or a power iteration is made twice."""
    states: list[list[Tensor]] = []
    for recompute in (False, True):
        request = make_request("digits", "lsgan", **SMALL | settings, recompute=recompute)
        training = build(*resolve(request))
        states.append(train_to_the_end(training))
    for mine, other in zip(*states, strict=True):
        assert torch.equal(mine, other)


def test_dropout_draws_the_same_when_it_is_computed_again() -> None:
    gradients: list[list[Tensor]] = []
    for recompute in (False, True):
        torch.manual_seed(0)
        features = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.Dropout(), nn.AvgPool2d(2), nn.Dropout(), nn.Flatten())
        discriminator = sparring.networks.Discriminator(features, nn.Linear(16, 1), 16, 0)
        if recompute:
            recompute_activations(discriminator)
        loss = discriminator(torch.ones(2, 1, 8, 8)).sum()
        gradients.append(list(torch.autograd.grad(loss, list(discriminator.parameters()))))
    assert all(torch.equal(mine, other) for mine, other in zip(*gradients, strict=True))


def test_a_network_without_stages_is_named() -> None:
    with pytest.raises(UsageError, match="Linear has no stages"):
        recompute_activations(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="leave recompute or compile away"):
        build(*resolve(make_request("digits", None, **SMALL, recompute=True, compile=True)))


def recipe_for(**settings: object) -> Recipe:
    network = NETWORKS[str(settings.get("network", "resnet"))]
    return Recipe(**{"data": "x", "network": "resnet", "width": network.width, "penalty": "r1", **settings})  # type: ignore[arg-type]


def test_memory_is_predicted_with_what_changes_it() -> None:
    """It grows with the batch and the pixels, and falls with parts and with activations computed again."""
    shape = Images((3, 64, 48))

    def need(**settings: object) -> float:
        return predict_memory(recipe_for(**settings), shape) - footprint.PROCESS

    whole = need(batch_size=512)
    assert need(batch_size=1024) / whole == pytest.approx(2, rel=0.1)
    assert need(batch_size=1024, accumulate=2) < 1.05 * whole
    assert need(batch_size=512, recompute=True) < 0.9 * whole
    assert need(batch_size=512, penalty="weight_clipping") < 0.9 * whole


def test_a_counter_counts_every_tensor_once() -> None:
    """Known answers: two tensors of a million numbers, a view, and one that is gone."""
    counter = footprint._Counter()
    with counter, torch.device("meta"):
        first = torch.zeros(1_000_000)
        second = first + 1
        view = second.view(1000, 1000)
        assert counter.alive == 8_000_000
        del second
        assert counter.alive == 8_000_000  # the view holds it
        del view
    assert (counter.alive, counter.peak) == (4_000_000, 8_000_000)


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_memory(gigabytes: float) -> None:
        monkeypatch.setattr(footprint, "machine_memory", lambda device: 1e9 * gigabytes)

    return set_memory


def test_a_training_that_does_not_fit_is_refused(
    machine_with: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a folder; with less memory, activations are computed again where that suffices."""
    data = np.random.default_rng(0).integers(0, 255, (40, 256, 256), np.uint8)
    settings = {"network": "resnet", "steps": 1, "width": 2, "batch_size": 32}
    monkeypatch.setattr(footprint, "LARGE", 0)
    request = make_request(str(keep(data, None, None)), None, **settings)
    for gigabytes, recompute in ((100, False), (1.8, True)):
        machine_with(gigabytes)
        recipe, dataset = resolve(request)
        assert recipe.recompute is recompute
        (line,) = _describe_memory(recipe, dataset, Parts())
        assert re.fullmatch(r"  about \d\.\d GB of memory(; activations are computed again, to save some)?", line)
        assert line.endswith("to save some") is recompute
    machine_with(0.5)
    with pytest.raises(UsageError, match=r"GB of memory, and there are 0.5: give --accumulate 2 or a smaller"):
        sparring.train(data, **settings)  # type: ignore[arg-type]
    machine_with(1.8)
    with pytest.raises(UsageError, match=r"GB of memory, and there are 1.8"):
        sparring.train(data, **settings, recompute=False)  # type: ignore[arg-type]


def test_a_machine_has_some_memory() -> None:
    assert 2**28 < machine_memory("cpu") < 2**50

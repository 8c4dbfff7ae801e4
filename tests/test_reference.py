"""The game plays what tutorials write, to the same weights: benchmarks/speed.py compares equal mathematics."""

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from sparring import R1R2, Game, Gaussian, GradientPenalty
from sparring.seeding import Stream

STEPS, BATCH = 20, 8


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["reference"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def players(reference: ModuleType, side: int, *, normalized: bool = True) -> tuple[nn.Module, nn.Module]:
    with Stream(0, "networks").as_default():
        generator, discriminator = reference.generator(side, 4), reference.discriminator(side, 4, normalized=normalized)
    return generator.double(), discriminator.double()


def differences(player: nn.Module, other: nn.Module) -> list[float]:
    pairs = zip(player.parameters(), other.parameters(), strict=True)
    return [(one - two).abs().max().item() for one, two in pairs]


@pytest.mark.parametrize("side", [32, 64])
def test_the_tutorials_dcgan(side: int, reference: ModuleType) -> None:
    generator, discriminator = players(reference, side)
    theirs = reference.Dcgan(copy.deepcopy(generator), copy.deepcopy(discriminator))
    prior = Gaussian((reference.LATENT_DIM,))
    game = Game(nn.Sequential(nn.Unflatten(1, (reference.LATENT_DIM, 1, 1)), generator), discriminator, prior=prior)
    first = copy.deepcopy(generator)
    for step in range(STEPS):
        real = Stream(0, "real", step).normal(BATCH, 1, side, side).double().tanh()
        theirs.step(real, prior.batch(BATCH, Stream(0, "latents/0", step)).double())
        game.step(real)
    assert max(differences(generator, theirs.generator)) < 1e-10
    assert max(differences(discriminator, theirs.discriminator)) < 1e-10
    assert max(differences(generator, first)) > 1e-3  # they have moved


def test_the_common_wgan_gp(reference: ModuleType) -> None:
    generator, discriminator = players(reference, 32, normalized=False)
    theirs = reference.WganGp(copy.deepcopy(generator), copy.deepcopy(discriminator))
    prior = Gaussian((reference.LATENT_DIM,))
    ours = nn.Sequential(nn.Unflatten(1, (reference.LATENT_DIM, 1, 1)), generator)
    game = Game(
        ours,
        discriminator,
        objective="wasserstein",
        penalties=[GradientPenalty(10.0)],
        prior=prior,
        generator_optimizer=torch.optim.Adam(ours.parameters(), 1e-4, betas=(0.0, 0.9)),
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), 1e-4, betas=(0.0, 0.9)),
        discriminator_steps=5,
    )
    for step in range(STEPS):
        real = [Stream(0, "real", 5 * step + turn).normal(BATCH, 1, 32, 32).double().tanh() for turn in range(5)]
        latents = [prior.batch(BATCH, Stream(0, f"latents/{turn}", step)).double() for turn in range(5)]
        positions = [Stream(0, "penalty/0", 5 * step + turn).uniform(BATCH).double() for turn in range(5)]
        theirs.step(real, latents, positions)
        game.step(real)
    assert max(differences(generator, theirs.generator)) < 1e-10
    assert max(differences(discriminator, theirs.discriminator)) < 1e-10


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_r3gans_updates(player: str, reference: ModuleType) -> None:
    """Its generator moves first, so that its discriminator is compared where the generator stays where it is."""
    theirs = reference.R3Gan(*players(reference, 32, normalized=False))
    ours = copy.deepcopy((theirs.generator, theirs.discriminator))
    if player == "discriminator":
        theirs.generator_optimizer.step = lambda: None
    prior = Gaussian((reference.LATENT_DIM, 1, 1))
    game = Game(
        *ours,
        objective="relativistic",
        penalties=[R1R2(theirs.weight)],
        prior=prior,
        generator_optimizer=torch.optim.Adam(ours[0].parameters(), 2e-4, betas=(0.0, 0.99)),
        discriminator_optimizer=torch.optim.Adam(ours[1].parameters(), 2e-4, betas=(0.0, 0.99)),
        simultaneous=True,
    )
    real = Stream(0, "real").normal(BATCH, 1, 32, 32).double().tanh()
    theirs.step(real, prior.batch(BATCH, Stream(0, "latents/0", 0)).double())
    game.step(real)
    assert max(differences(getattr(game, player), getattr(theirs, player))) < 1e-10

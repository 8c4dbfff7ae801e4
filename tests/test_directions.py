"""Directions are those of a network whose answer is known, and for every family the singular vectors of its layer."""

import pytest
import torch
from torch import Tensor, nn

from sparring import UsageError
from sparring.generator.config import Config
from sparring.generator.directions import principal_directions
from sparring.generator.generator import Generator
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.networks import NETWORKS
from sparring.networks.fourier import LATENT_GAIN

LATENT_DIM = 6
FAMILIES = [name for name, network in NETWORKS.items() if not network.translates]


def make_generator(name: str, num_classes: int = 0, prior: str = "gaussian") -> Generator:
    shape = NETWORKS[name].usual_shapes[0]
    modality = Points(shape) if shape == (2,) else Images(shape)
    shares = (1 / num_classes,) * num_classes if num_classes else ()
    config = Config(modality, name, LATENT_DIM, prior, width=8, class_shares=shares)
    return Generator(config.build(), config)


def first_layer(generator: Generator) -> nn.Linear | nn.ConvTranspose2d:
    return next(each for each in generator.module.modules() if isinstance(each, nn.Linear | nn.ConvTranspose2d))


def matrix_of(generator: Generator) -> Tensor:
    """The first layer as a matrix over the latents, [features, latent_dim], read off its weights."""
    layer = first_layer(generator)
    weight = layer.weight.flatten(1).T if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    if generator.config.network == "fourier":  # its first layer sees 0.1 z, the labels, and the signs of both
        half = weight.shape[1] // 2
        weight = LATENT_GAIN * weight[:, :half] + weight[:, half:]
    return weight[:, :LATENT_DIM].double()


def test_the_known_answer() -> None:
    """The layer stretches chosen orthogonal directions by 5, 4, 3, ..."""
    generator = make_generator("mlp")
    chosen = torch.linalg.qr(torch.randn(LATENT_DIM, LATENT_DIM)).Q
    stretch = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    first_layer(generator).weight[:LATENT_DIM].copy_(torch.diag(stretch) @ chosen)
    first_layer(generator).weight[LATENT_DIM:].zero_()
    found = principal_directions(generator, 3)
    assert torch.allclose((found @ chosen[:3].T).abs(), torch.eye(3), atol=1e-4)
    assert all(each[each.abs().argmax()] > 0 for each in found)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_changes_most_along_its_directions(name: str, num_classes: int) -> None:
    generator = make_generator(name, num_classes)
    found, matrix = principal_directions(generator, LATENT_DIM).double(), matrix_of(generator)
    assert torch.allclose(found @ found.T, torch.eye(LATENT_DIM, dtype=torch.float64), atol=1e-5)
    assert torch.allclose((matrix @ found.T).norm(dim=0), torch.linalg.svdvals(matrix), rtol=1e-3, atol=1e-5)
    assert torch.equal(principal_directions(generator, 2), principal_directions(generator, LATENT_DIM)[:2])


def test_the_prior_does_not_matter_to_an_affine_layer() -> None:
    generator = make_generator("conv")
    uniform = Generator(generator.module, make_generator("conv", prior="uniform").config)
    assert torch.allclose(principal_directions(generator, 2), principal_directions(uniform, 2), atol=1e-4)


def test_nothing_is_left_on_the_network() -> None:
    generator = make_generator("mlp")
    before = generator.sample(3)
    principal_directions(generator, 2)
    assert (generator.sample(3) == before).all()
    assert not any(each._forward_hooks for each in generator.module.modules())


def test_what_has_no_directions_says_so() -> None:
    with pytest.raises(UsageError, match="between 1 and 6, not 7"):
        principal_directions(make_generator("mlp"), 7)
    config = Config(Images((3, 32, 32)), "translate", 1, "gaussian", width=4, source=Images((3, 32, 32)))
    with pytest.raises(UsageError, match="translates images and has no latents"):
        principal_directions(Generator(config.build(), config), 1)

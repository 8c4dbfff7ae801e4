"""What holds for every family of networks that is registered."""

import pytest
import torch
from torch import nn

from sparring import NETWORKS, UsageError
from sparring.networks import Network
from sparring.networks.network import NORMALIZATIONS, Modulation
from sparring.seeding import Stream

every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
IMAGE_NETWORKS = {name: network for name, network in NETWORKS.items() if name not in ("fourier", "linear")}
LATENT = {name: network for name, network in NETWORKS.items() if not network.translates}
LABELLED = {name: network for name, network in LATENT.items() if network.takes_labels}
every_labelled_network = pytest.mark.parametrize("network", LABELLED.values(), ids=LABELLED)
every_image_network = pytest.mark.parametrize("network", IMAGE_NETWORKS.values(), ids=IMAGE_NETWORKS)


def item_shape(network: Network) -> tuple[int, ...]:
    """An item that the network takes."""
    return network.fit({"fourier": (2,), "linear": (6,)}.get(network.name, (1, 28, 28)))


def inputs(network: Network, shape: tuple[int, ...], n: int) -> torch.Tensor:
    """What the generator takes: ten latents, or items to translate."""
    return torch.randn(n, *(shape if network.translates else (10,)))


SHAPES = [
    (1, 28, 28), (3, 32, 32), (4, 64, 64), (1, 20, 20), (3, 16, 16), (1, 128, 128), (3, 256, 256),
    (3, 64, 96), (3, 96, 64), (1, 28, 36), (3, 32, 256), (1, 30, 17), (3, 15, 17),
]  # fmt: skip


@every_image_network
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_matching_pair_from_an_items_shape(network: Network, shape: tuple[int, ...]) -> None:
    fitting = network.fit(shape)
    assert network.fit(fitting) == fitting
    assert fitting[0] == shape[0]
    assert fitting[1] >= shape[1]
    assert fitting[2] >= shape[2]
    samples = network.generator(fitting, 10, 4, 0).eval()(inputs(network, fitting, 2))
    assert samples.shape == (2, *fitting)
    assert samples.abs().max() <= 1
    for normalization in network.normalizations:
        discriminator = network.discriminator(fitting, 4, normalization, 0)
        assert len(discriminator(samples)) == 2
        assert discriminator(samples).isfinite().all()


@every_image_network
def test_images_that_are_not_square_are_not_made_so(network: Network) -> None:
    """Portraits and landscapes of usual sizes are taken as they are, and one turned by 90° fits turned by 90°."""
    for height, width in [(64, 96), (96, 64), (32, 48), (128, 192)]:
        assert network.fit((3, height, width)) == (3, height, width)
    for height, width in [(28, 50), (30, 41), (15, 17), (100, 300)]:
        _, *sides = network.fit((3, height, width))
        assert network.fit((3, width, height)) == (3, *reversed(sides))
        assert max(sides[0] / height, sides[1] / width) < 2


@pytest.mark.parametrize("name", ["conv", "resnet", "dcgan"])
@pytest.mark.parametrize("num_classes", [0, 2])
def test_every_weight_gets_a_gradient_from_images_that_are_not_square(name: str, num_classes: int) -> None:
    network, shape = NETWORKS[name], (3, 32, 48)
    labels = [torch.arange(4) % 2] if num_classes else []
    generator = network.generator(shape, 10, 8, num_classes)
    discriminator = network.discriminator(shape, 8, network.normalizations[0], num_classes)
    samples = generator(torch.randn(4, 10), *labels)
    discriminator(samples, *labels).square().sum().backward()
    assert samples.shape == (4, *shape)
    for module in (generator, discriminator):
        assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


@pytest.mark.parametrize("name", ["conv", "resnet", "dcgan"])
def test_points_are_no_images(name: str) -> None:
    with pytest.raises(UsageError, match="takes images"):
        NETWORKS[name].fit((2,))


@every_network
def test_normalization_is_what_was_asked_for(network: Network) -> None:
    shape = item_shape(network)

    def num_norms(normalization: str) -> int:
        modules = network.discriminator(shape, 8, normalization, 0).modules()
        return sum(isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) for m in modules)

    for normalization in network.normalizations:
        assert (num_norms(normalization) > 0) == (normalization == "batch")
    assert set(network.normalizations) <= set(NORMALIZATIONS)


@pytest.mark.parametrize(
    "network", [each for each in NETWORKS.values() if not each.translates], ids=lambda each: each.name
)
@pytest.mark.parametrize("width", [4, 12])
def test_the_width_is_what_the_generators_last_layer_takes(network: Network, width: int) -> None:
    """One meaning for every family, by which `--width` can be compared."""
    modules = network.generator(item_shape(network), 10, width, 0).modules()
    last = [module for module in modules if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)][-1]
    assert (last.in_features if isinstance(last, nn.Linear) else last.in_channels) == width


@pytest.mark.parametrize(
    ("network", "num_classes"),
    [(network, number) for network in NETWORKS.values() for number in ([0, 3] if network.takes_labels else [0])],
    ids=lambda each: getattr(each, "name", each),
)
def test_every_weight_gets_a_gradient(network: Network, num_classes: int) -> None:
    shape, usual = item_shape(network), network.normalizations[0]
    generator = network.generator(shape, 10, 8, num_classes)
    discriminator = network.discriminator(shape, 8, usual, num_classes)
    labels = [torch.arange(9) % 3] if num_classes else []
    given = inputs(network, shape, 9)
    loss = discriminator(generator(given, *labels), *labels).square().sum()
    if hasattr(generator, "features"):  # which only a restraint looks at
        loss = loss + sum(each.square().sum() for each in generator.features(given))
    loss.backward()
    for module in (generator, discriminator):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@every_labelled_network
@pytest.mark.parametrize("num_classes", [1, 3])
def test_both_players_listen_to_the_labels(network: Network, num_classes: int) -> None:
    shape = item_shape(network)
    generator = network.generator(shape, 10, 8, num_classes).eval()
    discriminator = network.discriminator(shape, 8, network.normalizations[0], num_classes).eval()
    latents = torch.randn(1, 10).expand(num_classes, 10)
    labels = torch.arange(num_classes)
    samples = generator(latents, labels)
    assert samples.shape == (num_classes, *shape)
    assert len(samples.flatten(1).unique(dim=0)) == num_classes
    logits = discriminator(samples[:1].expand(num_classes, *shape), labels).view(num_classes, -1)
    assert all(len(each.unique()) == num_classes for each in logits.T)


@pytest.mark.parametrize("side", [32, 256])
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_signals_keep_their_size_without_normalisation(player: str, side: int) -> None:
    """Through 4 stages or 7, at the start, of smooth images."""
    resnet, shape = NETWORKS["resnet"], (3, side, side)
    sizes: list[float] = []
    with Stream(0, "networks").as_default():
        network = resnet.generator(shape, 64, 8) if player == "generator" else resnet.discriminator(shape, 8, "none", 0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: sizes.append(output.std().item()))
    latents, smooth = Stream(0, "inputs").normal(4, 64), Stream(0, "inputs").normal(4, 3, 8, 8)
    network(latents if player == "generator" else nn.functional.interpolate(smooth, scale_factor=side // 8))
    assert all(0.2 < size < 5 for size in sizes), sizes


@every_labelled_network
def test_the_class_scales_and_shifts_the_features(network: Network) -> None:
    """With nothing else that tells it: as the first layer's embeddings are taken away."""
    generator = network.generator(item_shape(network), 10, 8, 2).eval()
    modulations = [module for module in generator.modules() if isinstance(module, Modulation)]
    assert modulations
    latents, labels = torch.randn(1, 10).expand(2, 10), torch.tensor([0, 1])
    first = next(module for module in generator.modules() if isinstance(module, nn.Linear | nn.ConvTranspose2d))
    with torch.no_grad():
        (first.weight[:, 10:] if isinstance(first, nn.Linear) else first.weight[10:]).zero_()
        assert torch.equal(*generator(latents, labels))
        for part in ("scale", "shift"):
            getattr(modulations[-1], part).weight[1] = 0.7
            assert not torch.allclose(*generator(latents, labels))
            getattr(modulations[-1], part).weight[1] = 0.0


@every_network
def test_it_says_what_it_is(network: Network) -> None:
    assert network.summary
    assert network.source
    assert network.usual_shapes
    assert all(network.fit(shape) == shape for shape in network.usual_shapes)


@pytest.mark.parametrize("name", ["mlp", "fourier"])
def test_points(name: str) -> None:
    network = NETWORKS[name]
    points = network.generator((2,), 4, 8)(torch.randn(3, 4))
    assert points.shape == (3, 2)
    assert network.discriminator((2,), 8, "none", 0)(points).shape == (3,)


@every_network
def test_channels_last_gives_the_same_gradients(network: Network) -> None:
    """Some kernels are known to be wrong in this layout; in float32, as trainings run."""
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        with Stream(0, "networks").as_default():
            generator = network.generator(item_shape(network), 10, 8, 0)
            discriminator = network.discriminator(item_shape(network), 8, "none", 0)
        for player in (generator, discriminator):
            nn.utils.convert_conv2d_weight_memory_format(player, layout)
        shape = item_shape(network) if network.translates else (10,)
        logits = discriminator.eval()(generator(Stream(0, "latents").normal(4, *shape)))
        parameters = [*generator.parameters(), *discriminator.parameters()]
        gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True, materialize_grads=True)
        results.append([gradient.contiguous() for gradient in gradients])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= 1e-2 * one.norm() + 1e-6  # rounding decides where a ReLU begins


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.translates])
def test_patches_have_features_where_there_are_some(name: str) -> None:
    network = NETWORKS[name]
    shape = item_shape(network)
    generator = network.generator(shape, 10, 8, 0)
    if name == "translate":
        (features,) = generator.features(torch.randn(3, *shape))
        assert features.shape == (3, 49, 64)
        moved = torch.zeros(1, *shape)
        moved[..., :4, :4] = 1.0
        (changed,), (plain,) = generator.features(moved), generator.features(torch.zeros(1, *shape))
        assert (changed != plain).any(2)[0, 0]
        assert not (changed != plain).any(2)[0, -1]
    assert generator(torch.randn(3, *shape)).shape == (3, *shape)

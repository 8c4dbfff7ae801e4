"""An extractor that has learned to tell the pictures of ImageNet apart: EfficientNet-Lite0."""

from functools import cache
from typing import final

from torch import nn

from sparring.metrics.extractors import Extractor
from sparring.networks.efficientnet import NUM_HEAD, as_seen, load
from sparring.seeding import Stream
from sparring.types import Features, Samples

NUM_MIXTURES = 64  # of the features of the last layer


def efficientnet_features() -> Extractor:
    """64 features of images from EfficientNet-Lite0: fixed random mixtures of the means of its last 1,280 features.

    Mixtures keep distances between images nearly as they are, and 64 of them need only 65 samples for a covariance.
    Images are resized, bilinearly, so that both sides are multiples of 32 pixels: of at least 64, and the longer one of
    at most 128. Grey images are coloured ones without colour, and transparent ones lie on white. These figures are no
    FID, and those of other sizes of images are others.

    Raises:
        UsageError: if the package with the weights is missing, or has other weights.

    Example:
        >>> import torch
        >>> features = efficientnet_features()
        >>> [features(torch.zeros(2, *shape)).shape[1] for shape in ((3, 64, 64), (4, 200, 90), (1, 28, 28))]
        [64, 64, 64]
    """
    return Extractor("EfficientNet-Lite0", _pretrained_features(), is_pretrained=True)


@final
class PretrainedFeatures(nn.Module):
    """From samples [n, 1, 3 or 4, height, width] in [−1, 1] to features [n, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load()
        self.mixtures = nn.Linear(NUM_HEAD, NUM_MIXTURES, bias=False).requires_grad_(False)
        self.mixtures.weight.copy_(Stream(0, "extractor/mixtures").normal(NUM_MIXTURES, NUM_HEAD) / NUM_HEAD**0.5)

    def forward(self, samples: Samples) -> Features:
        """The features."""
        features: Features = self.mixtures(self.network(as_seen(samples)).mean((2, 3)))
        return features


@cache
def _pretrained_features() -> PretrainedFeatures:
    return PretrainedFeatures().eval()

"""Pseudo-labels: clusters of alike images, which both players are told where there are no labels to tell."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sparring.data.source import Dataset, Items, to_float
from sparring.seeding import Stream
from sparring.types import Features, Labels

SIDE = 14
"""Images are alike if they are so once averaged down to this side, in pixels."""

NUM_AT_ONCE = 500
NUM_FITTED, NUM_ROUNDS = 10_000, 15
"""How many images, at most, the centers are fitted to, and for how many rounds."""


def clustered(dataset: Dataset, clusters: int, seed: int) -> Dataset:
    """The same images, labelled by the clusters that they lie in.

    The clusters are of training images; held-out ones belong to that whose center is nearest.

    Args:
        dataset: finite sets of images.
        clusters: how many, at most.
        seed: of the first centers.

    Source: Sage et al. 2018, "Logo synthesis and manipulation with clustered generative adversarial networks",
    arXiv:1712.04407; the clusters are of pixels here.

    Example:
        >>> images = Items(torch.tensor([0, 255, 5, 250], dtype=torch.uint8).reshape(4, 1, 1, 1))
        >>> labels = clustered(Dataset("few", images, images), 2, seed=0).train.item_labels
        >>> bool(labels[0] == labels[2]), bool(labels[1] == labels[3]), bool(labels[0] == labels[1])
        (True, True, False)
    """
    train, heldout = dataset.train, dataset.heldout
    assert isinstance(train, Items)
    assert isinstance(heldout, Items)
    assert train.num_items is not None
    order = Stream(seed, "clusters").permutation(train.num_items)
    centers = k_means(_features(train, order[:NUM_FITTED]), clusters)
    return replace(dataset, train=_labelled(train, centers), heldout=_labelled(heldout, centers))


def _labelled(images: Items, centers: Tensor) -> Items:
    assert images.num_items is not None
    parts = torch.split(torch.arange(images.num_items), NUM_FITTED)
    return images.with_labels(torch.cat([nearest(_features(images, part), centers) for part in parts]))


def k_means(points: Features, clusters: int) -> Tensor:
    """Centers of clusters, float32 [clusters, features], which start from the first points; fewer if there are fewer.

    A center that is nearest to no point stays where it is.

    Source: Lloyd 1982, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28(2), 129–137.
    """
    centers = points[:clusters]
    for _ in range(NUM_ROUNDS):
        labels = nearest(points, centers)
        counts = torch.bincount(labels, minlength=len(centers))[:, None]
        sums = torch.zeros_like(centers).index_add(0, labels, points)
        centers = torch.where(counts > 0, sums / counts, centers)
    return centers


def nearest(points: Features, centers: Tensor) -> Labels:
    """The number of the center that each point is nearest to."""
    # |x − c|² without |x|², which is the same for all centers.
    return (centers.square().sum(1) - 2 * points @ centers.T).argmin(1)


def _features(images: Items, numbers: Tensor) -> Features:
    side = min(SIDE, *images.item_shape[1:])
    parts = (
        to_float(images.take(part)) for part in torch.split(numbers, NUM_AT_ONCE)
    )  # as floats they take more memory
    return torch.cat([adaptive_avg_pool2d(part, side).flatten(1) for part in parts])

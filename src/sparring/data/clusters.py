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
    order = Stream(seed, "clusters").permutation(len(train.items))
    centers = k_means(_features(train.items[order[:NUM_FITTED]]), clusters)

    def labelled(images: Items) -> Items:
        parts = torch.split(images.items, NUM_FITTED)
        return Items(images.items, torch.cat([nearest(_features(part), centers) for part in parts]))

    return replace(dataset, train=labelled(train), heldout=labelled(heldout))


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


def _features(images: Tensor) -> Features:
    side = min(SIDE, *images.shape[2:])
    parts = torch.split(images, NUM_AT_ONCE)  # as floats they take four times the memory
    return torch.cat([adaptive_avg_pool2d(to_float(part), side).flatten(1) for part in parts])

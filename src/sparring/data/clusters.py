"""Groups of similar items, which are used as labels when the data have none."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparring.data.items import Items, to_float
from sparring.seeding import Stream
from sparring.types import Features, Labels, Samples, num_at_once

NUM_AT_ONCE = 500
NUM_FITTED, NUM_ROUNDS = 10_000, 15  # the most items that the centers are fitted to, and the rounds


def cluster(
    train: Items, heldout: Items, extractor: Callable[[Samples], Features], num_clusters: int, seed: int
) -> tuple[Items, Items]:
    """The same items with their clusters as labels; the centers are fitted to training items.

    Source: Sage et al. 2018, "Logo synthesis and manipulation with clustered generative adversarial networks",
        arXiv:1712.04407.
    """

    def features(items: Items, numbers: Tensor) -> Features:
        parts = torch.split(numbers, num_at_once(NUM_AT_ONCE, items.item_shape))  # as floats they take more memory
        return torch.cat([extractor(to_float(items.take(part))) for part in parts])

    order = Stream(seed, "clusters").permutation(train.num_items)
    centers = k_means(features(train, order[:NUM_FITTED]), num_clusters)

    def label(items: Items) -> Items:
        parts = torch.split(torch.arange(items.num_items), NUM_FITTED)
        return items.with_labels(torch.cat([nearest(features(items, part), centers) for part in parts]))

    return label(train), label(heldout)


def k_means(points: Features, num_clusters: int) -> Tensor:
    """Centers of clusters, float32 [num_clusters or fewer, features]; an empty cluster keeps its center.

    Source: Lloyd 1982, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28(2), 129–137.
    """
    centers = points[:num_clusters]
    for _ in range(NUM_ROUNDS):
        labels = nearest(points, centers)
        counts = torch.bincount(labels, minlength=len(centers))[:, None]
        sums = torch.zeros_like(centers).index_add(0, labels, points)
        centers = torch.where(counts > 0, sums / counts, centers)
    return centers


def nearest(points: Features, centers: Tensor) -> Labels:
    """The number of the center nearest to each point."""
    # |x − c|² without |x|², which is the same for all centers.
    return (centers.square().sum(1) - 2 * points @ centers.T).argmin(1)

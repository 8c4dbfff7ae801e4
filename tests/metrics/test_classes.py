"""Entropy and distance of class histograms."""

import math

import pytest
import torch

from sparring import DataError
from sparring.metrics import class_agreement, class_distance, class_entropy


def test_entropy_of_histograms_of_known_entropy() -> None:
    assert class_entropy(torch.arange(10).repeat(5), 10).value == pytest.approx(math.log(10))
    assert class_entropy(torch.zeros(20, dtype=torch.int64), 10).value == 0.0
    three_to_one = torch.tensor([0, 0, 0, 7] * 10)
    assert class_entropy(three_to_one, 10).value == pytest.approx(math.log(4) - 0.75 * math.log(3))


def test_distance_is_the_share_that_would_have_to_change_its_class() -> None:
    real = torch.arange(10).repeat(100)
    fake = real.clone()
    fake[real == 3] = 8
    distance = class_distance(real, fake, 10)
    assert distance.value == pytest.approx(0.1)
    assert distance.low < 0.1 < distance.high
    assert class_distance(real, real, 10).value == 0.0


def test_agreement_is_a_share_with_its_binomial_interval() -> None:
    asked = torch.arange(10).repeat(100)
    seen = torch.where(torch.arange(1000) < 100, asked + 1, asked)
    agreement = class_agreement(asked, seen)
    assert agreement.value == pytest.approx(0.9)
    assert agreement.high - agreement.value == pytest.approx(1.959964 * (0.9 * 0.1 / 1000) ** 0.5)
    for wrong in (torch.tensor([], dtype=torch.int64), torch.tensor([1])):
        with pytest.raises(DataError, match="equally many"):
            class_agreement(wrong, wrong[:0])


def test_labels_that_there_are_not() -> None:
    with pytest.raises(DataError, match="from 0 to 9"):
        class_entropy(torch.tensor([10]), 10)
    with pytest.raises(DataError, match="at least one"):
        class_distance(torch.tensor([0]), torch.tensor([], dtype=torch.int64), 10)

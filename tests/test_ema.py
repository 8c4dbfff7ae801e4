"""Averages against the formula."""

import pytest
import torch
from torch import nn

from sparring import Average


def test_follows_the_formula_with_its_warm_up() -> None:
    live = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        live.weight.zero_()
    average, expected = Average(live, decay=0.9), 0.0
    for step in range(1, 101):
        with torch.no_grad():
            live.weight.fill_(float(step))
        average.update(step)
        beta = min(0.9, (1 + step) / (10 + step))
        expected = beta * expected + (1 - beta) * step
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_buffers_are_averaged_and_counters_copied() -> None:
    live = nn.BatchNorm1d(2)
    average = Average(live, decay=0.5)
    live(torch.full((4, 2), 10.0))
    average.update(step=1000)
    torch.testing.assert_close(average.module.running_mean, 0.5 * live.running_mean)
    assert average.module.num_batches_tracked == 1


def test_no_average_is_the_live_module() -> None:
    live = nn.Linear(2, 2)
    average = Average(live, decay=0.0)
    with torch.no_grad():
        live.weight.add_(1)
    average.update(step=1)
    assert torch.equal(average.module.weight, live.weight)
    assert not average.module.weight.requires_grad
    assert not average.module.training

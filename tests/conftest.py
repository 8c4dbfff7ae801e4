"""Every test process computes on one thread: two of them share the machine's two cores. Packed images go into a cache
of the tests' own."""

import os

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # in the processes that tests start


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """What a test draws does not depend on those before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def short_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards with a rough divergence: most of their time goes into it."""
    monkeypatch.setattr("sparring.evaluation.figures.DIVERGENCE_STEPS", 20)

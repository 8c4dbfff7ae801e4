"""A cache of logits: a wrong memory would make two batches share logits, or keep a graph that was cut."""

import torch
from torch import Tensor

from sparring.game.logit_cache import LogitCache, gradients
from sparring.seeding import Stream


def curved(samples: Tensor) -> Tensor:
    return (samples**3).sum(1)


def test_equal_samples_are_not_the_same() -> None:
    """With dropout or batch normalisation they would get different logits."""
    passes: list[int] = []

    def counted(samples: Tensor) -> Tensor:
        passes.append(len(samples))
        return curved(samples)

    cache, samples = LogitCache(counted), Stream(0, "x").normal(4, 3)
    for _ in range(2):
        cache(samples)
        cache.gradients(samples)
    assert passes == [4]
    cache(samples.clone())
    assert passes == [4, 4]


def test_many_short_lived_samples_are_told_apart() -> None:
    """An object that is gone leaves its identity to the next one."""
    cache = LogitCache(curved)
    for value in range(50):
        assert cache(torch.full((1, 1), float(value))).item() == value**3


def test_gradients_are_exact_and_stop_at_the_samples() -> None:
    samples = Stream(0, "x").normal(4, 3).double()
    cache = LogitCache(curved)
    torch.testing.assert_close(cache.gradients(samples), 3 * samples**2, rtol=1e-12, atol=0)
    origin = samples.clone().requires_grad_()
    found = gradients(cache, 2 * origin)
    torch.testing.assert_close(found, 12 * samples**2, rtol=1e-12, atol=0)
    (of_origin,) = torch.autograd.grad(found.sum(), origin, allow_unused=True)
    assert of_origin is None


def test_penalties_may_differentiate_by_themselves() -> None:
    """As they do outside of a game."""
    cache, samples = LogitCache(curved), Stream(0, "x").normal(4, 3).double().requires_grad_()
    (found,) = torch.autograd.grad(cache(samples).sum(), samples)
    torch.testing.assert_close(found, 3 * samples.detach() ** 2, rtol=1e-12, atol=0)


def test_without_gradients_the_samples_are_taken_as_they_are() -> None:
    """A first layer that works in place may not change what is to be differentiated by."""
    cache = LogitCache(lambda samples: samples.mul_(2).sum(1), differentiable=False)
    assert cache(torch.ones(2, 3)).tolist() == [6, 6]

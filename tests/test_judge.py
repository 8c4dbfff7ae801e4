"""What a judge remembers: a wrong memory would make two batches share logits, or keep a graph that was cut."""

import torch
from torch import Tensor

from sparring.judge import Judge, gradients
from sparring.seeding import Stream


def curved(samples: Tensor) -> Tensor:
    return (samples**3).sum(1)


def test_equal_samples_are_not_the_same() -> None:
    """With dropout or batch normalisation they would get different logits."""
    passes: list[int] = []

    def counted(samples: Tensor) -> Tensor:
        passes.append(len(samples))
        return curved(samples)

    judge, samples = Judge(counted), Stream(0, "x").normal(4, 3)
    for _ in range(2):
        judge(samples)
        judge.gradients(samples)
    assert passes == [4]
    judge(samples.clone())
    assert passes == [4, 4]


def test_many_short_lived_samples_are_told_apart() -> None:
    """An object that is gone leaves its identity to the next one."""
    judge = Judge(curved)
    for value in range(50):
        assert judge(torch.full((1, 1), float(value))).item() == value**3


def test_gradients_are_exact_and_stop_at_the_samples() -> None:
    origin = Stream(0, "x").normal(4, 3).double().requires_grad_()
    samples = 2 * origin
    judge = Judge(curved)
    for found in (judge.gradients(samples), gradients(judge, samples), gradients(curved, samples)):
        torch.testing.assert_close(found, 3 * samples**2, rtol=1e-12, atol=0)
        (of_origin,) = torch.autograd.grad(found.sum(), origin, allow_unused=True, retain_graph=True)
        assert of_origin is None

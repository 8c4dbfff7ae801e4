"""Both players' gradients from one pass through the discriminator.

Where both move at once, the generator's loss needs the logits that the discriminator's loss has had already, and slopes
at the same samples. A sample x has one logit b, so

    ∂L_G/∂x = (∂L_G/∂b) · ∂b/∂x  and  ∂b/∂x = ∂L_D/∂x / (∂L_D/∂b),

a number to each sample; nine passes take the place of eleven. A penalty on ∂b/∂x has computed it anyway: with r1r2
fifteen take the place of nineteen. It holds where no logit depends on another sample: not under batch normalisation.

Source: Shen et al. 2021, "Training generative adversarial networks in one stage", arXiv:2103.00430, section 3.
"""

import copy

import torch
from torch import Tensor, nn

from sparring.objectives import Objective
from sparring.types import Labels, Logits, Samples

SMALLEST_SLOPE = 1e-20
"""Of the mean loss by a logit: divided by smaller ones, float32 would lose digits."""


def judges_each_alone(discriminator: nn.Module, samples: Samples, labels: Labels | None = None) -> bool:
    """Whether a discriminator's logit of a sample depends on that sample alone, tried on two samples or more.

    Example:
        >>> judges_each_alone(nn.Linear(2, 1), torch.randn(4, 2))
        True
        >>> judges_each_alone(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), torch.randn(4, 2))
        False
    """
    judge = copy.deepcopy(discriminator)  # whose statistics this question does not touch
    samples = samples.detach().requires_grad_()
    logits = judge(samples) if labels is None else judge(samples, labels)
    (slopes,) = torch.autograd.grad(logits.flatten()[0], samples)
    return len(samples) > 1 and not slopes[1:].any()


def logit_slopes(by_logits: Logits, by_samples: Samples) -> Samples | None:
    """∂b/∂x at generated samples, from the backward pass of the discriminator's loss.

    Args:
        by_logits: ∂L_D/∂b, [batch], L_D being the mean of the discriminator's losses.
        by_samples: ∂L_D/∂x, [batch, ...].

    Returns:
        [batch, ...]; None where some ∂L_D/∂b vanishes, as a hinge's does.
    """
    return None if by_logits.abs().min() < SMALLEST_SLOPE else by_samples / _for_each(by_logits, by_samples)


def generator_loss(
    objective: Objective, real_logits: Logits, fake_logits: Logits, fake: Samples, slopes: Samples
) -> Tensor:
    """The mean of the generator's losses, with its gradient by way of the logits' slopes.

    Args:
        objective: the game.
        real_logits: [batch].
        fake_logits: [batch], of the generated samples.
        fake: the generated samples [batch, ...], with their graph.
        slopes: ∂b/∂x at them [batch, ...].

    Example:
        >>> from sparring import OBJECTIVES
        >>> objective, x = OBJECTIVES["wasserstein"], torch.tensor([[1.0], [3.0]], requires_grad=True)
        >>> logits = 5 * x.detach()[:, 0]  # a discriminator of slope 5
        >>> loss = generator_loss(objective, logits, logits, x, slopes=torch.tensor([[5.0], [5.0]]))
        >>> loss.item(), torch.autograd.grad(loss, x)[0].flatten().tolist()  # −mean(5 x)
        (-10.0, [-2.5, -2.5])
    """
    fake_logits = fake_logits.detach().requires_grad_()
    loss = objective.generator(real_logits.detach(), fake_logits).mean()
    (by_logits,) = torch.autograd.grad(loss, fake_logits)
    linear = (_for_each(by_logits, fake) * slopes * fake).sum()  # its gradient is the loss's; its value is not
    return loss.detach() + linear - linear.detach()


def _for_each(numbers: Tensor, samples: Samples) -> Tensor:
    """A number a sample, so shaped that it multiplies all of the sample."""
    return numbers.reshape(-1, *[1] * (samples.ndim - 1))

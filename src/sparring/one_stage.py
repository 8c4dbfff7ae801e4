"""Both players' gradients from one pass through the discriminator.

Where both move at once, the generator's loss needs the logits that the discriminator's loss has had already, and slopes
at the same samples. A sample x has one logit b, so

    ∂L_G/∂x = (∂L_G/∂b) / (∂L_D/∂b) · ∂L_D/∂x,

a number to each sample; nine passes take the place of eleven. It holds where no logit depends on another sample: not
under batch normalisation.

Source: Shen et al. 2021, "Training generative adversarial networks in one stage", arXiv:2103.00430, section 3.
"""

import copy

import torch
from torch import Tensor, nn

from sparring.objectives import Objective
from sparring.types import Labels, Logits, Samples

SMALLEST_SLOPE = 1e-20
"""Of a loss by a logit: divided by smaller ones, float32 would lose digits."""


def judges_each_alone(discriminator: nn.Module, samples: Samples, labels: Labels | None = None) -> bool:
    """Whether a discriminator's logit of a sample depends on that sample alone, tried on samples.

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
    return not slopes[1:].any()


def generator_loss(
    objective: Objective, real_logits: Logits, fake_logits: Logits, fake: Samples, slopes: Samples
) -> Tensor | None:
    """The mean of the generator's losses, with its gradient by way of the discriminator's.

    Args:
        objective: the game.
        real_logits: [batch].
        fake_logits: [batch], of the generated samples.
        fake: the generated samples [batch, ...], with their graph.
        slopes: ∂L_D/∂x at them, L_D being the mean of the discriminator's losses.

    Returns:
        A number; None where some ∂L_D/∂b vanishes, as a hinge's does.

    Example:
        >>> from sparring import OBJECTIVES
        >>> objective, x = OBJECTIVES["wasserstein"], torch.tensor([[1.0], [3.0]], requires_grad=True)
        >>> logits = 5 * x.detach()[:, 0]  # a discriminator of slope 5
        >>> loss = generator_loss(objective, logits, logits, x, slopes=torch.tensor([[2.5], [2.5]]))
        >>> loss.item(), torch.autograd.grad(loss, x)[0].flatten().tolist()  # −mean(5 x)
        (-10.0, [-2.5, -2.5])
    """
    real_logits, fake_logits = real_logits.detach(), fake_logits.detach().requires_grad_()
    losses = objective.generator(real_logits, fake_logits)
    (of_generator,) = torch.autograd.grad(losses.sum(), fake_logits)
    (of_discriminator,) = torch.autograd.grad(objective.discriminator(real_logits, fake_logits).sum(), fake_logits)
    if of_discriminator.abs().min() < SMALLEST_SLOPE:
        return None
    ratio = (of_generator / of_discriminator).reshape(-1, *[1] * (fake.ndim - 1))
    linear = (ratio * slopes * fake).sum()  # its gradient is the loss's; its value is not
    return losses.mean().detach() + linear - linear.detach()

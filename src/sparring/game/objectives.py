"""The objectives: what each player minimises.

An objective is a pair of losses. Each takes the discriminator's logits for a batch of real and a batch of generated
samples, `real_logits` and `fake_logits`, both [batch], and returns a value per sample, [batch]; the game takes the
mean. Only relativistic losses of the generator use the real logits. Losses know no network and no optimiser.

In the formulas a = D(x) is the logit of a real sample, b = D(G(z)) that of a generated one, σ the logistic function
and softplus(t) = log(1 + exp(t)) = −log σ(−t), which is computed in its numerically safe form. To add an objective,
write the two functions and add an entry to `OBJECTIVES`: the command line, docs/catalogue.md and the contract tests
read it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import relu, softplus

from sparring.errors import UsageError
from sparring.types import Logits, PerSample

Loss = Callable[[Logits, Logits], PerSample]
"""A loss to be minimised: from (real_logits, fake_logits), both [batch], to one value per sample, [batch]."""


@dataclass(frozen=True)
class Objective:
    """A pair of losses, and the facts about it."""

    name: str
    discriminator: Loss
    generator: Loss
    summary: str = ""
    # What the generator minimises against an optimal discriminator, as docs/theory.md derives it; p is the density of
    # the data, q that of the generator, m = (p + q) / 2.
    divergence: str = ""
    source: str = ""
    # The discriminator's probability that a sample is real, from its logit; for scores up to a constant (wasserstein,
    # relativistic), a number between 0 and 1 that rises with them.
    probability: Callable[[Logits], PerSample] = torch.sigmoid
    paired: bool = False  # whether the generator's loss depends on the real logits; only then are they computed for it
    # The discriminator's loss with a third argument s, if it has a target for real samples, which is then 1 − s.
    smoothed: Callable[[Logits, Logits, float], PerSample] | None = None

    def smooth(self, share: float) -> "Objective":
        """One-sided label smoothing: the discriminator's target for real samples is 1 − share instead of 1.

        Args:
            share: from 0 to less than 1; .1 is usual.

        Raises:
            UsageError: if the losses have no such target, or the share is out of range.

        Source: Salimans et al. 2016, "Improved techniques for training GANs", arXiv:1606.03498, section 3.4.

        Example:
            >>> OBJECTIVES["least_squares"].smooth(0.25).discriminator(torch.tensor([0.75]), torch.tensor([0.0]))
            tensor([0.])
        """
        if not 0 <= share < 1:
            raise UsageError(f"smoothing must be from 0 to less than 1, not {share}")
        if not share:
            return self
        if (loss := self.smoothed) is None:
            able = ", ".join(each.name for each in OBJECTIVES.values() if each.smoothed)
            raise UsageError(
                f"the objective {self.name!r} has no labels to smooth: leave smoothing away, or take {able}"
            )
        return replace(self, discriminator=lambda real_logits, fake_logits: loss(real_logits, fake_logits, share))


def minimax_discriminator(real_logits: Logits, fake_logits: Logits, smoothing: float = 0.0) -> PerSample:
    """−[log σ(a) + log(1 − σ(b))]: the negative value function V(D, G).

    With smoothing s, the first term is (1 − s) log σ(a) + s log(1 − σ(a)) = log σ(a) − s a.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, eq. 1.

    Example:
        >>> minimax_discriminator(torch.zeros(2), torch.zeros(2))  # the value function at D = 1/2: −log 4
        tensor([1.3863, 1.3863])
    """
    loss = softplus(-real_logits) + softplus(fake_logits)
    return loss + smoothing * real_logits if smoothing else loss


def minimax_generator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """log(1 − σ(b)): the generator's part of the value function itself.

    Its gradient vanishes if the discriminator is sure that a sample is generated.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, eq. 1.

    Example:
        >>> minimax_generator(torch.zeros(1), torch.zeros(1))
        tensor([-0.6931])
    """
    return -softplus(fake_logits)


def non_saturating_generator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """−log σ(b): the same fixed point as minimax, with a strong gradient early in training.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, section 3.

    Example:
        >>> non_saturating_generator(torch.zeros(1), torch.zeros(1))
        tensor([0.6931])
    """
    return softplus(-fake_logits)


def wasserstein_discriminator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """B − a: the negative of the dual form's E D(x) − E D(G(z)), where D must be Lipschitz.

    Use it with `weight_clipping`, `gradient_penalty` or `spectral_norm`; without them it is unbounded.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, eq. 2.

    Example:
        >>> wasserstein_discriminator(torch.tensor([3.0]), torch.tensor([1.0]))
        tensor([-2.])
    """
    return fake_logits - real_logits


def wasserstein_generator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """−b: raise the score of generated samples.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, Algorithm 1.

    Example:
        >>> wasserstein_generator(torch.tensor([3.0]), torch.tensor([1.0]))
        tensor([-1.])
    """
    return -fake_logits


def least_squares_discriminator(real_logits: Logits, fake_logits: Logits, smoothing: float = 0.0) -> PerSample:
    """½(a − 1)² + ½b²: regression to 1 for real and 0 for generated samples; the logit is the network's plain output.

    With smoothing s, real samples are regressed to 1 − s.

    Source: Mao et al. 2017, "Least squares generative adversarial networks", arXiv:1611.04076; labels a = 0, b = c = 1.

    Example:
        >>> least_squares_discriminator(torch.tensor([0.0]), torch.tensor([2.0]))
        tensor([2.5000])
    """
    return 0.5 * (real_logits - (1 - smoothing)).square() + 0.5 * fake_logits.square()


def least_squares_generator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """½(b − 1)²: bring the discriminator's output for generated samples to 1.

    Source: Mao et al. 2017, "Least squares generative adversarial networks", arXiv:1611.04076; labels a = 0, b = c = 1.

    Example:
        >>> least_squares_generator(torch.tensor([0.0]), torch.tensor([3.0]))
        tensor([2.])
    """
    return 0.5 * (fake_logits - 1).square()


def hinge_discriminator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """max(0, 1 − a) + max(0, 1 + b): no further reward for samples on the right side of the margin.

    Source: Lim and Ye 2017, "Geometric GAN", arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16;
        its generator is `wasserstein_generator`, eq. 17.

    Example:
        >>> hinge_discriminator(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.5]))
        tensor([0.0000, 2.5000])
    """
    return relu(1 - real_logits) + relu(1 + fake_logits)


def relativistic_discriminator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """softplus(−(a − b)): a real sample should look more real than the generated one it is paired with.

    Source: Jolicoeur-Martineau 2018, "The relativistic discriminator", arXiv:1807.00734; in this form
        Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, eq. 2.

    Example:
        >>> relativistic_discriminator(torch.tensor([5.0]), torch.tensor([5.0]))
        tensor([0.6931])
    """
    return softplus(fake_logits - real_logits)


def relativistic_generator(real_logits: Logits, fake_logits: Logits) -> PerSample:
    """softplus(−(b − a)): a generated sample should look more real than the real one it is paired with.

    Source: Jolicoeur-Martineau 2018, "The relativistic discriminator", arXiv:1807.00734.

    Example:
        >>> relativistic_generator(torch.tensor([5.0]), torch.tensor([5.0]))
        tensor([0.6931])
    """
    return softplus(real_logits - fake_logits)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name="minimax",
            discriminator=minimax_discriminator,
            generator=minimax_generator,
            summary="the value function itself; the generator's gradient vanishes early",
            divergence="2 JS − log 4",
            source="Goodfellow et al. 2014, arXiv:1406.2661",
            smoothed=minimax_discriminator,
        ),
        Objective(
            name="non_saturating",
            discriminator=minimax_discriminator,
            generator=non_saturating_generator,
            summary="the generator maximises log D(G(z)): what most people call a GAN",
            divergence="KL(q‖p) − KL(q‖m) + log 2",
            source="Goodfellow et al. 2014, arXiv:1406.2661",
            smoothed=minimax_discriminator,
        ),
        Objective(
            name="wasserstein",
            discriminator=wasserstein_discriminator,
            generator=wasserstein_generator,
            summary="the earth mover's distance, for a discriminator kept Lipschitz by a penalty",
            divergence="Wasserstein-1, up to a constant",
            source="Arjovsky et al. 2017, arXiv:1701.07875",
        ),
        Objective(
            name="least_squares",
            discriminator=least_squares_discriminator,
            generator=least_squares_generator,
            summary="regression to the labels 0 and 1, with gradients that don't saturate",
            divergence="½ ∫ q³ / (p + q)²",
            source="Mao et al. 2017, arXiv:1611.04076",
            probability=lambda logits: logits.clamp(0, 1),  # it estimates D* = p / (p + q) without a sigmoid
            smoothed=least_squares_discriminator,
        ),
        Objective(
            name="hinge",
            discriminator=hinge_discriminator,
            generator=wasserstein_generator,
            summary="a margin around the decision; usual together with spectral_norm",
            divergence="E_q sign(q − p)",
            source="Lim and Ye 2017, arXiv:1705.02894",
        ),
        Objective(
            name="relativistic",
            discriminator=relativistic_discriminator,
            generator=relativistic_generator,
            summary="compares real and generated samples in pairs (RpGAN); converges together with r1r2",
            divergence="a divergence of p(x)q(y) from q(x)p(y)",
            source="Jolicoeur-Martineau 2018, arXiv:1807.00734",
            paired=True,
        ),
    )
}
"""Every objective by its name."""

"""GANs as tutorials write them, which sparring's speed and quality are compared with.

There are the DCGAN of PyTorch's own example, the WGAN-GP that is copied from repository to repository, and R3GAN's
order of passes. What makes them slow is left in: the DCGAN's generator update computes gradients of the discriminator's
weights and throws them away; WGAN-GP differentiates the discriminator's fake samples down to the latents; tensors have
the default layout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, pad, softplus

LATENT_DIM = 100
WIDTH = 64


def pad_to_32(images: Tensor) -> Tensor:
    """Add a black border of two pixels to images [n, 1, 28, 28] in [−1, 1]."""
    return pad(images, (2, 2, 2, 2), value=-1.0)


def generator(side: int = 32, width: int = WIDTH) -> nn.Sequential:
    """Latents [n, 100, 1, 1] to images [n, 1, side, side]; side 32 or 64."""
    features = width * side // 8
    stack: list[nn.Module] = [
        nn.ConvTranspose2d(LATENT_DIM, features, 4, 1, 0, bias=False),
        nn.BatchNorm2d(features),
        nn.ReLU(True),
    ]
    while features > width:
        stack += [
            nn.ConvTranspose2d(features, features // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(features // 2),
            nn.ReLU(True),
        ]
        features //= 2
    return nn.Sequential(*stack, nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh()).apply(_initialize)


def discriminator(side: int = 32, width: int = WIDTH, *, normalized: bool = True) -> nn.Sequential:
    """Images [n, 1, side, side] to logits [n, 1, 1, 1]."""
    stack: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    features = width
    while features < width * side // 8:
        stack += [nn.Conv2d(features, 2 * features, 4, 2, 1, bias=False)]
        stack += [nn.BatchNorm2d(2 * features)] if normalized else []
        stack += [nn.LeakyReLU(0.2, True)]
        features *= 2
    return nn.Sequential(*stack, nn.Conv2d(features, 1, 4, 1, 0, bias=False)).apply(_initialize)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


@dataclass
class Dcgan:
    """The tutorial's loop: binary cross-entropy, Adam 2e-4 (0.5, 0.999)."""

    generator: nn.Module
    discriminator: nn.Module

    def __post_init__(self) -> None:
        self.discriminator_optimizer = _adam(self.discriminator, 2e-4, 0.5, 0.999)
        self.generator_optimizer = _adam(self.generator, 2e-4, 0.5, 0.999)

    def step(self, real: Tensor, latents: Tensor) -> None:
        """One iteration on real images [n, 1, side, side] and latents [n, 100]."""
        latents = latents[:, :, None, None]
        self.discriminator.zero_grad()
        labels = torch.ones(len(real), dtype=real.dtype)
        output = torch.sigmoid(self.discriminator(real)).view(-1)
        torch.autograd.backward(binary_cross_entropy(output, labels))
        fake = self.generator(latents)
        labels.fill_(0)
        output = torch.sigmoid(self.discriminator(fake.detach())).view(-1)
        torch.autograd.backward(binary_cross_entropy(output, labels))
        self.discriminator_optimizer.step()

        self.generator.zero_grad()
        labels.fill_(1)
        output = torch.sigmoid(self.discriminator(fake)).view(-1)
        torch.autograd.backward(binary_cross_entropy(output, labels))
        self.generator_optimizer.step()


@dataclass
class WganGp:
    """The common WGAN-GP: five updates of the discriminator to one of the generator, the penalty in each."""

    generator: nn.Module
    discriminator: nn.Module
    weight: float = 10.0

    def __post_init__(self) -> None:
        self.discriminator_optimizer = _adam(self.discriminator, 1e-4, 0.0, 0.9)
        self.generator_optimizer = _adam(self.generator, 1e-4, 0.0, 0.9)

    def step(self, real: list[Tensor], latents: list[Tensor], positions: list[Tensor]) -> None:
        """One iteration on five batches of images, of latents, and of positions [n] between real and fake images."""
        for images, start, position in zip(real, latents, positions, strict=True):
            self.discriminator_optimizer.zero_grad()
            fake = self.generator(start[:, :, None, None])
            real_validity, fake_validity = self.discriminator(images), self.discriminator(fake)
            penalty = self._penalty(images.data, fake.data, position)
            loss = -torch.mean(real_validity) + torch.mean(fake_validity) + self.weight * penalty
            torch.autograd.backward(loss)
            self.discriminator_optimizer.step()
        self.generator_optimizer.zero_grad()
        fake = self.generator(latents[-1][:, :, None, None])
        loss = -torch.mean(self.discriminator(fake))
        torch.autograd.backward(loss)
        self.generator_optimizer.step()

    def _penalty(self, real: Tensor, fake: Tensor, position: Tensor) -> Tensor:
        alpha = position[:, None, None, None]
        between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        validity = self.discriminator(between)
        gradients = torch.autograd.grad(
            validity, between, torch.ones_like(validity), create_graph=True, retain_graph=True, only_inputs=True
        )[0]
        norms: Tensor = gradients.view(len(gradients), -1).norm(2, dim=1)
        return ((norms - 1) ** 2).mean()


@dataclass
class R3Gan:
    """The relativistic game with both zero-centred penalties, in the order of passes of R3GAN's published trainer.

    The generator moves first, and its update needs the logits of real samples too. The discriminator's update generates
    its fake samples again (Huang et al. 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441, and its authors'
    code).
    """

    generator: nn.Module
    discriminator: nn.Module
    weight: float = 0.01

    def __post_init__(self) -> None:
        self.discriminator_optimizer = _adam(self.discriminator, 2e-4, 0.0, 0.99)
        self.generator_optimizer = _adam(self.generator, 2e-4, 0.0, 0.99)

    def step(self, real: Tensor, latents: Tensor) -> None:
        """One iteration on real images [n, 1, side, side] and latents [n, ...]."""
        self.discriminator.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        fake_logits = self.discriminator(self.generator(latents))
        real_logits = self.discriminator(real)
        torch.autograd.backward(softplus(real_logits - fake_logits).mean())
        self.generator_optimizer.step()

        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad()
        real = real.detach().requires_grad_(True)
        fake = self.generator(latents).detach().requires_grad_(True)
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        penalty = self._penalty(real, real_logits) + self._penalty(fake, fake_logits)
        losses = softplus(fake_logits - real_logits).flatten() + self.weight / 2 * penalty
        torch.autograd.backward(losses.mean())
        self.discriminator_optimizer.step()

    def _penalty(self, samples: Tensor, logits: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
        return gradient.square().sum([1, 2, 3])


def _adam(player: nn.Module, rate: float, beta1: float, beta2: float) -> torch.optim.Adam:
    return torch.optim.Adam(player.parameters(), lr=rate, betas=(beta1, beta2))

"""Directions among the latents in which samples change the most."""

import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.game.sources import PRIORS
from sparring.generator.generator import Generator

AT_ONCE = 256  # latents in a pass through the first layer


class _StopError(Exception):
    """Ends a pass after the first layer."""


def principal_directions(generator: Generator, k: int) -> Tensor:
    """The k directions among the latents in which the outputs of the generator's first layer change the most.

    They are the unit vectors n that maximise |A n|², each orthogonal to those before it: the eigenvectors of AᵀA with
    the largest eigenvalues, where G₁(z) = A z + b is the first layer. A is measured by central differences over one
    standard deviation σ of the latents, A eᵢ = (G₁(σ eᵢ) − G₁(−σ eᵢ)) / 2σ: exact for an affine layer, in which labels
    and b cancel out, and it counts what a layer before it does, such as taking signs.

    Args:
        generator: one that starts from latents.
        k: how many, at most `latent_dim`.

    Returns:
        Unit vectors float32 [k, latent_dim], the strongest first; the largest number in each is positive.

    Raises:
        UsageError: if the generator translates, or k is out of range.

    Source:
        Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs", arXiv:2007.06600, where A is the
        weight itself. Härkönen et al. 2020, "GANSpace", arXiv:2004.02546, take the principal components of the first
        layer's outputs for random latents; for an affine layer and Gaussian latents these are A n for the same n.

    Example: a layer that stretches the second latent most
        >>> from sparring.generator.config import Config
        >>> from sparring.modalities.points import Points
        >>> config = Config(Points((2,)), "mlp", latent_dim=3, prior="gaussian", width=3)
        >>> generator = Generator(config.build(), config)
        >>> _ = generator.module[0].weight.copy_(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
        >>> principal_directions(generator, 2).abs().round().tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    config = generator.config
    if config.source is not None:
        raise UsageError(f"this generator translates {config.source.name} and has no latents, so no directions either")
    if not 1 <= k <= config.latent_dim:
        raise UsageError(f"the number of directions must be between 1 and {config.latent_dim}, not {k}")
    deviation = 1.0 if PRIORS[config.prior] is PRIORS["gaussian"] else 3**-0.5
    steps = deviation * torch.eye(config.latent_dim)
    outputs = _first_outputs(generator, torch.cat([steps, -steps]))
    ahead, behind = outputs.double().chunk(2)
    matrix = (ahead - behind) / (2 * deviation)  # row i is A eᵢ
    vectors = torch.linalg.eigh(matrix @ matrix.T).eigenvectors  # in the order of growing eigenvalues
    directions = vectors.flip(1)[:, :k].T
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    turned: Tensor = directions * largest.sign()
    return turned.float()


@torch.inference_mode()
def _first_outputs(generator: Generator, latents: Tensor) -> Tensor:
    """What the first layer with weights makes of latents, [n, features]."""
    found: list[Tensor] = []

    def keep(layer: nn.Module, inputs: object, output: Tensor) -> None:
        found.append(output.flatten(1).cpu())
        raise _StopError

    layers = [each for each in generator.module.modules() if [*each.parameters(recurse=False)]]
    handles = [each.register_forward_hook(keep) for each in layers]
    device = next(generator.module.parameters()).device
    label = generator.random_labels(1)
    try:
        for part in torch.split(latents, AT_ONCE):
            labels = [] if label is None else [label.expand(len(part), *label.shape[1:]).to(device)]
            try:
                generator.module(part.to(device), *labels)
            except _StopError:
                continue
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(found)

"""Find the latents of given items: what a generator makes that is nearest to them.

Each item is searched for from many starts: the random samples that are nearest to it, whose latents then follow the
gradient of the distance (Creswell and Bharath 2018, "Inverting the generator of a generative adversarial network",
arXiv:1802.05701).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.game.optimizers import Adam
from sparring.generator.config import Config
from sparring.types import Labels, Latents, OnProgress

BATCH = 100  # candidates at a time
NUM_CANDIDATES = 500  # random samples among which the starts are
NUM_STEPS = 300
LEARNING_RATE = 0.1  # at the first step; it falls to 0 along a cosine


@dataclass(frozen=True)
class Projection:
    """What a generator makes that is nearest to given items."""

    latents: Latents  # float32 [n, latent_dim]
    labels: Labels | None  # as `Generator.generate` takes them; None for a generator without
    items: np.ndarray  # the generated items [n, ...]
    distances: Tensor  # float32 [n]: 0 for an equal item, 1 for the average random sample


def project(
    module: nn.Module,
    config: Config,
    items: np.ndarray,
    candidates: tuple[Tensor, Tensor | None],
    labels: Labels | None,
    num_starts: int,
    on_progress: OnProgress,
) -> tuple[Latents, Labels | None, Tensor]:
    """The latents, the labels and the distances of a `Projection`.

    Args:
        module: the generator's network, frozen and in evaluation mode.
        config: its description.
        items: as `decode` gives them, [n, ...].
        candidates: latents [m, latent_dim] among which the starts are, with their labels.
        labels: those of the items [n, ...], or None to search for them.
        num_starts: how many candidates to begin with, for each item.
        on_progress: called with what is being done.
    """
    modality = config.modality
    if not 1 <= num_starts <= len(candidates[0]):
        raise UsageError(f"the number of starts must be from 1 to {len(candidates[0])}, not {num_starts}")
    device = next(module.parameters()).device
    targets = (modality.encode(modality.check_items(items, "the items")) / modality.scale).to(device)
    extractor = modality.neutral_extractor().module.eval().requires_grad_(False).to(device)

    def describe(samples: Tensor) -> tuple[Tensor, Tensor]:
        """The values and the features of samples, both [n, ...]."""
        return samples.flatten(1), extractor(samples * modality.scale).flatten(1)

    def compare(described: Iterable[Tensor], target: Tensor) -> Tensor:
        """The mean squared differences of values and of features, [2, n]."""
        pairs = zip(described, describe(target), strict=True)
        return torch.stack([(mine - other).square().mean(1) for mine, other in pairs])

    found, numbers, distances = [], [], []
    for place, target in enumerate(targets):
        on_progress(f"item {place + 1} of {len(targets)}", place / len(targets))
        if place == 0 or labels is not None:
            latents, random_labels = candidates
            wanted = random_labels if labels is None else labels[place].expand(len(latents), *labels.shape[1:])
            inputs = [each.to(device) for each in (latents, wanted) if each is not None]
            with torch.no_grad():
                batches = zip(*(torch.split(each, BATCH) for each in inputs), strict=True)
                parts = [describe(module(*batch)) for batch in batches]
                described = [torch.cat(each) for each in zip(*parts, strict=True)]
        away = compare(described, target[None])
        unit = away.mean(1, keepdim=True).clamp(min=torch.finfo().tiny)
        starts = (away / unit).mean(0).argsort()[:num_starts]
        latents, *rest = (each[starts].clone() for each in inputs)
        latents.requires_grad_()
        optimizer = Adam([latents], LEARNING_RATE)
        for step in range(NUM_STEPS + 1):
            distance = (compare(describe(module(latents, *rest)), target[None]) / unit).mean(0)
            if step < NUM_STEPS:
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / NUM_STEPS)) / 2
                (latents.grad,) = torch.autograd.grad(distance.sum(), [latents])
                optimizer.step()
                if config.prior == "uniform":
                    latents.data.clamp_(-1, 1)
        best = distance.argmin()
        found.append(latents[best].detach().cpu())
        distances.append(distance[best].detach().cpu())
        numbers += [each[best].cpu() for each in rest]
    return torch.stack(found), torch.stack(numbers) if numbers else None, torch.stack(distances)

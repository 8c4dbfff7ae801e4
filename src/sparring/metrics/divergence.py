"""A lower bound on the Jensen-Shannon divergence between any two sets of samples, by a fresh discriminator.

The discriminator that trained a generator knows it too well and the data too little. A new one, trained on one part of
the samples and asked about the rest, proves a bound: 2 JS ≥ V(D) + log 4 for every D (Goodfellow et al. 2014,
arXiv:1406.2661, Theorem 1), and the rest is independent of D, so its mean has an ordinary confidence interval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from sparring.errors import DataError
from sparring.metrics.estimate import Z_95
from sparring.networks import NETWORKS
from sparring.networks.fourier import FourierFeatures
from sparring.seeding import Stream
from sparring.types import Logits, Samples

NUM_FOLDS = 5
NUM_OCTAVES = 5
"""With them a fresh discriminator of points sees clusters of a hundredth of the whole, which a plain one doesn't."""


@dataclass(frozen=True)
class Divergence:
    """How far two sets of samples provably lie apart.

    Args:
        js: the estimate of the lower bound, in nats, 0 to log 2 = 0.693. A discriminator that proves less than
            nothing is replaced by the bound that needs none: JS ≥ 0.
        low: the lower end of its 95 % interval.
        high: the upper end. It is an interval of the bound, not of the divergence, which may be larger.
        accuracy: the share of samples that the fresh discriminators put on the right side, both sets counting half.
        p_value: of the classifier two-sample test: the probability of such an accuracy if the two distributions
            were one.
    """

    js: float
    low: float
    high: float
    accuracy: float
    p_value: float


def divergence(
    real: Float[Tensor, " n ..."], fake: Float[Tensor, " m ..."], *, steps: int = 1500, seed: int = 0
) -> Divergence:
    """A lower bound on the JS divergence between two sets of samples, with its interval and a two-sample test.

    Five discriminators are trained, each on four fifths of both sets, and judge the fifth that they have not seen; a
    tenth of what they train on decides how much to trust them (a temperature) and when to stop.

    Args:
        real: samples [n, ...]: points, images [n, channels, side, side] in [−1, 1], or anything of one shape.
        fake: samples [m, ...] of the same shape.
        steps: of each discriminator.
        seed: of everything random.

    Raises:
        DataError: for fewer than 50 samples, unlike shapes, or numbers that are not finite.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, Theorem 1; the test: Lopez-Paz and Oquab 2016, "Revisiting
        classifier two-sample tests", arXiv:1610.06545.

    Example:
        >>> half = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> divergence(half[:1000], half[1000:] + 9.0, steps=100).js > 0.6
        True
    """
    _check(real, fake)
    values, correct = [], []
    for fold in range(NUM_FOLDS):
        parts = [_split(samples, fold, seed) for samples in (real, fake)]
        discriminator = _train(parts[0][0], parts[1][0], steps, Stream(seed, f"divergence/{fold}"))
        real_logits, fake_logits = (_logits(discriminator, part[1]) for part in parts)
        # JS ≥ log 2 − ½ E_p softplus(−a) − ½ E_q softplus(b): each sample's part in the bound.
        values.append((math.log(2) - softplus(-real_logits), math.log(2) - softplus(fake_logits)))
        correct.append(((real_logits > 0).double(), (fake_logits <= 0).double()))
    js, error = _mean_of_halves(*(torch.cat(part) for part in zip(*values, strict=True)))
    accuracy, _ = _mean_of_halves(*(torch.cat(part) for part in zip(*correct, strict=True)))
    # Under the null hypothesis each answer is right with probability ½, independently of the others.
    null_error = math.sqrt((1 / len(real) + 1 / len(fake)) / 16)
    p_value = 0.5 * math.erfc((accuracy - 0.5) / null_error / math.sqrt(2))
    low, high = js - Z_95 * error, js + Z_95 * error
    return Divergence(max(0.0, js), max(0.0, low), max(0.0, high), accuracy, p_value)


def density_ratio(
    real: Float[Tensor, " n ..."], fake: Float[Tensor, " m ..."], *, steps: int = 1500, seed: int = 0
) -> Callable[[Samples], Logits]:
    """An estimate of log p(x) − log q(x), the log of the density of real samples over that of generated ones.

    It is the logit of one fresh discriminator of those that `divergence` trains, with its temperature.

    Args:
        real: samples [n, ...].
        fake: samples [m, ...] of the same shape.
        steps: of the discriminator.
        seed: of everything random.

    Returns:
        A function from samples [batch, ...] to logits [batch], for `Generator.sample(..., rejection=...)`.

    Raises:
        DataError: as `divergence`.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, Proposition 1: the optimal logit is log p − log q.

    Example:
        >>> points = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> log_ratio = density_ratio(points[:1000], points[1000:] + 4.0, steps=100)
        >>> bool(log_ratio(torch.zeros(1, 2)) > 0), bool(log_ratio(torch.full((1, 2), 4.0)) < 0)
        (True, True)
    """
    _check(real, fake)
    order = Stream(seed, "density_ratio/order")
    real, fake = (samples[order.permutation(len(samples))] for samples in (real, fake))
    discriminator = _train(real, fake, steps, Stream(seed, "density_ratio"))
    return partial(_logits, discriminator)


def _check(real: Tensor, fake: Tensor) -> None:
    if real.shape[1:] != fake.shape[1:]:
        raise DataError(f"the samples have different shapes: {list(real.shape[1:])} and {list(fake.shape[1:])}")
    for name, samples in (("real", real), ("fake", fake)):
        if len(samples) < 50:
            raise DataError(f"there are {len(samples)} {name} samples: give at least 50, better thousands")
        if not torch.isfinite(samples).all():
            raise DataError(f"the {name} samples hold numbers that are not finite")


def _split(samples: Tensor, fold: int, seed: int) -> tuple[Tensor, Tensor]:
    """What a fold trains on, in random order, and what it judges."""
    order = Stream(seed, "divergence/order").permutation(len(samples))
    judged = torch.arange(len(samples)) % NUM_FOLDS == fold
    return samples[order[~judged]], samples[order[judged]]


def _discriminator(item_shape: tuple[int, ...], mean: Tensor, deviation: Tensor) -> nn.Module:
    """Convolutions for images; for points a multilayer perceptron that sees detail; a plain one for anything else."""
    size = math.prod(item_shape)
    layers: list[nn.Module] = [_Standardize(mean, deviation)]
    if len(item_shape) == 3 and NETWORKS["conv"].fit(item_shape) == item_shape:
        layers += [nn.Unflatten(1, item_shape), NETWORKS["conv"].discriminator(item_shape, 48, "none", 0)]
    elif len(item_shape) == 1:
        num_features = size * (1 + 2 * NUM_OCTAVES)
        layers += [FourierFeatures(NUM_OCTAVES), NETWORKS["mlp"].discriminator((num_features,), 128, "none", 0)]
    else:
        layers += [NETWORKS["mlp"].discriminator((size,), 128, "none", 0)]
    return nn.Sequential(*layers)


class _Standardize(nn.Module):
    """Flatten, then bring every coordinate to mean 0 and the whole to standard deviation 1."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, samples: Tensor) -> Tensor:
        flat: Tensor = (samples.flatten(1) - self.mean) / self.deviation
        return flat


def _train(real: Tensor, fake: Tensor, steps: int, stream: Stream) -> nn.Module:
    both = torch.cat([real, fake]).flatten(1)
    mean, deviation = both.mean(0), both.std() + 1e-12
    with stream.part("network").as_default():
        network = _discriminator(tuple(real.shape[1:]), mean, deviation)
    num_checked = [max(5, len(samples) // 10) for samples in (real, fake)]
    checked = [samples[:number] for samples, number in zip((real, fake), num_checked, strict=True)]
    trained = [samples[number:] for samples, number in zip((real, fake), num_checked, strict=True)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    parameters = list(network.parameters())
    best_loss, best_factor, best_state = math.inf, 0.0, network.state_dict()
    for step in range(steps):
        batches = [
            samples[stream.part(name).at(step).integers(len(samples), min(256, len(samples)))]
            for name, samples in zip(("real", "fake"), trained, strict=True)
        ]
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = softplus(-network(batches[0])).mean() + softplus(network(batches[1])).mean()
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        if step % 50 == 49 or step == steps - 1:
            reached, factor = _best_temperature(*(_logits(network, part) for part in checked))
            if reached < best_loss:
                best_loss, best_factor = reached, factor
                best_state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best_state)
    return nn.Sequential(network, _Scale(best_factor))


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Logits) -> Logits:
        return self.factor * logits


def _best_temperature(real_logits: Tensor, fake_logits: Tensor) -> tuple[float, float]:
    """The least loss over a grid of factors on the logits, and the factor: 0 claims nothing, and 1 trusts them."""
    factors = torch.linspace(0, 1.5, 31, dtype=torch.float64)[:, None]
    losses = softplus(-factors * real_logits).mean(1) + softplus(factors * fake_logits).mean(1)
    index = int(losses.argmin())
    return losses[index].item(), factors[index].item()


def _logits(network: nn.Module, samples: Samples) -> Logits:
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in torch.split(samples, 1000)]).double()


def _mean_of_halves(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """½ (mean of the one + mean of the other), and its standard error."""
    variance = (real.var() / len(real) + fake.var() / len(fake)) / 4
    return (real.mean() + fake.mean()).item() / 2, variance.sqrt().item()

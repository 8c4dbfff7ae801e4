"""A lower bound on the Jensen-Shannon divergence between any two sets of samples, by a fresh discriminator.

The discriminator that trained a generator knows it too well and the data too little. A new one, trained on one part of
the samples and tested on the rest, proves a bound: 2 JS ≥ V(D) + log 4 for every D (Goodfellow et al. 2014,
arXiv:1406.2661, Theorem 1). The rest is independent of D, so its mean has an ordinary confidence interval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from sparring.errors import DataError, UsageError
from sparring.game.optimizers import Adam
from sparring.networks import NETWORKS
from sparring.networks.fourier import FourierFeatures
from sparring.seeding import Stream
from sparring.types import Z_95, Logits, Samples

NUM_FOLDS = 5
NUM_OCTAVES = 5
"""Enough for a fresh discriminator of points to see clusters a hundredth of the whole in size."""
MAX_POINT_COORDINATES = 8
"""Vectors of more are features, of which a plain perceptron proves up to three times as much in a third of the time."""


@dataclass(frozen=True)
class Divergence:
    """A proven distance between two sets of samples."""

    js: float  # the estimated lower bound, in nats, 0 to log 2 = 0.693; an estimate below 0 counts as 0
    low: float  # the ends of the bound's 95 % interval; the divergence itself may be larger
    high: float
    accuracy: float  # the share of samples that the fresh discriminators classify correctly, both sets counting half
    p_value: float  # the probability of such an accuracy if the distributions were equal (two-sample test)


def divergence(
    real: Float[Tensor, " n ..."], fake: Float[Tensor, " m ..."], *, steps: int = 1500, seed: int = 0
) -> Divergence:
    """A lower bound on the JS divergence between two sets of samples, with its interval and a two-sample test.

    Five discriminators are each trained on four fifths of both sets and tested on the remaining fifth. A tenth of their
    training samples decides when to stop and how much to trust their logits (a temperature).

    Args:
        real: samples [n, ...]: points, images [n, channels, height, width] in [−1, 1], or anything of one shape.
        fake: samples [m, ...] of the same shape.
        steps: of each discriminator.
        seed: the random seed.

    Raises:
        DataError: for fewer than 50 samples, different shapes, or numbers that are not finite.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, Theorem 1; the test: Lopez-Paz and Oquab 2016, "Revisiting
        classifier two-sample tests", arXiv:1610.06545.

    Example:
        >>> half = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> divergence(half[:1000], half[1000:] + 9.0, steps=100).js > 0.6
        True
    """
    _check(real, fake)
    bounds, correct = [], []
    real, fake = (x[Stream(seed, "divergence/order").permutation(len(x))] for x in (real, fake))
    for fold in range(NUM_FOLDS):
        in_fold = [torch.arange(len(samples)) % NUM_FOLDS == fold for samples in (real, fake)]
        logits = _train(real[~in_fold[0]], fake[~in_fold[1]], steps, Stream(seed, f"divergence/{fold}"))
        real_logits, fake_logits = logits(real[in_fold[0]]), logits(fake[in_fold[1]])
        # JS ≥ log 2 − ½ E_p softplus(−a) − ½ E_q softplus(b): each sample's term of the bound.
        bounds.append((math.log(2) - softplus(-real_logits), math.log(2) - softplus(fake_logits)))
        correct.append(((real_logits > 0).double(), (fake_logits <= 0).double()))
    js, error = _mean_of_halves(*(torch.cat(part) for part in zip(*bounds, strict=True)))
    accuracy, _ = _mean_of_halves(*(torch.cat(part) for part in zip(*correct, strict=True)))
    # Under the null hypothesis each answer is right with probability ½, independently of the others.
    null_error = math.sqrt((1 / len(real) + 1 / len(fake)) / 16)
    p_value = 0.5 * math.erfc((accuracy - 0.5) / null_error / math.sqrt(2))
    low, high = js - Z_95 * error, js + Z_95 * error
    return Divergence(max(0.0, js), max(0.0, low), max(0.0, high), accuracy, p_value)


def density_ratio(
    real: Float[Tensor, " n ..."], fake: Float[Tensor, " m ..."], *, steps: int = 1500, seed: int = 0
) -> Callable[[Samples], Logits]:
    """An estimate of log p(x) − log q(x), the log ratio of the densities of real and of generated samples.

    It is the logit of one fresh discriminator, trained as in `divergence`.

    Args:
        real: samples [n, ...].
        fake: samples [m, ...] of the same shape.
        steps: of the discriminator.
        seed: the random seed.

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
    real, fake = (x[Stream(seed, "density_ratio/order").permutation(len(x))] for x in (real, fake))
    return _train(real, fake, steps, Stream(seed, "density_ratio"))


def _check(real: Tensor, fake: Tensor) -> None:
    if real.shape[1:] != fake.shape[1:]:
        raise DataError(f"the samples have different shapes: {list(real.shape[1:])} and {list(fake.shape[1:])}")
    for name, samples in (("real", real), ("fake", fake)):
        if len(samples) < 50:
            raise DataError(f"there are {len(samples)} {name} samples: give at least 50, better thousands")
        if not torch.isfinite(samples).all():
            raise DataError(f"the {name} samples hold numbers that are not finite")


def _train(real: Tensor, fake: Tensor, steps: int, stream: Stream) -> Callable[[Samples], Logits]:
    """The logits of a fresh discriminator, at its best temperature."""
    both = torch.cat([real, fake]).flatten(1)
    mean, deviation = both.mean(0), both.std() + 1e-12
    with stream.part("network").as_default():
        network = _discriminator(tuple(real.shape[1:]))

    def standardize(samples: Tensor) -> Tensor:
        """Flatten samples; then each coordinate has mean 0, and all together have standard deviation 1."""
        return (samples.flatten(1) - mean) / deviation

    def logits(factor: float, samples: Samples) -> Logits:
        with torch.inference_mode():
            return torch.cat([factor * network(standardize(part)) for part in torch.split(samples, 1000)]).double()

    validation = [samples[: max(5, len(samples) // 10)] for samples in (real, fake)]
    training = [standardize(samples[max(5, len(samples) // 10) :]) for samples in (real, fake)]
    parameters = list(network.parameters())
    optimizer = Adam(parameters, lr=2e-3, weight_decay=1e-2, decoupled_weight_decay=True, fused=True)
    best_loss, best_factor, best_state = math.inf, 0.0, network.state_dict()
    for step in range(steps):
        batches = [
            samples[stream.part(name).at(step).integers(len(samples), min(256, len(samples)))]
            for name, samples in zip(("real", "fake"), training, strict=True)
        ]
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = softplus(-network(batches[0])).mean() + softplus(network(batches[1])).mean()
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        if step % 50 == 49 or step == steps - 1:
            validation_loss, factor = _best_temperature(*(logits(1.0, part) for part in validation))
            if validation_loss < best_loss:
                best_loss, best_factor = validation_loss, factor
                best_state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best_state)
    return partial(logits, best_factor)


def _discriminator(item_shape: tuple[int, ...]) -> nn.Module:
    """A discriminator of flat samples: convolutions for images, a perceptron for features, else a Fourier one."""
    try:
        fitting = NETWORKS["conv"].fit(item_shape)
    except UsageError:
        first, *others = item_shape
        if first > MAX_POINT_COORDINATES and not others:
            return NETWORKS["mlp"].discriminator(item_shape, 128, "none", 0)
        num_features = math.prod(item_shape) * (1 + 2 * NUM_OCTAVES)
        perceptron = NETWORKS["mlp"].discriminator((num_features,), 128, "none", 0)
        return nn.Sequential(FourierFeatures(NUM_OCTAVES), perceptron)
    padding = nn.ZeroPad2d((0, fitting[2] - item_shape[2], 0, fitting[1] - item_shape[1]))
    return nn.Sequential(nn.Unflatten(1, item_shape), padding, NETWORKS["conv"].discriminator(fitting, 48, "none", 0))


def _best_temperature(real_logits: Tensor, fake_logits: Tensor) -> tuple[float, float]:
    """The least loss over a grid of factors on the logits, and its factor: 0 ignores the logits, 1 trusts them."""
    factors = torch.linspace(0, 1.5, 31, dtype=torch.float64)[:, None]
    losses = softplus(-factors * real_logits).mean(1) + softplus(factors * fake_logits).mean(1)
    index = int(losses.argmin())
    return losses[index].item(), factors[index].item()


def _mean_of_halves(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """½ (mean of one + mean of the other), and its standard error."""
    variance = (real.var() / len(real) + fake.var() / len(fake)) / 4
    return (real.mean() + fake.mean()).item() / 2, variance.sqrt().item()

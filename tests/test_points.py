"""Points: which of two generators is better, and a recipe that fills the modes it finds."""

import math
from itertools import combinations, product

import pytest
import torch

from sparring.data import Mixture, grid, ring
from sparring.modalities.points import Points
from sparring.seeding import Stream
from sparring.types import Samples

NUM = 500  # as the monitor takes


def draw(mixture: Mixture, stream: Stream, width: float, bridges: float, modes: float) -> tuple[Samples, float]:
    """Samples of a poor generator, and the exact JS of its distribution from the mixture's, in nats.

    It has modes of `width` times σ, only a share of them, and a share of its points in between.
    """
    narrow = Mixture(mixture.means[: math.ceil(modes * len(mixture.means))], width * mixture.sigma)
    wide = Mixture(torch.zeros(1, 2), mixture.scale)

    def sample(number: int, part: Stream) -> Samples:
        num_between = round(bridges * number)
        return torch.cat([wide.batch(num_between, part.part("wide")), narrow.batch(number - num_between, part)])

    def term(points: Samples, of_real: bool) -> float:
        real = mixture.log_density(points.double())
        inside, outside = (each.log_density(points.double()) for each in (narrow, wide))
        fake = torch.logaddexp(inside + math.log1p(-bridges), outside + math.log(bridges or 1e-30))
        own = real if of_real else fake
        return (own - torch.logaddexp(real, fake)).mean().item() + math.log(2)

    many = 20_000
    js = (term(mixture.batch(many, stream.part("r")), True) + term(sample(many, stream.part("f")), False)) / 2
    return sample(NUM, stream.part("few")), js


@pytest.mark.parametrize("mixture", [ring(), grid()], ids=["ring", "grid"])
def test_the_distance_orders_generators_as_the_exact_divergence_does(mixture: Mixture) -> None:
    """Over all blends of narrow modes, points between the modes, and lost modes that differ by .1 nats or more."""
    points, real = Points((2,), mixture.scale), mixture.batch(NUM, Stream(0, "real"))
    found = []
    for number, (width, bridges, modes) in enumerate(product((1.0, 0.5, 0.25), (0.0, 0.1, 0.3), (1.0, 0.75, 0.4))):
        fake, js = draw(mixture, Stream(number, "fake"), width, bridges, modes)
        found.append((js, points.distance(real, fake, 0)[0], (width, bridges, modes)))
    assert min(found)[2] == (1.0, 0.0, 1.0)
    for (js, distance, what), (other_js, other_distance, other) in combinations(sorted(found), 2):
        assert other_js - js < 0.1 or distance < other_distance, (what, other, js, other_js, distance, other_distance)

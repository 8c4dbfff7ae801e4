"""Trainings in float64, so that two that should be equal can be told from two that nearly are."""

from torch import Tensor

from sparring.game.ema import Average
from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.training.loop import Training, play_step

ADAM_EPSILON = 1e-6
"""Adam carries a difference in a gradient that is almost 0 on into the weights, 1 / ε times as large: with its usual
ε = 1e-8 rounding alone, of a class that is drawn once, becomes 7e-10."""


class Doubled(Source):
    """Another source's items in float64."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.item_shape, self.num_items, self.class_shares = source.item_shape, source.num_items, source.class_shares

    def batch(self, size: int, stream: Stream) -> Tensor:
        return self.source.batch(size, stream).double()

    def labels(self, size: int, stream: Stream) -> Tensor | None:
        return self.source.labels(size, stream)


def train_to_the_end(training: Training) -> list[Tensor]:
    """Everything that a training with Adam ends with: weights, averages and the optimisers' memory."""
    for player in (training.game.generator, training.game.discriminator):
        player.double()
    for optimizer in (training.game.generator_optimizer, training.game.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["eps"] = ADAM_EPSILON
    training.average = Average(training.game.generator, 0.9)
    training.data = Doubled(training.data)
    while not training.stop_reason():
        play_step(training)
    return [*training.game.state().values(), *training.average.module.state_dict().values()]

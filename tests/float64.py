"""Trainings in float64, so that two that should be equal can be told from two that nearly are."""

from torch import Tensor

from sparring.data import Source
from sparring.ema import Average
from sparring.seeding import Stream
from sparring.trainer import Trainer

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


def played(trainer: Trainer) -> list[Tensor]:
    """Everything that a training with Adam ends with, weights, averages and memory."""
    for player in (trainer.game.generator, trainer.game.discriminator):
        player.double()
    for optimizer in (trainer.game.generator_optimizer, trainer.game.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["eps"] = ADAM_EPSILON
    trainer.average = Average(trainer.game.generator, 0.9)
    trainer.data = Doubled(trainer.data)
    while not trainer.end():
        trainer._iterate()
    return [*trainer.game.state().values(), *trainer.average.module.state_dict().values()]

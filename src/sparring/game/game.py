"""The game: two networks make each other better.

`Game.step` is Algorithm 1 of the field's first paper (Goodfellow et al. 2014, arXiv:1406.2661), in nine steps:

    1. initialise both networks                                     once
    2. sample latents                                             ┐
    3. generate samples from them                                 │
    4. sample real data                                           │ discriminator_steps times
    5. compute the discriminator's loss                           │
    6. update the discriminator                                   ┘
    7. compute the generator's loss                               ┐ generator_steps times
    8. update the generator                                       ┘
    9. repeat from 2 until a stop condition holds

A game knows networks, losses, penalties and restraints; it knows no file, no schedule and no screen. If several
processes share each batch, their gradients are averaged (`sparring.distributed`).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparring.distributed import collectives
from sparring.errors import DivergenceError, UnknownNameError, UsageError
from sparring.game import optimizers
from sparring.game.augment import Adaptive
from sparring.game.logit_cache import LogitCache, one_each
from sparring.game.objectives import OBJECTIVES, Objective
from sparring.game.penalties import Penalty
from sparring.game.restraints import Restraint
from sparring.game.sources import Source, prior_for
from sparring.seeding import Stream
from sparring.types import AnyLogits, Labels, Logits, Samples


@dataclass(frozen=True)
class Report:
    """The averages of one iteration over its batch, at the last update of each player."""

    step: int  # the iteration's number, from 1
    discriminator_loss: float  # before its update, without penalties
    generator_loss: float  # before its update, without restraints
    penalty: float  # the sum of the penalties in the discriminator's loss
    real_probability: float  # the discriminator's average probability for real samples
    fake_probability: float  # the discriminator's average probability for generated samples
    discriminator_gradient_norm: float  # over all its parameters, before clipping
    generator_gradient_norm: float  # over all its parameters, before clipping
    restraint: float = 0.0  # the sum of the restraints in the generator's loss


@dataclass(frozen=True)
class _Update:
    """A player's gradients before they are applied, with the losses behind them."""

    parameters: list[nn.Parameter]
    gradients: list[Tensor]
    gradient_norm: Tensor
    loss: float
    penalty: float


class Game:
    """A generator and a discriminator that train each other.

    Args:
        generator: any module from latents [batch, ...] to samples [batch, ...]; labels are its second argument.
        discriminator: any module from samples to one logit each, [batch] or [batch, 1], without a sigmoid at its end;
            labels are its second argument. If it gives several, [batch, ...], the losses are means over all of them.
        objective: a name in `OBJECTIVES`, or an `Objective`.
        penalties: restrain the discriminator. The generator's loss does not contain them.
        restraints: bind what the generator makes to what it is fed, in games without labels.
        prior: the latents, or items to translate; if None, standard normal in the shape of the generator's input.
        generator_optimizer: over the generator's parameters; Adam(2e-4, betas=(0.5, 0.999)) if None.
        discriminator_optimizer: over the discriminator's parameters; the same Adam if None.
        discriminator_steps: updates of the discriminator in each iteration, at least 1.
        generator_steps: updates of the generator in each iteration, at least 1.
        clip_gradients: the largest norm of a player's gradient, or None.
        simultaneous: compute both players' gradients before either player is updated.
        augment: alters the discriminator's input at random, such as `sparring.game.augment.Adaptive`; or None.
        autocast: the dtype in which layers compute if they can, such as torch.bfloat16; None for the weights.
        accumulate: the number of equal parts of each batch, played one after the other for batches larger than memory.
            The gradients are the whole batch's up to rounding; batch normalisation and `SpectralNorm` go by the part.
        seed: of the latents and of the penalties' random points.

    Attributes:
        steps: the number of iterations so far.
        penalty_factor: a factor on all penalties, for schedules.

    Raises:
        UnknownNameError: for an objective that is not in `OBJECTIVES`.
        UsageError: for a number out of range, latents of unknown shape, or a penalty that needs the whole batch.

    Example:
        >>> import sparring
        >>> players, penalties = (nn.Linear(4, 2), nn.Linear(2, 1)), [sparring.GradientPenalty(10.0)]
        >>> game = Game(*players, objective="wasserstein", penalties=penalties)
        >>> for real in torch.randn(5, 64, 2):
        ...     report = game.step(real)
        >>> report.step
        5
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        objective: str | Objective = "non_saturating",
        penalties: Sequence[Penalty] = (),
        restraints: Sequence[Restraint] = (),
        prior: Source | None = None,
        generator_optimizer: Optimizer | None = None,
        discriminator_optimizer: Optimizer | None = None,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        clip_gradients: float | None = None,
        simultaneous: bool = False,
        augment: Callable[[Samples, Stream], Samples] | None = None,
        autocast: torch.dtype | None = None,
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        if isinstance(objective, str) and objective not in OBJECTIVES:
            raise UnknownNameError("objective", objective, OBJECTIVES)
        if min(discriminator_steps, generator_steps, accumulate) < 1:
            raise UsageError("discriminator_steps, generator_steps and accumulate must be at least 1")
        if accumulate > 1 and (whole := [penalty.name for penalty in penalties if penalty.whole_batch]):
            raise UsageError(f"the penalty {whole[0]!r} needs the whole batch: leave accumulate={accumulate} away")
        if clip_gradients is not None and not clip_gradients > 0:
            raise UsageError(f"clip_gradients must be greater than 0, not {clip_gradients}")
        self.generator, self.discriminator = generator, discriminator
        self.objective = OBJECTIVES[objective] if isinstance(objective, str) else objective
        self.penalties, self.restraints = tuple(penalties), tuple(restraints)
        self.prior = prior or prior_for(generator)
        self.discriminator_steps, self.generator_steps = discriminator_steps, generator_steps
        self.clip_gradients, self.simultaneous, self.seed = clip_gradients, simultaneous, seed
        self.augment, self.autocast, self.accumulate = augment, autocast, accumulate
        self.steps, self.penalty_factor = 0, 1.0
        with Stream(seed, "penalties").as_default():
            for penalty in self.penalties:
                penalty.prepare(discriminator)
        for player in (generator, discriminator):  # 1. initialise both networks
            collectives.broadcast_weights(player)
        players = (*generator.modules(), *discriminator.modules())
        self._with_buffers = [module for module in players if module._buffers]  # to search them in each step takes long
        self.generator_optimizer = generator_optimizer or optimizers.default_optimizer(generator)
        self.discriminator_optimizer = discriminator_optimizer or optimizers.default_optimizer(discriminator)

    def step(self, real: Samples | Sequence[Samples], labels: Labels | Sequence[Labels] | None = None) -> Report:
        """Run one iteration, steps 2 to 8, and report on it.

        With labels both players are conditional: the generator is called with (latents, labels), the discriminator
        with (samples, labels), and the generated samples have the classes of the real ones.

        Args:
            real: a batch of real samples [batch, ...] for all updates of the discriminator, or a sequence of
                `discriminator_steps` batches, one for each; all of the same size, in all processes.
            labels: the classes of the real samples [batch], in the same form; or None.

        Raises:
            DivergenceError: if a loss or gradient is not finite; that update is not applied, and buffers are restored.
            UsageError: if the batches don't fit the game, or the discriminator's output is not a row for each sample.
        """
        batches = [real] * self.discriminator_steps if isinstance(real, Tensor) else list(real)
        classes = [labels] * self.discriminator_steps if labels is None or isinstance(labels, Tensor) else list(labels)
        if len(batches) != self.discriminator_steps or len(classes) != self.discriminator_steps:
            raise UsageError(
                f"a step takes {self.discriminator_steps} batches of real samples, not {len(batches)}, and the same "
                "number of batches of labels, if any: game.step(samples, labels)"
            )
        if rest := {len(batch) % self.accumulate for batch in batches} - {0}:
            raise UsageError(f"accumulate={self.accumulate} must divide the batch: it leaves {rest.pop()} samples over")
        last = self.discriminator_steps - 1
        with self._restore_buffers_on_divergence(), self._stream("modules", self.steps).as_default():
            for turn, (whole, given) in enumerate(zip(batches, classes, strict=True)):
                updates = self.steps * self.discriminator_steps + turn  # earlier updates of the discriminator
                due = {number: each for number, each in enumerate(self.penalties) if updates % each.interval == 0}
                total, played = list[Tensor](), list[tuple[Samples, Samples, Labels | None, Logits, Logits]]()
                y_parts = [None] * self.accumulate if given is None else given.chunk(self.accumulate)
                for part, (real_part, y) in enumerate(zip(whole.chunk(self.accumulate), y_parts, strict=True)):
                    with torch.set_grad_enabled(turn == last and self.accumulate == 1):  # for the generator's update
                        latents, fake, shown = self.generate(len(real_part), turn, y, part)  # 2. latents, 3. samples
                    fixed = shown.detach()
                    x = self._alter(real_part, "real", turn, part)  # 4. sample real data
                    logits = LogitCache(partial(self.all_logits, labels=y), differentiable=bool(due))
                    loss = self.objective.discriminator(logits(x), logits(fixed)).mean()  # 5. the discriminator's loss
                    penalty = x.new_zeros(())
                    for number, each in due.items():
                        stream = self._stream(f"penalty/{number}", updates, part)
                        penalty = penalty + each.interval * each(logits, x, fixed, stream).mean()
                    penalty = self.penalty_factor * penalty
                    total = self._gradients(self.discriminator_optimizer, loss, penalty, total)
                    played.append((real_part, x, y, logits(x).detach(), logits(fixed).detach()))
                inputs = {"real": x, "fake": fixed, "real_logits": played[-1][3], "fake_logits": played[-1][4]}
                discriminator_update = self._agree(self.discriminator_optimizer, total, inputs)
                if not (turn == last and self.simultaneous):
                    self._apply(discriminator_update, self.discriminator_optimizer, due.values())  # 6. its update

            for turn in range(self.generator_steps):
                total = []
                for part, (real_part, x, y, *_) in enumerate(played):
                    if turn > 0 or self.accumulate > 1:
                        place = turn + self.discriminator_steps if turn else last
                        latents, fake, shown = self.generate(len(x), place, y, part)
                    fake_logits = self.all_logits(shown, y)
                    with torch.no_grad():  # only paired losses need the real logits
                        real_logits = self.all_logits(x, y) if self.objective.paired else fake_logits
                    loss = self.objective.generator(real_logits, fake_logits).mean()  # 7. the generator's loss
                    with self._autocast(fake):
                        values = (each(self.generator, latents, fake, real_part).mean() for each in self.restraints)
                        restraint = sum(values, fake.new_zeros(()))
                    total = self._gradients(self.generator_optimizer, loss, restraint, total)
                generator_update = self._agree(self.generator_optimizer, total, {"fake": fake})
                if turn == 0 and self.simultaneous:
                    self._apply(discriminator_update, self.discriminator_optimizer, due.values())
                self._apply(generator_update, self.generator_optimizer, self.restraints)  # 8. its update

        real_logits, fake_logits = (torch.cat(each) for each in list(zip(*played, strict=True))[3:])
        if isinstance(self.augment, Adaptive):
            self.augment = self.augment.after(real_logits)
        probabilities = [self.objective.probability(each).mean() for each in (real_logits, fake_logits)]
        real_probability, fake_probability = collectives.mean(probabilities)
        self.steps += 1  # 9. repeat
        return Report(
            step=self.steps,
            discriminator_loss=discriminator_update.loss,
            generator_loss=generator_update.loss,
            penalty=discriminator_update.penalty,
            real_probability=real_probability.item(),
            fake_probability=fake_probability.item(),
            discriminator_gradient_norm=discriminator_update.gradient_norm.item(),
            generator_gradient_norm=generator_update.gradient_norm.item(),
            restraint=generator_update.penalty,
        )

    def generate(self, size: int, turn: int, labels: Labels | None = None, part: int = 0) -> tuple[Tensor, ...]:
        """The latents of a turn and a part of its batch, samples of them, and those as the discriminator sees them."""
        parameter = next(self.generator.parameters())
        stream = self._stream(f"latents/{turn}", self.steps, part)
        drawn = self.prior.batch(size, stream) if labels is None else self.prior.batch_of(labels, stream)
        inputs = [drawn.to(parameter)] if labels is None else [drawn.to(parameter), labels]
        with self._autocast(parameter):
            fake = self.generator(*inputs).to(parameter.dtype)
        return inputs[0], fake, self._alter(fake, "fake", turn, part)

    def logits(self, samples: Samples, labels: Labels | None = None, network: nn.Module | None = None) -> AnyLogits:
        """The discriminator's logits of samples, [batch]; their means if it gives several to each."""
        return one_each(self.all_logits(samples, labels, network))

    def all_logits(self, samples: Samples, labels: Labels | None = None, network: nn.Module | None = None) -> Logits:
        """As `logits`, but [batch, n] if there are n to each; a UsageError if the output has not a row a sample."""
        with self._autocast(samples):
            output: Tensor = (network or self.discriminator)(samples, *([] if labels is None else [labels]))
        if output.shape[:1] != samples.shape[:1]:
            raise UsageError(
                f"the discriminator makes {list(output.shape)} of samples {list(samples.shape)}: end it with one output"
            )
        return output.flatten(int(output.numel() > len(output))).to(samples.dtype)

    def _autocast(self, values: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(values.device.type, self.autocast)

    def _alter(self, samples: Samples, kind: str, turn: int, part: int) -> Samples:
        stream = self._stream(f"augment/{kind}/{turn}", self.steps, part)
        return self.augment(samples, stream) if self.augment else samples

    def _stream(self, purpose: str, step: int, part: int = 0) -> Stream:
        """The game's random numbers for a part of this process's batch."""
        place, number = collectives.rank() * self.accumulate + part, collectives.world_size() * self.accumulate
        return Stream(self.seed, purpose, step).for_rank(place, number)

    @contextmanager
    def _restore_buffers_on_divergence(self) -> Iterator[None]:
        """A diverged batch can leave statistics that are not finite either."""
        buffers = [buffer for module in self._with_buffers for buffer in module._buffers.values() if buffer is not None]
        before = [buffer.clone() for buffer in buffers]
        try:
            yield
        except DivergenceError:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            raise

    def _gradients(self, optimizer: Optimizer, loss: Tensor, penalty: Tensor, total: list[Tensor]) -> list[Tensor]:
        """The total, and one player's gradients, loss and penalty; the other one gets none: nothing needs freezing."""
        loss, penalty = loss / self.accumulate, penalty / self.accumulate
        own = torch.autograd.grad(
            loss + penalty, optimizers.trained_by(optimizer), allow_unused=True, materialize_grads=True
        )
        values = [*own, loss.detach(), penalty.detach()]
        return list(torch._foreach_add(total, values)) if total else values

    def _agree(self, optimizer: Optimizer, total: list[Tensor], inputs: dict[str, Tensor]) -> _Update:
        """The average over all processes; a DivergenceError if a number is not finite."""
        parameters = optimizers.trained_by(optimizer)
        *gradients, loss, penalty = collectives.mean(total)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if math.isfinite(loss.item() + penalty.item() + norm.item()):
            return _Update(parameters, gradients, norm, loss.item(), penalty.item())
        players = {"generator": self.generator, "discriminator": self.discriminator}
        who = "generator" if optimizer is self.generator_optimizer else "discriminator"
        gradient_of = dict(zip(parameters, gradients, strict=True))
        raise optimizers.divergence_error(who, self.steps + 1, players, inputs, (loss, penalty, norm), gradient_of)

    def _apply(self, update: _Update, optimizer: Optimizer, restraints: Iterable[Penalty | Restraint]) -> None:
        for parameter, gradient in zip(update.parameters, update.gradients, strict=True):
            parameter.grad = optimizers.with_strides_of(parameter, gradient)
        if self.clip_gradients is not None:
            torch.nn.utils.clip_grads_with_norm_(update.parameters, self.clip_gradients, update.gradient_norm)
        optimizer.step()
        for parameter in update.parameters:
            parameter.grad = None
        for each in restraints:
            each.project(self.generator if optimizer is self.generator_optimizer else self.discriminator)

    def state(self) -> dict[str, Tensor]:
        """Weights, buffers and the optimisers' state: all that the next step depends on besides `steps`."""
        parts = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": optimizers.state_tensors(self.generator_optimizer),
            "discriminator_optimizer": optimizers.state_tensors(self.discriminator_optimizer),
        }
        if isinstance(self.augment, Adaptive):
            parts["augment"] = {"probability": torch.tensor(self.augment.probability, dtype=torch.float64)}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def load_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Restore what `state()` returned after `steps` iterations; a UsageError if it is of other networks."""
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        try:
            self.generator.load_state_dict(parts["generator"])
            self.discriminator.load_state_dict(parts["discriminator"])
        except RuntimeError as error:
            raise UsageError(f"this state belongs to other networks: {error}") from error
        optimizers.load_state_tensors(self.generator_optimizer, parts["generator_optimizer"])
        optimizers.load_state_tensors(self.discriminator_optimizer, parts["discriminator_optimizer"])
        if isinstance(self.augment, Adaptive) and parts["augment"]:
            self.augment = replace(self.augment, probability=parts["augment"]["probability"].item())
        self.steps = steps

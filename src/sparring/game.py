"""The game: two networks make each other better.

`Game.step` is Algorithm 1 of the field's first paper (Goodfellow et al. 2014, arXiv:1406.2661), in nine steps:

    1. initialise both networks                                     once
    2. sample latents                                             ┐
    3. generate samples from them                                 │
    4. sample real data                                           │ discriminator_steps times
    5. the discriminator's loss                                   │
    6. its update                                                 ┘
    7. the generator's loss                                       ┐ generator_steps times
    8. its update                                                 ┘
    9. repeat from 2 until a stop condition holds

A game knows networks, losses and penalties. It knows no file, no schedule and no screen: those are the trainer's.
Where several processes play it, each on its part of the batch, the gradients are averaged (`sparring.distributed`).
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparring import distributed
from sparring.augment import Adaptive
from sparring.data import Gaussian, Source
from sparring.errors import DivergenceError, UnknownNameError, UsageError
from sparring.judge import Judge
from sparring.objectives import OBJECTIVES, Objective
from sparring.one_stage import generator_loss, judges_each_alone, logit_slopes
from sparring.penalties import Penalty
from sparring.seeding import Stream
from sparring.types import Labels, Logits, PerSample, Samples


@dataclass(frozen=True)
class Report:
    """What happened in one iteration, each number the mean over its batch, of the last update of its player.

    Args:
        step: the iteration's number, from 1.
        discriminator_loss: before its update, penalties apart.
        generator_loss: before its update.
        penalty: what the penalties added to the discriminator's loss.
        real_probability: the discriminator's probability that real samples are real.
        fake_probability: the discriminator's probability that generated samples are real.
        discriminator_gradient_norm: over all its parameters, before clipping.
        generator_gradient_norm: over all its parameters, before clipping.
    """

    step: int
    discriminator_loss: float
    generator_loss: float
    penalty: float
    real_probability: float
    fake_probability: float
    discriminator_gradient_norm: float
    generator_gradient_norm: float


@dataclass(frozen=True)
class _Update:
    """A player's gradients, and the numbers that a report wants of the loss they belong to."""

    parameters: list[nn.Parameter]
    gradients: list[Tensor]
    gradient_norm: Tensor
    loss: float
    penalty: float
    slopes: tuple[Tensor, ...]
    """The loss's gradients at what else was asked about."""


class Game:
    """A generator and a discriminator, playing.

    Args:
        generator: maps latents [batch, ...] to samples [batch, ...]; any module. With labels, it takes them second.
        discriminator: maps samples to one logit each, [batch] or [batch, 1]; any module. With labels, it takes them
            second. No sigmoid at its end: that is part of the objective.
        objective: a name in `OBJECTIVES`, or an `Objective`.
        penalties: what restrains the discriminator. A generator's update ignores them.
        prior: what the latents are drawn from; standard normal numbers of the shape that the generator's first
            layer takes, if None.
        generator_optimizer: over the generator's parameters; Adam(2e-4, betas=(0.5, 0.999)) if None.
        discriminator_optimizer: likewise.
        discriminator_steps: updates of the discriminator in each iteration, at least 1.
        generator_steps: updates of the generator in each iteration, at least 1.
        clip_gradients: the largest norm that a player's gradient may have, or None.
        simultaneous: compute both players' gradients before either moves, instead of one after the other.
        augment: alters real and generated samples at random before the discriminator sees them, such as
            `sparring.augment.differentiable`; an `Adaptive` follows the discriminator; or None.
        autocast: the type that the layers compute in where they can, such as torch.bfloat16, which takes no scaling of
            the losses; weights, losses, penalties and optimisers keep theirs. None for the weights' own.
        seed: of the latents and the penalties' random points.

    Attributes:
        steps: iterations played so far.
        penalty_factor: what all penalties are multiplied by; for schedules, like the optimisers' learning rates.

    Raises:
        UnknownNameError: for an objective that is not in `OBJECTIVES`.
        UsageError: for a number out of range, or where the shape of the latents cannot be told.

    Example:
        >>> import sparring
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> game = Game(generator, discriminator, objective="wasserstein", penalties=[sparring.GradientPenalty(10.0)])
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
        prior: Source | None = None,
        generator_optimizer: Optimizer | None = None,
        discriminator_optimizer: Optimizer | None = None,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        clip_gradients: float | None = None,
        simultaneous: bool = False,
        augment: Callable[[Samples, Stream], Samples] | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(objective, str) and objective not in OBJECTIVES:
            raise UnknownNameError("objective", objective, OBJECTIVES)
        if discriminator_steps < 1 or generator_steps < 1:
            raise UsageError("discriminator_steps and generator_steps must be at least 1")
        if clip_gradients is not None and not clip_gradients > 0:
            raise UsageError(f"clip_gradients must be greater than 0, and is {clip_gradients}")
        self.generator = generator
        self.discriminator = discriminator
        self.objective = OBJECTIVES[objective] if isinstance(objective, str) else objective
        self.penalties = tuple(penalties)
        self.prior = prior or Gaussian(_latent_shape(generator))
        self.discriminator_steps = discriminator_steps
        self.generator_steps = generator_steps
        self.clip_gradients = clip_gradients
        self.simultaneous = simultaneous
        self.augment = augment
        self.autocast = autocast
        self.seed = seed
        self.steps = 0
        self.penalty_factor = 1.0
        self._judges_each_alone: bool | None = None  # not yet known
        with Stream(seed, "penalties").as_default():
            for penalty in self.penalties:
                penalty.prepare(discriminator)
        for player in (generator, discriminator):
            distributed.start_alike(player)
        self.generator_optimizer = generator_optimizer or _adam(generator)
        self.discriminator_optimizer = discriminator_optimizer or _adam(discriminator)

    def step(self, real: Samples | Sequence[Samples], labels: Labels | Sequence[Labels] | None = None) -> Report:
        """Play one iteration: steps 2 to 8.

        With labels both players are conditional: the generator is called with (latents, labels), the discriminator
        with (samples, labels), and the generated samples are of the classes that the real ones are of.

        Args:
            real: a batch of real samples [batch, ...]; or a sequence of `discriminator_steps` batches of one size,
                one for each update of the discriminator. A single batch serves them all. Of several processes each
                gives its part of the batch, all of one size.
            labels: the classes of the real samples [batch], in the same form; or None.

        Returns:
            What happened.

        Raises:
            DivergenceError: if a loss or a gradient is not finite; that update is not applied, and the buffers are
                what they were before the step.
            UsageError: if the batches don't fit the game, or the discriminator's output is not one logit a sample.
        """
        batches = [real] * self.discriminator_steps if isinstance(real, Tensor) else list(real)
        classes = [labels] * self.discriminator_steps if labels is None or isinstance(labels, Tensor) else list(labels)
        if len(batches) != self.discriminator_steps or len(classes) != self.discriminator_steps:
            raise UsageError(
                f"a step takes {self.discriminator_steps} batches of real samples, not {len(batches)}, and as many of "
                "labels if any: game.step(samples, labels)"
            )
        players = self.generator, self.discriminator
        buffers = [(buffer, buffer.clone()) for player in players for buffer in player.buffers()]
        try:
            with self._stream("modules", self.steps).as_default():
                report = self._play(batches, classes)
        except DivergenceError:
            for buffer, before in buffers:  # statistics of a batch may not be finite either
                buffer.copy_(before)
            raise
        self.steps += 1
        return report

    def _play(self, batches: Sequence[Samples], classes: Sequence[Labels | None]) -> Report:
        for turn, (real, labels) in enumerate(zip(batches, classes, strict=True)):  # 4. sample real data
            last = turn == self.discriminator_steps - 1
            real = self._augmented(real, "real", turn)
            with torch.set_grad_enabled(last):  # the last fakes serve the generator's update too
                fake = self._generated(len(real), turn, labels)  # 2. sample latents; 3. generate
            judged = fake.detach()
            serves_both = last and self._is_one_stage(judged, labels)
            judge = Judge(partial(self.logits, labels=labels), differentiable=serves_both or bool(self._due(turn)))
            loss = self.objective.discriminator(judge(real), judge(judged)).mean()  # 5. the discriminator's loss
            penalty = self._penalty(judge, real, judged, turn)
            discriminator_update, slopes = self._learn(judge, real, judged, loss, penalty, serves_both)
            if not (last and self.simultaneous):
                self._update_discriminator(discriminator_update, turn)  # 6. its update

        for turn in range(self.generator_steps):
            if turn > 0:
                fake = self._generated(len(real), self.discriminator_steps + turn, labels)
            if turn == 0 and slopes is not None:  # one pass through the discriminator served both players
                loss = generator_loss(self.objective, judge(real), judge(judged), fake, slopes)
            else:
                loss = self._generator_losses(real, fake, labels).mean()  # 7. the generator's loss
            generator_update = self._differentiate(self.generator, loss, fake.new_zeros(()), {"fake": fake})
            if turn == 0 and self.simultaneous:
                self._update_discriminator(discriminator_update, self.discriminator_steps - 1)
            self._apply(generator_update, self.generator_optimizer)  # 8. its update

        seen = judge(real).detach(), judge(judged).detach()
        if isinstance(self.augment, Adaptive):
            self.augment = self.augment.after(seen[0])
        real_probability, fake_probability = distributed.mean(
            [self.objective.probability(each).mean() for each in seen]
        )
        return Report(
            step=self.steps + 1,
            discriminator_loss=discriminator_update.loss,
            generator_loss=generator_update.loss,
            penalty=discriminator_update.penalty,
            real_probability=real_probability.item(),
            fake_probability=fake_probability.item(),
            discriminator_gradient_norm=discriminator_update.gradient_norm.item(),
            generator_gradient_norm=generator_update.gradient_norm.item(),
        )

    def _stream(self, purpose: str, step: int) -> Stream:
        """This process's part of the game's random numbers."""
        return Stream(self.seed, purpose, step).shared(distributed.rank(), distributed.count())

    def generate(self, size: int, turn: int, labels: Labels | None = None) -> Samples:
        """Samples [size, ...] of the present generator, from the latents of a turn within this iteration."""
        stream = self._stream(f"latents/{turn}", self.steps)
        parameter = next(self.generator.parameters())
        latents = self.prior.batch(size, stream).to(parameter)
        with self._computing_in(parameter):
            fake: Tensor = self.generator(latents) if labels is None else self.generator(latents, labels)
        return fake.to(parameter.dtype)

    def _generated(self, size: int, turn: int, labels: Labels | None) -> Samples:
        """What the discriminator sees of the present generator."""
        return self._augmented(self.generate(size, turn, labels), "fake", turn)

    def _augmented(self, samples: Samples, of: str, turn: int) -> Samples:
        return self.augment(samples, self._stream(f"augment/{of}/{turn}", self.steps)) if self.augment else samples

    def logits(self, samples: Samples, labels: Labels | None = None) -> Logits:
        """What the discriminator gives to samples, [batch].

        Raises:
            UsageError: if it is not one number a sample.
        """
        with self._computing_in(samples):
            output: Tensor = self.discriminator(samples) if labels is None else self.discriminator(samples, labels)
        if output.numel() != len(samples):
            raise UsageError(
                f"the discriminator must give one logit to each sample, and made {list(output.shape)} "
                f"of {list(samples.shape)}: end it with a layer that has one output"
            )
        return output.flatten().to(samples.dtype)

    def _computing_in(self, values: Tensor) -> AbstractContextManager[object]:
        """While it lasts, layers compute in the type of `autocast`, on the device of these values."""
        return nullcontext() if self.autocast is None else torch.autocast(values.device.type, self.autocast)

    def _is_one_stage(self, fake: Samples, labels: Labels | None) -> bool:
        """Whether one pass through the discriminator serves both players (`sparring.one_stage`)."""
        if self.simultaneous and self._judges_each_alone is None:
            with self._computing_in(fake):
                alone = judges_each_alone(self.discriminator, fake, labels)
            (couples,) = distributed.largest([not alone])
            self._judges_each_alone = not couples
        return self.simultaneous and bool(self._judges_each_alone)

    def _generator_losses(self, real: Samples, fake: Samples, labels: Labels | None) -> PerSample:
        fake_logits = self.logits(fake, labels)
        if not self.objective.paired:  # the loss ignores the real logits, so they need not be computed
            return self.objective.generator(fake_logits, fake_logits)
        with torch.no_grad():
            real_logits = self.logits(real, labels)
        return self.objective.generator(real_logits, fake_logits)

    def _penalty(self, judge: Judge, real: Samples, judged: Samples, turn: int) -> Tensor:
        total = real.new_zeros(())
        for number, penalty in self._due(turn).items():
            stream = self._stream(f"penalty/{number}", self._update_number(turn))
            total = total + penalty.interval * penalty(judge, real, judged, stream).mean()
        return self.penalty_factor * total

    def _update_number(self, turn: int) -> int:
        """How many updates of the discriminator were before that of a turn within this iteration."""
        return self.steps * self.discriminator_steps + turn

    def _due(self, turn: int) -> dict[int, Penalty]:
        """The penalties of a turn within this iteration, by their numbers."""
        update = self._update_number(turn)
        return {number: each for number, each in enumerate(self.penalties) if update % each.interval == 0}

    def _learn(
        self, judge: Judge, real: Samples, judged: Samples, loss: Tensor, penalty: Tensor, serves_both: bool
    ) -> tuple[_Update, Samples | None]:
        """The discriminator's gradients; and the logits' slopes at the generated samples, where both learn by them."""
        seen = {"real": real, "judged": judged, "real_logits": judge(real), "fake_logits": judge(judged)}
        if not serves_both:
            return self._differentiate(self.discriminator, loss, penalty, seen), None
        if penalty.requires_grad:  # it may depend on the generated samples too, and the generator ignores that
            slopes = judge.slopes(judged)
            return self._differentiate(self.discriminator, loss, penalty, seen), slopes
        update = self._differentiate(self.discriminator, loss, penalty, seen, at=(judge(judged), judge.inputs(judged)))
        at_samples = logit_slopes(*update.slopes)
        (nowhere,) = distributed.largest([at_samples is None])  # all go the same way
        return update, None if nowhere else at_samples

    def _differentiate(
        self, player: nn.Module, loss: Tensor, penalty: Tensor, seen: dict[str, Tensor], at: tuple[Tensor, ...] = ()
    ) -> _Update:
        # Only the player's own gradients are computed: the other one is frozen without being told so.
        parameters = [parameter for parameter in player.parameters() if parameter.requires_grad]
        both = torch.autograd.grad(loss + penalty, [*parameters, *at], allow_unused=True, materialize_grads=True)
        *gradients, loss, penalty = distributed.mean([*both[: len(parameters)], loss, penalty])
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if not math.isfinite(loss.item() + penalty.item() + norm.item()):
            raise self._divergence(player, seen | {"loss": loss, "penalty": penalty}, gradients, norm)
        return _Update(parameters, gradients, norm, loss.item(), penalty.item(), both[len(parameters) :])

    def _divergence(
        self, player: nn.Module, seen: dict[str, Tensor], gradients: list[Tensor], norm: Tensor
    ) -> DivergenceError:
        """Names the first tensor, in the order of their making, that is not finite."""
        names = [name for name, parameter in player.named_parameters() if parameter.requires_grad]
        weights = {
            f"{name} weight {key}": weight
            for name, module in (("generator", self.generator), ("discriminator", self.discriminator))
            for key, weight in module.named_parameters()
        }
        tensors = weights | seen | {f"gradient of {name}": value for name, value in zip(names, gradients, strict=True)}
        first = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), "gradient norm")
        return DivergenceError(
            f"the {'generator' if player is self.generator else 'discriminator'} diverged at step {self.steps + 1}: "
            f"the first tensor that is not finite is the {first}; loss {seen['loss'].item():g}, penalty "
            f"{seen['penalty'].item():g}, gradient norm {norm.item():g}. "
            "Try a smaller learning rate, a penalty, or clip_gradients"
        )

    def _apply(self, update: _Update, optimizer: Optimizer) -> None:
        for parameter, gradient in zip(update.parameters, update.gradients, strict=True):
            parameter.grad = _laid_out_as(parameter, gradient)
        if self.clip_gradients is not None:
            torch.nn.utils.clip_grads_with_norm_(update.parameters, self.clip_gradients, update.gradient_norm)
        optimizer.step()
        for parameter in update.parameters:
            parameter.grad = None

    def _update_discriminator(self, update: _Update, turn: int) -> None:
        self._apply(update, self.discriminator_optimizer)
        for penalty in self._due(turn).values():
            penalty.project(self.discriminator)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on besides `steps`: weights, buffers, and the optimisers' memory."""
        state: dict[str, Tensor] = {}
        for name, player in (("generator", self.generator), ("discriminator", self.discriminator)):
            state |= {f"{name}.{key}": value for key, value in player.state_dict().items()}
        for name, optimizer in self._optimizers():
            for index, memory in optimizer.state_dict()["state"].items():
                for key, value in memory.items():
                    if isinstance(value, Tensor):
                        state[f"{name}.{index}.{key}"] = value
                    elif value is not None:
                        raise UsageError(f"cannot save what the {name} remembers as {key!r}: {type(value).__name__}")
        if isinstance(self.augment, Adaptive):
            state["augment.probability"] = torch.tensor(self.augment.probability, dtype=torch.float64)
        return state

    def load_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Go back to a state that `state()` gave after `steps` iterations.

        Raises:
            UsageError: if it is the state of other networks.
        """
        try:
            for name, player in (("generator", self.generator), ("discriminator", self.discriminator)):
                player.load_state_dict(_below(state, name))
        except RuntimeError as error:
            raise UsageError(f"this state belongs to other networks: {error}") from error
        for name, optimizer in self._optimizers():
            memories: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(state, name).items():
                index, _, field = key.partition(".")
                memories.setdefault(int(index), {})[field] = value
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for number, memory in memories.items():
                memories[number] = {field: _laid_out_as(parameters[number], value) for field, value in memory.items()}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": memories})
        if isinstance(self.augment, Adaptive) and "augment.probability" in state:
            self.augment = replace(self.augment, probability=state["augment.probability"].item())
        self.steps = steps

    def _optimizers(self) -> tuple[tuple[str, Optimizer], ...]:
        return (
            ("generator_optimizer", self.generator_optimizer),
            ("discriminator_optimizer", self.discriminator_optimizer),
        )


def _adam(player: nn.Module) -> Optimizer:
    return torch.optim.Adam(player.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's strides, if it is of its shape: fused optimisers go by memory, not by index."""
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _below(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The entries under a name, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _latent_shape(generator: nn.Module) -> tuple[int, ...]:
    """What a generator takes, read from its first layer that has weights."""
    for module in generator.modules():
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        if isinstance(module, nn.ConvTranspose2d):
            return (module.in_channels, 1, 1)
        if next(iter(module.parameters(recurse=False)), None) is not None:
            break
    raise UsageError("cannot tell what latents the generator takes: give prior=sparring.Gaussian((latent_dim,))")

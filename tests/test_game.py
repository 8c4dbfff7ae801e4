"""The nine steps: each of Game's promises against a plain hand-written loop, in float64."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import sparring
from sparring import OBJECTIVES, PENALTIES, DivergenceError, Game, UnknownNameError, UsageError
from sparring.seeding import Stream

BATCH, LATENTS, DIMENSIONS = 16, 3, 2


def players(normalization: bool = False) -> tuple[nn.Module, nn.Module]:
    with Stream(0, "players").as_default():
        norm = [nn.BatchNorm1d(8)] if normalization else []
        generator = nn.Sequential(nn.Linear(LATENTS, 8), nn.Softplus(), nn.Linear(8, DIMENSIONS)).double()
        discriminator = nn.Sequential(nn.Linear(DIMENSIONS, 8), *norm, nn.Softplus(), nn.Linear(8, 1)).double()
    return generator, discriminator


def real_batch(step: int) -> Tensor:
    return Stream(1, "real", step).normal(BATCH, DIMENSIONS).double()


def sgd(module: nn.Module, rate: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=rate)


def game(generator: nn.Module, discriminator: nn.Module, **options: object) -> Game:
    optimizers = {"generator_optimizer": sgd(generator), "discriminator_optimizer": sgd(discriminator)}
    return Game(generator, discriminator, **{**optimizers, **options})  # type: ignore[arg-type]


def weights(*modules: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for module in modules for value in module.state_dict().values()])


def plain_step(
    generator: nn.Module,
    discriminator: nn.Module,
    objective: str,
    step: int,
    simultaneous: bool,
    penalty: sparring.Penalty,
) -> None:
    """One iteration as a tutorial writes it: whole backward passes, nothing shared, nothing frozen."""
    losses = OBJECTIVES[objective]
    d_optimizer, g_optimizer = sgd(discriminator), sgd(generator)
    latents = Stream(0, "latents/0", step).normal(BATCH, LATENTS).double()
    real = real_batch(step)

    d_optimizer.zero_grad()
    fake = generator(latents).detach()
    loss = losses.discriminator(discriminator(real).flatten(), discriminator(fake).flatten()).mean()
    restraint = penalty(lambda x: discriminator(x).flatten(), real, fake, Stream(0, "penalty/0", step)).mean()
    torch.autograd.backward(loss + (step % penalty.interval == 0) * penalty.interval * restraint)
    if simultaneous:
        before = copy.deepcopy(discriminator)
    d_optimizer.step()
    judge = before if simultaneous else discriminator
    g_optimizer.zero_grad()
    losses.generator(judge(real).flatten().detach(), judge(generator(latents)).flatten()).mean().backward()
    g_optimizer.step()


@pytest.mark.parametrize(
    "penalty",
    [
        PENALTIES["none"](),
        sparring.R1(1.0),
        sparring.R1R2(1.0),
        sparring.R2(1.0, interval=2),
        sparring.GradientPenalty(),
    ],
    ids=lambda penalty: penalty.name,
)
@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_equal_the_plain_loop(objective: str, simultaneous: bool, penalty: sparring.Penalty) -> None:
    ours, plain = players(), players()
    match = game(*ours, objective=objective, simultaneous=simultaneous, penalties=[penalty])
    for step in range(5):
        match.step(real_batch(step))
        plain_step(*plain, objective, step, simultaneous, penalty)
    torch.testing.assert_close(weights(*ours), weights(*plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("penalty", ["none", "gradient_penalty", "r1r2"])
@pytest.mark.parametrize("objective", ["non_saturating", "relativistic"])
def test_a_batch_in_parts_is_the_whole_batch(objective: str, penalty: str, simultaneous: bool) -> None:
    """Also what is reported; sums are rounded in another order."""
    results = []
    for accumulate in (1, 4):
        pair = players()
        match = game(
            *pair, objective=objective, penalties=[PENALTIES[penalty]()], simultaneous=simultaneous,
            accumulate=accumulate, discriminator_steps=2, generator_steps=2,
        )  # fmt: skip
        reports = [match.step([real_batch(2 * step), real_batch(2 * step + 1)]) for step in range(3)]
        numbers = torch.tensor([list(vars(report).values()) for report in reports], dtype=torch.float64)
        results.append(torch.cat([weights(*pair), numbers.flatten()]))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_parts_of_a_batch_hold_fewer_samples_at_a_time() -> None:
    """Red where all parts are played at once, or the generator's graph of all of them is kept."""
    sizes: list[int] = []
    generator, discriminator = players()
    for player in (generator, discriminator):
        player.register_forward_hook(lambda module, given, made: sizes.append(len(given[0])))
    game(generator, discriminator, accumulate=4).step(real_batch(0))
    assert set(sizes) == {BATCH // 4}


def test_parts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="'dragan' needs the whole batch"):
        game(*players(), accumulate=2, penalties=[sparring.Dragan()])
    with pytest.raises(UsageError, match="accumulate=3 must divide the batch: it leaves 1"):
        game(*players(), accumulate=3).step(real_batch(0))


class Counting(nn.Module):
    """Another discriminator, and how often it was asked."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.count = 0

    def forward(self, samples: Tensor) -> Tensor:
        self.count += 1
        logits: Tensor = self.discriminator(samples)
        return logits


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 3),
        ({"simultaneous": True}, 3),
        ({"penalties": [sparring.R1R2()]}, 3),
        ({"penalties": [sparring.R1R2()], "simultaneous": True}, 3),
        ({"penalties": [sparring.R1(), sparring.R2()], "objective": "relativistic"}, 4),
        ({"penalties": [sparring.GradientPenalty()]}, 4),  # at other samples
        ({"discriminator_steps": 3, "generator_steps": 2}, 8),
    ],
)
def test_each_update_passes_the_same_samples_through_the_discriminator_once(
    options: dict[str, object], count: int
) -> None:
    """That the gradients are right is `test_steps_equal_the_plain_loop`."""
    generator, discriminator = players()
    counting = Counting(discriminator)
    game(generator, counting, **options).step(real_batch(0))
    assert counting.count == count


class Transposed(nn.Module):
    """A linear layer whose weight's gradient comes with other strides than the weight has."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(Stream(0, "weight").normal(inputs, outputs).double().t())

    def forward(self, samples: Tensor) -> Tensor:
        return nn.functional.linear(samples, self.weight)


@pytest.mark.parametrize("channels_last", [False, True])
def test_fused_optimizers_get_gradients_laid_out_as_the_weights(channels_last: bool) -> None:
    """They go by memory, not by index, and say nothing."""
    results = []
    for fused in (True, False):
        with Stream(0, "players").as_default():
            generator = nn.Sequential(
                nn.Unflatten(1, (LATENTS, 1, 1)), nn.ConvTranspose2d(LATENTS, 2, 3), nn.Flatten(), nn.Linear(18, 2)
            ).double()
            discriminator = nn.Sequential(Transposed(DIMENSIONS, 5), nn.Softplus(), nn.Linear(5, 1).double())
        if channels_last:
            generator.to(memory_format=torch.channels_last)
        optimizers = [torch.optim.Adam(each.parameters(), 0.01, fused=fused) for each in (generator, discriminator)]
        match = Game(
            generator, discriminator, prior=sparring.Gaussian((LATENTS,)), generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
        )  # fmt: skip
        for step in range(3):
            match.step(real_batch(step))
        state = {name: value.clone().contiguous() for name, value in match.state().items()}  # as a file has it
        match.load_state(state, match.steps)
        for step in range(3, 6):
            match.step(real_batch(step))
        results.append(weights(generator, discriminator))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)


def test_alternating_and_simultaneous_differ() -> None:
    results = []
    for simultaneous in (False, True):
        pair = players()
        game(*pair, simultaneous=simultaneous).step(real_batch(0))
        results.append(weights(*pair))
    assert not torch.allclose(results[0], results[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_enter_the_discriminators_update_alone(name: str) -> None:
    """Simultaneously, a penalty changes what the discriminator does and not what the generator does."""
    free, restrained = players(), players()
    game(*free, simultaneous=True).step(real_batch(0))
    report = game(*restrained, simultaneous=True, penalties=[PENALTIES[name]()]).step(real_batch(0))
    if name not in ("none", "spectral_norm"):
        assert not torch.equal(weights(free[1]), weights(restrained[1]))
        assert (report.penalty > 0) is (name != "weight_clipping")
    if name != "spectral_norm":  # it changes the function that the generator is judged by
        torch.testing.assert_close(weights(free[0]), weights(restrained[0]), rtol=0, atol=1e-12)


def test_lazy_penalties_count_as_often_as_they_are_left_out() -> None:
    every = game(*players(), penalties=[sparring.R1(0.5)])
    lazy = game(*players(), penalties=[sparring.R1(0.5, interval=4)])
    penalties = [(every.step(real_batch(0)).penalty, lazy.step(real_batch(0)).penalty)]
    assert penalties[0][1] == pytest.approx(4 * penalties[0][0], rel=1e-12)
    assert [lazy.step(real_batch(step)).penalty > 0 for step in range(1, 9)] == [False] * 3 + [True] + [False] * 3 + [
        True
    ]


def test_counts_of_updates() -> None:
    class Counting(torch.optim.SGD):
        count = 0

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            self.count += 1

    generator, discriminator = players()
    optimizers = Counting(generator.parameters()), Counting(discriminator.parameters())
    match = Game(
        generator,
        discriminator,
        generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
        discriminator_steps=5,
        generator_steps=2,
    )
    match.step([real_batch(number) for number in range(5)])
    match.step(real_batch(0))
    assert (optimizers[0].count, optimizers[1].count) == (4, 10)


def test_each_update_draws_its_own_latents() -> None:
    match = game(*players(), discriminator_steps=3, generator_steps=2)
    drawn = torch.cat([match.generate(BATCH, turn)[2] for turn in range(5)])
    assert len(drawn.unique(dim=0)) == 5 * BATCH


def test_gradients_are_clipped_and_reported_before_that() -> None:
    generator, discriminator = players()
    before = weights(generator)
    report = game(generator, discriminator, clip_gradients=1e-3).step(real_batch(0))
    assert report.generator_gradient_norm > 1e-3
    assert (weights(generator) - before).norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_the_report_is_of_the_first_numbers() -> None:
    generator, discriminator = players()
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
    report = game(generator, discriminator, objective="minimax").step(real_batch(0))
    assert report.step == 1
    assert report.discriminator_loss == pytest.approx(math.log(4))
    assert (report.real_probability, report.fake_probability) == (0.5, 0.5)
    assert report.penalty == 0


def test_no_player_keeps_gradients_of_the_other() -> None:
    generator, discriminator = players()
    game(generator, discriminator).step(real_batch(0))
    assert all(parameter.grad is None for module in (generator, discriminator) for parameter in module.parameters())


def test_frozen_layers_stay() -> None:
    generator, discriminator = players()
    generator[0].requires_grad_(False)
    before = weights(generator[0])
    game(generator, discriminator).step(real_batch(0))
    assert torch.equal(weights(generator[0]), before)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_state_and_load_state_go_on_to_the_same_bytes(optimizer: str) -> None:
    """Dropping an optimiser's moments, a buffer, or the step number from the state turns this red."""
    kinds = {
        "adam": lambda module: torch.optim.Adam(module.parameters(), 1e-2, fused=True),
        "rmsprop": lambda module: torch.optim.RMSprop(module.parameters(), 1e-2),
        "sgd": lambda module: torch.optim.SGD(module.parameters(), 1e-2, momentum=0.9),
    }

    def fresh() -> Game:
        generator, discriminator = players(normalization=True)
        penalties = [sparring.GradientPenalty(1.0, interval=2), sparring.SpectralNorm()]
        return Game(
            generator,
            discriminator,
            penalties=penalties,
            generator_optimizer=kinds[optimizer](generator),
            discriminator_optimizer=kinds[optimizer](discriminator),
        )

    undisturbed, first, second = fresh(), fresh(), fresh()
    for step in range(7):
        undisturbed.step(real_batch(step))
    for step in range(3):
        first.step(real_batch(step))
    second.load_state({name: value.clone() for name, value in first.state().items()}, steps=3)
    for step in range(3, 7):
        second.step(real_batch(step))
    expected, found = undisturbed.state(), second.state()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_dropout_follows_the_step_and_not_the_global_generator() -> None:
    results = []
    for global_seed in (1, 2):
        generator, discriminator = players()
        discriminator = nn.Sequential(nn.Dropout(0.5), *discriminator)
        torch.manual_seed(global_seed)
        game(generator, discriminator).step(real_batch(0))
        results.append(weights(discriminator))
    assert torch.equal(*results)


def test_labels_reach_both_players_and_the_penalty() -> None:
    """The plain loop with labels; a penalty that forgot them would fail on the discriminator's second argument."""

    class Labelled(nn.Module):
        def __init__(self, inner: nn.Module, inputs: int) -> None:
            super().__init__()
            self.inner = inner
            self.classes = nn.Embedding(2, inputs, dtype=torch.float64)

        def forward(self, values: Tensor, labels: Tensor) -> Tensor:
            seen.append(labels)
            return self.inner(values + self.classes(labels))

    seen: list[Tensor] = []
    generator, discriminator = players()
    pair = Labelled(generator, LATENTS), Labelled(discriminator, DIMENSIONS)
    labels = Stream(0, "labels").integers(2, BATCH)
    prior = sparring.Gaussian((LATENTS,))
    game(*pair, prior=prior, penalties=[sparring.GradientPenalty()]).step(real_batch(0), labels)
    assert len(seen) == 5  # fakes, D(real), D(fake), the penalty, D(fake) for the generator
    assert all(torch.equal(labels, other) for other in seen)


def test_latents_for_any_users_modules() -> None:
    with_conv = nn.Sequential(nn.ConvTranspose2d(10, 1, 4), nn.Flatten())
    assert Game(with_conv, nn.Linear(16, 1)).step(torch.randn(4, 16)).step == 1
    with pytest.raises(UsageError, match="give prior="):
        Game(nn.Sequential(nn.Conv2d(1, 1, 3)), nn.Linear(2, 1))


def test_errors_name_what_is_wrong() -> None:
    generator, discriminator = players()
    with pytest.raises(UnknownNameError, match="did you mean 'wasserstein'"):
        Game(generator, discriminator, objective="wassertein")
    with pytest.raises(UsageError, match="at least 1"):
        Game(generator, discriminator, discriminator_steps=0)
    with pytest.raises(UsageError, match="clip_gradients"):
        Game(generator, discriminator, clip_gradients=0.0)
    with pytest.raises(UsageError, match="end it with one output"):
        game(generator, nn.Sequential(nn.Linear(DIMENSIONS, 3).double(), nn.Flatten(0))).step(real_batch(0))
    with pytest.raises(UsageError, match="takes 2 batches"):
        game(generator, discriminator, discriminator_steps=2).step([real_batch(0)])


def test_a_loss_that_is_not_finite_is_not_applied() -> None:
    """Nor does the statistics of batch normalisation see it."""
    generator, discriminator = players(normalization=True)
    before = weights(generator, discriminator)
    with pytest.raises(DivergenceError, match="discriminator diverged at step 1"):
        game(generator, discriminator).step(torch.full((BATCH, DIMENSIONS), math.nan, dtype=torch.float64))
    assert torch.equal(weights(generator, discriminator), before)

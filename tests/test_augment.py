"""What the discriminator sees is altered as it is said to be, and gradients pass through it."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparring
from sparring.game.augment import Adaptive, differentiable
from sparring.seeding import Stream
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

IMAGES = Stream(0, "images").uniform(3, 3, 8, 8) * 2 - 1
BRIGHTNESS, SATURATION, CONTRAST, SHIFT, HOLE = range(5)


@dataclass(frozen=True)
class Fixed(Stream):
    """Draws what it is told: one alteration that occurs, and the seven numbers that it goes by."""

    occurs: int = 0
    numbers: tuple[float, ...] = (0.5,) * 7

    def uniform(self, *shape: int) -> Tensor:
        drawn = [0.0 if number == self.occurs else 1.0 for number in range(5)]
        return torch.tensor([*drawn, *self.numbers]).expand(shape)


def altered(occurs: int, *numbers: float) -> Tensor:
    return differentiable(IMAGES, Fixed(0, "", occurs=occurs, numbers=numbers), probability=0.5)


def test_brightness() -> None:
    torch.testing.assert_close(altered(BRIGHTNESS, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5), IMAGES + 0.5)
    torch.testing.assert_close(altered(BRIGHTNESS, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5), IMAGES - 0.5)


def test_saturation() -> None:
    grey = IMAGES.mean(1, keepdim=True).expand_as(IMAGES)
    torch.testing.assert_close(altered(SATURATION, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5), grey)
    torch.testing.assert_close(altered(SATURATION, 0.5, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5), 2 * IMAGES - grey)


def test_contrast() -> None:
    mean = IMAGES.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(altered(CONTRAST, 0.5, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5), (IMAGES + mean) / 2)
    torch.testing.assert_close(altered(CONTRAST, 0.5, 0.5, 1.0, 0.5, 0.5, 0.5, 0.5), 1.5 * IMAGES - mean / 2)


def test_shift() -> None:
    """By a pixel of eight, down and to the left."""
    expected = torch.zeros_like(IMAGES)
    expected[:, :, 1:, :-1] = IMAGES[:, :, :-1, 1:]
    assert torch.equal(altered(SHIFT, 0.5, 0.5, 0.5, 1.0, 0.0, 0.5, 0.5), expected)


def test_hole() -> None:
    """Four pixels of eight, in the middle, and half of it outside."""
    expected = IMAGES.clone()
    expected[:, :, 2:6, 2:6] = 0
    assert torch.equal(altered(HOLE, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5), expected)
    expected = IMAGES.clone()
    expected[:, :, :2, 6:] = 0
    assert torch.equal(altered(HOLE, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.999), expected)


def test_each_image_is_altered_by_itself() -> None:
    """So that processes that share a batch see what one would."""
    many = differentiable(IMAGES.repeat(4, 1, 1, 1), Stream(0, "augment"))
    assert torch.equal(many[:3], differentiable(IMAGES, Stream(0, "augment")))
    assert not torch.equal(many[:3], many[3:6])
    second = differentiable(IMAGES.repeat(2, 1, 1, 1), Stream(0, "augment").for_rank(1, 2))
    assert torch.equal(second, many[6:])


def test_gradients_pass() -> None:
    images = IMAGES.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: differentiable(given, Stream(0, "augment")), (images,))


def test_the_probability_is_that_of_each_alteration() -> None:
    """Of 4,000 images, .7⁴ of which have nothing but a shift: five standard deviations are .031, p < 1e-6."""
    images = IMAGES[:1].expand(4000, -1, -1, -1)
    seen = differentiable(images, Stream(0, "augment"), probability=0.3)
    same = (seen == images).flatten(1).all(1).double().mean().item()
    share_unshifted = 0.7 + 0.3 * 0.25  # by a pixel of eight at most, which half of the draws round to none, twice
    assert same == pytest.approx(0.7**4 * share_unshifted, abs=0.034)


@pytest.mark.parametrize(("samples", "probability"), [(torch.zeros(2, 3), 0.5), (IMAGES, -0.1), (IMAGES, 1.1)])
def test_misuse(samples: Tensor, probability: float) -> None:
    with pytest.raises(sparring.UsageError, match=r"only images|from 0 to 1"):
        differentiable(samples, Stream(0, "augment"), probability)


def test_points_cannot_be_augmented() -> None:
    with pytest.raises(sparring.UsageError, match="only images can be augmented, and ring holds none"):
        resolve(make_request("ring", None, augment=0.5))


def test_the_adaptive_probability() -> None:
    """It rises where most are known, falls else, stays within bounds, and knows its pace."""
    known, unknown = torch.full((50,), 2.0), torch.full((50,), -0.1)
    adaptive = Adaptive(num_images=200)
    assert adaptive.after(unknown).probability == 0
    for _ in range(3):
        adaptive = adaptive.after(known)
    assert adaptive.probability == pytest.approx(0.75)
    assert adaptive.after(known).after(known).probability == 1
    assert adaptive.after(torch.cat([known, unknown])).probability == pytest.approx(0.25)  # r is 0
    with pytest.raises(sparring.UsageError, match="probability must be from 0 to 1"):
        Adaptive(probability=1.5)


class Recording(torch.nn.Linear):
    """A discriminator that keeps what it sees."""

    def __init__(self) -> None:
        super().__init__(36, 1)
        self.seen: list[Tensor] = []

    def forward(self, samples: Tensor) -> Tensor:
        self.seen.append(samples.detach())
        return super().forward(samples.flatten(1))


@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_discriminator_of_a_game_sees_altered_samples_only(simultaneous: bool) -> None:
    generator = torch.nn.Sequential(torch.nn.Linear(2, 36), torch.nn.Unflatten(1, (1, 6, 6)))
    discriminator = Recording()
    game = sparring.Game(
        generator,
        discriminator,
        objective="relativistic",
        simultaneous=simultaneous,
        augment=lambda samples, stream: samples * 0 + stream.uniform(len(samples), 1, 1, 1) + 10,
    )
    before = [parameter.clone() for parameter in generator.parameters()]
    report = game.step(torch.zeros(4, 1, 6, 6))
    assert all((seen >= 10).all() for seen in discriminator.seen)
    assert len({seen[0, 0, 0, 0].item() for seen in discriminator.seen}) == 2  # one draw for each batch
    assert report.generator_gradient_norm == 0  # what the discriminator sees does not depend on the generator here
    assert all(torch.equal(mine, kept) for mine, kept in zip(generator.parameters(), before, strict=True))


@pytest.mark.slow
def test_an_adaptive_probability_comes_to_the_same_when_resumed(tmp_path: Path) -> None:
    settings = {
        "width": 4,
        "batch_size": 100,
        "augment": 0.5,
        "augment_target": 0.0,
        "log_steps": 4,
        "evaluation_share": 0.0,  # each evaluation writes a line as well
        "schedule": "constant",
    }
    whole = sparring.train("digits", steps=24, out=tmp_path / "whole", **settings)
    sparring.train("digits", steps=10, out=tmp_path / "parts", **settings)
    parts = sparring.resume(tmp_path / "parts", steps=24)
    weights = [(run.generator / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]
    probabilities = [line["augment"] for line in whole.log()]
    assert [line["augment"] for line in parts.log() if line["step"] % 4 == 0] == probabilities
    # In each step up or down by a batch of the hundred thousand images, or nowhere from where all logits are 0.
    steps = [round((after - before) * 1000, 6) for before, after in pairwise([0.5, *probabilities])]
    assert all(step in (-4, -2, 0, 2, 4) for step in steps)
    assert any(steps)


def test_the_game_goes_by_the_logits_of_its_real_samples() -> None:
    discriminator = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
    generator = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    for bias, expected in ((5.0, 0.4 + 0.1), (-5.0, 0.4 - 0.1)):
        torch.nn.init.constant_(discriminator[1].bias, bias)
        torch.nn.init.zeros_(discriminator[1].weight)
        game = sparring.Game(generator, discriminator, augment=Adaptive(0.4, num_images=30))
        game.step(IMAGES[:, :1])
        assert game.augment.probability == pytest.approx(expected)
        other = sparring.Game(generator, discriminator, augment=Adaptive(0.9, num_images=30))
        other.load_state(game.state(), game.steps)
        assert other.augment == game.augment


def test_points_have_nothing_to_adapt() -> None:
    with pytest.raises(sparring.UsageError, match="only images can be augmented"):
        resolve(make_request("ring", None, augment_target=0.6))


@pytest.mark.parametrize(
    ("num_images", "settings", "expected"),
    [
        (4_000, {}, (0.0, 0.6)),
        (6_000, {}, (0.0, None)),
        (4_000, {"augment": 0.0}, (0.0, None)),
        (4_000, {"augment": 0.5}, (0.5, None)),
        (4_000, {"augment_target": 0.4}, (0.0, 0.4)),
    ],
    ids=str,
)
def test_few_images_are_augmented_unless_told_otherwise(
    num_images: int, settings: dict[str, float], expected: tuple[float, float | None], tmp_path: Path
) -> None:
    images = np.zeros((num_images, 28, 28), np.uint8)
    images[0] = 255
    np.save(tmp_path / "images.npy", images)
    recipe, _ = resolve(make_request(str(tmp_path / "images.npy"), None, num_clusters=1, **settings))
    assert (recipe.augment, recipe.augment_target) == expected


def test_the_loop_in_the_docs_runs() -> None:
    """The first block of Python in docs/data.md, with two small networks: both players learn through it."""
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    generator = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    before = [player[place].weight.clone() for player, place in ((generator, 0), (discriminator, 1))]
    names = {
        "generator": generator,
        "discriminator": discriminator,
        "g_optimizer": torch.optim.Adam(generator.parameters()),
        "d_optimizer": torch.optim.Adam(discriminator.parameters()),
        "batches": torch.ones(50, 8, 1, 8, 8),
    }
    exec(code, names)
    assert not torch.equal(generator[0].weight, before[0])
    assert not torch.equal(discriminator[1].weight, before[1])
    assert names["augment"].probability > 0  # ones are soon known

"""What a recipe's names become: precision and compilation, beside the plain form."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from float64 import played
from torch import Tensor, nn

from sparring.build import build, resolve
from sparring.recipes import Recipe, recipe_for
from sparring.trainer import Trainer

SMALL = {"width": 4, "steps": 3, "evaluation_share": 0.0}
LABELS = {"conditional": True}
ONE_STAGE = {"objective": "hinge", "normalization": "none", "simultaneous": True}


def trainer(**settings: object) -> Trainer:
    return build(*resolve(recipe_for("digits", "lsgan", **SMALL | settings)))


@pytest.mark.parametrize("settings", [LABELS, ONE_STAGE], ids=["labels", "one stage"])
def test_compiled_players_play_the_same_game(settings: dict[str, object]) -> None:
    """Red where compiled layers lose the class, or compute otherwise by more than rounding.

    In a process of its own, since the checks of types and shapes that stand in functions here cannot be compiled.
    """
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_build\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}test_build.compare({settings})"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


def compare(settings: dict[str, object]) -> None:
    import torch._dynamo

    plain = played(trainer(**settings))
    assert not torch._dynamo.utils.counters["frames"]
    compiled = played(trainer(**settings, compile=True))
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 2
    for mine, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of PyTorch's compiler, by itself
def test_a_discriminator_that_is_differentiated_twice_is_not_compiled() -> None:
    game = trainer(compile=True, penalty="r1").game
    assert game.generator._compiled_call_impl is not None
    assert game.discriminator._compiled_call_impl is None


@pytest.mark.parametrize("settings", [LABELS, ONE_STAGE, {"penalty": "r1r2"}, {"penalty": "gradient_penalty"}])
def test_layers_compute_in_bfloat16_and_weights_stay(settings: dict[str, object]) -> None:
    """Sums of bfloat16 differ from those of float32 by about 2⁻⁸, and three steps of 1e-3 move weights by .003."""
    seen: set[torch.dtype] = set()
    states: list[dict[str, Tensor]] = []
    for precision in ("float32", "bfloat16"):
        training = trainer(**settings, precision=precision)
        for module in (*training.game.generator.modules(), *training.game.discriminator.modules()):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda module, given, made: seen.add(made.dtype))
        while not training.end():
            training._iterate()
        assert seen == {getattr(torch, precision)}
        seen.clear()
        states.append(training.game.state())
    assert {value.dtype for value in states[1].values() if value.is_floating_point()} == {torch.float32}
    exact, rounded = (
        torch.cat(
            [
                value.flatten()
                for name, value in state.items()
                if name.startswith(("generator.", "discriminator.")) and value.is_floating_point()
            ]
        )
        for state in states
    )
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).norm() / exact.norm() < 0.05


def test_the_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparring.build import _autocast

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert _autocast(Recipe(), "cpu") is None
    assert _autocast(Recipe(), "cuda") is torch.bfloat16
    assert _autocast(Recipe(precision="float32"), "cuda") is None
    assert _autocast(Recipe(precision="bfloat16"), "cpu") is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert _autocast(Recipe(), "cuda") is None

"""What a recipe's names become: precision and compilation, beside the plain form."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from float64 import train_to_the_end
from torch import Tensor, nn

from sparring.training.build import build, choose_precision
from sparring.training.loop import Training, play_step
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

SMALL = {"width": 4, "steps": 3, "evaluation_share": 0.0}
LABELS = {"conditional": True}
SIMULTANEOUS = {"objective": "hinge", "normalization": "none", "simultaneous": True}


def build_training(**settings: object) -> Training:
    return build(*resolve(make_request("digits", "lsgan", **SMALL | settings)))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [LABELS, SIMULTANEOUS], ids=["labels", "simultaneous"])
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

    plain = train_to_the_end(build_training(**settings))
    assert not torch._dynamo.utils.counters["frames"]
    compiled = train_to_the_end(build_training(**settings, compile=True))
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 2
    for mine, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of PyTorch's compiler, by itself
def test_a_discriminator_that_is_differentiated_twice_is_not_compiled() -> None:
    game = build_training(compile=True, penalty="r1").game
    assert game.generator._compiled_call_impl is not None
    assert game.discriminator._compiled_call_impl is None


@pytest.mark.parametrize("settings", [LABELS, SIMULTANEOUS, {"penalty": "r1r2"}, {"penalty": "gradient_penalty"}])
def test_layers_compute_in_bfloat16_and_weights_stay(settings: dict[str, object]) -> None:
    """Sums of bfloat16 differ from those of float32 by about 2⁻⁸, and three steps of 1e-3 move weights by .003."""
    seen: set[torch.dtype] = set()
    states: list[dict[str, Tensor]] = []
    for precision in ("float32", "bfloat16"):
        training = build_training(**settings, precision=precision)
        for module in (*training.game.generator.modules(), *training.game.discriminator.modules()):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda module, given, made: seen.add(made.dtype))
        while not training.stop_reason():
            play_step(training)
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


@pytest.mark.parametrize(
    "settings", [LABELS, SIMULTANEOUS | {"smoothing": 0.0}, {"penalty": "r1r2", "augment": 0.5}, {"smoothing": 0.1}]
)
def test_a_batch_in_parts_trains_to_the_same(settings: dict[str, object]) -> None:
    """Without batch normalisation, which would take the statistics of each part."""
    settings = {"network": "resnet", "normalization": "none", "width": 2, "size": 16, **settings}
    whole, parts = (train_to_the_end(build_training(**settings, accumulate=number)) for number in (1, 4))
    for mine, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


def test_the_precision_follows_the_device_and_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (1, 28, 28), (3, 64, 64)
    for has_units, chosen in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, found=has_units: found)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=has_units: found)
        assert choose_precision("auto", "cuda", small) is chosen
        assert choose_precision("auto", "cpu", large) is chosen
        assert choose_precision("auto", "cpu", small) is None
        assert choose_precision("float32", "cuda", large) is choose_precision("float32", "cpu", large) is None
        assert choose_precision("bfloat16", "cpu", small) is torch.bfloat16

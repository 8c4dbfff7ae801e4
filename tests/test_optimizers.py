"""The Adam that starts quickly is PyTorch's, and an optimiser's memory is tensors."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from sparring import UsageError
from sparring.game.optimizers import Adam, load_state_tensors, state_tensors
from sparring.seeding import Stream

OPTIONS = {"lr": 0.1, "weight_decay": 0.01, "decoupled_weight_decay": True, "fused": True}


def layer() -> nn.Linear:
    with Stream(0, "layer").as_default():
        return nn.Linear(3, 2)


def update(player: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        for parameter in player.parameters():
            parameter.grad = Stream(1, "gradient", step).normal(*parameter.shape)
        optimizer.step()


def test_it_comes_to_the_bytes_of_pytorchs() -> None:
    ours, theirs = layer(), layer()
    optimizers = Adam(ours.parameters(), **OPTIONS), torch.optim.AdamW(theirs.parameters(), 0.1, fused=True)
    for player, optimizer in zip((ours, theirs), optimizers, strict=True):
        update(player, optimizer, 4)
        load_state_tensors(optimizer, {name: value.clone() for name, value in state_tensors(optimizer).items()})
        update(player, optimizer, 3)
    assert torch.equal(ours.weight, theirs.weight)
    assert state_tensors(optimizers[0]).keys() == state_tensors(optimizers[1]).keys()


def test_the_first_step_does_not_import_the_compiler() -> None:
    """It takes a second or two, as long as PyTorch itself."""
    code = (
        "import sys, torch, sparring\n"
        "game = sparring.Game(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))\n"
        "game.step(torch.zeros(4, 2))\n"
        "game.load_state(game.state(), 1)\n"
        "print([name for name in ('torch._dynamo', 'sympy', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_memory_that_is_no_tensor_is_refused() -> None:
    player = layer()
    optimizer = torch.optim.SGD(player.parameters(), 0.1)
    optimizer.state[player.weight]["count"] = 3
    with pytest.raises(UsageError, match="cannot save the state of SGD: 'count' is of type int"):
        state_tensors(optimizer)

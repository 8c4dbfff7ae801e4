"""Adam without slow imports, the optimisers' state as tensors, and what to say when an update is not finite."""

from collections.abc import Mapping
from inspect import unwrap

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparring.errors import DivergenceError, UsageError


class Adam(torch.optim.Adam):
    """torch.optim.Adam without the decorators that import PyTorch's compiler, which takes a second or two."""

    add_param_group = unwrap(Optimizer.add_param_group)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def default_optimizer(player: nn.Module) -> Optimizer:
    """The optimiser of a player if the caller passes none."""
    return Adam(player.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)


def trained_by(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters that an optimiser changes."""
    return [each for group in optimizer.param_groups for each in group["params"] if each.requires_grad]


def state_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimiser's state, such as moments, by "parameter number.name"; anything but tensors is a UsageError."""
    tensors = {}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            elif value is not None:
                kinds = type(optimizer).__name__, type(value).__name__
                raise UsageError(f"cannot save the state of {kinds[0]}: {name!r} is of type {kinds[1]}, not a tensor")
    return tensors


def load_state_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load what `state_tensors` returned."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = with_strides_of(parameters[int(number)], value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def with_strides_of(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's strides, if the shapes agree: fused optimisers go by memory, not by index."""
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def divergence_error(
    who: str,
    step: int,
    players: Mapping[str, nn.Module],
    inputs: Mapping[str, Tensor],
    numbers: tuple[Tensor, Tensor, Tensor],
    gradients: Mapping[nn.Parameter, Tensor],
) -> DivergenceError:
    """The error for a player whose update is not finite; it names the first such tensor in the order of computation.

    The numbers are the player's loss, its penalty and the norm of its gradient.
    """
    tensors: dict[str, Tensor] = {}
    for name, player in players.items():
        tensors |= {f"{name} weight {key}": value for key, value in player.named_parameters()}
    tensors |= {**inputs, "loss": numbers[0], "penalty": numbers[1]}
    for key, parameter in players[who].named_parameters():
        if parameter in gradients:
            tensors[f"gradient of {key}"] = gradients[parameter]
    first = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), "gradient norm")
    loss, penalty, norm = (number.item() for number in numbers)
    return DivergenceError(
        f"the {who} diverged at step {step}: the first tensor that is not finite is the {first}; loss {loss:g}, "
        f"penalty {penalty:g}, gradient norm {norm:g}. Try a smaller learning rate, a penalty, or clip_gradients"
    )

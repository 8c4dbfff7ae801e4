"""A generator on disk: a folder of `config.json` and `model.safetensors`, or one .safetensors that holds both.

Neither is ever executed.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from sparring.errors import UsageError
from sparring.files import parse_json, read_json, write_atomically, write_json
from sparring.generator.config import Config
from sparring.generator.hub import find_folder

HEADER = "sparring"
"""The one entry of an exported file's metadata: several would be written in any order, and so in other bytes."""


def write_folder(folder: Path, module: nn.Module, config: Config) -> None:
    """Write a generator into a folder of its own, and replace the one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", asdict(config))
    data = pack_weights(module)  # save_file would keep other users from reading it
    write_atomically(folder / "model.safetensors", lambda path: path.write_bytes(data))


def pack_weights(module: nn.Module, dtype: torch.dtype | None = None, header: Mapping[str, object] = {}) -> bytes:
    """The weights in the format of safetensors; floats in another type, and a header as JSON, if given."""
    from safetensors.torch import save as to_bytes

    form = torch.contiguous_format  # in copies: safetensors takes no two that share memory
    weights = {name: value.clone(memory_format=form) for name, value in module.state_dict().items()}
    if dtype is not None:
        weights = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    return to_bytes(weights, {HEADER: json.dumps(header, ensure_ascii=False)} if header else None)


def read(path: str | PathLike[str], module: nn.Module | None) -> tuple[nn.Module, Config]:
    """The network and its description from a run, a checkpoint, a generator's folder, or one file.

    Args:
        path: where it is, or an address of the hub.
        module: a network of the caller's own; a copy of it gets the weights.

    Raises:
        UsageError: if there is none, it is damaged, or it needs a module.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    folder = find_folder(path, module)
    weights, prefix = folder, ""
    if folder.is_file():
        try:
            with safe_open(folder, "pt") as file:
                text = (file.metadata() or {}).get(HEADER, "{}")
            config = parse_json(json.dumps(json.loads(text).get("config")).encode(), Config, f"the header of {folder}")
        except (OSError, SafetensorError, ValueError) as error:
            raise UsageError(f"{folder} is no generator that `sparring export` wrote: {error}") from error
    else:
        checkpoint = folder / "state.safetensors"
        if checkpoint.exists():
            folder = folder.parents[1]
        if (folder / "generator").is_dir():
            folder = folder / "generator"
        if not (folder / "config.json").exists():
            raise UsageError(f"there is no generator in {str(folder)!r}: give the folder of a run that has saved one")
        config = read_json(folder / "config.json", Config)
        weights = checkpoint if checkpoint.exists() else folder / "model.safetensors"
        prefix = "average." if checkpoint.exists() else ""
    is_own = module is not None
    module = config.build_empty() if module is None else copy.deepcopy(module)  # the former takes no memory yet
    try:
        tensors = {k.removeprefix(prefix): v for k, v in load_file(weights).items() if k.startswith(prefix)}
        tensors = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
        module.load_state_dict(tensors, assign=not is_own)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UsageError(f"{weights} is missing, damaged, or of another network: {error}") from error
    return module, config

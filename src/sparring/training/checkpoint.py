"""Checkpoints: a state that is written and read as a whole or not at all.

A checkpoint is a folder with `state.safetensors`, every tensor that the next step depends on, and `manifest.json`, the
step, the counters, the recipe, and checksums. Randomness has no state (`sparring.seeding`), so nothing else is needed.
"""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, contiguous_format

from sparring.errors import CheckpointError, RunFolderError, SparringWarning, UsageError
from sparring.files import parse_json, write_atomically, write_json

FORMAT = 2  # the version of the layout, raised when it changes
STATE = "state.safetensors"

State = dict[str, Tensor]


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself: `manifest.json`."""

    format: int  # the version of the layout
    step: int
    images: int
    seconds: float
    recipe: dict[str, Any]  # the fields of the recipe by name
    files: dict[str, str]  # the SHA-256 of every other file, by name
    checksum: str  # the SHA-256 of all of the above


Checkpoint = tuple[Manifest, State]


def save(folder: Path, state: State, step: int, images: int, seconds: float, recipe: dict[str, Any]) -> Path:
    """Write a checkpoint as `step-NNNNNN` into a folder of checkpoints, and return its path."""
    from safetensors.torch import save as to_bytes

    def write(path: Path) -> None:
        path.mkdir()
        copies = {name: tensor.detach().cpu().clone(memory_format=contiguous_format) for name, tensor in state.items()}
        data = to_bytes(copies)  # which takes no two tensors that share memory
        (path / STATE).write_bytes(data)
        manifest = Manifest(FORMAT, step, images, seconds, recipe, {STATE: hashlib.sha256(data).hexdigest()}, "")
        write_json(path / "manifest.json", asdict(manifest) | {"checksum": checksum(asdict(manifest))})

    path = folder / f"step-{step:06d}"
    folder.mkdir(exist_ok=True)
    write_atomically(path, write)
    return path


def checksum(manifest: dict[str, Any]) -> str:
    """The SHA-256 of a manifest's other fields."""
    others = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    def damage(reason: object) -> CheckpointError:
        return CheckpointError(f"{path} is damaged: {reason}")

    file = path / "manifest.json"
    for each in (file, path / STATE):
        if not each.is_file():
            raise damage(f"there is no {each.name}")
    data, state = file.read_bytes(), (path / STATE).read_bytes()  # an OSError does not mean damage
    try:
        fields = parse_json(data, dict, str(file))
    except UsageError as error:
        raise damage(error) from error
    if fields.get("checksum") != checksum(fields):
        raise damage("the checksum of manifest.json does not fit")
    if isinstance(number := fields.get("format"), int) and number != FORMAT:
        raise UsageError(f"{path} has the format {number}, and this sparring knows {FORMAT}: install a newer one")
    try:
        manifest = parse_json(data, Manifest, str(file))
        if hashlib.sha256(state).hexdigest() != manifest.files.get(STATE):
            raise damage(f"the checksum of {STATE} does not fit")
        return manifest, from_bytes(state)
    except (UsageError, SafetensorError) as error:
        raise damage(error) from error


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their steps, oldest first."""
    paths = folder.glob("step-*") if folder.is_dir() else []
    return dict(sorted((int(match[1]), path) for path in paths if (match := re.fullmatch(r"step-(\d+)", path.name))))


def load_latest(folder: Path) -> Checkpoint:
    """Read the newest undamaged checkpoint; warn of each damaged one."""
    return load_first(folder, reversed(list_checkpoints(folder).values()))


def load_first(folder: Path, paths: Iterable[Path]) -> Checkpoint:
    """Read the first undamaged checkpoint of these; warn of each damaged one before it."""
    faults = []
    for path in paths:
        try:
            found = load(path)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            warnings.warn(SparringWarning(f"{fault}; going on from {path}"), stacklevel=3)
        return found
    if faults:
        raise CheckpointError("\n  ".join([f"no checkpoint in {folder} can be read:", *faults]))
    raise RunFolderError(
        f"there is no checkpoint in {folder}: the run stopped before its first step. Delete {folder.parent}, and "
        "train again"
    )


def prune(folder: Path, keep: int, step: int) -> None:
    """Delete all but the newest `keep` checkpoints up to a step; a rollback leaves later ones behind."""
    paths = list_checkpoints(folder)
    for number in paths.keys() - [number for number in paths if number <= step][-keep:]:
        shutil.rmtree(paths[number])

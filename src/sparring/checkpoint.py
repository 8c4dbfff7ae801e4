"""Checkpoints: a state written and read whole or not at all.

A checkpoint is a folder of two files: `state.safetensors` with every tensor that the next step depends on, and
`manifest.json` with the step, the counters, the recipe, and checksums. Because randomness has no state
(`sparring.seeding`), that is all there is.
"""

import hashlib
import json
import re
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sparring.errors import CheckpointError, RunFolderError, SparringWarning, UsageError
from sparring.files import parse_json, write_atomically, write_json

FORMAT = 2
"""The version of the layout, raised when it changes; `_migrated` reads the older ones."""
STATE = "state.safetensors"

State = dict[str, Tensor]


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    Args:
        format: the version of the layout.
        step: iterations played.
        images: real samples shown to the discriminator so far.
        seconds: training time so far.
        recipe: what was played by; empty where it is not known.
        files: the SHA-256 of every other file, by name.
        checksum: the SHA-256 of all of the above.
    """

    format: int
    step: int
    images: int
    seconds: float
    recipe: dict[str, Any]
    files: dict[str, str]
    checksum: str


def save(folder: Path, state: State, step: int, images: int, seconds: float, recipe: dict[str, Any]) -> Path:
    """Write a checkpoint into a folder of checkpoints, as `step-NNNNNN`.

    Returns:
        Its path.

    Raises:
        OSError: if it cannot be written; then nothing is left of it.
    """
    from safetensors.torch import save as to_bytes

    def write(path: Path) -> None:
        path.mkdir()
        data = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
        (path / STATE).write_bytes(data)
        manifest = Manifest(FORMAT, step, images, seconds, recipe, {STATE: hashlib.sha256(data).hexdigest()}, "")
        write_json(path / "manifest.json", asdict(manifest) | {"checksum": checksum(asdict(manifest))})

    path = folder / f"step-{step:06d}"
    folder.mkdir(exist_ok=True)
    write_atomically(path, write)
    return path


def checksum(manifest: dict[str, Any]) -> str:
    """The SHA-256 of a manifest's fields but this one."""
    others = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> tuple[Manifest, State]:
    """Read a checkpoint.

    Raises:
        CheckpointError: if it is damaged.
        UsageError: if it is of a format that this version doesn't know.
        OSError: if it cannot be read, which says nothing of the checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    for name in ("manifest.json", STATE):
        if not (path / name).is_file():
            raise CheckpointError(f"{path} is damaged: there is no {name}")
    manifest = _manifest(path)
    data = (path / STATE).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest.files.get(STATE):
        raise CheckpointError(f"{path} is damaged: the checksum of {STATE} does not fit")
    try:
        return manifest, from_bytes(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def _manifest(path: Path) -> Manifest:
    file = path / "manifest.json"
    data = file.read_bytes()  # an error of the disk is no damage
    try:
        written = parse_json(data, dict, str(file))
        version = written.get("format")
        if version == 1:
            return _migrated(parse_json(data, _Manifest1, str(file)))
        if written.get("checksum") != checksum(written):
            raise CheckpointError(f"{path} is damaged: the checksum of manifest.json does not fit")
        if not isinstance(version, int) or version <= FORMAT:
            return parse_json(data, Manifest, str(file))
    except UsageError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    raise UsageError(f"{path} has the format {version}, and this sparring knows {FORMAT}: install a newer one")


@dataclass(frozen=True)
class _Manifest1:
    format: int
    step: int
    images: int
    seconds: float
    state_sha256: str


def _migrated(old: _Manifest1) -> Manifest:
    """Format 1 knew no recipe, and one checksum."""
    return Manifest(FORMAT, old.step, old.images, old.seconds, {}, {STATE: old.state_sha256}, "")


def saved(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their steps, oldest first."""
    paths = folder.glob("step-*") if folder.is_dir() else []
    return dict(sorted((int(match[1]), path) for path in paths if (match := re.fullmatch(r"step-(\d+)", path.name))))


def load_latest(folder: Path) -> tuple[Manifest, State]:
    """Read the newest checkpoint that is whole; a warning names each one that is not.

    Raises:
        CheckpointError: if none is whole, with the fault of each.
        RunFolderError: if there is none.
        UsageError: if it is of a format that this version doesn't know.
        OSError: if one cannot be read.
    """
    return _first_whole(folder, list(reversed(saved(folder).values())))


def load_oldest(folder: Path) -> tuple[Manifest, State]:
    """Read the oldest checkpoint that is whole, likewise."""
    return _first_whole(folder, list(saved(folder).values()))


def _first_whole(folder: Path, paths: list[Path]) -> tuple[Manifest, State]:
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
        f"there is no checkpoint in {folder}: the run was stopped before it began. Delete {folder.parent}, and train "
        "again"
    )


def prune(folder: Path, keep: int, step: int) -> None:
    """Delete all but the last `keep` checkpoints up to a step; later ones are of a way that was not gone on with."""
    paths = saved(folder)
    kept = [number for number in paths if number <= step][-keep:]
    for number, path in paths.items():
        if number not in kept:
            shutil.rmtree(path)

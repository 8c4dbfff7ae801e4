"""Checkpoints: a state written and read whole or not at all.

A checkpoint is a folder of two files: `state.safetensors` with every tensor that the next step depends on, and
`manifest.json` with the step, the counters, and the checksum of the tensors. Because randomness has no state
(`sparring.seeding`), that is all there is.
"""

import hashlib
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from sparring.errors import RunFolderError, UsageError
from sparring.files import read_json, write_atomically, write_json

FORMAT = 1
"""The version of the layout, raised when it changes."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    Args:
        format: the version of the layout.
        step: iterations played.
        images: real samples shown to the discriminator so far.
        seconds: training time so far.
        state_sha256: the checksum of `state.safetensors`.
    """

    format: int
    step: int
    images: int
    seconds: float
    state_sha256: str


def save(folder: Path, state: dict[str, Tensor], step: int, images: int, seconds: float) -> Path:
    """Write a checkpoint into a folder of checkpoints, as `step-NNNNNN`.

    Returns:
        Its path.
    """
    from safetensors.torch import save as to_bytes

    def write(path: Path) -> None:
        path.mkdir()
        data = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
        (path / "state.safetensors").write_bytes(data)
        manifest = Manifest(FORMAT, step, images, seconds, hashlib.sha256(data).hexdigest())
        write_json(path / "manifest.json", asdict(manifest))

    path = folder / f"step-{step:06d}"
    folder.mkdir(exist_ok=True)
    write_atomically(path, write)
    return path


def load(path: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """Read a checkpoint.

    Raises:
        UsageError: if it is broken, or of a format that this version doesn't know.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    manifest = read_json(path / "manifest.json", Manifest)
    if manifest.format > FORMAT:
        raise UsageError(
            f"{path} has the format {manifest.format}, and this sparring knows {FORMAT}: install a newer one"
        )
    try:
        data = (path / "state.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest.state_sha256:
            raise UsageError(f"{path} is damaged: its checksum does not fit")
        return manifest, from_bytes(data)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    paths = folder.glob("step-*") if folder.is_dir() else []
    numbered = [(int(match[1]), path) for path in paths if (match := re.fullmatch(r"step-(\d+)", path.name))]
    return [path for _, path in sorted(numbered)]


def latest(folder: Path) -> Path:
    """The newest checkpoint in a folder.

    Raises:
        RunFolderError: if there is none.
    """
    paths = saved(folder)
    if not paths:
        raise RunFolderError(f"there is no checkpoint in {folder}: the run was stopped before its first one")
    return paths[-1]


def prune(folder: Path, keep: int) -> None:
    """Delete all but the last `keep` checkpoints in a folder."""
    for path in saved(folder)[:-keep]:
        shutil.rmtree(path)

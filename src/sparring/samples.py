"""Samples as files."""

from pathlib import Path

import numpy as np
from PIL import Image

from sparring import pictures
from sparring.errors import UsageError
from sparring.files import write_atomically


def check_path(path: Path) -> None:
    """Refuse endings that cannot be written.

    Raises:
        UsageError: naming those that can.
    """
    if path.suffix not in {"", ".png", ".npz"}:
        raise UsageError(f"cannot write {path.suffix} files: give --out a .png, a .npz, or a folder")


def write(samples: np.ndarray, path: Path, scale: float = 1.0) -> None:
    """Write samples: a .png is one picture, a .npz has arrays, anything else is a folder with one file a sample.

    Args:
        samples: uint8 images [n, H, W] or [n, H, W, C], or float32 points [n, dimensions].
        path: where; an existing file is replaced, a folder must be empty or new.
        scale: for points, the root mean square of the data's coordinates.

    Raises:
        UsageError: if it cannot be written there.
    """
    are_points = samples.ndim == 2
    check_path(path)
    try:
        if path.suffix == ".png":
            pictures.save(pictures.samples(samples, scale), path)
        elif path.suffix == ".npz":
            save = np.savez_compressed
            write_atomically(path, lambda at: save(at, points=samples) if are_points else save(at, images=samples))
        elif are_points:
            raise UsageError("points are written as a .png or a .npz: give --out one of them")
        else:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(f"the folder {path} is not empty: give --out another one")
            for number, image in enumerate(samples):
                Image.fromarray(image).save(path / f"{number:06d}.png")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}: give another --out") from error

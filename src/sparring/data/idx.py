"""MNIST and Fashion-MNIST: gzipped idx files, from this machine or downloaded once."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.data.items import Items
from sparring.errors import DataError
from sparring.files import cache_folder, check_unpacked, check_within, write_atomically

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DEBIAN_FOLDER = Path("/usr/share/datasets")

DOWNLOADS = {  # by name: the address of the four gzipped files, and the published MD5 of each
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 "
        "9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
        "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
    ),
}


def load_named(name: str) -> tuple[Items, Items]:
    """Load training and held-out images from Debian's package, the cache, or a download into the cache."""
    folders = [DEBIAN_FOLDER / name, cache_folder() / name]
    folder = next((folder for folder in folders if holds_idx(folder)), None)
    if folder is None:
        folder, (url, sums) = folders[-1], DOWNLOADS[name]
        for file, md5 in zip(FILES, sums.split(), strict=True):
            _download(f"{url}/{file}.gz", folder / f"{file}.gz", md5, name)
    return _load(folder)


def holds_idx(folder: Path) -> bool:
    """Whether a folder holds the four files, gzipped or not."""
    return all((folder / file).exists() or (folder / f"{file}.gz").exists() for file in FILES)


def load_idx(folder: Path, follow_links: bool = False) -> tuple[Items, Items]:
    """Load training images (train) and held-out images (t10k) from a folder's four files."""
    for name in FILES if not follow_links else ():
        check_within(folder / name, folder)
        check_within(folder / f"{name}.gz", folder)
    return _load(folder)


def _load(folder: Path) -> tuple[Items, Items]:
    arrays = [_read_idx(folder, file) for file in FILES]
    train, train_labels, heldout, heldout_labels = arrays
    for images, labels in ((train, train_labels), (heldout, heldout_labels)):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"the files in {folder} don't fit together: {[list(array.shape) for array in arrays]}")
    return Items(train[:, None], train_labels.long()), Items(heldout[:, None], heldout_labels.long())


def _read_idx(folder: Path, name: str) -> Tensor:
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    try:
        with path.open("rb") if path.suffix != ".gz" else gzip.open(path) as file:
            zeros, kind, num_dimensions = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != 8:
                raise ValueError("it is not an idx file of bytes")
            shape = struct.unpack(f">{num_dimensions}I", file.read(4 * num_dimensions))
            check_unpacked(path, math.prod(shape))
            array = np.frombuffer(file.read(math.prod(shape) + 1), np.uint8).reshape(shape)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        advice = ". Delete it to download it again" if path.is_relative_to(cache_folder()) else ""
        raise DataError(f"cannot read {path}: {error}{advice}") from error
    return torch.from_numpy(array.copy())


def _download(url: str, path: Path, md5: str, name: str) -> None:
    import http.client
    import urllib.request

    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=30) as response:
            data = response.read()
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(f"{url} has the MD5 {found} instead of {md5}: it was not saved")
        write_atomically(path, lambda beside: beside.write_bytes(data))
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{name} is not on this machine and cannot be downloaded from {url} ({error}). "
            f"Put its four .gz files into {path.parent}, or give their folder instead of the name"
        ) from error

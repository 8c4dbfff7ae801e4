"""MNIST and Fashion-MNIST: gzipped idx files, found on this machine or downloaded once."""

import gzip
import hashlib
import http.client
import math
import struct
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.data.source import Dataset, Items, NamedSource
from sparring.errors import DataError
from sparring.files import cache_folder, check_unpacked, write_atomically

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class Download:
    """Where a data set's four gzipped files are, with the MD5 of each as published.

    Args:
        url: the folder they are in.
        md5: of each of `FILES` with `.gz`.
    """

    url: str
    md5: tuple[str, str, str, str]


MNIST_DOWNLOAD = Download(
    url="https://ossci-datasets.s3.amazonaws.com/mnist",
    md5=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)
FASHION_MNIST_DOWNLOAD = Download(
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
DEBIAN_FOLDER = Path("/usr/share/datasets")


def open_named(name: str, download: Download) -> Dataset:
    """A data set from Debian's package, else from the cache, else downloaded into the cache.

    Raises:
        DataError: if it is in neither place and cannot be downloaded.
    """
    folders = [DEBIAN_FOLDER / name, cache_folder() / name]
    for folder in folders:
        if holds_idx(folder):
            return open_idx(folder, name)
    for file, md5 in zip(FILES, download.md5, strict=True):
        _fetch(f"{download.url}/{file}.gz", folders[-1] / f"{file}.gz", md5, name)
    return open_idx(folders[-1], name)


def holds_idx(folder: Path) -> bool:
    """Whether a folder holds the four files, gzipped or not."""
    return all((folder / file).exists() or (folder / f"{file}.gz").exists() for file in FILES)


def open_idx(folder: Path, name: str) -> Dataset:
    """The four files of a folder: train to train on, t10k held out.

    Raises:
        DataError: if one is missing or broken.
    """
    images, labels, heldout_images, heldout_labels = (_read_idx(folder, file) for file in FILES)
    for found in ((images, labels), (heldout_images, heldout_labels)):
        if found[0].ndim != 3 or found[1].shape != found[0].shape[:1]:
            raise DataError(f"the files in {folder} don't fit together: {[list(part.shape) for part in found]}")
    return Dataset(
        name,
        train=Items(images[:, None], labels.long()),
        heldout=Items(heldout_images[:, None], heldout_labels.long()),
    )


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
        mend = ". Delete it, and it is fetched anew" if path.is_relative_to(cache_folder()) else ""
        raise DataError(f"cannot read {path}: {error}{mend}") from error
    return torch.from_numpy(array.copy())


def _fetch(url: str, path: Path, md5: str, name: str) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=30) as response:
            data = response.read()
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(f"{url} has the MD5 {found}, and should have {md5}: it was not kept")
        write_atomically(path, lambda beside: beside.write_bytes(data))
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{name} is not on this machine and cannot be downloaded from {url} ({error}). "
            f"Put its four .gz files into {path.parent}, or give the folder that holds them instead of the name"
        ) from error


MNIST = NamedSource(
    name="mnist",
    summary="70,000 handwritten digits of 28×28, 10,000 of them held out; downloaded once",
    source="Y. LeCun and C. Cortes, CC BY-SA 3.0",
    open=lambda: open_named("mnist", MNIST_DOWNLOAD),
)

FASHION_MNIST = NamedSource(
    name="fashion-mnist",
    summary="70,000 articles of clothing, 28×28, 10,000 held out; Debian's dataset-fashion-mnist or downloaded once",
    source="Xiao et al. 2017, arXiv:1708.07747, MIT",
    open=lambda: open_named("fashion-mnist", FASHION_MNIST_DOWNLOAD),
)

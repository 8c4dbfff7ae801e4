"""Files that were tampered with, or made to do harm."""

import gzip
import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faults.fuzz import LOADERS, fuzz

import sparring
from sparring import DataError, UsageError
from sparring.data.idx import FILES

COUNT = 1250
"""Of each loader: ten thousand files in all."""


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
def test_tampered_files_are_refused_or_read(loader: str) -> None:
    """Any other error than the project's own is red, and so is a file that takes 200 MB to refuse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what decoders say of odd files
        faults, grown = fuzz(loader, COUNT, seed=0)
    assert faults == []
    assert grown < 200e6


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    pickle.loads(pickle.dumps(Touch(touched)))
    assert touched.exists()  # so it would have worked
    touched.unlink()
    np.save(tmp_path / "a.npy", np.array([Touch(touched)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([Touch(touched)], dtype=object))
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Touch(touched)))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(DataError, match="cannot read"):
            sparring.open_dataset(str(tmp_path / name))
    run = sparring.train("ring", steps=1, width=4, out=tmp_path / "run")
    (run.generator / "model.safetensors").write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(UsageError, match="damaged"):
        sparring.load(run.path)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("network", "os.system", "unknown network"),
        ("network", "../../conv", "unknown network"),
        ("prior", "__import__('os')", "unknown prior"),
        ("latent_dim", 10**9, "between 1 and 4096"),
        ("modality", {"name": "images", "item_shape": [1, 10**6, 10**6]}, "between 1 and 4096"),
        ("modality", {"name": "os", "item_shape": [2]}, "does not match any of the expected"),
        ("module", "os", "module: Unexpected keyword"),
    ],
)
def test_a_config_names_no_code_and_takes_no_memory(field: str, value: object, message: str, tmp_path: Path) -> None:
    run = sparring.train("ring", steps=1, width=4, out=tmp_path)
    path = run.generator / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UsageError, match=message):
        sparring.load(run.path)


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    run = sparring.train("ring", steps=1, width=4, out=tmp_path)
    path = run.generator / "model.safetensors"
    for length in (2**63, 2**40, 10**8):
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
        with pytest.raises(UsageError, match="damaged"):
            sparring.load(run.path)


def test_archives_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    """They say that they hold two gigabytes, and are refused by that; nothing is unpacked."""
    with gzip.open(tmp_path / f"{FILES[0]}.gz", "wb", compresslevel=1) as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 2**21, 32, 32))
        for _ in range(64):
            file.write(bytes(2**20))
    for name in FILES[1:]:
        (tmp_path / name).write_bytes(struct.pack(">HBB1I", 0, 8, 1, 0))
    with pytest.raises(DataError, match=r"would unpack to 2,147,483,648: unpack it yourself"):
        sparring.open_dataset(str(tmp_path))
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(2**20))
    with pytest.raises(DataError, match=r"would unpack to 1,153,433,600"):
        sparring.open_dataset(str(tmp_path / "bomb.npz"))

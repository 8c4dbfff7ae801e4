"""Files that were tampered with: what reads them raises the project's own errors and takes no more memory.

    python tests/faults/fuzz.py [LOADER ...] [--count 2000] [--seed 0]

Each file is a whole one, changed in one to eight places. A line for each error that is not the project's own.
"""

import argparse
import gzip
import io
import json
import re
import resource
import shutil
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

import sparring
from sparring.data.files import find_container
from sparring.data.idx import FILES
from sparring.data.images import IMAGES, read_image
from sparring.data.survey import find_out
from sparring.errors import SparringError
from sparring.training import checkpoint

Load = Callable[[], object]
ODD_NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"99999999999999999999", b"1.5", b"null", b'"a"', b"[]", b"{}", b"true")
ODD_TEXTS = (b"__import__('os')", b"../../etc/passwd", b"/etc/passwd", b"builtins.eval", b"", b"\\u0000", b"[" * 5000)


def tampered(data: bytes, random: np.random.Generator) -> bytes:
    """The same bytes but for one to eight changes."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 9)):
        place = int(random.integers(len(changed) + 1))
        length = int(random.choice([1, 2, 8, 64]))
        match random.integers(7):
            case 0 if place < len(changed):
                changed[place] ^= 1 << int(random.integers(8))
            case 1:
                changed[place : place + length] = random.bytes(length)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length]
            case 4:
                del changed[place + length * 8 :]
            case 5:
                _replace(changed, rb"-?\d+(\.\d+)?", ODD_NUMBERS, random)
            case _:
                _replace(changed, rb'"[^"]*"', [b'"' + text + b'"' for text in ODD_TEXTS], random)
    return bytes(changed)


def _replace(data: bytearray, pattern: bytes, odd: Sequence[bytes], random: np.random.Generator) -> None:
    places = [match.span() for match in re.finditer(pattern, data)]
    if places:
        start, stop = places[int(random.integers(len(places)))]
        data[start:stop] = odd[int(random.integers(len(odd)))]


def generator(folder: Path) -> tuple[list[Path], Load]:
    """What `sparring.load` reads."""
    run = sparring.train("ring", steps=2, width=4, evaluation_share=0.0, out=folder / "run")
    return sorted(run.generator.iterdir()), lambda: sparring.load(run.path).sample(3)


def checkpoints(folder: Path) -> tuple[list[Path], Load]:
    """What `sparring resume` goes on from; the checksums are made to fit again, as who tampers would."""
    run = sparring.train("ring", steps=2, width=4, evaluation_share=0.0, out=folder / "run")
    path = run.checkpoints / "step-000002"

    def load() -> object:
        with (path / "manifest.json").open("rb") as file:
            data = file.read()
        try:
            manifest = json.loads(data)
            manifest["files"] = {checkpoint.STATE: _sha256(path / checkpoint.STATE)}
            manifest["checksum"] = checkpoint.checksum(manifest)
            (path / "manifest.json").write_text(json.dumps(manifest))
        except (ValueError, TypeError, RecursionError):
            pass
        return checkpoint.load(path)

    return sorted(path.iterdir()), load


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def runs(folder: Path) -> tuple[list[Path], Load]:
    """The JSON of a run's folder."""
    run = sparring.train("ring", steps=40, width=4, evaluation_steps=10, log_steps=10, out=folder / "run")
    files = [run.path / name for name in ("recipe.json", "summary.json", "log.jsonl", "best/measured.json")]
    return files, lambda: (run.recipe(), run.summary(), run.log(), run.best_distance())


def arrays(folder: Path) -> tuple[list[Path], Load]:
    """Array files."""
    images, labels = np.arange(20 * 16, dtype=np.uint8).reshape(20, 4, 4), np.arange(20)
    np.save(folder / "a.npy", images)
    np.save(folder / "b.npy", np.eye(20, 2))
    np.savez(folder / "c.npz", images=images, labels=labels)
    np.savez_compressed(folder / "d.npz", images=images, labels=labels)
    files = sorted(folder.iterdir())
    return files, lambda: [sparring.open_dataset(str(path)) for path in _changed_first(files)]


def idx(folder: Path) -> tuple[list[Path], Load]:
    """MNIST's files, gzipped and not."""
    for number, name in enumerate(FILES):
        array = np.zeros((5, 4, 4) if "images" in name else 5, np.uint8)
        data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        path = folder / (name if number % 2 else f"{name}.gz")
        path.write_bytes(data if number % 2 else gzip.compress(data))
    return sorted(folder.iterdir()), lambda: sparring.open_dataset(str(folder))


def images(folder: Path) -> tuple[list[Path], Load]:
    """Image files."""
    random, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6  # turned
    for number, ending in enumerate(("png", "jpg", "gif", "webp", "bmp", "tif", "ppm", "avif")):
        picture = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
        picture.save(folder / f"{number}.{ending}", exif=exif)
    files = sorted(folder.iterdir())
    return files, lambda: [read_image(path, (8, 8)) for path in _changed_first(files)]


def archives(folder: Path) -> tuple[list[Path], Load]:
    """Archives of image files."""
    for number in range(12):
        picture = Image.fromarray(np.full((8, 8, 3), number, np.uint8))
        (folder / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture.save(folder / "images" / "ab"[number % 2] / f"{number}.png")
    for ending in ("zip", "tar", "gztar"):
        shutil.make_archive(str(folder / ending), ending, folder / "images")
    shutil.rmtree(folder / "images")
    return _looked_at(sorted(folder.iterdir()))


def tables(folder: Path) -> tuple[list[Path], Load]:
    """Tables of image files."""
    import pyarrow
    import pyarrow.parquet

    encoded = []
    for number in range(12):
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file, format="PNG")
        encoded.append({"bytes": file.getvalue()})
    table = pyarrow.table({"image": encoded, "label": [number % 2 for number in range(12)]})
    for compression in ("none", "snappy"):
        pyarrow.parquet.write_table(table, folder / f"{compression}.parquet", compression=compression)
    return _looked_at(sorted(folder.iterdir()))


def _looked_at(files: list[Path]) -> tuple[list[Path], Load]:
    """Containers, of which all is looked at that a training would look at before it packs them."""

    def load() -> object:
        found = []
        for path in _changed_first(files):
            container = find_container(path, IMAGES)
            assert container is not None
            if container.num_files:
                found.append(find_out(container, lambda what, share: None))
        return found

    return files, load


LOADERS = {loader.__name__: loader for loader in (generator, checkpoints, runs, arrays, idx, images, archives, tables)}
_changed: list[Path] = []


def _changed_first(files: list[Path]) -> list[Path]:
    return _changed or files


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    """While it lasts, a file holds other bytes."""
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    path.write_bytes(data)
    _changed[:] = [path]
    try:
        yield
    finally:
        _changed.clear()
        for file, original in before.items():
            file.write_bytes(original)


def fuzz(name: str, count: int, seed: int) -> tuple[list[str], int]:
    """Errors that are not the project's own, and by how many bytes the largest memory of the process grew."""
    folder = Path(tempfile.mkdtemp())
    try:
        files, load = LOADERS[name](folder)
        load()
        memory, faults = _memory(), []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            path = files[number % len(files)]
            with changed(path, tampered(path.read_bytes(), random)):
                try:
                    load()
                except SparringError:
                    pass
                except Exception as error:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    faults.append(f"{name} {number} {path.name}: {type(error).__name__}: {error} ({where})"[:400])
        return faults, _memory() - memory
    finally:
        shutil.rmtree(folder)


def _memory() -> int:
    """The most that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Fuzz loaders; exit 1 where one raised what it should not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("loaders", nargs="*", help=", ".join(LOADERS))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    failed = False
    for name in arguments.loaders or LOADERS:
        faults, grown = fuzz(name, arguments.count, arguments.seed)
        failed |= bool(faults)
        print("\n".join([*faults, f"{name}: {arguments.count} files, {len(faults)} faults, {grown} bytes more"]))
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""Translate the items in files."""

from pathlib import Path

import numpy as np

from sparring.data.files import check_exists
from sparring.errors import DataError
from sparring.generator.generator import Generator


def translate_files(generator: Generator, path: Path, out: Path, *, back: bool = False) -> int:
    """Translate the items in a file, or in the files of a folder, and write them; return their number.

    Args:
        generator: a translator.
        path: a file of the source domain, or a folder of such files.
        out: as `Modality.write` takes it; the names of files in a folder end with those that were read.
        back: translate items of the target domain back.

    Raises:
        UsageError: if the generator does not translate this way, or nothing can be written there.
        DataError: if there are no such files, or one of them cannot be read.
    """
    given, made = generator.domains(back=back)
    made.check_path(out)
    check_exists(path)
    kind = given.kind
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    files = [each for each in inside if path.is_file() or (kind is not None and each.suffix.lower() in kind.endings)]
    if not files:
        raise DataError(f"the folder {str(path)!r} holds no {given.name}: give a folder of them, or one file")
    parts = [given.read_file(file) for file in files]
    names = [file.stem for file, part in zip(files, parts, strict=True) for _ in part]
    made.write(generator.translate(np.concatenate(parts), back=back), out, names=names)
    return len(names)

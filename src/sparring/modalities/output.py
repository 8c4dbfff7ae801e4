"""Items as files, where the ending of a path decides what is written, and as HTML."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparring.errors import UsageError
from sparring.files import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}  # that can be written
MAX_NAME = 100  # characters of a label in the name of a file
Writer = Callable[[np.ndarray, Path | io.BytesIO], None]
"""Writes items into a file, whose name may have another ending while it is being written, or into memory."""


class Html(str):
    """HTML that notebooks show, and that templates take as it is."""

    def _repr_html_(self) -> str:
        return str(self)

    def __html__(self) -> str:
        return str(self)


def in_frame(title: str, page: str) -> str:
    """A whole page in a frame of its own, as HTML for notebooks."""
    style = "width: 100%; height: 46rem; border: 1px solid #8886; border-radius: 6px"
    return f'<iframe title="{escape(title)}" style="{style}" srcdoc="{escape(page)}"></iframe>'


def data_url(data: bytes, kind: str) -> str:
    """A file as a part of a page: its bytes behind their kind, such as "audio/wav"."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_url(picture: "Image") -> str:
    """A picture as a part of a page."""
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return data_url(data.getvalue(), "image/png")


def write_output(
    path: Path,
    *,
    draw: "Callable[[], Image]",
    arrays: Mapping[str, Any],
    writers: Mapping[str, Callable[[Path | io.BytesIO], None]],
    write_files: Callable[[Path], None],
) -> None:
    """Write one of several forms of the same items, chosen by the ending of a path.

    Args:
        path: an existing file is replaced; a folder must be empty or new.
        draw: makes one picture of all.
        arrays: for a .npz file.
        writers: what writes all items into one file of another kind, by its ending.
        write_files: writes a file for each item into a folder.

    Raises:
        UsageError: if it cannot be written there.
    """
    ending = check_ending(path, writers)
    with explain_errors(path):
        if ending:
            write_atomically(path, writer_of(ending, draw=draw, arrays=arrays, writers=writers))
        else:
            if path.is_dir() and any(path.iterdir()):
                raise UsageError(f"the folder {path} is not empty: give another --out")
            write_files(path)


def writer_of(
    ending: str,
    *,
    draw: "Callable[[], Image]",
    arrays: Mapping[str, Any],
    writers: Mapping[str, Callable[[Path | io.BytesIO], None]],
) -> Callable[[Path | io.BytesIO], None]:
    """What writes a file with an ending, or its bytes into memory; for the arguments see `write_output`."""
    if ending in PICTURES:
        image = draw()
        return lambda target: image.save(target, PICTURES[ending], quality=95)
    return (lambda target: save_arrays(target, arrays)) if ending == ".npz" else writers[ending]


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Inside it, a file that cannot be written, as on a full disk, is a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}: give another --out") from error


def save_arrays(target: Path | io.BytesIO, arrays: Mapping[str, Any]) -> None:
    """Write arrays into a compressed .npz file, whatever the ending of its name: numpy alone would add one to .NPZ."""
    with nullcontext(target) if isinstance(target, io.BytesIO) else target.open("wb") as file:
        np.savez_compressed(file, **arrays)


def to_json(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by their names as JSON; a UsageError for numbers that JSON does not know.

    Example:
        >>> to_json({"points": np.zeros((1, 2)), "labels": np.array(["red"])})
        b'{"points":[[0.0,0.0]],"labels":["red"]}'
    """
    try:
        lists = {name: array.tolist() for name, array in arrays.items()}
        return json.dumps(lists, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise UsageError("some numbers are not finite: ask for another format") from error


def ending_of(path: Path) -> str:
    """The ending of a file to write, in small letters, or "" for a folder; an ending begins with a letter.

    Example:
        >>> ending_of(Path("grid.PNG")), ending_of(Path("truncated-0.5"))
        ('.png', '')
    """
    ending = path.suffix.lower()
    return "" if path.is_dir() or not ending[1:2].isalpha() else ending


def check_ending(path: Path, others: Iterable[str] = ()) -> str:
    """The ending of a path as `ending_of` gives it; a UsageError if it is no picture, no .npz and none of the others.

    Example:
        >>> check_ending(Path("seven.wav"), [".wav"])
        '.wav'
    """
    ending = ending_of(path)
    if ending and ending not in (*PICTURES, ".npz", *others):
        raise UsageError(
            f"cannot write {path.suffix} files: give --out a picture ({', '.join(PICTURES)}), a .npz, "
            f"{''.join(f'a {other}, ' for other in others)}or a folder without an ending"
        )
    return ending


def file_names(n: int, labels: Sequence[str] = ()) -> list[str]:
    """A name for each of n files: its number, and its label without what file systems do not take.

    Example:
        >>> file_names(2), file_names(2, ["seven", "a/b"])
        (['000000', '000001'], ['000000-seven', '000001-a_b'])
    """
    ends = ["-" + re.sub(r"[^\w=,.+ -]", "_", label)[:MAX_NAME] for label in labels] or [""] * n
    return [f"{number:06d}{end}" for number, end in enumerate(ends)]


def stack_rows(columns: int, *sets: np.ndarray) -> np.ndarray:
    """Sets of items [n, ...] as rows of one picture: each row of the first stands above its rows of the others.

    Example:
        >>> stack_rows(2, np.array([0, 1, 2]), np.array([10, 11, 12]))
        array([ 0,  1, 10, 11,  2, 12])
    """
    starts = range(0, len(sets[0]), columns)
    return np.concatenate([each[start : start + columns] for start in starts for each in sets])

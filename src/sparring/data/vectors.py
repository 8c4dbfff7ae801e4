"""Readers of word vectors and dictionaries."""

import codecs
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparring.data.arrays import read_arrays
from sparring.data.layout import say_count
from sparring.errors import DataError, SparringWarning

FORMS = ".vec or .txt (a word and its numbers a line) or .npz (`words` and `vectors`)"


def read_vectors(path: str | Path, most: int | None = None) -> tuple[list[str], Float[Tensor, "_ _"]]:
    r"""Words and their vectors, in the order of the file, which usually has the most frequent word first.

    Reads the text form of word2vec, fastText, GloVe and gensim's KeyedVectors: a word and its numbers a line, separated
    by spaces or tabs, with or without a first line of two counts. A word may hold spaces: the numbers are at the end of
    the line. And `.npz` with the arrays `words` [n] and `vectors` [n, d].

    Args:
        path: a file that ends with .vec, .txt or .npz.
        most: read the first words only, which takes a fraction of the time for files of millions; or None.

    Returns:
        The words, and their vectors, float32 [n, d]. Of a word that comes again only the first vector is kept, and a
        warning says how many were left out.

    Raises:
        DataError: for a file that is missing, empty, not UTF-8, or of another form; for words without vectors, vectors
            of different lengths, and numbers that are not finite. It names the file and the line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "en.vec"
        >>> _ = file.write_text("2 2\nthe 0.5 1\nof 1 2\n")
        >>> read_vectors(file)
        (['the', 'of'], tensor([[0.5000, 1.0000],
                [1.0000, 2.0000]]))
    """
    path = Path(path)
    if path.suffix not in (".vec", ".txt", ".npz"):
        raise DataError(f"word vectors come in files that end with {FORMS}, not {str(path)!r}")
    words, vectors = _read_npz(path) if path.suffix == ".npz" else _read_text(path, most)
    first: dict[str, int] = {}
    for number, word in enumerate(words):
        first.setdefault(word, number)
        if len(first) == most:
            break
    num_repeated = number + 1 - len(first)
    if num_repeated:
        message = f"{str(path)!r}: left out {say_count(num_repeated, 'vectors')} of words that came before"
        warnings.warn(SparringWarning(message), stacklevel=2)
    return list(first), torch.from_numpy(vectors[list(first.values())])


def read_dictionary(
    path: str | Path, source_words: Sequence[str] | None = None, target_words: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    r"""Pairs of a word and a right translation, one a line, separated by a tab, or by a space if the line has no tab.

    Args:
        path: a text file in UTF-8; a word may stand in several lines, with another translation each.
        source_words: if given, one of the pairs has to have its word among them.
        target_words: likewise for its translation.

    Returns:
        All pairs, without repetitions, in the order of the file.

    Raises:
        DataError: for a file that is missing, empty or not UTF-8, a line that is not a pair, and a dictionary without a
            pair of known words.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> _ = file.write_text("dog\tperro\ndog\tcan\nice cream\thelado\n")
        >>> read_dictionary(file)
        [('dog', 'perro'), ('dog', 'can'), ('ice cream', 'helado')]
    """
    path, pairs = Path(path), list[tuple[str, str]]()
    for number, line in _lines(path):
        text = _decode(path, number, line).strip()
        if text:
            parts = [part.strip() for part in (text.split("\t") if "\t" in text else text.split())]
            if len(parts) != 2 or not all(parts):
                raise DataError(f"{str(path)!r}, line {number}: not a word, a tab and its translation: {text[:80]!r}")
            pairs.append((parts[0], parts[1]))
    if not pairs:
        raise DataError(f"{str(path)!r} is empty: it should hold a word, a tab and its translation a line")
    known = [None if words is None else set(words) for words in (source_words, target_words)]
    if not any(all(words is None or word in words for word, words in zip(pair, known, strict=True)) for pair in pairs):
        raise DataError(
            f"none of the {say_count(len(pairs), 'pairs')} in {str(path)!r} has both words among those with vectors; "
            f"the first is {pairs[0][0]!r}, {pairs[0][1]!r}: is it the dictionary of these languages, in this order?"
        )
    return list(dict.fromkeys(pairs))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, with their numbers from 1, without a byte-order mark."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def _decode(path: Path, number: int, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r}, line {number}: not text in UTF-8: save the file in that encoding") from error


def _read_text(path: Path, most: int | None) -> tuple[list[str], np.ndarray]:
    words, rows, known, size = list[str](), list[np.ndarray](), set[str](), 0
    for number, line in _lines(path):
        parts = line.split()  # of bytes, at ASCII's blanks alone: a word may hold another kind of blank
        if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
            size = int(parts[1])  # the header
        elif parts:
            size = size or _count_numbers(parts)
            word, row = _parse_line(path, number, parts, size)
            words.append(word)
            rows.append(row)
            known.add(word)
            if len(known) == most:
                break
    if not words:
        raise DataError(f"{str(path)!r} is empty: it should hold a word and its numbers a line")
    return words, np.stack(rows)


def _parse_line(path: Path, number: int, parts: list[bytes], size: int) -> tuple[str, np.ndarray]:
    """The word and the vector of a line."""
    where, name = f"{str(path)!r}, line {number}", _decode(path, number, parts[0])[:80]
    if len(parts) == 1 or size == 0:
        raise DataError(f"{where}: the word {name!r} has no vector: give a word and its numbers a line")
    if len(parts) <= size or _count_numbers(parts) == len(parts) - 1 > size:
        raise DataError(f"{where}: {name!r} has {len(parts) - 1} numbers, and {size} are needed, as many as before")
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            row = np.array([float(part) for part in parts[-size:]], np.float32)
    except ValueError as error:
        raise DataError(f"{where}: after {name!r} there should be {size} numbers: {error}") from error
    if not np.isfinite(row).all():
        raise DataError(f"{where}: the vector of {name!r} has a number that is not finite")
    return _decode(path, number, b" ".join(parts[:-size])), row


def _count_numbers(parts: Sequence[bytes]) -> int:
    """How many parts at the end of a line are numbers; the first part is a word in any case."""
    count = 0
    while count < len(parts) - 1 and _is_number(parts[-1 - count]):
        count += 1
    return count


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = read_arrays(path)
    if not {"words", "vectors"} <= arrays.keys():
        held = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{str(path)!r} holds {held}: word vectors are the arrays `words` [n] and `vectors` [n, d]")
    words, vectors = arrays["words"], arrays["vectors"]
    if words.ndim != 1 or words.dtype.kind not in "US" or vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(
            f"{str(path)!r}: `words` must be text [n] and `vectors` numbers [n, d], but they are {words.dtype} "
            f"{list(words.shape)} and {vectors.dtype} {list(vectors.shape)}"
        )
    if len(words) != len(vectors):
        raise DataError(f"{str(path)!r} has {len(words)} words and {len(vectors)} vectors: it needs one a word")
    if vectors.size == 0:
        raise DataError(f"{str(path)!r} is empty: it should hold words and their vectors")
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32)
    if not np.isfinite(vectors).all():
        row = int((~np.isfinite(vectors)).any(1).nonzero()[0][0])
        raise DataError(f"{str(path)!r}, row {row}: the vector of {str(words[row])!r} has a number that is not finite")
    try:
        return [each.decode() if isinstance(each, bytes) else str(each) for each in words.tolist()], vectors
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r}: its words are not text in UTF-8") from error

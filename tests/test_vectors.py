"""Files of word vectors and dictionaries: every usual form reads the same, and every fault names its place."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.data.vectors import read_dictionary, read_vectors
from sparring.errors import DataError, SparringWarning

WORDS, VECTORS = ["the", "año", "1990"], torch.tensor([[0.5, -1.0, 2.0], [1.0, 2.0, 3.0], [0.0, 1e-3, 1.0]])
LINES = "the 0.5 -1 2\naño 1 2 3\n1990 0 1e-3 1\n"


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        "3 3\n" + LINES,  # word2vec, fastText, gensim
        LINES.replace("\n", " \n"),  # fastText ends lines with a blank
        LINES.replace(" ", "\t"),
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES,
        LINES + "\n\n",
        LINES.rstrip("\n"),
    ],
)
def test_the_usual_text_forms_read_the_same(text: str, tmp_path: Path) -> None:
    for ending in (".vec", ".txt"):
        (tmp_path / f"words{ending}").write_bytes(text.encode())
        words, vectors = read_vectors(tmp_path / f"words{ending}")
        assert words == WORDS
        assert torch.equal(vectors, VECTORS)
        assert vectors.dtype == torch.float32


def test_words_may_hold_blanks_that_do_not_separate(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("a\u00a0b 1 2\n\u2028 3 4\nice cream 5 6\n. . 7 8\n", encoding="utf-8")
    words, vectors = read_vectors(path)
    assert words == ["a\u00a0b", "\u2028", "ice cream", ". ."]
    assert vectors[:, 0].tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz(tmp_path: Path, dtype: type) -> None:
    np.savez(tmp_path / "words.npz", words=np.array(WORDS), vectors=VECTORS.numpy().astype(dtype))
    words, vectors = read_vectors(tmp_path / "words.npz")
    assert words == WORDS
    assert torch.allclose(vectors, VECTORS, atol=1e-3)
    assert vectors.dtype == torch.float32
    assert read_vectors(tmp_path / "words.npz", most=2)[0] == WORDS[:2]


def test_repeated_words_keep_the_first_vector_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("a 1 2\nb 3 4\na 5 6\na 7 8\nc 9 0\n")
    with pytest.warns(SparringWarning, match="left out 2 vectors of words that came before"):
        words, vectors = read_vectors(path)
    assert (words, vectors.tolist()) == (["a", "b", "c"], [[1, 2], [3, 4], [9, 0]])


def test_most_reads_no_further(tmp_path: Path) -> None:
    """What lies behind may even be broken, and repetitions do not count."""
    path = tmp_path / "words.vec"
    path.write_text("a 1 2\na 1 2\nb 3 4\nbroken\n")
    with pytest.warns(SparringWarning, match="left out 1 vector of"):
        words, vectors = read_vectors(path, most=2)
    assert (words, len(vectors)) == (["a", "b"], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_vectors(path, most=1)[0] == ["a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"3 2\n", "is empty"),
        (b"a\nb\n", "line 1: the word 'a' has no vector"),
        (b"2 2\na 1 2\nb\n", "line 3: the word 'b' has no vector"),
        (b"a 1 2\nb 3\n", "line 2: 'b' has 1 numbers, and 2 are needed"),
        (b"a 1 2\nb 3 4 5\n", "line 2: 'b' has 3 numbers, and 2 are needed"),
        (b"2 3\na 1 2\n", "line 2: 'a' has 2 numbers, and 3 are needed"),
        (b"a 1 2\nb 3 x\n", "line 2: after 'b' there should be 2 numbers"),
        (b"a 1 2\nb 3 nan\n", "line 2: the vector of 'b' has a number that is not finite"),
        (b"a 1 2\nb 3 1e60\n", "line 2: the vector of 'b' has a number that is not finite"),
        (b"a 1 2\n\xf1 3 4\n", "line 2: not text in UTF-8"),
        ("a 1 2\n".encode("utf-16"), "line 1: not text in UTF-8"),
    ],
)
def test_faults_of_text_name_file_and_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_vectors(path)
    assert "words.vec" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.zeros((2, 3))}, "holds vectors: word vectors are the arrays"),
        ({"words": np.array(["a"]), "vectors": np.zeros((2, 3))}, "has 1 words and 2 vectors"),
        ({"words": np.array([1, 2]), "vectors": np.zeros((2, 3))}, "`words` must be text"),
        ({"words": np.array(["a", "b"]), "vectors": np.zeros(2)}, "`vectors` numbers \\[n, d\\]"),
        ({"words": np.array([], str), "vectors": np.zeros((0, 3))}, "is empty"),
        ({"words": np.array(["a", "b"]), "vectors": np.array([[1.0], [np.inf]])}, "row 1: the vector of 'b'"),
    ],
)
def test_faults_of_arrays(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "words.npz")


def test_files_that_are_missing_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_vectors(tmp_path / "none.vec")
    with pytest.raises(DataError, match=r"files that end with \.vec"):
        read_vectors(tmp_path / "words.bin")
    with pytest.raises(DataError, match="cannot read"):
        read_dictionary(tmp_path / "none.tsv")


def test_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("dog perro\ndog\tcan\n\nice cream\thelado\ndog perro\n", encoding="utf-8")
    pairs = [("dog", "perro"), ("dog", "can"), ("ice cream", "helado")]
    assert read_dictionary(path) == pairs
    assert read_dictionary(path, ["dog"], ["can"]) == pairs
    with pytest.raises(DataError, match="none of the 4 pairs"):  # both words are known, but in no pair together
        read_dictionary(path, ["dog"], ["helado"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n", "is empty"),
        (b"dog\n", "line 1: not a word"),
        (b"dog\tperro\tcan\n", "line 1: not a word"),
        (b"dog perro\nice cream helado\n", "line 2: not a word"),
        (b"dog\t\n", "line 1: not a word"),
        (b"dog perro\nyear a\xf1o\n", "line 2: not text in UTF-8"),
    ],
)
def test_faults_of_dictionaries(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_dictionary(tmp_path / "pairs.tsv")

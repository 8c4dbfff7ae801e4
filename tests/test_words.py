"""Words: vectors of one language are mapped onto those of another, and text is translated word by word."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

import sparring
from sparring import DataError, SparringWarning, UsageError
from sparring.cli.main import main
from sparring.modalities.words import Words

NUM_WORDS, SIZE = 300, 10
QUIET = {"steps": 2, "progress": False, "evaluation_share": 0.0}


def vectors(seed: int = 0, n: int = NUM_WORDS, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)


@pytest.fixture
def languages(tmp_path: Path) -> tuple[Path, Path]:
    """A language, and another one whose vectors are the same but turned, with a little noise; its order is reversed."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(SIZE, SIZE)))
    turned = vectors() @ turn + 0.05 * vectors(2)
    np.savez(tmp_path / "en.npz", words=[f"en{number}" for number in range(NUM_WORDS)], vectors=vectors())
    np.savez(tmp_path / "es.npz", words=[f"es{n}" for n in range(NUM_WORDS)][::-1], vectors=turned[::-1])
    return tmp_path / "en.npz", tmp_path / "es.npz"


@pytest.fixture
def run(languages: tuple[Path, Path], tmp_path: Path) -> sparring.Run:
    return sparring.train(languages[1], source=languages[0], out=tmp_path / "run", **QUIET)  # type: ignore[arg-type]


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_rotation_is_found_without_a_dictionary(run: sparring.Run, tmp_path: Path) -> None:
    generator = sparring.load(run)
    (matrix,) = generator.module.parameters()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(SIZE), atol=0.02, rtol=0.0)
    (tmp_path / "pairs.tsv").write_text("".join(f"en{n}\tes{n}\n" for n in range(NUM_WORDS)))
    rows = sparring.evaluate_dictionary(run, tmp_path / "pairs.tsv")
    assert [*rows] == [
        "this map (300)",
        "this map, half of the words (150)",
        "taught by the other half (150)",
        "chance",
    ]
    assert rows["this map (300)"][0].value > 0.99
    assert rows["chance"][1].value == 5 / NUM_WORDS


@pytest.mark.filterwarnings("default:left as they are")
def test_text_is_translated_word_by_word(run: sparring.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("en3\n\nEn7, en5 unheard!\nunheard\n")
    assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / "out.tsv") == 0
    said = capsys.readouterr()
    assert said.out == f"3 items in {tmp_path / 'out.tsv'}\n"
    assert "left as they are, since no vector is known: unheard!, unheard (2 words)" in said.err
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows] == [["en3", "es3"], ["En7, en5 unheard!", "es7 es5 unheard!"], ["unheard"] * 2]
    others, scores = rows[0][2].split(), [float(score) for score in rows[0][3].split()]
    assert len({*others, "es3"}) == 5
    assert scores == sorted(scores, reverse=True)
    assert rows[1][2:] == rows[2][2:] == ["", ""]
    assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_text() == "es3\nes7 es5 unheard!\nunheard\n"
    assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / "out.npz") == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["words"].tolist() == ["en3", "En7,", "en5"]
        assert arrays["vectors"].shape == (3, SIZE)


def test_it_needs_no_data_to_translate(run: sparring.Run, languages: tuple[Path, Path], tmp_path: Path) -> None:
    """A generator's folder holds the vocabularies."""
    for path in languages:
        path.unlink()
    (run.path / "generator").rename(tmp_path / "alone")
    (tmp_path / "text.txt").write_text("en3\n")
    assert call("translate", tmp_path / "alone", tmp_path / "text.txt", "--out", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_text() == "es3\n"


def test_a_resumed_map_has_the_same_bytes(languages: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {**QUIET, "schedule": "constant", "source": languages[0]}
    whole = sparring.train(languages[1], out=tmp_path / "whole", **settings | {"steps": 5})  # type: ignore[arg-type]
    parts = sparring.train(languages[1], out=tmp_path / "parts", **settings)  # type: ignore[arg-type]
    sparring.resume(parts, steps=5, progress=False)
    file = "generator/model.safetensors"
    assert (whole.path / file).read_bytes() == (parts.path / file).read_bytes()


def test_words_that_are_written_alike_begin_a_map(languages: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {**QUIET, "source": languages[0], "first_map": "identical"}
    with pytest.raises(UsageError, match="have no word in common: give another first_map"):
        sparring.train(languages[1], out=tmp_path / "none", **settings)  # type: ignore[arg-type]
    with np.load(languages[1]) as file:
        words, table = file["words"].tolist(), file["vectors"]
    alike = [word.replace("es", "en") if int(word[2:]) < 30 else word for word in words]
    np.savez(languages[1], words=alike, vectors=table)
    run = sparring.train(languages[1], out=tmp_path / "alike", **settings)  # type: ignore[arg-type]
    (tmp_path / "pairs.tsv").write_text("".join(f"en{n} es{n}\n" for n in range(30, NUM_WORDS)))
    assert sparring.evaluate_dictionary(run, tmp_path / "pairs.tsv")["this map (270)"][0].value > 0.99


def test_the_distance_needs_no_dictionary(languages: tuple[Path, Path], tmp_path: Path) -> None:
    """It is smaller for a right map than for a random one."""
    distances = []
    for first_map in ("structural", "random"):
        settings = {**QUIET, "source": languages[0], "first_map": first_map, "evaluation_share": 0.05}
        settings |= {"evaluation_steps": 1, "learning_rate": 1e-6}
        run = sparring.train(languages[1], out=tmp_path / first_map, **settings)  # type: ignore[arg-type]
        distances.append(run.log()[-1]["evaluation"]["distance"])
    assert distances[0] < 0.02 < distances[1]


def test_a_vocabulary_survives_its_file() -> None:
    table = torch.from_numpy(vectors())
    modality = Words.from_vectors([str(number) for number in range(NUM_WORDS)], table)
    centred = torch.nn.functional.normalize(table - table.mean(0))
    wanted = torch.nn.functional.normalize(centred - centred.mean(0))
    torch.testing.assert_close(modality.table, wanted, atol=1e-3, rtol=0.0)
    assert modality.scale == pytest.approx(modality.table.square().mean().sqrt().item(), rel=1e-3)
    assert "base64" not in repr(modality)
    assert len(repr(modality)) < 200


def test_bad_input_is_explained(languages: tuple[Path, Path], run: sparring.Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", words=["a", "b"], vectors=vectors(0, 2))
    np.savez(tmp_path / "wide.npz", words=[str(n) for n in range(100)], vectors=vectors(0, 100, 12))
    (tmp_path / "uneven.vec").write_text("a 1 2\nb 1 2 3\n")
    for source, message in [
        ("few.npz", "holds 2 words: give at least 50"),
        ("wide.npz", "vectors of 12 numbers.* have another shape than those of .*vectors of 10 numbers"),
        ("uneven.vec", "line 2"),
    ]:
        with pytest.raises((DataError, UsageError), match=message):
            sparring.train(languages[1], source=tmp_path / source, out=tmp_path / "no", **QUIET)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="words are only translated: give --source, another language"):
        sparring.train(languages[1], out=tmp_path / "no", **QUIET)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()
    (tmp_path / "pairs.tsv").write_text("dog\tperro\n")
    with pytest.raises(DataError, match="has both words among those with vectors"):
        sparring.evaluate_dictionary(run, tmp_path / "pairs.tsv")
    (tmp_path / "text.txt").write_text("dog\n")
    assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / "out.tsv") == 2
    assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / "out.png") == 2
    assert call("translate", run.path, tmp_path / "nothing.txt", "--out", tmp_path / "out.tsv") == 2
    assert call("sample", run.path, "--out", tmp_path / "out.npz") == 2
    assert not [*tmp_path.glob("out.*")]
    points = sparring.train("ring", steps=1, width=4, out=tmp_path / "points", progress=False)
    with pytest.raises(UsageError, match="translates nothing"):
        sparring.evaluate_dictionary(points, tmp_path / "pairs.tsv")


def test_a_disk_that_is_full_is_explained(
    run: sparring.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "text.txt").write_text("en3\n")
    monkeypatch.setattr("sparring.modalities.words.write_atomically", fail)
    for name in ("out.tsv", "out.npz"):
        assert call("translate", run.path, tmp_path / "text.txt", "--out", tmp_path / name) == 2
        assert f"cannot write {tmp_path / name}: No space left on device: give another --out" in capsys.readouterr().err


def test_only_the_most_frequent_words_are_kept(
    languages: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparring.modalities.words.MAX_WORDS", 100)
    with pytest.warns(SparringWarning, match="of .* only the first 100 words are kept"):
        run = sparring.train(languages[1], source=languages[0], out=tmp_path / "run", batch_size=32, **QUIET)  # type: ignore[arg-type]
    modality = sparring.load(run).config.source
    assert isinstance(modality, Words)
    assert modality.words == tuple(f"en{number}" for number in range(100))

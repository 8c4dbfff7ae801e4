"""Words: vectors of a language's vocabulary, which a translator maps onto those of another language."""

import base64
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final
from warnings import warn

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import normalize

from sparring import alignment
from sparring.data.containers import Reading
from sparring.data.files import check_exists
from sparring.data.items import Items
from sparring.data.layout import say_count
from sparring.data.vectors import read_dictionary, read_vectors
from sparring.errors import DataError, SparringWarning, UsageError
from sparring.files import write_atomically
from sparring.metrics.extractors import Extractor, coordinates
from sparring.modalities.modality import Dataset, Modality
from sparring.modalities.output import explain_errors, save_arrays
from sparring.modalities.preset import Preset
from sparring.types import Estimate, Features, OnProgress, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_WORDS = 20_000  # the most frequent ones, which are saved with a translator
NUM_FREQUENT = 5_000  # words that a game is played with
NUM_LEARNED, NUM_RESTARTS = 1_500, 2  # of them, from which the first map is learned, so many times
NUM_CRITERION = 500  # of them, whose translations choose the best map
LEAST_WORDS = 50
NUM_BEST = 5  # translations of a word in a file
AT = (1, 5, 10)
NAMED = 5  # unknown words in a message


@final
@dataclass(frozen=True)
class Words(Modality):
    """Vectors of length 1, and the vocabulary that they belong to."""

    item_shape: tuple[int, ...]  # (numbers of a vector,)
    words: tuple[str, ...] = field(repr=False)  # the most frequent first
    vectors: str = field(repr=False)  # their numbers as float16, one vector after the other, in base64
    scale: float = 1.0  # the root mean square of a vector's numbers
    name: Literal["words"] = "words"

    summary = "words of a language, by their vectors; one language is translated into another"
    array_name = tensor_name = "vectors"
    layouts = "words, as two arrays `words` and `vectors` in one .npz"
    batch_normalization = False
    num_shown = NUM_CRITERION
    tasks = "other", "translation"
    to_translate = "text.txt", "text.tsv"

    @classmethod
    def from_vectors(cls, words: Sequence[str], vectors: Tensor) -> "Words":
        """The vocabulary of words and their vectors [n, d].

        They are centred, scaled to length 1, centred, and scaled again: long vectors of frequent words share most of
        what all have in common.
        """
        table = alignment.normalize_vectors(vectors.float() - vectors.float().mean(0))
        text = base64.b64encode(table.half().numpy().tobytes()).decode()
        return cls((table.shape[1],), tuple(words), text, table.shape[1] ** -0.5)

    @property
    def table(self) -> Tensor:
        """The vectors of all words, float32 [n, d]."""
        return _decode(self.vectors, self.item_shape[0])

    def encode(self, items: np.ndarray) -> Samples:
        """The same vectors as a tensor."""
        return torch.from_numpy(items).float()

    def decode(self, samples: Tensor) -> np.ndarray:
        """The same vectors as an array."""
        vectors: np.ndarray = samples.float().cpu().numpy()
        return vectors

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Words, np.ndarray] | None":
        """None: an array alone has no words."""
        return None

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Dataset | None:
        """Word vectors in a .vec or .txt file, or in a .npz with `words` and `vectors`."""
        if not path.is_file() or path.suffix not in (".vec", ".txt", ".npz"):
            return None
        if path.suffix == ".npz" and not {"words.npy", "vectors.npy"} <= {*_list_members(path)}:
            return None
        on_progress(f"reading {path.name}", 0.0)
        words, vectors = read_vectors(path, MAX_WORDS + 1)
        if len(words) > MAX_WORDS:
            message = f"of {str(path)!r} only the first {MAX_WORDS:,} words are kept"
            warn(SparringWarning(message), stacklevel=2)
            words, vectors = words[:MAX_WORDS], vectors[:MAX_WORDS]
        if len(words) < LEAST_WORDS:
            raise DataError(f"{str(path)!r} holds {say_count(len(words), 'words')}: give at least {LEAST_WORDS}")
        on_progress(f"reading {path.name}", 1.0)
        modality = cls.from_vectors(words, vectors)
        frequent, few = modality.table[:NUM_FREQUENT], modality.table[:NUM_CRITERION]
        return Dataset(str(path), modality, Items(frequent), Items(few))

    def usual_network(self, normalization: str | None) -> str:
        """A matrix."""
        return "linear"

    def begin(self, generator: Module, dataset: Dataset, first_map: str, seed: int, on_progress: OnProgress) -> None:
        """Set the map by words that play the same part in their languages, or that are written alike."""
        assert dataset.source is not None
        source, target = dataset.source.modality, dataset.modality
        assert isinstance(source, Words)
        assert isinstance(target, Words)
        if first_map == "random":
            return
        x, y = source.table[:NUM_LEARNED], target.table[:NUM_LEARNED]
        if first_map == "identical":
            pairs = alignment.identical_start(source.words[: len(x)], target.words[: len(y)])
        else:
            pairs = alignment.structural_start(x, y)
        if not len(pairs):
            raise UsageError(f"{dataset.source.name} and {dataset.name} have no word in common: give another first_map")
        on_progress("learning a first map, which takes about a minute", 0.0)
        learned = alignment.self_learn(x, y, pairs, seed=seed, num_restarts=NUM_RESTARTS)
        (weight,) = generator.parameters()
        weight.data.copy_(alignment.refine(x, y, learned.matrix))

    def neutral_extractor(self) -> Extractor:
        """The numbers of the vectors."""
        return coordinates()

    def distance(self, real: Features, fake: Features, seed: int) -> tuple[float, float]:
        """1 − the mean cosine of translated words and their nearest words by CSLS: it needs no dictionary."""
        mapped, target = normalize(fake), self.table[:NUM_FREQUENT]
        numbers, _ = alignment.translate(mapped, target, 1)
        cosines = (mapped * target[numbers[:, 0]]).sum(1)
        return 1 - cosines.mean().item(), cosines.std().item() / len(cosines) ** 0.5

    def describe(self) -> str:
        """The number of words, and of the numbers of a vector."""
        return f"{say_count(len(self.words), 'words')} with vectors of {self.item_shape[0]} numbers"

    def num_pictured(self, num_rows: int) -> int:
        """As many as the criterion takes."""
        return NUM_CRITERION

    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw vectors on the two main axes of the vocabulary; some words of the vocabulary stand beside them."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=(6, 6), dpi=100, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        table = self.table[:NUM_CRITERION]
        axes = torch.linalg.svd(table, full_matrices=False).Vh[:2].T
        places, made = (table @ axes).numpy(), items @ axes.numpy()
        plot = figure.subplots()
        plot.scatter(places[:, 0], places[:, 1], s=6, color="#888888", linewidths=0, label="words")
        plot.scatter(made[:, 0], made[:, 1], s=6, color="#2f6fbb", linewidths=0, label="translated")
        for word, (x, y) in list(zip(self.words, places, strict=False))[:60]:
            plot.annotate(word, (x, y), fontsize=7, color="#555555")
        plot.set(xticks=[], yticks=[])
        plot.legend(frameon=False, fontsize=8)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def picture_rows(self, columns: int, given: np.ndarray, made: np.ndarray, *others: np.ndarray) -> "Image":
        """Draw the translated words: the axes of another language mean nothing here."""
        return self.picture(made)

    def check_path(self, path: Path) -> None:
        """Raise a UsageError if words cannot be written into such a file."""
        if path.suffix not in (".tsv", ".txt", ".npz"):
            raise UsageError(f"cannot write words into {str(path)!r}: give --out a .tsv, a .txt or a .npz")

    def translate_files(
        self, path: Path, out: Path, translate: Callable[[np.ndarray], np.ndarray], made: Modality
    ) -> int:
        """Translate the lines of a text file, word by word, and count the lines.

        A .tsv gets a line for each: it, its translation, and for a single word the next best ones and all scores; a
        .txt the translations alone; a .npz the vectors of the known words. Words without a vector stay as they are.
        """
        assert isinstance(made, Words)
        made.check_path(out)
        check_exists(path)
        try:
            lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {str(path)!r}: {error}: give a text file in UTF-8") from error
        places = {word: number for number, word in enumerate(self.words)}
        tokens = dict.fromkeys(token for line in lines for token in line)
        known = {token: number for token in tokens if (number := self._find(token, places)) is not None}
        if not known:
            raise DataError(f"none of the words in {str(path)!r} is among the {len(places):,} of the source language")
        if unknown := [token for token in tokens if token not in known]:
            listed = ", ".join(unknown[:NAMED]) + (", …" if len(unknown) > NAMED else "")
            message = f"left as they are, since no vector is known: {listed} ({say_count(len(unknown), 'words')})"
            warn(SparringWarning(message), stacklevel=2)
        best, scores = self._translate_all(translate, made, NUM_BEST)
        rows = []
        for line in lines:
            found = [made.words[int(best[known[token], 0])] if token in known else token for token in line]
            others, values = "", ""
            if len(line) == 1 and line[0] in known:
                number = known[line[0]]
                others = " ".join(made.words[each] for each in best[number, 1:].tolist())
                values = " ".join(f"{score:.3f}" for score in scores[number].tolist())
            rows.append((" ".join(line), " ".join(found), others, values))
        if out.suffix == ".npz":
            vectors = translate(self.table[list(known.values())].numpy())
            arrays = {"words": np.array([*known]), "vectors": vectors}
            with explain_errors(out):
                write_atomically(out, lambda beside: save_arrays(beside, arrays))
        else:
            cells = ("\t".join(row) if out.suffix == ".tsv" else row[1] for row in rows)
            text = "".join(f"{line}\n" for line in cells)
            with explain_errors(out):
                write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))
        return len(lines)

    def check_dictionary(
        self, path: Path, translate: Callable[[np.ndarray], np.ndarray], made: Modality
    ) -> Mapping[str, Sequence[Estimate]]:
        """P@1, P@5 and P@10 of this map, of the map that half of the pairs give for the other half, and of chance."""
        assert isinstance(made, Words)
        pairs = read_dictionary(path, self.words, made.words)
        places, targets = ({word: number for number, word in enumerate(each.words)} for each in (self, made))
        numbered = torch.tensor([(places[a], targets[b]) for a, b in pairs if a in places and b in targets])
        is_taught = numbered[:, 0] % 2 == 0
        taught, tested = numbered[is_taught], [(a, b) for a, b in pairs if places.get(a, 0) % 2]
        matrix = alignment.orthogonal_map(self.table[taught[:, 0]], made.table[taught[:, 1]])
        best, _ = self._translate_all(translate, made, max(AT))
        supervised, _ = alignment.translate(normalize(self.table @ matrix.T), made.table, max(AT))
        rows = {
            "this map": alignment.precision_at(best, self.words, made.words, pairs, AT),
            "this map, half of the words": alignment.precision_at(best, self.words, made.words, tested, AT),
            "taught by the other half": alignment.precision_at(supervised, self.words, made.words, tested, AT),
        }
        chance = [Estimate(each / len(made.words), each / len(made.words), each / len(made.words)) for each in AT]
        measured = {name: [row.at[each] for each in AT] for name, row in rows.items()}
        return {f"{name} ({rows[name].num_words})": row for name, row in measured.items()} | {"chance": chance}

    def _find(self, token: str, places: Mapping[str, int]) -> int | None:
        """The number of a word, as it is written, or without capitals and marks."""
        plain = token.strip(".,;:!?\"'()[]«»¿¡…").lower()
        return next((places[each] for each in (token, plain) if each in places), None)

    def _translate_all(
        self, translate: Callable[[np.ndarray], np.ndarray], made: "Words", num_best: int
    ) -> tuple[Tensor, Tensor]:
        """The best words of another language for each of this one, and their CSLS, which depends on all of both."""
        mapped = normalize(torch.from_numpy(translate(self.table.numpy())))
        return alignment.translate(mapped, made.table, num_best)


def _list_members(path: Path) -> list[str]:
    """The names of the files in an archive; none if it is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # on damaged files, zipfile raises anything
        return []


@lru_cache(maxsize=4)
def _decode(text: str, size: int) -> Tensor:
    numbers = np.frombuffer(base64.b64decode(text), np.float16).reshape(-1, size)
    return normalize(torch.from_numpy(numbers.astype(np.float32)))


# fmt: off
Words.sources = ()

# Shared by both recipes. R1 is what makes the game work: without it the discriminator learns the words by heart.
GAME = {
    "network": "linear", "restraints": {"orthogonal": 0.01}, "objective": "relativistic", "penalty": "r1",
    "penalty_weight": 1.0, "learning_rate": 0.02, "learning_rate_ratio": 0.05, "beta1": 0.5, "beta2": 0.99,
    "schedule": "constant", "batch_size": 256, "average_decay": 0.0, "minutes": None,
}

Words.presets = (
    Preset(
        "words", "translates words: a map that is learned from alike surroundings; the game is one step",
        source="this project, docs/translation.md; after Artetxe et al. 2018, arXiv:1805.06297",
        settings=GAME | {"first_map": "structural", "learning_rate": 5e-4, "learning_rate_ratio": 2.0, "steps": 1},
        translates=True,
    ),
    Preset(
        "words-game", "the game alone, from a random rotation: it finds rotations, but seldom languages",
        source="this project, docs/translation.md; after Conneau et al. 2018, arXiv:1710.04087",
        settings=GAME | {"first_map": "random", "steps": 8000, "until": "distance<0.15"},
        translates=True,
    ),
)

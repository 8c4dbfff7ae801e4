"""Translates words without a dictionary, and prints docs/translation.md's table.

    python benchmarks/words.py DATA [--tasks rotation halves spanish] [--seeds 10] [--scale 200000]

DATA is a folder with `en.npz`, `es.npz` (`words`, `vectors`; the most frequent first), `halves.npz` (the same twice,
with the endings _a and _b) and `en-es.tsv`, pairs. Three tasks, each with its own right answers:

- rotation: the 2,000 most frequent English words, and the same turned by a random rotation, with noise that leaves a
  cosine of .95. The adversarial game alone, from a random rotation.
- halves: vectors of two halves of one text. A word that stands in both is its own translation.
- spanish: English and Spanish, a thousand words each, judged by a dictionary.

Nothing sees a right answer, except where it says *supervised*: half of the pairs for Procrustes, the others tested.
`--scale N` instead measures the exact translation of N words of 300 numbers by CSLS.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import sparring
from sparring.alignment import (
    identical_start,
    mean_csls,
    normalize_vectors,
    orthogonal_map,
    orthogonalize,
    precision_at,
    refine,
    self_learn,
    structural_start,
    translate,
)
from sparring.data import Items
from sparring.data.vectors import read_dictionary, read_vectors
from sparring.seeding import Stream

COSINE = 0.95  # of a rotated word and its noisy copy
NUM_LEARNED = 1500  # the most frequent words, from which maps are learned
STEPS, MEASURE_STEPS, BATCH, HIDDEN = 8000, 500, 256, 256
ALONE = (0.02, 0.001)  # the learning rates of generator and discriminator, from a random rotation
GENTLE = (0.0005, 0.001)  # the same from a good map
ENOUGH = 0.85  # mean CSLS at which a game ends early; a wrong map has less than .65
RESTARTS = {"halves": 1, "spanish": 2}


@dataclass(frozen=True)
class Task:
    """Two languages and the right answers."""

    source: Tensor  # normalised, [n, d]
    target: Tensor  # normalised, [m, d]
    source_words: Sequence[str]
    target_words: Sequence[str]
    dictionary: Sequence[tuple[str, str]]
    num_judged: int  # the most frequent words of both languages, which are translated into each other

    def precision(self, matrix: Tensor, pairs: Sequence[tuple[str, str]] | None = None) -> list[float]:
        """P@1, P@5 and P@10 of a map, by the whole dictionary or by some pairs."""
        words, others = self.source_words[: self.num_judged], self.target_words[: self.num_judged]
        mapped = nn.functional.normalize(self.source[: self.num_judged] @ matrix.T)
        numbers, _ = translate(mapped, self.target[: self.num_judged])
        found = precision_at(numbers, words, others, self.dictionary if pairs is None else pairs)
        return [share.value for share in found.at.values()]

    def supervised(self, seed: int) -> list[float]:
        """The precision of Procrustes on half of the words of the dictionary, judged by the other half."""
        both = (self.source_words, self.target_words)
        places, others = ({word: i for i, word in enumerate(words[: self.num_judged])} for words in both)
        known = [pair for pair in self.dictionary if pair[0] in places and pair[1] in others]
        words = list(dict.fromkeys(word for word, _ in known))
        chosen = {words[i] for i in Stream(seed, "benchmark/half").permutation(len(words))[: len(words) // 2].tolist()}
        taught = torch.tensor([(places[a], others[b]) for a, b in known if a in chosen])
        matrix = orthogonal_map(self.source[taught[:, 0]], self.target[taught[:, 1]])
        return self.precision(matrix, [pair for pair in known if pair[0] not in chosen])

    def chance(self) -> float:
        """P@1 of answers drawn at random."""
        words, others = (set(each[: self.num_judged]) for each in (self.source_words, self.target_words))
        known = [pair for pair in set(self.dictionary) if pair[0] in words and pair[1] in others]
        return len(known) / len({word for word, _ in known}) / len(others)


def rotation(folder: Path, seed: int) -> Task:
    """Words, and the same words turned, with noise, in another order."""
    words, vectors = read_vectors(folder / "en.npz", 2000)
    source, stream = normalize_vectors(vectors), Stream(seed, "benchmark/rotation")
    turned = source @ torch.linalg.qr(stream.part("matrix").normal(source.shape[1], source.shape[1]))[0]
    noise = stream.part("noise").normal(*source.shape)
    across = nn.functional.normalize(noise - (noise * turned).sum(1, keepdim=True) * turned)
    order = stream.part("order").permutation(len(words))
    target = (COSINE * turned + (1 - COSINE**2) ** 0.5 * across)[order]
    return Task(source, target, words, [words[i] for i in order.tolist()], [(w, w) for w in words], len(words))


def halves(folder: Path) -> Task:
    """All words of two halves of a text."""
    arrays = np.load(folder / "halves.npz")
    source, target = (
        normalize_vectors(torch.from_numpy(arrays[f"vectors_{half}"].astype(np.float32))) for half in "ab"
    )
    words = [[str(word) for word in arrays[f"words_{half}"]] for half in "ab"]
    both = sorted(set(words[0]) & set(words[1]))
    return Task(source, target, words[0], words[1], [(word, word) for word in both], max(map(len, words)))


def spanish(folder: Path) -> Task:
    """English and Spanish, the frequent thousand."""
    (words, vectors), (others, other_vectors) = (read_vectors(folder / f"{name}.npz") for name in ("en", "es"))
    # Centred before the first scaling too: long vectors of frequent words share most of what all have in common.
    source, target = (normalize_vectors(each - each.mean(0)) for each in (vectors, other_vectors))
    return Task(source, target, words, others, read_dictionary(folder / "en-es.tsv", words, others), 1000)


def play_game(task: Task, seed: int, start: Tensor, rates: tuple[float, float], steps: int, enough: float) -> Tensor:
    """The adversarial game from a map; what it ends with, or has where mean CSLS reaches what is enough.

    The generator is the map, and what it is fed are the source's words. Its matrix is drawn towards the orthogonal ones
    after each step. R1 is what makes it work: without a penalty the discriminator learns 2,000 words by heart.
    """
    size = start.shape[0]
    scale = size**0.5  # each number of a vector varies by about 1
    generator = nn.Linear(size, size, bias=False)
    with torch.no_grad():
        generator.weight.copy_(start)
    with Stream(seed, "benchmark/discriminator").as_default():
        discriminator = nn.Sequential(
            nn.Linear(size, HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(HIDDEN, 1),
        )
    optimizers = [
        torch.optim.Adam(player.parameters(), lr=rate, betas=(0.5, 0.99))
        for player, rate in zip((generator, discriminator), rates, strict=True)
    ]
    words, others = task.source[:2000], task.target[:2000]
    game = sparring.Game(
        generator,
        discriminator,
        objective="relativistic",
        penalties=[sparring.R1(1.0)],
        prior=Items(words * scale),
        generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
        seed=seed,
    )
    real = Items(others * scale)
    for step in range(steps):
        game.step(real.batch(BATCH, Stream(seed, "data", step)))
        with torch.no_grad():
            generator.weight.copy_(orthogonalize(generator.weight))
        if (step + 1) % MEASURE_STEPS == 0 and criterion(task, generator.weight.detach()) >= enough:
            break
    return generator.weight.detach().clone()


def criterion(task: Task, matrix: Tensor) -> float:
    """Mean CSLS of the frequent thousand."""
    return mean_csls(nn.functional.normalize(task.source[:1000] @ matrix.T), task.target[:2000])


def random_rotation(size: int, seed: int) -> Tensor:
    """A random orthogonal matrix."""
    matrix: Tensor = torch.linalg.qr(Stream(seed, "benchmark/start").normal(size, size))[0]
    return matrix


def learn(task: Task, start: Tensor, seed: int, num_restarts: int) -> Tensor:
    """Self-learning from a first dictionary, then refinement, on the frequent words."""
    source, target = task.source[:NUM_LEARNED], task.target[:NUM_LEARNED]
    learned = self_learn(source, target, start, seed=seed, num_restarts=num_restarts)
    print("   mean CSLS of restarts", *(f"{each:.4f}" for each in learned.criteria), flush=True)
    return refine(source, target, learned.matrix)


def methods_of(name: str, task: Task, seed: int) -> dict[str, list[float]]:
    """What each method reaches with a seed: P@1, P@5, P@10."""
    size = task.source.shape[1]
    if name == "rotation":
        matrix = play_game(task, seed, random_rotation(size, seed), ALONE, STEPS, enough=ENOUGH)
        return {"the game alone": task.precision(matrix), "supervised": task.supervised(seed)}
    source, target = task.source[:NUM_LEARNED], task.target[:NUM_LEARNED]
    matrix = learn(task, structural_start(source, target), seed, RESTARTS[name])
    found = {"no seed words": task.precision(matrix)}
    found["and then the game"] = task.precision(play_game(task, seed, matrix, GENTLE, 300, enough=torch.inf))
    if seed < 3:  # it takes long, and mostly fails
        alone = play_game(task, seed, random_rotation(size, seed), ALONE, 2000, enough=ENOUGH)
        found["the game alone"] = task.precision(alone)
    if name == "spanish":
        alike = identical_start(task.source_words[:NUM_LEARNED], task.target_words[:NUM_LEARNED])
        found["identical words"] = task.precision(learn(task, alike, seed, 1))
    return {**found, "supervised": task.supervised(seed)}


def print_table(name: str, folder: Path, num_seeds: int) -> None:
    """Lines of a task's table: P@1, P@5 and P@10 over the seeds, in %, the mean and the least and the most."""
    results: dict[str, list[list[float]]] = {}
    for seed in range(num_seeds):
        task = rotation(folder, seed) if name == "rotation" else {"halves": halves, "spanish": spanish}[name](folder)
        began = time.process_time()
        for method, figures in methods_of(name, task, seed).items():
            results.setdefault(method, []).append(figures)
            print(f"   {name} {seed} {method}", *(f"{100 * each:.1f}" for each in figures), flush=True)
        print(f"   {time.process_time() - began:.0f} s", flush=True)
    print(f"\n| {name} | P@1 | P@5 | P@10 |\n|---|---|---|---|")
    for method, rows in results.items():
        cells = [f"{sum(c) / len(c):.1f} ({min(c):.1f} to {max(c):.1f})" for c in (np.array(rows) * 100).T.tolist()]
        print(f"| {method} |", " | ".join(cells), "|")
    print(f"| chance | {100 * task.chance():.2f} | | |\n", flush=True)


def measure_scale(count: int) -> None:
    """Time and memory of translating many random words of 300 numbers."""
    source, target = (normalize_vectors(Stream(0, f"benchmark/{each}").normal(count, 300)) for each in ("x", "y"))
    began, began_on_cores = time.perf_counter(), time.process_time()
    translate(source, target)
    seconds, on_cores = time.perf_counter() - began, time.process_time() - began_on_cores
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    threads = torch.get_num_threads()
    print(f"{count:,} words, threads: {threads}, {seconds:.1f} s, {on_cores:.1f} s of all cores, {memory:.2f} GB")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", nargs="*", default=["rotation", "halves", "spanish"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--scale", type=int, default=0)
    options = parser.parse_args()
    if options.scale:
        measure_scale(options.scale)
        return
    for name in options.tasks:
        print_table(name, options.data, options.seeds)


if __name__ == "__main__":
    main()

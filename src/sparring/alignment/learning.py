"""Maps without a dictionary: a poor first one, and self-learning and refinement that make it better."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sparring.alignment.maps import Matrix, Pairs, Vectors, normalize_vectors, orthogonal_map
from sparring.alignment.similarity import DEFAULT_NEIGHBORS, check_vectors, mean_csls, mutual_neighbors, top_of_rows
from sparring.errors import UsageError
from sparring.seeding import Stream


def structural_start(source: Vectors, target: Vectors, k: int = DEFAULT_NEIGHBORS) -> Pairs:
    """A first dictionary from the shape of each language alone: words whose sorted similarities are alike.

    Row i of √(X Xᵀ), sorted, says how far word i is from all other words of its language, nearest first. It needs no
    common axes, so the rows of two languages can be compared.

    Args:
        source: X [n, d], not mapped.
        target: Y [m, d].
        k: how many neighbours CSLS looks at.

    Returns:
        The mutual nearest neighbours under CSLS, int64 [pairs, 2]: few of them right, but more than by chance. Only the
        first min(n, m) words of each language take part, and their similarities [n, n] have to fit into memory.

    Source: Artetxe et al. 2018, "A robust self-learning method for fully unsupervised cross-lingual mappings of word
        embeddings", arXiv:1805.06297, § 3.2.

    Example:
        >>> words = normalize_vectors(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)))
        >>> turned = words.flip(1).roll(1, 0)  # other axes, and another order
        >>> bool((structural_start(words, turned)[:5, 1] == torch.arange(1, 6)).all())
        True
    """
    check_vectors(source, target, k)
    most, profiles = min(len(source), len(target)), []
    for vectors in (source[:most], target[:most]):
        left, values, _ = torch.linalg.svd(vectors, full_matrices=False)
        profiles.append(normalize_vectors(((left * values) @ left.T).sort(1).values))  # √(X Xᵀ) = U Σ Uᵀ
    return mutual_neighbors(profiles[0], profiles[1], k)


def identical_start(source_words: Sequence[str], target_words: Sequence[str], numerals_only: bool = False) -> Pairs:
    """A first dictionary of the words that both languages write alike: names, borrowed words, numerals.

    Args:
        source_words: of the source language.
        target_words: of the target language.
        numerals_only: keep only words that are made of digits, for languages of different alphabets.

    Returns:
        Int64 [pairs, 2]. Some pairs are false friends.

    Source: Artetxe et al. 2017, "Learning bilingual word embeddings with (almost) no bilingual data", ACL, for
        numerals; Conneau et al. 2018, arXiv:1710.04087, use identical words.

    Example:
        >>> identical_start(["dog", "1990", "piano"], ["piano", "perro", "1990"])
        tensor([[1, 2],
                [2, 0]])
    """
    places = {word: number for number, word in enumerate(target_words)}
    alike = ((number, word) for number, word in enumerate(source_words) if word in places)
    found = [(number, places[word]) for number, word in alike if word.isdecimal() or not numerals_only]
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 2)


def refine(source: Vectors, target: Vectors, matrix: Matrix, num_rounds: int = 5, k: int = DEFAULT_NEIGHBORS) -> Matrix:
    """Improve a map: Procrustes on the mutual nearest neighbours that it makes, several times.

    Args:
        source: words that are not mapped, [n, d]; the frequent ones suffice.
        target: words [m, d].
        matrix: W [d, d], a map that is better than none.
        num_rounds: how many times.
        k: how many neighbours CSLS looks at.

    Returns:
        An orthogonal matrix [d, d].

    Source: Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, § 2.2.

    Example:
        >>> words = normalize_vectors(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
        >>> near = torch.eye(4) + 0.2 * torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
        >>> torch.allclose(refine(words, words, near), torch.eye(4), atol=1e-5)
        True
    """
    for _ in range(num_rounds):
        pairs = mutual_neighbors(torch.nn.functional.normalize(source @ matrix.T), target, k)
        matrix = orthogonal_map(source[pairs[:, 0]], target[pairs[:, 1]])
    return matrix


@dataclass(frozen=True)
class Learned:
    """What self-learning found, and how well each restart did by the criterion that needs no dictionary."""

    matrix: Matrix  # the best restart's map, orthogonal [d, d]
    criterion: float  # its mean_csls
    criteria: tuple[float, ...]  # of all restarts


def self_learn(
    source: Vectors,
    target: Vectors,
    start: Pairs,
    *,
    seed: int = 0,
    num_restarts: int = 2,
    keep: float = 0.15,
    growth: float = 1.5,
    patience: int = 20,
    k: int = DEFAULT_NEIGHBORS,
) -> Learned:
    """Learn a map from a poor first dictionary: map by it, translate all words, take the translations as the next one.

    With dropout of the dictionary: an entry of the table of similarities is considered with a probability that begins
    at `keep` and is multiplied by `growth` whenever the mean similarity has not risen for `patience` rounds, until it
    is 1. So early dictionaries differ widely, and the search leaves poor optima. Translations in both directions count.

    Args:
        source: words [n, d], not mapped; the few thousand most frequent ones.
        target: words [m, d], likewise.
        start: the first dictionary, such as `structural_start` gives.
        seed: of the dropout.
        num_restarts: how many times to learn; the map with the largest `mean_csls` is returned.
        keep: the first probability, more than 0, at most 1.
        growth: its factor, more than 1. The paper's 2, and .1 to begin with, failed on small texts half of the time.
        patience: in rounds.
        k: how many neighbours CSLS looks at.

    Raises:
        DataError: for a start without pairs.
        UsageError: for numbers out of range.

    Source: Artetxe et al. 2018, "A robust self-learning method for fully unsupervised cross-lingual mappings of word
        embeddings", arXiv:1805.06297, § 3.3; without their frequency cut-off, which is the caller's, and without
        re-weighting, so the map stays orthogonal.

    Example:
        >>> words = normalize_vectors(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)))
        >>> wrong = torch.randint(200, (200,), generator=torch.Generator().manual_seed(1))
        >>> start = torch.stack([torch.arange(200), torch.where(wrong < 120, wrong, torch.arange(200))], 1)
        >>> learned = self_learn(words, words, start, num_restarts=1)  # more than half of the start is wrong
        >>> torch.allclose(learned.matrix, torch.eye(4), atol=1e-5)
        True
    """
    check_vectors(source, target, k)
    if not 0 < keep <= 1 or not growth > 1 or num_restarts < 1 or patience < 1:
        raise UsageError("keep must be from above 0 to 1, growth above 1, num_restarts and patience at least 1")
    matrices, criteria = [], []
    for restart in range(num_restarts):
        stream = Stream(seed, f"self-learning/{restart}")
        matrices.append(_learn_once(source, target, start, stream, keep, growth, patience, k))
        criteria.append(mean_csls(source @ matrices[-1].T, target, k=k))
    best = max(range(num_restarts), key=criteria.__getitem__)
    return Learned(matrices[best], criteria[best], tuple(criteria))


def _learn_once(
    source: Vectors, target: Vectors, pairs: Pairs, stream: Stream, keep: float, growth: float, patience: int, k: int
) -> Matrix:
    best, best_round, round_ = -torch.inf, 0, 0
    while True:
        matrix = orthogonal_map(source[pairs[:, 0]], target[pairs[:, 1]])
        similarities = source @ matrix.T @ target.T
        directions = (similarities, similarities.T.contiguous())
        tops = [top_of_rows(each, k)[0] for each in directions]
        objective = float(sum(top[:, 0].mean() for top in tops)) / 2
        if objective > best + 1e-4:
            best, best_round = objective, round_
        elif round_ - best_round >= patience:
            if keep >= 1:
                return matrix
            keep, best_round = min(1.0, growth * keep), round_
        is_dropped = stream.at(round_).uniform(*similarities.shape) >= keep
        scores = [2 * each - top.mean(1) for each, top in zip(directions, reversed(tops), strict=True)]  # CSLS's order
        forward = scores[0].masked_fill_(is_dropped, -torch.inf).argmax(1)
        backward = scores[1].masked_fill_(is_dropped.T, -torch.inf).argmax(1)
        rows, columns = torch.arange(len(source)), torch.arange(len(target))
        pairs = torch.stack([torch.cat([rows, backward]), torch.cat([forward, columns])], 1)
        round_ += 1

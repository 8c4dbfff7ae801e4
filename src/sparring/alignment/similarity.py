"""Which words of two languages are near to each other: CSLS, exact and in blocks."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.alignment.maps import Matrix, Pairs, Vectors
from sparring.errors import UsageError

BLOCK = 2**26  # similarities at once: 256 MB
GROUP = 64  # columns of which `top_of_rows` first looks at the largest
DEFAULT_NEIGHBORS = 10  # k of CSLS


def csls(source: Vectors, target: Vectors, k: int = DEFAULT_NEIGHBORS) -> Matrix:
    """Cross-domain similarity local scaling: the cosine, less how near each of the two is to its neighbours.

    CSLS(x, y) = 2 cos(x, y) − r_T(x) − r_S(y), where r_T(x) is x's mean cosine to its k nearest target words and r_S(y)
    is y's to its k nearest source words. So words that are near to everything (hubs) no longer win everywhere.

    Args:
        source: mapped source words, [n, d].
        target: target words, [m, d].
        k: how many neighbours, at most the number of words of either language.

    Returns:
        [n, m]. It has to fit into memory; `translate` does not need it whole.

    Source: Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, § 2.3.

    Example:
        >>> csls(torch.eye(2), torch.eye(2), k=1)  # 2 − 1 − 1, and 0 − 1 − 1
        tensor([[ 0., -2.],
                [-2.,  0.]])
    """
    check_vectors(source, target, k)
    similarities = source @ target.T
    near_source, near_target = (top_of_rows(each, k)[0].mean(1) for each in (similarities, similarities.T.contiguous()))
    return 2 * similarities - near_source[:, None] - near_target


def translate(
    source: Vectors, target: Vectors, num_best: int = 10, k: int = DEFAULT_NEIGHBORS
) -> tuple[Int[Tensor, "_ _"], Matrix]:
    """The best target words of each source word by CSLS, and their scores.

    Exact, and in blocks: 256 MB of similarities at a time, for vocabularies of any size.

    Args:
        source: mapped source words, [n, d].
        target: target words, [m, d].
        num_best: how many target words to give, at most m.
        k: how many neighbours CSLS looks at.

    Returns:
        Numbers of target words, int64 [n, num_best], the best first; their CSLS, float [n, num_best].

    Raises:
        UsageError: for vectors of different sizes, or more neighbours than words.

    Example:
        >>> from sparring.alignment import normalize_vectors
        >>> words = normalize_vectors(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)))
        >>> numbers, scores = translate(words, words.flip(0), num_best=3)
        >>> numbers[:3, 0]
        tensor([99, 98, 97])
    """
    check_vectors(source, target, max(k, 1))
    if not 1 <= num_best <= len(target):
        raise UsageError(f"num_best must be from 1 to the number of target words, {len(target)}, not {num_best}")
    near_target = torch.cat([top_of_rows(block, k)[0].mean(1) for block in _similarity_blocks(target, source)])
    found = []
    for block in _similarity_blocks(source, target):
        near_source = top_of_rows(block, k)[0].mean(1, keepdim=True)
        scores, numbers = top_of_rows(block.mul_(2).sub_(near_target), num_best)
        found.append((numbers, scores - near_source))  # the same for all of a row, so it does not change the order
    numbers, scores = (torch.cat(each) for each in zip(*found, strict=True))
    return numbers, scores


def mutual_neighbors(source: Vectors, target: Vectors, k: int = DEFAULT_NEIGHBORS) -> Pairs:
    """The pairs of words that are each other's best translation by CSLS.

    Args:
        source: mapped source words, [n, d].
        target: target words, [m, d].
        k: how many neighbours CSLS looks at.

    Returns:
        Int64 [pairs, 2], sorted by the source word; there may be none.

    Source: Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, § 2.2.

    Example:
        >>> mutual_neighbors(torch.eye(3), torch.eye(3)[[0, 0, 2]], k=1)  # nobody is nearest to the second
        tensor([[0, 0],
                [2, 2]])
    """
    forward, backward = translate(source, target, 1, k)[0][:, 0], translate(target, source, 1, k)[0][:, 0]
    numbers = torch.arange(len(source))
    is_mutual = backward[forward] == numbers
    return torch.stack([numbers[is_mutual], forward[is_mutual]], 1)


def mean_csls(source: Vectors, target: Vectors, most: int = 10_000, k: int = DEFAULT_NEIGHBORS) -> float:
    """How well two sets of words fit, without a dictionary: the mean cosine of words and their CSLS translations.

    It chooses among several trainings: a higher one is a better alignment far more often than not.

    Args:
        source: mapped source words, [n, d], the most frequent first.
        target: target words, [m, d].
        most: how many of the source words to translate.
        k: how many neighbours CSLS looks at.

    Returns:
        From −1 to 1.

    Source: Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, § 3.5.

    Example:
        >>> from sparring.alignment import normalize_vectors
        >>> words = normalize_vectors(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)))
        >>> round(mean_csls(words, words), 4)
        1.0
    """
    numbers, _ = translate(source[:most], target, 1, k)
    return float((source[:most] * target[numbers[:, 0]]).sum(1).mean())


def check_vectors(source: Vectors, target: Vectors, k: int) -> None:
    """Raise a UsageError for vectors of different sizes, or fewer words than neighbours."""
    if source.shape[1] != target.shape[1]:
        raise UsageError(
            f"source words have {source.shape[1]} numbers and target words {target.shape[1]}: a map needs as many"
        )
    if not 1 <= k <= min(len(source), len(target)):
        raise UsageError(
            f"k = {k} neighbours must be at least 1 and at most the number of words: {len(source)} source words and "
            f"{len(target)} target words"
        )


def _similarity_blocks(rows: Vectors, columns: Vectors) -> Iterator[Matrix]:
    """The rows of `rows @ columns.T`, as many at a time as fit into a block."""
    for part in torch.split(rows, max(1, BLOCK // len(columns))):
        yield part @ columns.T


def top_of_rows(values: Matrix, k: int) -> tuple[Matrix, Int[Tensor, "_ _"]]:
    """The k largest of each row and their columns, the largest first, as `topk` gives them, several times as fast.

    The k largest lie in the k groups of columns with the largest maxima, and maxima are fast.
    """
    num_groups = values.shape[1] // GROUP
    if num_groups < 4 * k:
        found = values.topk(k, 1)
        return found.values, found.indices
    groups = values[:, : num_groups * GROUP].reshape(len(values), num_groups, GROUP)
    chosen = groups.amax(2).topk(k, 1).indices[:, :, None]
    columns = (chosen * GROUP + torch.arange(GROUP)).flatten(1)
    rest = torch.arange(num_groups * GROUP, values.shape[1]).expand(len(values), -1)
    columns = torch.cat([columns, rest], 1)
    found = values.gather(1, columns).topk(k, 1)
    return found.values, columns.gather(1, found.indices)

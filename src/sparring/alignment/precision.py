"""How many words were translated as a dictionary says."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from sparring.errors import DataError, UsageError
from sparring.types import Z_95, Estimate


@dataclass(frozen=True)
class Precision:
    """How many words were translated as a dictionary says."""

    at: dict[int, Estimate]  # shares of words, by the number of best translations among which one is right
    num_words: int  # source words that were judged
    num_left_out: int  # source words of the dictionary that are no known word, or have no known translation


def precision_at(
    numbers: Int[Tensor, "_ _"],
    source_words: Sequence[str],
    target_words: Sequence[str],
    dictionary: Sequence[tuple[str, str]],
    at: Sequence[int] = (1, 5, 10),
) -> Precision:
    """The share of words with a right translation among the best 1, 5 and 10.

    A word may have several right translations; one is enough. Words that are in the dictionary but in neither
    vocabulary, or whose translations are all unknown, are left out and counted. The intervals are Wilson's.

    Args:
        numbers: target words of each source word, the best first, int64 [n, best], from `translate`.
        source_words: the n source words.
        target_words: all target words.
        dictionary: pairs of a source word and a right translation.
        at: numbers of translations, at most those given.

    Raises:
        DataError: if no word of the dictionary can be judged.
        UsageError: if fewer translations are given than asked for.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal of the American
        Statistical Association 22.

    Example:
        >>> import torch
        >>> numbers = torch.tensor([[0, 1], [0, 1]])
        >>> pairs = [("dog", "perro"), ("dog", "can"), ("cat", "gato"), ("cow", "vaca")]
        >>> precision = precision_at(numbers, ["dog", "cat"], ["perro", "gato"], pairs, at=(1, 2))
        >>> precision.at[1].value, precision.at[2].value, precision.num_words, precision.num_left_out
        (0.5, 1.0, 2, 1)
    """
    if max(at) > numbers.shape[1] or len(numbers) != len(source_words):
        raise UsageError(
            f"precision at {max(at)} of {len(source_words)} words takes [{len(source_words)}, {max(at)}] translations, "
            f"not {list(numbers.shape)}"
        )
    sources = {word: number for number, word in enumerate(source_words)}
    targets = {word: number for number, word in enumerate(target_words)}
    answers: dict[int, set[int]] = {}
    for word, translation in dictionary:
        if word in sources and translation in targets:
            answers.setdefault(sources[word], set()).add(targets[translation])
    if not answers:
        raise DataError(f"none of the dictionary's {len(dictionary)} pairs has both words among the known ones")
    given = {number: numbers[number].tolist() for number in answers}
    num_right = {most: sum(not right.isdisjoint(given[each][:most]) for each, right in answers.items()) for most in at}
    shares = {most: _wilson(num, len(answers)) for most, num in num_right.items()}
    return Precision(shares, len(answers), len({word for word, _ in dictionary}) - len(answers))


def _wilson(num_right: int, count: int) -> Estimate:
    share, z2 = num_right / count, Z_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * (share * (1 - share) / count + z2 / (4 * count**2)) ** 0.5
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))

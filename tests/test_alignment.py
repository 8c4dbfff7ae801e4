"""Known rotations come back exactly, CSLS in blocks is CSLS, and precision counts what a person would count."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sparring import alignment
from sparring.alignment import similarity
from sparring.errors import DataError, UsageError
from sparring.seeding import Stream

D = 8


def words(n: int, purpose: str = "words", d: int = D) -> Tensor:
    """Vectors with a spectrum and a skew, as languages have."""
    numbers = Stream(0, purpose).normal(n, d)
    return alignment.normalize_vectors((numbers + 0.5 * numbers.square()) * torch.linspace(2, 1, d))


def rotation(d: int = D) -> Tensor:
    matrix: Tensor = torch.linalg.qr(Stream(1, "rotation").normal(d, d))[0]
    return matrix


def plain_csls(source: Tensor, target: Tensor, k: int) -> Tensor:
    """By the definition, a pair at a time."""
    table = torch.empty(len(source), len(target))
    for i, x in enumerate(source):
        for j, y in enumerate(target):
            near_x = sorted((float(x @ each) for each in target), reverse=True)[:k]
            near_y = sorted((float(y @ each) for each in source), reverse=True)[:k]
            table[i, j] = 2 * float(x @ y) - sum(near_x) / k - sum(near_y) / k
    return table


def test_normalised_vectors_have_length_one_around_a_centre() -> None:
    vectors = alignment.normalize_vectors(5 + 3 * Stream(0, "plain").normal(500, D))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(500))
    assert vectors.mean(0).abs().max() < 0.05
    with pytest.raises(DataError, match="not finite, the first in row 1"):
        alignment.normalize_vectors(torch.tensor([[1.0, 2.0], [torch.nan, 1.0]]))


def test_procrustes_finds_a_rotation_exactly() -> None:
    source = words(20)
    assert torch.allclose(alignment.orthogonal_map(source, source @ rotation().T), rotation(), atol=1e-5)
    noisy = alignment.orthogonal_map(source, source @ rotation().T + 0.1 * Stream(0, "noise").normal(20, D))
    assert torch.allclose(noisy @ noisy.T, torch.eye(D), atol=1e-5)
    assert not torch.allclose(noisy, rotation(), atol=1e-3)
    with pytest.raises(DataError, match="no pairs"):
        alignment.orthogonal_map(source[:0], source[:0])


def test_procrustes_is_better_than_any_small_turn_of_it() -> None:
    source, target = words(30), words(30, "others")
    best = alignment.orthogonal_map(source, target)
    for step in range(20):
        skew = 0.05 * Stream(step, "skew").normal(D, D)
        turned = torch.linalg.matrix_exp(skew - skew.T) @ best
        assert (source @ turned.T - target).norm() > (source @ best.T - target).norm()


def test_orthogonalize_by_hand_and_in_the_limit() -> None:
    assert torch.allclose(alignment.orthogonalize(torch.eye(2) * 2, 0.1, 1), torch.eye(2) * 1.4)  # 2 (1.1 − .1 · 4)
    near = rotation() + 0.1 * Stream(0, "near").normal(D, D)
    left, _, right = torch.linalg.svd(near)
    assert torch.allclose(alignment.orthogonalize(near, 0.5, 30), left @ right, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_csls_is_the_definition(k: int) -> None:
    source, target = words(12), words(9, "others")
    assert torch.allclose(alignment.csls(source, target, k), plain_csls(source, target, k), atol=1e-5)


@pytest.mark.parametrize("block", [1, 1000, 2**26])
def test_translations_in_blocks_are_those_of_the_whole_table(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of one number still holds one row; a thousand hold three rows of 300 and leave a rest."""
    monkeypatch.setattr(similarity, "BLOCK", block)
    source, target = words(70), words(300, "others")
    numbers, scores = alignment.translate(source, target, 5, 10)
    whole = alignment.csls(source, target, 10).topk(5, 1)
    assert torch.equal(numbers, whole.indices)
    assert torch.allclose(scores, whole.values, atol=1e-5)


@pytest.mark.parametrize("columns", [640, 641, 1000, 63])
def test_the_largest_by_groups_are_the_largest(columns: int) -> None:
    values = Stream(0, "values").normal(40, columns)
    values[0, -10:] += 10  # behind the last whole group, and all in one
    for k in (1, 2, 10):
        found, where = similarity.top_of_rows(values, k)
        expected = values.topk(k, 1)
        assert torch.equal(found, expected.values)
        assert torch.equal(where, expected.indices)


def test_hubs_win_by_cosine_and_not_by_csls() -> None:
    """The hub lies nearer to both words than their own translations do, and to everything else as well."""
    target = normalize(torch.tensor([[1.0, 0.8, 0.0], [1.0, -0.8, 0.0], [1.0, 0.0, 0.0]]))
    source = normalize(torch.tensor([[1.0, 0.35, 0.0], [1.0, -0.35, 0.0], [1.0, 0.0, 0.05], [1.0, 0.0, -0.05]]))
    assert (source @ target.T).argmax(1)[:2].tolist() == [2, 2]
    assert alignment.translate(source, target, 1, 2)[0][:2, 0].tolist() == [0, 1]


def test_mutual_neighbors_of_a_permutation_and_of_strangers() -> None:
    source, order = words(50), Stream(0, "order").permutation(50)
    pairs = alignment.mutual_neighbors(source, source[order])
    assert torch.equal(order[pairs[:, 1]], pairs[:, 0])
    assert len(pairs) == 50
    assert len(alignment.mutual_neighbors(source, words(50, "strangers"))) < 50


def test_mean_csls_tells_a_right_map_from_wrong_ones() -> None:
    source = words(100)
    assert alignment.mean_csls(source, source) == pytest.approx(1, abs=1e-5)
    assert alignment.mean_csls(source @ rotation().T, source) < 0.9
    noisy = normalize(source + 0.1 * Stream(0, "noise").normal(100, D))
    numbers, _ = alignment.translate(noisy[:30], source, 1)
    expected = (noisy[:30] * source[numbers[:, 0]]).sum(1).mean()
    assert alignment.mean_csls(noisy, source, most=30) == pytest.approx(float(expected))


def test_structure_alone_finds_rotated_and_shuffled_words() -> None:
    source, order = words(100), Stream(0, "order").permutation(90)
    target = torch.cat([source[:90][order], source[90:]]) @ rotation().T
    pairs = alignment.structural_start(source, target)
    right = torch.cat([order, torch.arange(90, 100)])
    assert (right[pairs[:, 1]] == pairs[:, 0]).float().mean() > 0.95
    assert len(pairs) > 90
    assert len(alignment.structural_start(source, target[:40])) <= 40  # languages of different sizes


def test_the_structure_is_the_square_root_of_all_similarities() -> None:
    source = words(80)
    target = normalize(source @ rotation().T + 0.3 * Stream(0, "noise").normal(80, D))  # so that few pairs are right
    profiles = []
    for vectors in (source, target):
        values, axes = torch.linalg.eigh(vectors.double() @ vectors.double().T)
        root = (axes * values.clamp(min=0).sqrt()) @ axes.T
        profiles.append(alignment.normalize_vectors(root.sort(1).values.float()))
    assert torch.equal(alignment.structural_start(source, target), alignment.mutual_neighbors(*profiles))


def test_identical_words_and_numerals() -> None:
    pairs = alignment.identical_start(["a", "12", "no", "٣"], ["no", "x", "12", "٣"])
    assert pairs.tolist() == [[1, 2], [2, 0], [3, 3]]
    assert alignment.identical_start(["a", "12", "no"], ["no", "12"], numerals_only=True).tolist() == [[1, 1]]
    assert alignment.identical_start(["a"], ["b"]).shape == (0, 2)


def test_refinement_recovers_a_rotation_from_a_poor_map() -> None:
    source = words(200)
    target = source @ rotation().T
    skew = 0.15 * Stream(0, "skew").normal(D, D)
    poor = torch.linalg.matrix_exp(skew - skew.T) @ rotation()
    before = (alignment.translate(source @ poor.T, target, 1)[0][:, 0] == torch.arange(200)).float().mean()
    assert before < 0.9
    assert torch.allclose(alignment.refine(source, target, poor), rotation(), atol=1e-4)


def test_self_learning_recovers_a_rotation() -> None:
    source = words(150)
    target = normalize(source @ rotation().T + 0.02 * Stream(0, "noise").normal(150, D))
    start = torch.stack([torch.arange(150), Stream(0, "start").permutation(150)], 1)
    start[:30, 1] = torch.arange(30)  # four fifths of the first dictionary are wrong
    first = alignment.orthogonal_map(source, target[start[:, 1]])
    learned = alignment.self_learn(source, target, start, num_restarts=1)
    for matrix, is_good in ((first, False), (learned.matrix, True)):
        right = alignment.translate(source @ matrix.T, target, 1)[0][:, 0] == torch.arange(150)
        assert (right.float().mean() > 0.98) == is_good
    assert torch.allclose(learned.matrix, alignment.orthogonal_map(source, target), atol=1e-3)  # all pairs are right


def test_self_learning_repeats_to_the_bit_and_takes_the_best_restart() -> None:
    """Between strangers there is nothing to find, so each dropout ends elsewhere."""
    source, target = words(60), words(60, "strangers")
    start, settings = torch.arange(60)[:, None].expand(-1, 2), {"num_restarts": 3, "patience": 3}
    learned = alignment.self_learn(source, target, start, **settings)
    again = alignment.self_learn(source, target, start, **settings)
    assert torch.equal(again.matrix, learned.matrix)
    other = alignment.self_learn(source, target, start, seed=1, **settings)
    assert len({*learned.criteria, *other.criteria}) == 6
    assert learned.criterion == max(learned.criteria) == alignment.mean_csls(source @ learned.matrix.T, target)
    assert torch.allclose(learned.matrix @ learned.matrix.T, torch.eye(D), atol=1e-5)


def test_precision_by_hand() -> None:
    """Three words are judged; of the dictionary's others, one is unknown and one has no known translation."""
    numbers = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 1, 2]])
    dictionary = [("a", "A"), ("b", "A"), ("b", "B"), ("c", "C"), ("c", "?"), ("d", "?"), ("e", "A")]
    found = alignment.precision_at(numbers, ["a", "b", "c", "d"], ["A", "B", "C"], dictionary, at=(1, 2, 3))
    assert [share.value for share in found.at.values()] == pytest.approx([1 / 3, 2 / 3, 1])
    assert (found.num_words, found.num_left_out) == (3, 2)
    z, p, n = 1.959964, 1 / 3, 3  # Wilson's interval, as he wrote it
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    interval = [(middle - half) / scale, (middle + half) / scale]
    assert [found.at[1].value, found.at[1].low, found.at[1].high] == pytest.approx([p, *interval])
    assert found.at[3].high == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment.csls(words(20), words(20, d=5)), "8 numbers and target words 5"),
        (lambda: alignment.translate(words(20), words(5, "others"), 1), "k = 10 neighbours"),
        (lambda: alignment.translate(words(20), words(20), 21), "num_best must be from 1"),
        (
            lambda: alignment.self_learn(words(20), words(20), torch.zeros(1, 2).long(), keep=0.0),
            "keep must be from above 0",
        ),
        (lambda: alignment.self_learn(words(20), words(20), torch.zeros(0, 2).long()), "no pairs"),
        (lambda: alignment.precision_at(torch.zeros(1, 1).long(), ["a"], ["A"], [("b", "B")], at=(1,)), "none of the"),
        (lambda: alignment.precision_at(torch.zeros(1, 1).long(), ["a"], ["A"], [("a", "A")]), "not \\[1, 1\\]"),
    ],
)
def test_bad_input_is_one_clear_sentence(call: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()  # type: ignore[operator]

"""Vectors on a common scale, and orthogonal maps between two sets of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.errors import DataError

Vectors = Float[Tensor, "_ _"]
"""Vectors of words, [n, d]."""

Matrix = Float[Tensor, "_ _"]
"""A map [d, d], or similarities of n words to m words, [n, m]."""

Pairs = Int[Tensor, "_ 2"]
"""A dictionary: source word, target word."""


def normalize_vectors(vectors: Vectors) -> Vectors:
    """Vectors of length 1 around a common centre: scaled to length 1, centred, and scaled again.

    Centring takes away what all words share; the last scaling makes products cosines. Words of length 0 stay 0.

    Args:
        vectors: [n, d].

    Raises:
        DataError: for numbers that are not finite.

    Source: Artetxe et al. 2018, "A robust self-learning method for fully unsupervised cross-lingual mappings of word
        embeddings", arXiv:1805.06297, § 3.1.

    Example:
        >>> normalize_vectors(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
        tensor([[ 0.7071, -0.7071],
                [-0.7071,  0.7071]])
    """
    if not torch.isfinite(vectors).all():
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise DataError(f"the vectors hold numbers that are not finite, the first in row {row}")
    vectors = torch.nn.functional.normalize(vectors)
    return torch.nn.functional.normalize(vectors - vectors.mean(0))


def orthogonal_map(source: Vectors, target: Vectors) -> Matrix:
    """The orthogonal matrix that takes paired vectors nearest to each other (Procrustes).

    W = argmin ‖W Xᵀ − Yᵀ‖ over orthogonal W = U Vᵀ, where U Σ Vᵀ is the singular value decomposition of Yᵀ X.

    Args:
        source: X [pairs, d].
        target: Y [pairs, d], the vector that each row of X should be taken to.

    Returns:
        W [d, d]. With fewer than d pairs it is not unique.

    Raises:
        DataError: for no pairs.

    Source: Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31; here as in
        Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, eq. 2.

    Example:
        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(orthogonal_map(x, x @ quarter.T), quarter, atol=1e-6)
        True
    """
    if len(source) == 0:
        raise DataError("there are no pairs to align: the two sets of words share no known translation")
    left, _, right = torch.linalg.svd(target.T @ source)
    product: Tensor = left @ right
    return product


def orthogonalize(matrix: Matrix, beta: float = 0.01, num_steps: int = 2) -> Matrix:
    """Move a matrix towards the nearest orthogonal one.

    Each step is W ← (1 + β) W − β W Wᵀ W. It takes a singular value s to s + β s (1 − s²), so values below √(1 + 1/β)
    go to 1 and none changes its direction.

    Args:
        matrix: W [d, d].
        beta: the size of a step.
        num_steps: how many.

    Source: Conneau et al. 2018, "Word translation without parallel data", arXiv:1710.04087, § 3.3, with β = 0.01.

    Example:
        >>> orthogonalize(torch.diag(torch.tensor([0.9, 1.1])), beta=0.5, num_steps=5).diag().round(decimals=3)
        tensor([1., 1.])
    """
    for _ in range(num_steps):
        matrix = (1 + beta) * matrix - beta * matrix @ matrix.T @ matrix
    return matrix

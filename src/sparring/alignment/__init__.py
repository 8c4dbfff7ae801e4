"""Translating words without a dictionary: the mathematics of aligning two sets of word vectors.

Each language has a matrix of vectors, one row a word, the most frequent first. A map W [d, d] takes a word x of the
source to W x among the target's words: it is the weight of `nn.Linear(d, d, bias=False)`, and all words are mapped by
`source @ W.T`. Orthogonal maps keep every distance within the source language, so they cannot shrink words together.
A dictionary is int64 [pairs, 2]: numbers of source words and of their target words.

All functions take vectors of length 1, as `normalize_vectors` makes them, so a product of two is their cosine.
"""

from sparring.alignment.learning import Learned, identical_start, refine, self_learn, structural_start
from sparring.alignment.maps import Matrix, Pairs, Vectors, normalize_vectors, orthogonal_map, orthogonalize
from sparring.alignment.precision import Precision, precision_at
from sparring.alignment.similarity import csls, mean_csls, mutual_neighbors, translate

__all__ = [
    "Learned",
    "Matrix",
    "Pairs",
    "Precision",
    "Vectors",
    "csls",
    "identical_start",
    "mean_csls",
    "mutual_neighbors",
    "normalize_vectors",
    "orthogonal_map",
    "orthogonalize",
    "precision_at",
    "refine",
    "self_learn",
    "structural_start",
    "translate",
]

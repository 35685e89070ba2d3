"""Pairs of similar rows by locality-sensitive hashing, at a cost that is linear in the number of
rows.

Rows are sorted by several hash keys, which similar rows are likely to share, and every row is
compared only with its next few neighbours in each order (Charikar 2002, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

TABLES, BITS = 32, 62
NEIGHBOURS = 3  # in a sorted table, with which a row is compared
CHUNK = 65_536
MAX_PAIRS = 64  # approximate limit of the pairs a vector is in
IsSimilar = Callable[[np.ndarray, np.ndarray], np.ndarray]


def similar_pairs(
    tables: Iterator[np.ndarray], is_similar: IsSimilar, max_pairs: int
) -> np.ndarray:
    """Pairs of similar rows, shape (m, 2), int64, sorted; the lower row comes first, each pair
    occurs once.

    Args:
        tables: hash keys of all rows, shape (n,) each; rows with the same or a neighbouring key are
            compared.
        is_similar: for rows (i, j), shape (k,) each, which are similar; shape (k,).
        max_pairs: a row that is in this many pairs after one table gets no more from the next, so
            that a set of similar rows does not give all pairs.
    """
    codes, n = np.empty(0, np.int64), 1  # of a pair: first row * n + second row
    for keys in tables:
        order, n = np.argsort(keys, kind="stable"), len(keys)
        pairs_of_row = np.bincount(np.concatenate(np.divmod(codes, n)), minlength=n)
        all_codes = [codes]
        for step in range(1, NEIGHBOURS + 1):
            first, second = order[:-step], order[step:]
            for start in range(0, len(first), CHUNK):
                rows = np.stack([first[start : start + CHUNK], second[start : start + CHUNK]])
                rows = rows[:, pairs_of_row[rows].min(axis=0) < max_pairs]
                rows = np.sort(rows[:, is_similar(*rows)], axis=0)
                all_codes.append(rows[0] * n + rows[1])
        codes = np.unique(np.concatenate(all_codes))
    return np.stack(np.divmod(codes, n), axis=1)


def similar_vectors(vectors: np.ndarray, min_cosine: float) -> np.ndarray:
    """Pairs of unit vectors, shape (n, width), with a cosine of at least `min_cosine`, in the form
    of `similar_pairs`.

    The keys are the sides of random hyperplanes: two vectors at an angle θ are on the same side of
    one with probability 1 - θ/π. Pairs near the limit may be missed.
    """
    random = np.random.default_rng(0)

    def tables() -> Iterator[np.ndarray]:
        bits = 1 << np.arange(BITS, dtype=np.int64)[::-1]
        for _ in range(TABLES):
            planes = random.standard_normal((vectors.shape[1], BITS)).astype(np.float32)
            keys = [
                (vectors[start : start + CHUNK] @ planes > 0) @ bits
                for start in range(0, len(vectors), CHUNK)
            ]
            yield np.concatenate(keys)

    return similar_pairs(
        tables(),
        lambda first, second: np.einsum("ij,ij->i", vectors[first], vectors[second]) >= min_cosine,
        MAX_PAIRS,
    )

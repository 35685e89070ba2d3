"""Pairs of like rows among many, at a cost that grows with their number and not with its square.

Rows are sorted by several keys, each of which is likely the same for rows that are alike, and every
row is compared with its next few neighbours only (Charikar 2002, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

TABLES, BITS = 32, 62
NEXT = 3  # neighbours in a sorted table that a row is compared with
CHUNK = 65_536
MOST = 64  # likes of a vector, about
Alike = Callable[[np.ndarray, np.ndarray], np.ndarray]


def like_pairs(tables: Iterator[np.ndarray], alike: Alike, most: int) -> np.ndarray:
    """Pairs of rows that are alike, shape (m, 2), int64: the lower number first, each pair once, in
    order.

    Args:
        tables: keys of all rows, shape (n,) each; rows with the same key or one near it are
            compared.
        alike: tells of rows (i, j), shape (k,) each, which are; shape (k,).
        most: a row that has so many likes after one table looks for no more in the next, so that a
            set in which all are alike does not become a list of all pairs.
    """
    found, n = np.empty(0, np.int64), 1
    for keys in tables:
        order, n = np.argsort(keys, kind="stable"), len(keys)
        likes = np.bincount(np.concatenate(np.divmod(found, n)), minlength=n)
        new = [found]
        for step in range(1, NEXT + 1):
            first, second = order[:-step], order[step:]
            for start in range(0, len(first), CHUNK):
                rows = np.stack([first[start : start + CHUNK], second[start : start + CHUNK]])
                rows = rows[:, likes[rows].min(axis=0) < most]
                rows = np.sort(rows[:, alike(*rows)], axis=0)
                new.append(rows[0] * n + rows[1])
        found = np.unique(np.concatenate(new))
    return np.stack(np.divmod(found, n), axis=1)


def like_vectors(vectors: np.ndarray, least: float) -> np.ndarray:
    """Pairs of unit vectors, shape (n, width), whose cosine is at least `least`, as `like_pairs`
    gives them.

    The keys are the sides of random planes on which a vector lies: two at an angle θ lie on the
    same side of one with probability 1 - θ/π. Pairs near the limit may be missed.
    """
    random = np.random.default_rng(0)

    def tables() -> Iterator[np.ndarray]:
        weights = 1 << np.arange(BITS, dtype=np.int64)[::-1]
        for _ in range(TABLES):
            planes = random.standard_normal((vectors.shape[1], BITS)).astype(np.float32)
            keys = [
                (vectors[s : s + CHUNK] @ planes > 0) @ weights
                for s in range(0, len(vectors), CHUNK)
            ]
            yield np.concatenate(keys)

    return like_pairs(
        tables(),
        lambda first, second: np.einsum("ij,ij->i", vectors[first], vectors[second]) >= least,
        MOST,
    )

"""Held-out parts and subsets: chosen once, by class, from (seed, data), the same in every process."""

from __future__ import annotations

import numpy as np

from headstart.data.dataset import Examples


def carve(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split off `share` of each class at random: (what stays, what is carved).

    A class gives up the nearest whole number of its examples, at least one and at most all but one; a class of one
    example keeps it. Both parts keep the order of the input.
    """
    random = np.random.default_rng(seed)
    carved = np.zeros(len(examples), dtype=bool)
    for label in np.unique(examples.labels):
        rows = random.permutation(np.flatnonzero(examples.labels == label))
        carved[rows[: min(max(round(share * len(rows)), 1), len(rows) - 1)]] = True
    return examples.take(np.flatnonzero(~carved)), examples.take(np.flatnonzero(carved))


def subset(examples: Examples, size: int, seed: int) -> Examples:
    """At most `size` examples, chosen at random so that each class keeps its share (at least one), in the input's order."""
    if len(examples) <= size:
        return examples
    random = np.random.default_rng(seed)
    labels, counts = np.unique(examples.labels, return_counts=True)
    wanted = counts * (size / len(examples))
    quota = np.floor(wanted).astype(int)
    quota[np.argsort(quota - wanted, kind="stable")[: size - quota.sum()]] += 1  # largest remainders
    chosen = [
        random.permutation(np.flatnonzero(examples.labels == label))[: max(count, 1)]
        for label, count in zip(labels, quota, strict=True)
    ]
    return examples.take(np.sort(np.concatenate(chosen)))

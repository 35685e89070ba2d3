"""Held-out parts: carved once, by class, from (seed, data), the same in every process."""

from __future__ import annotations

import numpy as np

from headstart.data.dataset import Examples


def carve(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split off `share` of each class at random: (what stays, what is carved).

    A class gives up the nearest whole number of its examples, at least one and at most all but one; a class of one
    example keeps it. Both parts keep the order of the input.
    """
    random = np.random.default_rng(seed)
    carved: set[int] = set()
    labels = examples.targets
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        carved.update(rows[:count].tolist())
    stays = [row for row in range(len(examples)) if row not in carved]
    return examples.take(stays), examples.take(sorted(carved))

"""95 % intervals: how far a measured figure may be from the true one, for examples drawn like these."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Z = 1.959963984540054  # the standard normal's 97.5 % point


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927); right near 0 and 1 and for small n too."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval (Efron 1979).

    Args:
        statistic: from weights of shape (resamples, n), how often each example was drawn, to `resamples` figures.
        n: examples.
        resamples: how many times n examples are drawn with replacement.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    figures: list[np.ndarray] = []
    for start in range(0, resamples, 100):  # in blocks, so that memory does not grow with resamples × n
        rows = min(100, resamples - start)
        figures.append(statistic(random.multinomial(n, np.full(n, 1 / n), size=rows).astype(np.float64)))
    low, high = np.nanquantile(np.concatenate(figures), [0.025, 0.975])
    return float(low), float(high)

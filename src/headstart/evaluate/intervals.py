"""95 % intervals: how far a measured figure may be from the true one, for examples drawn like these."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np

Z = 1.959963984540054  # the standard normal's 97.5 % point
BLOCK = 4_000_000  # weights that are held at once


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927); right near 0 and 1 and for small n too."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def logistic(share: float, error: float) -> tuple[float, float]:
    """The interval of a share with a known standard error, symmetric in its log-odds, so that it stays between 0 and 1."""
    if not 0 < share < 1:
        return share, share
    middle, half = math.log(share / (1 - share)), Z * error / (share * (1 - share))
    return tuple(1 / (1 + math.exp(-side)) for side in (middle - half, middle + half))  # type: ignore[return-value]


def bootstrap(
    statistics: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile intervals (Efron 1979) of k figures: lower and upper ends, each of shape (k,).

    Args:
        statistics: from weights of shape (r, n), how often each example was drawn, to figures of shape (r, k).
        n: examples.
        resamples: how many times n examples are drawn with replacement.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    figures, step = [], max(BLOCK // n, 1)  # in blocks, so that memory does not grow with resamples × n
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        figures.append(statistics(np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a figure that no resample defines: its ends are NaN
        low, high = np.nanquantile(np.concatenate(figures), [0.025, 0.975], axis=0)
    return low, high

"""95 % intervals: how far a measured figure may be from the true one, for examples drawn like
these."""

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
    """The interval of a share with a known standard error, symmetric in its log-odds, so that it
    stays between 0 and 1."""
    if not 0 < share < 1:
        return share, share
    middle, half = math.log(share / (1 - share)), Z * error / (share * (1 - share))
    return tuple(1 / (1 + math.exp(-side)) for side in (middle - half, middle + half))  # type: ignore[return-value]


def bootstrap(
    statistics: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile intervals (Efron 1979) of k figures: lower and upper ends, each of shape (k,).

    The arguments are those of `resampled`.
    """
    return percentiles(resampled(statistics, n, resamples, seed))


def resampled(
    statistics: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int = 0
) -> np.ndarray:
    """k figures of resampled examples, shape (resamples, k).

    Args:
        statistics: from weights of shape (r, n), how often each example was drawn, to figures of
            shape (r, k).
        n: examples.
        resamples: how many times n examples are drawn with replacement.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    # in blocks, so that memory does not grow with resamples × n
    figures, step = [], max(BLOCK // n, 1)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        figures.append(
            statistics(
                np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
            )
        )
    return np.concatenate(figures)


def percentiles(figures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % of resampled figures of shape (resamples, k): lower and upper ends, each of
    shape (k,)."""
    with warnings.catch_warnings():
        # of a figure that no resample defines: its ends are NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanquantile(figures, [0.025, 0.975], axis=0)
    return low, high


def above_noise(value: float, resamples: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """The interval of a figure of at least 0 which chance can only raise, such as a calibration
    error.

    Resampling raises the figure by about as much as sampling had raised it already, so its
    percentiles lie too high: the upper end is brought down by that bias once, to hold the figure
    itself, the lower end twice, to hold the true value (the bootstrap's estimate of bias; Efron &
    Tibshirani 1993, chapter 10). It begins at 0 where `noise` alone comes to as much.

    Args:
        value: the figure. resamples: of it, shape (r,). noise: figures of examples whose true value
            is 0, shape (r,).
    """
    low, high = np.quantile(resamples, [0.025, 0.975])
    bias = float(resamples.mean()) - value
    if value <= np.quantile(noise, 0.975):
        return 0.0, float(high) - bias
    return max(float(low) - 2 * bias, 0.0), float(high) - bias

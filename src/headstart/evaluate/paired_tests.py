"""Paired tests: whether two classifiers differ on the same examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.evaluate.intervals import Z
from headstart.evaluate.results import Result

ALPHA = 0.05  # a difference with p <= ALPHA is called more than chance


def sign_flip_test(differences: np.ndarray) -> float:
    """The exact two-sided p-value of a paired permutation test (Fisher 1935): under the null
    hypothesis each difference has either sign with probability 1/2. With one run per classifier
    (differences of -1, 0 and 1) it is McNemar's exact test.

    Args:
        differences: of each example, how often classifier A was right minus how often B was, shape
            (n,), ints.
    """
    from scipy.stats import binom

    sizes = np.abs(differences)
    total = int(sizes.sum())
    if total == 0:
        return 1.0
    pmf = np.ones(1)  # of the sum of the sizes that keep their sign, 0 to `total`
    for size in np.unique(sizes[sizes > 0]).tolist():
        count = int((sizes == size).sum())
        size_pmf = np.zeros(size * count + 1)
        size_pmf[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        pmf = np.convolve(pmf, size_pmf)
    observed = abs(int(differences.sum()))
    sums = 2 * np.arange(total + 1) - total
    return float(min(pmf[np.abs(sums) >= observed].sum(), 1.0))


def difference_interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the difference of two accuracies on the same examples: Wald's interval
    after adding half an example to each cell of the 2 × 2 table (Agresti & Min 2005). It has a
    width even if the classifiers agree on every example.

    Args:
        differences: of each example -1, 0 or 1, shape (n,).
    """
    n = len(differences) + 2
    discordant, total = int(np.abs(differences).sum()) + 1, int(differences.sum())
    half = Z * float(np.sqrt(discordant - total**2 / n)) / n
    return max(total / n - half, -1.0), min(total / n + half, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests (Holm 1979), in the given order."""
    corrected, running_max = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        running_max = max(running_max, min((len(p_values) - rank) * p_values[index], 1.0))
        corrected[index] = running_max
    return corrected


def with_p_values(
    main: np.ndarray, baselines: Sequence[tuple[Result, np.ndarray]], truth: np.ndarray
) -> tuple[Result, ...]:
    """The baselines' results, each with the p-value of its difference from the main result.

    Args:
        main: probabilities of the main result, shape (n, classes). baselines: results with their
            probabilities. truth: labels, shape (n,).
    """
    correct = (main.argmax(1) == truth).astype(int)
    p_values = [
        sign_flip_test(correct - (probabilities.argmax(1) == truth).astype(int))
        for _, probabilities in baselines
    ]
    return tuple(
        result.model_copy(update={"p": p})
        for (result, _), p in zip(baselines, holm(p_values), strict=True)
    )


def format_p(p: float | None) -> str:
    """A p-value with a sensible number of digits; empty for None."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def format_p_relation(p: float | None) -> str:
    """A p-value in a sentence: "p = 0.12" or "p < 0.001"."""
    return f"p {format_p(p)}" if p is not None and p < 0.001 else f"p = {format_p(p)}"

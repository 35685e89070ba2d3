"""Whether two classifiers differ on the same examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.evaluate.intervals import Z
from headstart.evaluate.results import Result


def sign_flip(differences: np.ndarray) -> float:
    """The exact two-sided p-value of whole-numbered paired differences (Fisher 1935): under "no
    difference" each might as well have the other sign. With one run a classifier, differences of
    -1, 0 and 1, it is McNemar's exact test.

    Args:
        differences: of each example, how often one classifier was right less how often the other
            was, shape (n,), ints.
    """
    sizes = np.abs(differences)
    total = int(sizes.sum())
    if total == 0:
        return 1.0
    chances = np.ones(1)  # of each sum of the sizes that keep their sign, 0 to `total`
    for size in np.unique(sizes[sizes > 0]).tolist():
        kept = np.zeros(size * int((sizes == size).sum()) + 1)
        kept[::size] = _binomial(int((sizes == size).sum()))
        chances = np.convolve(chances, kept)
    lead = abs(int(differences.sum()))
    sums = 2 * np.arange(total + 1) - total
    return float(min(chances[np.abs(sums) >= lead].sum(), 1.0))


def difference_interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the difference of two accuracies on the same examples: Wald's, after
    half an example is added to each cell of the table of who was right (Agresti & Min 2005), so
    that it has a width also where nothing differs.

    Args:
        differences: of each example -1, 0 or 1, shape (n,).
    """
    n = len(differences) + 2
    differing, lead = int(np.abs(differences).sum()) + 1, int(differences.sum())
    half = Z * float(np.sqrt(differing - lead**2 / n)) / n
    return max(lead / n - half, -1.0), min(lead / n + half, 1.0)


def _binomial(n: int) -> np.ndarray:
    """The chances of 0 to n heads of n coins."""
    from scipy.stats import binom

    return np.asarray(binom.pmf(np.arange(n + 1), n, 0.5))


def holm(chances: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979), in the order given."""
    corrected, running = [0.0] * len(chances), 0.0
    for place, row in enumerate(np.argsort(chances, kind="stable").tolist()):
        running = max(running, min((len(chances) - place) * chances[row], 1.0))
        corrected[row] = running
    return corrected


def with_chances(
    main: np.ndarray, beside: Sequence[tuple[Result, np.ndarray]], truth: np.ndarray
) -> tuple[Result, ...]:
    """The results beside the main one, each with its p-value.

    Args:
        main: probabilities of the main result, shape (n, classes); `beside` has those of each
            other. truth: shape (n,).
    """
    right, *others = (
        (some.argmax(1) == truth).astype(int) for some in (main, *(found for _, found in beside))
    )
    chances = holm([sign_flip(right - other) for other in others])
    return tuple(
        result.model_copy(update={"p": p}) for (result, _), p in zip(beside, chances, strict=True)
    )

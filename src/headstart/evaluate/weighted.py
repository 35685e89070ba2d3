"""Metrics as functions of how often each example counts, so that a bootstrap is arithmetic on
arrays and not a loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.evaluate.intervals import BLOCK

SMALLEST = 1e-12  # log loss of a class that was given probability 0 stays finite
BINS = 15  # of confidence, for the calibration error
NAMES = ("balanced_accuracy", "macro_f1", "matthews", "log_loss", "calibration_error")


class Weighted:
    """The metrics in `NAMES` of a classifier on n examples.

    Args:
        truth: label of each example, shape (n,), ints.
        probabilities: shape (n, classes).
    """

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray) -> None:
        predicted, rows = probabilities.argmax(1), np.arange(len(truth))
        classes = probabilities.shape[1]
        self._losses = -np.log(np.maximum(probabilities[rows, truth], SMALLEST))
        self._cells = _Sums(truth * classes + predicted)
        self._truth, self._guess = (
            _one_hot(part, classes) for part in np.divmod(self._cells.values, classes)
        )
        self._hit = self._truth * (self._truth == self._guess).all(axis=1, keepdims=True)
        self._confidence = probabilities[rows, predicted]
        self._bins = _Sums(np.minimum((self._confidence * BINS).astype(np.int64), BINS - 1))
        self._gaps = (predicted == truth) - self._confidence

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The metrics under weights of shape (r, n), shape (r, 5).

        Balanced accuracy is the mean recall over the classes that occur, macro-F1 the mean F1 over
        those that occur as label or as guess. Matthews' coefficient is that of Gorodkin (2004) for
        several classes (NaN where the examples are of one class, 0 where the guesses are), the
        calibration error that of Guo et al. (2017) over 15 bins of equal width.
        """
        counts = self._cells.of(weights)
        n, hit, truth, guess = (
            counts.sum(1),
            counts @ self._hit,
            counts @ self._truth,
            counts @ self._guess,
        )
        recall = _mean(hit, truth, truth > 0)
        f1 = _mean(2 * hit, truth + guess, truth + guess > 0)
        spread = (n**2 - (truth**2).sum(1)) * (n**2 - (guess**2).sum(1))
        agreement = n * hit.sum(1) - (truth * guess).sum(1)
        undecided = np.where((truth > 0).sum(1) > 1, 0.0, np.nan)
        matthews = np.divide(agreement, np.sqrt(spread), out=undecided, where=spread > 0)
        gaps = np.abs(self._bins.of(weights * self._gaps)).sum(1) / n
        return np.stack([recall, f1, matthews, weights @ self._losses / n, gaps], axis=1)

    def calibration_error_by_chance(self, resamples: int) -> np.ndarray:
        """Calibration errors if each prediction were right with just the probability that it
        states, shape (resamples,): what chance alone comes to (Bröcker & Smith 2007)."""
        random, n = np.random.default_rng(0), len(self._confidence)
        found = []
        for start in range(0, resamples, step := max(BLOCK // n, 1)):
            right = random.random((min(step, resamples - start), n)) < self._confidence
            found.append(np.abs(self._bins.of(right - self._confidence)).sum(1) / n)
        return np.concatenate(found)


class _Sums:
    """Sums of weights over the examples that share a number; `values` are the numbers that occur,
    in order."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._order = np.argsort(numbers, kind="stable")
        self.values, self._starts = np.unique(numbers[self._order], return_index=True)

    def of(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights[:, self._order], self._starts, axis=1)


def _one_hot(numbers: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros((len(numbers), count))
    found[np.arange(len(numbers)), numbers] = 1
    return found


def _mean(above: np.ndarray, below: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the classes that count of above / below, a row at a time."""
    shares = np.divide(above, below, out=np.zeros_like(above), where=counted)
    return shares.sum(1) / np.maximum(counted.sum(1), 1)


def auroc(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve of each class that occurs against the rest, on average, and its
    standard error (DeLong et al. 1988); NaN both where only one class occurs.

    Args:
        truth: shape (n,). scores: shape (n, classes), the higher the likelier.
    """
    from scipy.stats import rankdata

    areas, influence = [], np.zeros(len(truth))
    occurring = np.unique(truth) if scores.shape[1] > 2 else [1]
    for label in occurring:
        own = truth == label
        positive, negative = int(own.sum()), int((~own).sum())
        if not positive or not negative:
            continue
        ranks = rankdata(scores[:, label])
        # of each positive one: share of negatives below
        below = (ranks[own] - rankdata(scores[own, label])) / negative
        above = 1 - (ranks[~own] - rankdata(scores[~own, label])) / positive
        area = float(below.mean())
        areas.append(area)
        influence[own] += (below - area) / positive
        influence[~own] += (above - area) / negative
    if not areas:
        return np.nan, np.nan
    return float(np.mean(areas)), float(np.sqrt((influence**2).sum())) / len(areas)


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve of each class that occurs, as the mean of precisions at
    each recall, on average over the classes; shape (r,) for weights of shape (r, n), NaN where none
    occurs. Of two classes that of the second alone."""
    labels: Sequence[int] = np.unique(truth).tolist() if scores.shape[1] > 2 else [1]
    areas = []
    for label in labels:
        own = _Sums(-_dense(scores[:, label]))
        hits = np.cumsum(own.of(weights * (truth == label)), axis=1)
        seen = np.cumsum(own.of(weights), axis=1)
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        gained = np.diff(hits, axis=1, prepend=0.0)
        found = hits[:, -1]
        areas.append(
            np.divide(
                (gained * precision).sum(1), found, out=np.full_like(found, np.nan), where=found > 0
            )
        )
    return _mean_of_defined(np.array(areas))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the rows of what is no NaN, shape (r,) for shape (k, r); NaN where all are."""
    counted = ~np.isnan(values)
    return np.where(
        counted.any(0),
        np.where(counted, values, 0.0).sum(0) / np.maximum(counted.sum(0), 1),
        np.nan,
    )


def _dense(scores: np.ndarray) -> np.ndarray:
    """The place of each score among the different ones, the lowest first."""
    return np.unique(scores, return_inverse=True)[1]

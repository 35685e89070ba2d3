"""Classification metrics: under example weights (for the bootstrap), and the registry of metrics
that can select an epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.evaluate.intervals import BLOCK
from headstart.registry import Registry

EPSILON = 1e-12  # smallest probability in a log loss, so that it stays finite
BINS = 15  # of confidence, for the calibration error


class WeightedMetrics:
    """Metrics of a classifier on n examples as a function of example weights. A bootstrap resample
    is a vector of weights, so that all resamples are computed by array arithmetic.

    Args:
        truth: label of each example, shape (n,), ints.
        probabilities: shape (n, classes).
    """

    NAMES = ("balanced_accuracy", "macro_f1", "matthews", "log_loss", "calibration_error")

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray) -> None:
        predicted, rows = probabilities.argmax(1), np.arange(len(truth))
        classes = probabilities.shape[1]
        self._losses = -np.log(np.maximum(probabilities[rows, truth], EPSILON))
        self._confusion = _GroupSums(truth * classes + predicted)
        true_class, predicted_class = np.divmod(self._confusion.groups, classes)
        self._truth, self._predicted = np.eye(classes)[true_class], np.eye(classes)[predicted_class]
        self._correct = self._truth * (true_class == predicted_class)[:, None]
        self._confidence = probabilities[rows, predicted]
        self._bins = _GroupSums(np.minimum((self._confidence * BINS).astype(np.int64), BINS - 1))
        self._gaps = (predicted == truth) - self._confidence

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The metrics in `NAMES`, shape (r, 5), under weights of shape (r, n).

        Balanced accuracy is the mean recall over the classes with examples. Macro-F1 is the mean
        over the classes with examples or predictions. Matthews' coefficient is Gorodkin's (2004)
        for several classes: NaN if all examples are of one class, 0 if all predictions are. The
        calibration error is that of Guo et al. (2017), over 15 bins of equal width.
        """
        counts = self._confusion.sums(weights)
        n = counts.sum(1)
        correct, truth, predicted = (
            counts @ columns for columns in (self._correct, self._truth, self._predicted)
        )
        recall = _mean_ratio(correct, truth, truth > 0)
        f1 = _mean_ratio(2 * correct, truth + predicted, truth + predicted > 0)
        covariance = n * correct.sum(1) - (truth * predicted).sum(1)
        variances = (n**2 - (truth**2).sum(1)) * (n**2 - (predicted**2).sum(1))
        undefined = np.where((truth > 0).sum(1) > 1, 0.0, np.nan)
        matthews = np.divide(covariance, np.sqrt(variances), out=undefined, where=variances > 0)
        gaps = np.abs(self._bins.sums(weights * self._gaps)).sum(1) / n
        return np.stack([recall, f1, matthews, weights @ self._losses / n, gaps], axis=1)

    def simulated_calibration_errors(self, resamples: int) -> np.ndarray:
        """Calibration errors, shape (resamples,), of simulated labels for which the probabilities
        are exactly right: what sampling noise alone gives (Bröcker & Smith 2007)."""
        random, n = np.random.default_rng(0), len(self._confidence)
        errors = []
        for start in range(0, resamples, step := max(BLOCK // n, 1)):
            correct = random.random((min(step, resamples - start), n)) < self._confidence
            errors.append(np.abs(self._bins.sums(correct - self._confidence)).sum(1) / n)
        return np.concatenate(errors)


class _GroupSums:
    """Sums of weights over the examples of each group; `groups` are the sorted distinct keys."""

    def __init__(self, keys: np.ndarray) -> None:
        self._order = np.argsort(keys, kind="stable")
        self.groups, self._starts = np.unique(keys[self._order], return_index=True)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights[:, self._order], self._starts, axis=1)


def _mean_ratio(numerator: np.ndarray, denominator: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """The mean ratio of each row over the classes for which it is defined."""
    ratios = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=defined)
    return np.asarray(ratios.sum(1) / np.maximum(defined.sum(1), 1))


def auroc(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The area under the ROC curve, one class against the rest, averaged over the classes with
    examples, and its standard error (DeLong et al. 1988); both NaN if only one class has examples.

    Args:
        truth: shape (n,). scores: shape (n, classes); higher means more likely.
    """
    from scipy.stats import rankdata

    areas, influence = [], np.zeros(len(truth))
    labels = np.unique(truth) if scores.shape[1] > 2 else [1]
    for label in labels:
        positive = truth == label
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if not n_positive or not n_negative:
            continue
        ranks = rankdata(scores[:, label])
        # share of negatives below each positive, and of positives above each negative
        below = (ranks[positive] - rankdata(scores[positive, label])) / n_negative
        above = 1 - (ranks[~positive] - rankdata(scores[~positive, label])) / n_positive
        area = float(below.mean())
        areas.append(area)
        influence[positive] += (below - area) / n_positive
        influence[~positive] += (above - area) / n_negative
    if not areas:
        return np.nan, np.nan
    return float(np.mean(areas)), float(np.sqrt((influence**2).sum())) / len(areas)


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision, one class against the rest, averaged over the classes with weight: shape
    (r,) for weights of shape (r, n), NaN where no class has any. With two classes it is that of the
    second class."""
    labels: list[int] = np.unique(truth).tolist() if scores.shape[1] > 2 else [1]
    by_class = []
    for label in labels:
        # groups of equal scores, the highest first
        groups = _GroupSums(-np.unique(scores[:, label], return_inverse=True)[1])
        true_positives = np.cumsum(groups.sums(weights * (truth == label)), axis=1)
        retrieved = np.cumsum(groups.sums(weights), axis=1)
        precision = np.divide(
            true_positives, retrieved, out=np.zeros_like(true_positives), where=retrieved > 0
        )
        gains = np.diff(true_positives, axis=1, prepend=0.0)
        positives = true_positives[:, -1]
        areas = (gains * precision).sum(1)
        undefined = np.full_like(positives, np.nan)
        by_class.append(np.divide(areas, positives, out=undefined, where=positives > 0))
    values = np.array(by_class)
    defined = ~np.isnan(values)
    means = np.where(defined, values, 0.0).sum(0) / np.maximum(defined.sum(0), 1)
    return np.where(defined.any(0), means, np.nan)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of shape (n, classes) from logits, in float64."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


Metric = Callable[[np.ndarray, np.ndarray], float]
metrics: Registry[Metric] = Registry("metric", group="headstart.metrics")
"""Metrics that can select an epoch: (labels of shape (n,), logits of shape (n, classes)) → a score;
higher is better."""
NEED_TWO_CLASSES = ("auroc", "matthews")  # not defined if all examples are of one class


@metrics.register("accuracy")
def accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Share of examples whose highest logit is the label's."""
    return float(np.mean(logits.argmax(1) == truth))


@metrics.register("balanced_accuracy")
def balanced_accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean recall over the classes with examples."""
    return _unweighted("balanced_accuracy", truth, logits)


@metrics.register("macro_f1")
def macro_f1(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean F1 over the classes with examples or predictions."""
    return _unweighted("macro_f1", truth, logits)


@metrics.register("matthews")
def matthews(truth: np.ndarray, logits: np.ndarray) -> float:
    """Matthews' correlation coefficient of labels and predictions."""
    return _unweighted("matthews", truth, logits)


@metrics.register("auroc")
def area_under_roc(truth: np.ndarray, logits: np.ndarray) -> float:
    """Area under the ROC curve, one class against the rest, averaged (NaN if only one class has
    examples)."""
    return auroc(truth, softmax(logits))[0]


@metrics.register("loss")
def loss(truth: np.ndarray, logits: np.ndarray) -> float:
    """The log loss, negated, so that higher is better."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return float(np.mean(shifted[np.arange(len(truth)), truth] - np.log(np.exp(shifted).sum(1))))


def _unweighted(name: str, truth: np.ndarray, logits: np.ndarray) -> float:
    values = WeightedMetrics(truth, softmax(logits))(np.ones((1, len(truth))))[0]
    return float(values[WeightedMetrics.NAMES.index(name)])

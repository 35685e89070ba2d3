"""What a classifier's probabilities are worth on a held-out part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.evaluate.intervals import (
    above_noise,
    bootstrap,
    logistic,
    percentiles,
    resampled,
    wilson,
)
from headstart.evaluate.results import ClassScore, Figure, Scores
from headstart.evaluate.weighted import NAMES, Weighted, auroc, average_precision
from headstart.registry import Registry

CALIBRATION = NAMES.index("calibration_error")
TOP = 5  # guesses of the top-k accuracy, where there are more classes than that
# weights that may be summed in the order of scores, for the interval of the average precision
SORTED = 200_000_000


def score(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: tuple[str, ...],
    resamples: int,
    majority: int,
) -> Scores:
    """All figures with their 95 % intervals, a row for each class, and the majority baseline.

    Shares have Wilson's interval, the area under the ROC curve that of DeLong et al. (1988), the
    calibration error one that is corrected for its bias, the others a bootstrap's. Of examples of
    one class Matthews' correlation and the areas under both curves are not defined.

    Args:
        truth: label of each example, shape (n,), ints.
        probabilities: shape (n, classes).
        labels: class names, in the order of the columns.
        resamples: of the bootstrap.
        majority: the most frequent class of the training data, by its number.
    """
    n, classes = probabilities.shape
    predicted = probabilities.argmax(1)
    counts = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[predicted == truth], minlength=classes)
    guesses = np.bincount(predicted, minlength=classes)
    weighted, once = Weighted(truth, probabilities), np.ones((1, n))
    values, drawn = weighted(once)[0], resampled(weighted, n, resamples)
    low, high = percentiles(drawn)
    low[CALIBRATION], high[CALIBRATION] = above_noise(
        values[CALIBRATION], drawn[:, CALIBRATION], weighted.calibration_error_by_chance(resamples)
    )
    ends = zip(NAMES, values.tolist(), low.tolist(), high.tolist(), strict=True)
    figures: dict[str, Any] = {
        name: _figure(*found) if np.isfinite(found[0]) else None for name, *found in ends
    }
    area, error = auroc(truth, probabilities)
    return Scores(
        n=n,
        accuracy=_share(int(hits.sum()), n),
        **figures,
        auroc=_figure(area, *logistic(area, error)) if np.isfinite(area) else None,
        average_precision=_average_precision(truth, probabilities, resamples)
        if np.isfinite(area)
        else None,
        top_5=_share(int(_among_the_first(truth, probabilities, TOP).sum()), n)
        if classes > TOP
        else None,
        majority_class=labels[majority],
        majority_accuracy=float(counts[majority] / n),
        classes=tuple(
            ClassScore(
                name=name,
                n=int(counts[k]),
                precision=float(hits[k] / guesses[k]) if guesses[k] else None,
                recall=_share(int(hits[k]), int(counts[k])) if counts[k] else None,
                f1=float(2 * hits[k] / (counts[k] + guesses[k]))
                if counts[k] + guesses[k]
                else None,
            )
            for k, name in enumerate(labels)
        ),
    )


def _average_precision(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int
) -> Figure | None:
    """None where its interval would take minutes."""
    n, classes = probabilities.shape
    affordable = min(resamples, SORTED // (n * classes))
    if affordable < 100:
        return None

    def area(weights: np.ndarray) -> np.ndarray:
        return average_precision(truth, probabilities, weights)[:, None]

    low, high = bootstrap(area, n, affordable)
    return _figure(float(area(np.ones((1, n)))[0, 0]), float(low[0]), float(high[0]))


def _among_the_first(truth: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Whether the label of each example is among its k likeliest classes, shape (n,)."""
    own = np.take_along_axis(probabilities, truth[:, None], 1)
    return (probabilities > own).sum(1) < k


def _share(hits: int, n: int) -> Figure:
    return _figure(hits / n, *wilson(hits, n))


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=float(value), low=float(low), high=float(high))


Metric = Callable[[np.ndarray, np.ndarray], float]
metrics: Registry[Metric] = Registry("metric")
"""What may choose an epoch: (labels of shape (n,), logits of shape (n, classes)) → a score, the
higher the better."""
NEED_TWO_CLASSES = ("auroc", "matthews")  # metrics that are not defined on examples of one class


@metrics.register("accuracy")
def accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Share of examples whose highest logit is the label's."""
    return float(np.mean(logits.argmax(1) == truth))


@metrics.register("balanced_accuracy")
def balanced_accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean recall over the classes that occur."""
    return _of(truth, logits, "balanced_accuracy")


@metrics.register("macro_f1")
def macro_f1(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean F1 over the classes that occur, as label or as guess."""
    return _of(truth, logits, "macro_f1")


@metrics.register("matthews")
def matthews(truth: np.ndarray, logits: np.ndarray) -> float:
    """Matthews' correlation coefficient of labels and guesses."""
    return _of(truth, logits, "matthews")


@metrics.register("auroc")
def area_under_roc(truth: np.ndarray, logits: np.ndarray) -> float:
    """Area under the ROC curve of each class that occurs against the rest, on average (NaN where
    only one occurs)."""
    return auroc(truth, softmax(logits))[0]


@metrics.register("loss")
def loss(truth: np.ndarray, logits: np.ndarray) -> float:
    """The log loss, negated, so that higher is better."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return float(np.mean(shifted[np.arange(len(truth)), truth] - np.log(np.exp(shifted).sum(1))))


def _of(truth: np.ndarray, logits: np.ndarray, name: str) -> float:
    return float(Weighted(truth, softmax(logits))(np.ones((1, len(truth))))[0, NAMES.index(name)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of shape (n, classes) from logits, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)

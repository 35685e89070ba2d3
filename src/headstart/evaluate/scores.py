"""All scores of a classifier on a held-out part, with 95 % intervals."""

from __future__ import annotations

import numpy as np

from headstart.evaluate.intervals import (
    above_noise,
    bootstrap,
    logistic,
    percentiles,
    resampled,
    wilson,
)
from headstart.evaluate.metrics import WeightedMetrics, auroc, average_precision
from headstart.evaluate.results import ClassScore, Estimate, Scores

TOP_K = 5  # of the top-k accuracy, which is given for more classes than that
# weights that are summed in the order of scores: the limit for the interval of average precision
MAX_WEIGHTS = 200_000_000


def score(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: tuple[str, ...],
    resamples: int,
    majority: int,
) -> Scores:
    """All metrics with their 95 % intervals, the metrics of each class, and the majority baseline.

    Proportions have Wilson's interval, the area under the ROC curve that of DeLong et al. (1988),
    the calibration error a bootstrap interval corrected for its bias, the others a bootstrap
    interval. If all examples are of one class, Matthews' correlation and the areas under both
    curves are not defined.

    Args:
        truth: label of each example, shape (n,), ints.
        probabilities: shape (n, classes).
        labels: class names, in the order of the columns.
        resamples: of the bootstrap.
        majority: index of the most frequent class of the training data.
    """
    n, classes = probabilities.shape
    predicted = probabilities.argmax(1)
    correct = np.bincount(truth[predicted == truth], minlength=classes)
    counts, predictions = (np.bincount(of, minlength=classes) for of in (truth, predicted))
    bootstrapped = _bootstrapped(truth, probabilities, resamples)
    area, error = auroc(truth, probabilities)
    defined = bool(np.isfinite(area))
    return Scores(
        n=n,
        accuracy=proportion(int(correct.sum()), n),
        balanced_accuracy=bootstrapped["balanced_accuracy"],
        macro_f1=bootstrapped["macro_f1"],
        matthews=_if_defined(bootstrapped["matthews"]),
        log_loss=bootstrapped["log_loss"],
        calibration_error=bootstrapped["calibration_error"],
        auroc=_estimate(area, *logistic(area, error)) if defined else None,
        average_precision=_average_precision(truth, probabilities, resamples) if defined else None,
        top_5=proportion(_top_k_hits(truth, probabilities, TOP_K), n) if classes > TOP_K else None,
        majority_class=labels[majority],
        majority_accuracy=float(counts[majority] / n),
        classes=tuple(
            _class_score(*row)
            for row in zip(
                labels, counts.tolist(), correct.tolist(), predictions.tolist(), strict=True
            )
        ),
    )


def proportion(successes: int, n: int) -> Estimate:
    """A share with Wilson's interval."""
    return _estimate(successes / n, *wilson(successes, n))


def _bootstrapped(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int
) -> dict[str, Estimate]:
    metrics, n = WeightedMetrics(truth, probabilities), len(truth)
    values, resampled_values = metrics(np.ones((1, n)))[0], resampled(metrics, n, resamples)
    low, high = percentiles(resampled_values)
    k = metrics.NAMES.index("calibration_error")
    low[k], high[k] = above_noise(
        values[k], resampled_values[:, k], metrics.simulated_calibration_errors(resamples)
    )
    return dict(zip(metrics.NAMES, map(_estimate, values, low, high), strict=True))


def _average_precision(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int
) -> Estimate | None:
    """None if its interval would take minutes."""
    n, classes = probabilities.shape
    affordable = min(resamples, MAX_WEIGHTS // (n * classes))
    if affordable < 100:
        return None

    def area(weights: np.ndarray) -> np.ndarray:
        return average_precision(truth, probabilities, weights)[:, None]

    low, high = bootstrap(area, n, affordable)
    return _estimate(area(np.ones((1, n)))[0, 0], low[0], high[0])


def _top_k_hits(truth: np.ndarray, probabilities: np.ndarray, k: int) -> int:
    """How many labels are among the k most likely classes."""
    of_label = np.take_along_axis(probabilities, truth[:, None], 1)
    return int(((probabilities > of_label).sum(1) < k).sum())


def _class_score(name: str, n: int, correct: int, predictions: int) -> ClassScore:
    return ClassScore(
        name=name,
        n=n,
        precision=correct / predictions if predictions else None,
        recall=proportion(correct, n) if n else None,
        f1=2 * correct / (n + predictions) if n + predictions else None,
    )


def _if_defined(estimate: Estimate) -> Estimate | None:
    return estimate if np.isfinite(estimate.value) else None


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=float(value), low=float(low), high=float(high))

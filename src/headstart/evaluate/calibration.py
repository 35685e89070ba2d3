"""Calibration: temperature scaling, and the accuracy of a model that may refuse to answer."""

from __future__ import annotations

import numpy as np

from headstart.evaluate.metrics import EPSILON, softmax
from headstart.evaluate.results import Calibration, Threshold
from headstart.evaluate.scores import proportion, score

TARGET_ERRORS = (0.01, 0.02, 0.05, 0.1)  # error rates for which a threshold is searched


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature with the lowest log loss (Guo et al. 2017); above 1 the model was
    overconfident.

    Args:
        truth: labels of held-out examples, shape (n,). probabilities: shape (n, classes).
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(scaled[rows, truth], EPSILON)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities after their logits are divided by a temperature, shape (n, classes)."""
    return softmax(np.log(np.maximum(probabilities, EPSILON)) / temperature)


def risk_coverage(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(share of examples answered, error rate among them), shape (n,) each, for the 1, 2, … n most
    confident predictions (El-Yaniv & Wiener 2010)."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    errors = np.cumsum((probabilities.argmax(1) != truth)[order])
    answered = np.arange(1, len(truth) + 1)
    return answered / len(truth), errors / answered


def evaluate_calibration(
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    labels: tuple[str, ...],
    resamples: int,
    majority: int,
) -> Calibration:
    """Temperature and thresholds for refusing to answer, fitted on the validation part and measured
    on the test part.

    Args:
        validation: labels, shape (n,), and probabilities, shape (n, classes), of examples that
            training has not seen. test: the same of the test part.
        labels, resamples, majority: as for `score`.
    """
    temperature = fit_temperature(*validation)
    validation, test = (
        (truth, apply_temperature(probabilities, temperature))
        for truth, probabilities in (validation, test)
    )
    scaled = score(*test, labels, resamples, majority)
    thresholds = (_threshold(validation, test, target) for target in TARGET_ERRORS)
    return Calibration(
        temperature=temperature,
        calibration_error=scaled.calibration_error,
        log_loss=scaled.log_loss,
        thresholds=tuple(threshold for threshold in thresholds if threshold),
    )


def _threshold(
    validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], target: float
) -> Threshold | None:
    """The lowest probability at which the error rate on the validation part is at most `target`."""
    truth, probabilities = validation
    reached = np.flatnonzero(risk_coverage(truth, probabilities)[1] <= target)
    if not len(reached):
        return None
    probability = float(np.sort(-probabilities.max(1), kind="stable")[reached[-1]] * -1)
    truth, probabilities = test
    answered = probabilities.max(1) >= probability
    count = int(answered.sum())
    if not count:
        return None
    errors = int((probabilities.argmax(1) != truth)[answered].sum())
    return Threshold(
        wanted=target,
        probability=probability,
        coverage=proportion(count, len(answered)),
        error=proportion(errors, count),
    )

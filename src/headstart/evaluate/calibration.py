"""Whether probabilities mean what they say, and what a model that may refuse to answer would get
right."""

from __future__ import annotations

import numpy as np

from headstart.evaluate.intervals import wilson
from headstart.evaluate.metrics import score
from headstart.evaluate.results import Calibration, Figure, Threshold
from headstart.evaluate.weighted import SMALLEST

WANTED = (0.01, 0.02, 0.05, 0.1)  # errors that a threshold is looked for


def temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that makes log loss least (Guo et al. 2017): above 1 a model was too sure of
    itself.

    Args:
        truth: labels of held-out examples, shape (n,). probabilities: shape (n, classes).
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))

    def loss(logarithm: float) -> float:
        tempered = at(probabilities, float(np.exp(logarithm)))
        return float(-np.log(np.maximum(tempered[rows, truth], SMALLEST)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def at(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by a temperature, shape (n, classes)."""
    logits = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def risk_coverage(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(share of examples answered, error among them), shape (n,) each, when the least certain are
    refused one after the other (El-Yaniv & Wiener 2010)."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    wrong = np.cumsum((probabilities.argmax(1) != truth)[order])
    answered = np.arange(1, len(truth) + 1)
    return answered / len(truth), wrong / answered


def calibrated(
    held_out: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    labels: tuple[str, ...],
    resamples: int,
    majority: int,
) -> Calibration:
    """What temperature scaling and refusing would be worth, both settled on the held-out part and
    measured on the test part.

    Args:
        held_out: labels, shape (n,), and probabilities, shape (n, classes), of examples that
            training has not seen. test: the same of the test part.
    """
    best = temperature(*held_out)
    held_out, test = ((truth, at(probabilities, best)) for truth, probabilities in (held_out, test))
    scaled = score(*test, labels, resamples, majority)
    return Calibration(
        temperature=best,
        calibration_error=scaled.calibration_error,
        log_loss=scaled.log_loss,
        thresholds=tuple(
            found for wanted in WANTED if (found := _threshold(held_out, test, wanted))
        ),
    )


def _threshold(
    held_out: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], wanted: float
) -> Threshold | None:
    """The least probability from which on no more than the wanted share of held-out answers is
    wrong."""
    truth, probabilities = held_out
    _, errors = risk_coverage(truth, probabilities)
    fine = np.flatnonzero(errors <= wanted)
    if not len(fine):
        return None
    least = float(np.sort(-probabilities.max(1), kind="stable")[fine[-1]] * -1)
    answered = test[1].max(1) >= least
    wrong = int((test[1].argmax(1) != test[0])[answered].sum())
    n, count = len(answered), int(answered.sum())
    coverage = Figure(value=count / n, **dict(zip(("low", "high"), wilson(count, n), strict=True)))
    if not count:
        return None
    error = Figure(
        value=wrong / count, **dict(zip(("low", "high"), wilson(wrong, count), strict=True))
    )
    return Threshold(wanted=wanted, probability=least, coverage=coverage, error=error)

"""What a classifier's probabilities are worth on a held-out part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.evaluate.intervals import bootstrap, wilson
from headstart.registry import Registry
from headstart.report.report import ClassScore, Figure, Scores

SMALLEST = 1e-12  # log loss of a class that was given probability 0 stays finite


def score(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...], resamples: int) -> Scores:
    """Accuracy (Wilson interval), macro-F1 and log loss (bootstrap), a row for each class, and the majority baseline.

    Args:
        truth: label of each example, shape (n,), ints.
        probabilities: shape (n, classes).
        labels: class names, in the order of the columns.
        resamples: of the bootstrap.
    """
    n, classes = probabilities.shape
    predicted = probabilities.argmax(1)
    right = int((predicted == truth).sum())
    losses = -np.log(np.maximum(probabilities[np.arange(n), truth], SMALLEST))
    counts = np.bincount(truth, minlength=classes)
    true_positives = np.bincount(truth[predicted == truth], minlength=classes)
    guesses = np.bincount(predicted, minlength=classes)
    cells = truth * classes + predicted

    def macro_f1(weights: np.ndarray) -> np.ndarray:
        return np.array(
            [_macro_f1(np.bincount(cells, row, classes * classes).reshape(classes, classes)) for row in weights]
        )

    majority = int(counts.argmax())
    return Scores(
        n=n,
        accuracy=_figure(right / n, wilson(right, n)),
        macro_f1=_figure(float(macro_f1(np.ones((1, n)))[0]), bootstrap(macro_f1, n, resamples)),
        log_loss=_figure(float(losses.mean()), bootstrap(lambda weights: weights @ losses / n, n, resamples)),
        majority_class=labels[majority],
        majority_accuracy=counts[majority] / n,
        classes=tuple(
            ClassScore(
                name=name,
                n=int(counts[k]),
                precision=float(true_positives[k] / guesses[k]) if guesses[k] else None,
                recall=_figure(true_positives[k] / counts[k], wilson(int(true_positives[k]), int(counts[k])))
                if counts[k]
                else None,
                f1=float(2 * true_positives[k] / (counts[k] + guesses[k])) if counts[k] + guesses[k] else None,
            )
            for k, name in enumerate(labels)
        ),
    )


def _macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that occur, as truth or as guess, in a confusion matrix (truth × guess)."""
    occurring = confusion.sum(0) + confusion.sum(1)
    return float((2 * confusion.diagonal()[occurring > 0] / occurring[occurring > 0]).mean())


def _figure(value: float, interval: tuple[float, float]) -> Figure:
    return Figure(value=float(value), low=interval[0], high=interval[1])


Metric = Callable[[np.ndarray, np.ndarray], float]
metrics: Registry[Metric] = Registry("metric")
"""What may choose an epoch: (labels of shape (n,), logits of shape (n, classes)) → a score, the higher the better."""


@metrics.register("accuracy")
def accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Share of examples whose highest logit is the label's."""
    return float(np.mean(logits.argmax(1) == truth))


@metrics.register("balanced_accuracy")
def balanced_accuracy(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean recall over the classes that occur."""
    right = logits.argmax(1) == truth
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


@metrics.register("macro_f1")
def macro_f1(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean F1 over the classes that occur, as label or as guess."""
    classes = logits.shape[1]
    return _macro_f1(np.bincount(truth * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes))


@metrics.register("auroc")
def auroc(truth: np.ndarray, logits: np.ndarray) -> float:
    """Area under the ROC curve of each class that occurs against the rest, on average (0.5 where only one occurs)."""
    from scipy.stats import rankdata

    areas = []
    for label in np.unique(truth):
        own = truth == label
        positive, negative = int(own.sum()), int((~own).sum())
        if negative:
            ranks = rankdata(softmax(logits)[:, label])
            areas.append((ranks[own].sum() - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(areas)) if areas else 0.5


@metrics.register("loss")
def loss(truth: np.ndarray, logits: np.ndarray) -> float:
    """The log loss, negated, so that higher is better."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return float(np.mean(shifted[np.arange(len(truth)), truth] - np.log(np.exp(shifted).sum(1))))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of shape (n, classes) from logits, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)

"""What a classifier on frozen features says of examples that it has not learned from: out-of-fold
probabilities."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from headstart.evaluate.intervals import wilson
from headstart.evaluate.results import Estimate
from headstart.runtime.threads import one_blas_thread

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 5
C = 0.01  # of the logistic regression on standardised features
MAX_FIT_EXAMPLES = 20_000  # examples to learn from


def out_of_fold(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Probabilities of each example under a logistic regression that was fitted on other examples,
    shape (n, classes).

    Stratified into five folds, or as many as the smallest class has examples; classes of one
    example say nothing.

    Args:
        features: shape (n, width). labels: shape (n,).
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels, minlength=classes)
    probabilities = np.tile(counts / counts.sum(), (len(labels), 1))
    folds = min(FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        return probabilities
    random = np.random.default_rng(seed)
    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore")
        for train_rows, test_rows in StratifiedKFold(folds, shuffle=True, random_state=seed).split(
            features, labels
        ):
            fit_rows = (
                train_rows
                if len(train_rows) <= MAX_FIT_EXAMPLES
                else _subsample(train_rows, labels, random)
            )
            model = _classifier()
            model.fit(features[fit_rows], labels[fit_rows])
            probabilities[test_rows] = 0.0
            probabilities[np.ix_(test_rows, model.classes_)] = model.predict_proba(
                features[test_rows]
            )
    return probabilities


def cross_validated_accuracy(features: np.ndarray, labels: np.ndarray, seed: int) -> Estimate:
    """The accuracy of these out-of-fold probabilities, with Wilson's interval."""
    probabilities = out_of_fold(features, labels, int(labels.max()) + 1, seed)
    right = probabilities.argmax(axis=1) == labels
    low, high = wilson(int(right.sum()), len(labels))
    return Estimate(value=float(right.mean()), low=low, high=high)


def training_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of that logistic regression on the very examples that it was fitted on."""
    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore")
        return float(_classifier().fit(features, labels).score(features, labels))


def _classifier() -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=300))


def _subsample(rows: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """MAX_FIT_EXAMPLES of the rows at random, and one of each class."""
    rows = random.permutation(rows)
    _, first = np.unique(labels[rows], return_index=True)
    return np.union1d(rows[:MAX_FIT_EXAMPLES], rows[first])

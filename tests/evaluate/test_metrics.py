"""Figures against scikit-learn, intervals against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from headstart.evaluate.intervals import bootstrap, wilson
from headstart.evaluate.metrics import metrics, softmax
from headstart.evaluate.scores import score

LABELS = ("a", "b", "c")


def drawn(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = random.normal(size=(n, 3)) + 1.2 * np.eye(3)[truth]
    return truth, softmax(logits)


def test_figures_agree_with_scikit_learn() -> None:
    truth, probabilities = drawn()
    scores = score(truth, probabilities, LABELS, 200, majority=0)
    predicted = probabilities.argmax(1)
    assert scores.accuracy.value == pytest.approx(accuracy_score(truth, predicted))
    assert scores.macro_f1.value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert scores.log_loss.value == pytest.approx(log_loss(truth, probabilities))
    assert scores.balanced_accuracy.value == pytest.approx(
        balanced_accuracy_score(truth, predicted)
    )
    assert scores.matthews is not None
    assert scores.matthews.value == pytest.approx(matthews_corrcoef(truth, predicted))
    assert scores.auroc is not None
    assert scores.auroc.value == pytest.approx(
        roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    assert scores.average_precision is not None
    areas = average_precision_score(np.eye(3)[truth], probabilities, average="macro")
    assert scores.average_precision.value == pytest.approx(areas)
    assert scores.top_5 is None
    for row, values in zip(
        scores.classes,
        zip(*precision_recall_fscore_support(truth, predicted), strict=True),
        strict=True,
    ):
        assert row.recall is not None
        assert (row.precision, row.recall.value, row.f1, row.n) == pytest.approx(values)
    assert scores.majority_class == "a"
    assert scores.majority_accuracy == np.mean(truth == 0)
    for figure in (
        scores.accuracy, scores.balanced_accuracy, scores.macro_f1, scores.matthews,
        scores.log_loss, scores.auroc,
        scores.average_precision,
    ):  # fmt: skip
        assert figure.low < figure.value < figure.high


def test_classes_that_never_occur_and_certain_mistakes() -> None:
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    scores = score(truth, probabilities, LABELS, 100, majority=0)
    assert scores.classes[2].precision is None
    assert scores.classes[2].recall is None
    assert scores.classes[2].f1 is None
    assert np.isfinite(scores.log_loss.value)
    assert scores.worst_class() == scores.classes[1]


def test_where_nothing_differs_nothing_is_worst_and_resampling_says_nothing() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    scores = score(truth, np.eye(3)[truth], LABELS, 100, majority=0)
    assert scores.worst_class() is None
    assert scores.macro_f1 is not None
    assert scores.macro_f1.interval == "none: resamples do not differ"
    assert scores.accuracy.interval == f"{scores.accuracy.low:.3f} to 1.000"
    assert scores.accuracy.low < 0.7


@pytest.mark.parametrize(("classes", "label"), [(2, 0), (2, 1), (3, 2)])
def test_of_one_class_ranks_and_correlations_are_not_defined(classes: int, label: int) -> None:
    probabilities = softmax(np.random.default_rng(0).normal(size=(30, classes)))
    truth = np.full(30, label)
    scores = score(truth, probabilities, LABELS[:classes], 100, majority=0)
    assert (scores.auroc, scores.average_precision, scores.matthews) == (None, None, None)
    assert (
        scores.balanced_accuracy.value
        == scores.accuracy.value
        == np.mean(probabilities.argmax(1) == label)
    )
    assert scores.majority_accuracy == (label == 0)
    assert scores.undefined is not None
    assert scores.undefined.startswith(
        f"all 30 test examples are of one class, {LABELS[label]!r}: "
    )
    assert np.isnan(metrics.get("auroc")(truth, probabilities))
    assert np.isnan(metrics.get("matthews")(truth, probabilities))


def test_the_average_precision_of_a_class_that_resamples_lack_is_no_zero() -> None:
    truth = np.array([0] * 20 + [1] * 20 + [2])
    scores = score(truth, np.eye(3)[truth], LABELS, 200, majority=0)
    assert scores.average_precision is not None
    assert (scores.average_precision.low, scores.average_precision.high) == (1.0, 1.0)
    assert str(scores.average_precision) == "1.000 [no interval]"


def test_wilson_by_its_published_example_and_at_the_ends() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-4)  # Newcombe 1998, table I
    low, high = wilson(0, 10)
    assert low == 0
    assert 0.2 < high < 0.35
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_of_a_mean_is_close_to_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=400)
    (low,), (high,) = bootstrap(lambda weights: weights @ values[:, None] / 400, 400, 2000)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_two_classes_and_many() -> None:
    random = np.random.default_rng(2)
    truth = random.choice(2, 150)
    # with ties
    scores = np.round(
        random.random((150, 1)) * 0.6 + 0.4 * truth[:, None] * random.random((150, 1)), 2
    )
    probabilities = np.concatenate([1 - scores, scores], axis=1)
    found = score(truth, probabilities, ("no", "yes"), 100, majority=0)
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, scores[:, 0]))
    assert found.average_precision is not None
    assert found.average_precision.value == pytest.approx(
        average_precision_score(truth, scores[:, 0])
    )
    truth = random.choice(8, 150)
    probabilities = softmax(random.normal(size=(150, 8)) + np.eye(8)[truth])
    found = score(truth, probabilities, tuple("abcdefgh"), 100, majority=0)
    assert found.top_5 is not None
    assert found.top_5.value == pytest.approx(top_k_accuracy_score(truth, probabilities, k=5))


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    truth = np.array([0, 1, 1, 0])
    wanted = (abs(2 * 0.9 - 1) + abs(0.7 - 1) + abs(0.6 - 1)) / 4
    assert score(
        truth, probabilities, ("a", "b"), 100, majority=0
    ).calibration_error.value == pytest.approx(wanted)

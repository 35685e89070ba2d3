"""Paired tests against scipy, against brute force, and against what they promise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.evaluate.intervals import wilson
from headstart.evaluate.metrics import softmax
from headstart.evaluate.paired_tests import difference_interval, holm, sign_flip_test
from headstart.evaluate.scores import score


def test_of_one_run_each_it_is_mcnemars_exact_test() -> None:
    differences = np.array([1] * 9 + [-1] * 3 + [0] * 40)
    assert sign_flip_test(differences) == pytest.approx(binomtest(9, 12, 0.5).pvalue)
    assert sign_flip_test(np.zeros(5, int)) == 1.0


def test_of_several_runs_it_is_every_change_of_signs() -> None:
    differences = np.array([2, 1, -1, 3, 0, 2, 1, 1])
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    assert sign_flip_test(differences) == pytest.approx(
        np.mean(np.array(sums) >= abs(differences.sum()))
    )


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_false_alarms_are_no_more_than_promised() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(1_000):
        ours, theirs = (random.random(400) < 0.8 for _ in range(2))
        alarms += sign_flip_test(ours.astype(int) - theirs.astype(int)) <= 0.05
    assert 0.01 < alarms / 1_000 <= 0.06


def test_intervals_of_a_difference_hold_what_they_promise() -> None:
    """One classifier right where the other is wrong in 6 and 2 of 100 examples: 4 points, in 93 to
    98 of 100 draws."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        low, high = difference_interval(random.choice([1, -1, 0], 150, p=[0.06, 0.02, 0.92]))
        held += low <= 0.04 <= high
    assert 0.93 <= held / 1_000 <= 0.98
    low, high = difference_interval(np.zeros(40, int))
    assert -0.06 < low < 0 < high < 0.06, (
        "that nothing differs in 40 examples does not say that nothing ever will"
    )


def test_intervals_hold_what_they_promise() -> None:
    """Classifiers whose true figures are known: the interval holds them in 93 to 97 of 100
    draws."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        low, high = wilson(int((random.random(300) < 0.8).sum()), 300)
        held += low <= 0.8 <= high
    assert 0.93 <= held / 1_000 <= 0.97


@pytest.mark.thorough
def test_intervals_of_the_other_figures_hold_what_they_promise() -> None:
    random = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = random.choice(3, n, p=[0.5, 0.3, 0.2])
        return truth, softmax(random.normal(size=(n, 3)) + 1.5 * np.eye(3)[truth])

    names = (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "matthews",
        "log_loss",
        "auroc",
        "average_precision",
    )
    true = score(*draw(400_000), ("a", "b", "c"), 100, majority=0)
    held = dict.fromkeys(names, 0)
    for _ in range(1_000):
        found = score(*draw(400), ("a", "b", "c"), 400, majority=0)
        for name in names:
            figure, wanted = getattr(found, name), getattr(true, name)
            held[name] += figure.low <= wanted.value <= figure.high
    assert {name: count for name, count in held.items() if not 930 <= count <= 970} == {}

"""Temperatures and thresholds where the right ones are known."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluate.calibration import (
    apply_temperature,
    evaluate_calibration,
    fit_temperature,
    risk_coverage,
)
from headstart.evaluate.intervals import above_noise, resampled
from headstart.evaluate.metrics import WeightedMetrics, softmax


def drawn(n: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from probabilities, and those probabilities made sharper."""
    random = np.random.default_rng(seed)
    true = softmax(random.normal(size=(n, 3)) * 1.5)
    truth = (random.random((n, 1)) > true.cumsum(1)).sum(1)
    return truth, apply_temperature(true, 1 / sharpness)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_probabilities_too_sharp(sharpness: float) -> None:
    assert fit_temperature(*drawn(20_000, sharpness)) == pytest.approx(sharpness, rel=0.05)


def test_it_makes_the_calibration_error_of_others_small() -> None:
    found = evaluate_calibration(
        drawn(3_000, 3.0), drawn(3_000, 3.0, seed=1), ("a", "b", "c"), 100, majority=0
    )
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.calibration_error.value < 0.03


@pytest.mark.parametrize(("sharpness", "true"), [(1.0, 0.0), (1.3, 0.054)])
def test_the_interval_of_a_calibration_error_holds_the_true_one_and_its_estimate(
    sharpness: float, true: float
) -> None:
    """In 200 sets of 500 examples; the percentiles of a bootstrap hold 0 in none, and 0.054 in 58
    of 100."""
    held = 0
    for seed in range(200):
        weighted = WeightedMetrics(*drawn(500, sharpness, seed))
        value = float(weighted(np.ones((1, 500)))[0, -1])
        resamples = resampled(weighted, 500, 150)[:, -1]
        low, high = above_noise(value, resamples, weighted.simulated_calibration_errors(150))
        assert low < value < high
        held += low <= true <= high
    assert 0.91 <= held / 200 <= 0.99


def test_risk_and_coverage_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    coverage, error = risk_coverage(np.array([0, 0, 0, 1]), probabilities)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert error == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])


def test_thresholds_keep_the_error_they_promise() -> None:
    found = evaluate_calibration(
        drawn(20_000, 1.0), drawn(20_000, 1.0, seed=1), ("a", "b", "c"), 100, majority=0
    )
    assert [row.wanted for row in found.thresholds] == sorted(
        row.wanted for row in found.thresholds
    )
    for row in found.thresholds:
        assert row.error.low <= row.wanted * 1.3
    assert found.thresholds[-1].coverage.value > found.thresholds[0].coverage.value

"""Temperatures and thresholds where the right ones are known."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluate.calibration import at, calibrated, risk_coverage, temperature
from headstart.evaluate.metrics import softmax


def drawn(n: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from probabilities, and those probabilities made sharper."""
    random = np.random.default_rng(seed)
    true = softmax(random.normal(size=(n, 3)) * 1.5)
    truth = (random.random((n, 1)) > true.cumsum(1)).sum(1)
    return truth, at(true, 1 / sharpness)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_probabilities_too_sharp(sharpness: float) -> None:
    assert temperature(*drawn(20_000, sharpness)) == pytest.approx(sharpness, rel=0.05)


def test_it_makes_the_calibration_error_of_others_small() -> None:
    found = calibrated(drawn(3_000, 3.0), drawn(3_000, 3.0, seed=1), ("a", "b", "c"), 100, majority=0)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.calibration_error.value < 0.03


def test_risk_and_coverage_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    coverage, error = risk_coverage(np.array([0, 0, 0, 1]), probabilities)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert error == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])


def test_thresholds_keep_the_error_they_promise() -> None:
    found = calibrated(drawn(20_000, 1.0), drawn(20_000, 1.0, seed=1), ("a", "b", "c"), 100, majority=0)
    assert [row.wanted for row in found.thresholds] == sorted(row.wanted for row in found.thresholds)
    for row in found.thresholds:
        assert row.error.low <= row.wanted * 1.3
    assert found.thresholds[-1].coverage.value > found.thresholds[0].coverage.value

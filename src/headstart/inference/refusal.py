"""Probabilities that mean what they say, and no answer where they are low: what a run's report
knows, put to work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.errors import RunError
from headstart.evaluate.calibration import apply_temperature
from headstart.inference.loaded_model import ONNX
from headstart.report.report import Report


@dataclass(frozen=True)
class Refusal:
    """The temperature by which logits are divided, and the least probability, after that, at which
    an example is answered."""

    temperature: float
    least: float

    def tempered(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities at the temperature, shape (n, classes)."""
        return apply_temperature(probabilities, self.temperature)


def refusal_of(runs: list[str | Path], least: float) -> Refusal:
    """What the report of a run says of the temperature.

    Raises:
        HeadstartError: it says nothing, there are several runs, or `least` is no probability.
    """
    option = "--refuse-below"
    if not 0 < least <= 1:
        raise RunError(
            f"{option}: found {least:g}; expected a probability above 0 and at most 1, such as 0.8"
        )
    if len(runs) > 1:
        raise RunError(
            f"{option}: found {len(runs)} runs; a temperature is that of one run, and none is "
            "known of their average. Give one"
        )
    if Path(runs[0]).suffix == ONNX:
        raise RunError(
            f"{option}: {runs[0]} is an exported file and has no report; give the folder of its run"
        )
    calibration = Report.read(runs[0]).calibration
    if calibration is None:
        raise RunError(
            f"{option}: the report of {runs[0]} has no temperature, for no part was held out "
            "from its training. Train with a validation part and a strategy that has epochs, "
            "such as fine_tune, or leave the option out"
        )
    return Refusal(calibration.temperature, least)

"""What was measured, as plain frozen values: figures with their intervals, scores, and the result
of a strategy."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from headstart.data.unicode import quoted


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Part):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        known = f"{self.low:.3f}, {self.high:.3f}" if self.low < self.high else "no interval"
        return f"{self.value:.3f} [{known}]"

    @property
    def interval(self) -> str:
        """Its ends, in words; none where resampled examples all come to the same, which tells
        nothing of others."""
        return (
            f"{self.low:.3f} to {self.high:.3f}"
            if self.low < self.high
            else "none: resamples do not differ"
        )


class ClassScore(Part):
    """One class: how many examples, and precision, recall and F1 (None where nothing defines
    them)."""

    name: str
    n: int
    precision: float | None
    recall: Figure | None
    f1: float | None


class Scores(Part):
    """A classifier on n held-out examples, beside the guess that always names the most frequent
    class of the training data.

    None where a figure is not defined or its interval would take minutes.
    """

    n: int
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    matthews: Figure | None
    log_loss: Figure
    calibration_error: Figure
    auroc: Figure | None
    average_precision: Figure | None
    top_5: Figure | None
    majority_class: str
    majority_accuracy: float
    classes: tuple[ClassScore, ...]

    @property
    def undefined(self) -> str | None:
        """A sentence on the figures that examples of one class do not define; None where there are
        several."""
        occurring = [row.name for row in self.classes if row.n]
        if len(occurring) > 1:
            return None
        return (
            f"all {self.n} test examples are of one class, {quoted(occurring[0])}: Matthews' "
            "correlation, the area under the ROC curve and the average precision are not "
            "defined, and accuracy is the recall of that class"
        )

    def worst_class(self) -> ClassScore | None:
        """The class with the lowest recall among those that occur, if there is any difference."""
        seen = {row.recall.value: row for row in reversed(self.classes) if row.recall is not None}
        return seen[min(seen)] if len(seen) > 1 else None


class Threshold(Part):
    """The least probability, at the temperature, that keeps the held-out error at `wanted`, and
    what it gives on the test part: the share of examples answered, and the error among them."""

    wanted: float
    probability: float
    coverage: Figure
    error: Figure


class Calibration(Part):
    """A temperature fitted on the held-out part, the test part's figures with it, and thresholds
    for refusing to answer."""

    temperature: float
    calibration_error: Figure
    log_loss: Figure
    thresholds: tuple[Threshold, ...]


class PhaseRecord(Part):
    """A phase as it was planned: its rates by block, epochs and trainable parameters, and whether
    it is a probe."""

    name: str
    rates: dict[str, float]
    epochs: int
    probe: bool
    carries: bool
    trainable: int


class Result(Part):
    """One strategy or baseline on the test part.

    `p` of a result beside the main one is the chance of a difference between them as large as this
    if there were none (exact sign flips of paired answers, corrected by Holm for how many stand
    beside).
    """

    name: str
    test: Scores
    p: float | None = None
    seconds: float
    phases: tuple[PhaseRecord, ...] = ()
    epochs: tuple[dict[str, Any], ...] = ()
    kept: dict[str, int] | None = None
    fitted: str | None = None
    cached: int = 0
    precision: str | None = None
    examples_per_second: float | None = None
    notes: tuple[str, ...] = ()

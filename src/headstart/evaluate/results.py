"""Result types: estimates with intervals, scores, calibration, and the result of a strategy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from headstart.data.unicode import quoted


class FrozenRecord(BaseModel):
    """The base of all results: immutable, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(FrozenRecord):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = f"{self.low:.3f}, {self.high:.3f}" if self.low < self.high else "no interval"
        return f"{self.value:.3f} [{ends}]"

    @property
    def interval(self) -> str:
        """The interval in words; there is none if all resamples give the same value."""
        return (
            f"{self.low:.3f} to {self.high:.3f}"
            if self.low < self.high
            else "none: resamples do not differ"
        )


class ClassScore(FrozenRecord):
    """One class: number of examples, precision, recall and F1 (None where undefined)."""

    name: str
    n: int
    precision: float | None
    recall: Estimate | None
    f1: float | None


class Scores(FrozenRecord):
    """The scores of a classifier on n held-out examples, and the accuracy of always predicting the
    most frequent class of the training data.

    A score is None if it is not defined or its interval would take minutes.
    """

    n: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    matthews: Estimate | None
    log_loss: Estimate
    calibration_error: Estimate
    auroc: Estimate | None
    average_precision: Estimate | None
    top_5: Estimate | None
    majority_class: str
    majority_accuracy: float
    classes: tuple[ClassScore, ...]

    @property
    def undefined(self) -> str | None:
        """A sentence on the scores that are not defined if all examples are of one class; None if
        there are several classes."""
        names = [row.name for row in self.classes if row.n]
        if len(names) > 1:
            return None
        return (
            f"all {self.n} test examples are of one class, {quoted(names[0])}: Matthews' "
            "correlation, the area under the ROC curve and the average precision are not "
            "defined, and accuracy is the recall of that class"
        )

    def worst_class(self) -> ClassScore | None:
        """The class with the lowest recall, if recalls differ."""
        by_recall = {row.recall.value: row for row in reversed(self.classes) if row.recall}
        return by_recall[min(by_recall)] if len(by_recall) > 1 else None


class Threshold(FrozenRecord):
    """The lowest probability (after temperature scaling) at which the error rate on the validation
    part is at most `wanted`, and on the test part the share of examples answered and their error
    rate."""

    wanted: float
    probability: float
    coverage: Estimate
    error: Estimate


class Calibration(FrozenRecord):
    """A temperature fitted on the validation part, the test part's scores with it, and thresholds
    for refusing to answer."""

    temperature: float
    calibration_error: Estimate
    log_loss: Estimate
    thresholds: tuple[Threshold, ...]


class PhaseRecord(FrozenRecord):
    """A phase of the plan: its learning rates by block, epochs and trainable parameters, and
    whether it is a probe."""

    name: str
    rates: dict[str, float]
    epochs: int
    probe: bool
    carries: bool
    trainable: int


class Epoch(FrozenRecord):
    """An epoch of a run: its phase and its number in the phase, both from 1; epoch 0 is the state
    before the first one."""

    phase: int
    epoch: int


class EpochRecord(Epoch, extra="allow"):
    """One epoch: mean training loss, learning rate of each block, and the metrics on the selection
    part as `selection_<metric>`."""

    __pydantic_extra__: dict[str, float | None]
    loss: float
    lr: dict[str, float] = {}
    seconds: float = 0.0

    def selection(self, metric: str) -> float | None:
        """A metric on the selection part, if there is one."""
        return self.__pydantic_extra__.get(f"selection_{metric}")


class Result(FrozenRecord):
    """One strategy or baseline on the test part.

    `p` of a baseline is the p-value of its difference from the main result (exact paired sign-flip
    test, Holm-corrected for the number of baselines).
    """

    name: str
    test: Scores
    p: float | None = None
    seconds: float
    phases: tuple[PhaseRecord, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    kept: Epoch | None = None
    fitted: str | None = None
    cached: int = 0
    precision: str | None = None
    examples_per_second: float | None = None
    notes: tuple[str, ...] = ()

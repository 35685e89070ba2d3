"""What came out of a run, as plain values: JSON for machines, sentences for people. Imports nothing that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from headstart.data.display import quoted
from headstart.errors import HeadstartError
from headstart.report.significance import DOUBTFUL, equals

FILE = "metrics.json"


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
        """Its ends, in words; none where resampled examples all come to the same, which tells nothing of others."""
        return f"{self.low:.3f} to {self.high:.3f}" if self.low < self.high else "none: resamples do not differ"


class ClassScore(Part):
    """One class: how many examples, and precision, recall and F1 (None where nothing defines them)."""

    name: str
    n: int
    precision: float | None
    recall: Figure | None
    f1: float | None


class Scores(Part):
    """A classifier on n held-out examples, beside the guess that always names the most frequent class of the training data.

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
        """A sentence on the figures that examples of one class do not define; None where there are several."""
        occurring = [row.name for row in self.classes if row.n]
        if len(occurring) > 1:
            return None
        return (
            f"all {self.n} test examples are of one class, {quoted(occurring[0])}: Matthews' correlation, the area under the "
            "ROC curve and the average precision are not defined, and accuracy is the recall of that class"
        )

    def worst_class(self) -> ClassScore | None:
        """The class with the lowest recall among those that occur, if there is any difference."""
        seen = {row.recall.value: row for row in reversed(self.classes) if row.recall is not None}
        return seen[min(seen)] if len(seen) > 1 else None


class Threshold(Part):
    """The least probability, at the temperature, that keeps the held-out error at `wanted`, and what it gives on the test part:
    the share of examples answered, and the error among them."""

    wanted: float
    probability: float
    coverage: Figure
    error: Figure


class Calibration(Part):
    """A temperature fitted on the held-out part, the test part's figures with it, and thresholds for refusing to answer."""

    temperature: float
    calibration_error: Figure
    log_loss: Figure
    thresholds: tuple[Threshold, ...]


class PhaseRecord(Part):
    """A phase as it was planned: its rates by block, epochs and trainable parameters, and whether it is a probe."""

    name: str
    rates: dict[str, float]
    epochs: int
    probe: bool
    carries: bool
    trainable: int


class Result(Part):
    """One strategy or baseline on the test part.

    `p` of a result beside the main one is the chance of a difference between them as large as this if there were none (exact
    sign flips of paired answers, corrected by Holm for how many stand beside).
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


class Report(Part):
    """All that `metrics.json` holds. `main` is what the recipe asked for, `beside` what it is measured against."""

    task: str
    name: str
    folder: str
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    leaked: int = 0  # test examples that training or validation has as well
    without_leaks: Scores | None = None  # the main result on the others
    calibration: Calibration | None = None  # of the main result, where a part was held out from its training
    selected_on: str | None
    main: Result
    beside: tuple[Result, ...]

    @property
    def test(self) -> Scores:
        """The main result's scores on the test part."""
        return self.main.test

    @staticmethod
    def read(run: str | Path) -> Report:
        """The report of a finished run.

        Raises:
            HeadstartError: there is no finished run in that folder.
        """
        path = Path(run) / FILE
        try:
            return Report.model_validate_json(path.read_bytes()).model_copy(update={"folder": str(run)})
        except (FileNotFoundError, NotADirectoryError):
            raise HeadstartError(f"{run}: expected the folder of a finished run; found no {FILE} in it") from None
        except ValidationError as error:
            raise HeadstartError(f"{path}: not a report of this version: {error.errors()[0]['msg']}") from None

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def verdict(self) -> str:
        """One sentence a result beside: is the main one ahead, and by more than chance?"""
        sentences = []
        for other in self.beside:
            ours, theirs = self.test.accuracy, other.test.accuracy
            gap = 100 * (ours.value - theirs.value)
            by = f"{abs(gap):.1f} points {'ahead of' if gap > 0 else 'behind'}" if gap else "level with"
            if other.p is None:  # the run of an older version
                apart = ours.low > theirs.high or theirs.low > ours.high
                tested = f"; the intervals {'do not overlap' if apart else 'overlap'}"
            else:
                tested = (
                    f", p {equals(other.p)}: {'more than chance' if other.p <= DOUBTFUL else 'not distinguishable'}"
                )
            sentences.append(f"{self.main.name} is {by} {other.name}{tested}.")
        return " ".join(sentences)

    def summary(self) -> str:
        """The last lines of a run."""
        test, worst = self.test, self.test.worst_class()
        selected = " (selected on this set)" if self.selected_on == "test" else ""
        lines = [f"test accuracy{selected} {test.accuracy}, n = {test.n}   (in brackets: 95 % intervals)"]
        if self.without_leaks:
            lines.append(
                f"  without the test examples that training or validation has too ({self.leaked}): "
                f"{self.without_leaks.accuracy}, n = {self.without_leaks.n}   (leaks.csv)"
            )
        width = max(len(result.name) for result in (self.main, *self.beside))
        width = max(width, len("majority class"))
        for result in (self.main, *self.beside):
            more = [result.fitted or "", f"{result.cached} features were cached" if result.cached else ""]
            remark = "   " + "; ".join(filter(None, more)) if any(more) else ""
            lines.append(f"  {result.name:{width}}  {result.test.accuracy}   {result.seconds:6.1f} s{remark}")
        lines.append(
            f"  {'majority class':{width}}  {test.majority_accuracy:.3f}   (always {quoted(test.majority_class)})"
        )
        if self.beside:
            lines.append(self.verdict())
        if self.selected_on and self.main.kept:
            lines.append("the weights are those of phase {phase}, epoch {epoch}".format(**self.main.kept))
        undefined = [test.undefined] if test.undefined else []
        notes = [*undefined, *self.main.notes, *(note for note in self.notes if note.startswith("evaluate."))]
        lines += [f"note: {note}" for note in notes]
        if worst is not None:
            lines.append(f"worst class: {quoted(worst.name)}, {worst.recall} of its {worst.n} examples found")
        lines += [
            f"report:  {self.folder}/report.html",
            f"predict: headstart predict {self.folder} FILE_OR_FOLDER …",
        ]
        return "\n".join(lines)

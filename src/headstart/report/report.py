"""What came out of a run, as plain values: JSON for machines, sentences for people. Imports nothing
that trains."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from headstart.data.unicode import quoted
from headstart.errors import HeadstartError
from headstart.evaluate.paired_tests import ALPHA, p_equals
from headstart.evaluate.results import Calibration, FrozenModel, Result, Scores

FILE = "metrics.json"


class Report(FrozenModel):
    """All that `metrics.json` holds. `main` is what the recipe asked for, `beside` what it is
    measured against."""

    task: str
    name: str
    folder: str
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    leaked: int = 0  # test examples that training or validation has as well
    without_leaks: Scores | None = None  # the main result on the others
    # of the main result, where a part was held out from its training
    calibration: Calibration | None = None
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
            return Report.model_validate_json(path.read_bytes()).model_copy(
                update={"folder": str(run)}
            )
        except (FileNotFoundError, NotADirectoryError):
            raise HeadstartError(
                f"{run}: expected the folder of a finished run; found no {FILE} in it"
            ) from None
        except ValidationError as error:
            raise HeadstartError(
                f"{path}: not a report of this version: {error.errors()[0]['msg']}"
            ) from None

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def verdict(self) -> str:
        """One sentence a result beside: is the main one ahead, and by more than chance?"""
        sentences = []
        for other in self.beside:
            ours, theirs = self.test.accuracy, other.test.accuracy
            gap = 100 * (ours.value - theirs.value)
            by = (
                f"{abs(gap):.1f} points {'ahead of' if gap > 0 else 'behind'}"
                if gap
                else "level with"
            )
            if other.p is None:  # the run of an older version
                apart = ours.low > theirs.high or theirs.low > ours.high
                tested = f"; the intervals {'do not overlap' if apart else 'overlap'}"
            else:
                tested = (
                    f", {p_equals(other.p)}: "
                    f"{'more than chance' if other.p <= ALPHA else 'not distinguishable'}"
                )
            sentences.append(f"{self.main.name} is {by} {other.name}{tested}.")
        return " ".join(sentences)

    def summary(self) -> str:
        """The last lines of a run."""
        test, worst = self.test, self.test.worst_class()
        selected = " (selected on this set)" if self.selected_on == "test" else ""
        lines = [
            f"test accuracy{selected} {test.accuracy}, n = {test.n}   (in brackets: 95 % intervals)"
        ]
        if self.without_leaks:
            lines.append(
                f"  without the test examples that training or validation has too ({self.leaked}): "
                f"{self.without_leaks.accuracy}, n = {self.without_leaks.n}   (leaks.csv)"
            )
        width = max(len(result.name) for result in (self.main, *self.beside))
        width = max(width, len("majority class"))
        for result in (self.main, *self.beside):
            more = [
                result.fitted or "",
                f"{result.cached} features were cached" if result.cached else "",
            ]
            remark = "   " + "; ".join(filter(None, more)) if any(more) else ""
            lines.append(
                f"  {result.name:{width}}  {result.test.accuracy}   {result.seconds:6.1f} s{remark}"
            )
        lines.append(
            f"  {'majority class':{width}}  {test.majority_accuracy:.3f}   (always "
            f"{quoted(test.majority_class)})"
        )
        if self.beside:
            lines.append(self.verdict())
        if self.selected_on and self.main.kept:
            lines.append(
                "the weights are those of phase {phase}, epoch {epoch}".format(**self.main.kept)
            )
        undefined = [test.undefined] if test.undefined else []
        notes = [
            *undefined,
            *self.main.notes,
            *(note for note in self.notes if note.startswith("evaluate.")),
        ]
        lines += [f"note: {note}" for note in notes]
        if worst is not None:
            lines.append(
                f"worst class: {quoted(worst.name)}, {worst.recall} of its {worst.n} examples found"
            )
        lines += [
            f"report:  {self.folder}/report.html",
            f"predict: headstart predict {self.folder} FILE_OR_FOLDER …",
        ]
        return "\n".join(lines)

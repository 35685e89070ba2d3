"""The report of a run: metrics.json, and the summary in words."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from headstart.data.unicode import quoted
from headstart.errors import RunError
from headstart.evaluate.paired_tests import ALPHA, format_p_relation
from headstart.evaluate.results import Calibration, FrozenRecord, Result, Scores

FILE = "metrics.json"


class Report(FrozenRecord):
    """The content of `metrics.json`: the main result, which the recipe's strategy gave, and the
    baselines, which it is compared with (`beside` in the file)."""

    model_config = ConfigDict(populate_by_name=True)

    task: str
    name: str
    folder: str
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    leaked: int = 0  # test examples with a duplicate in training or validation
    without_leaks: Scores | None = None  # of the main result, without those
    calibration: Calibration | None = None  # of the main result, if it has a validation part
    selected_on: str | None
    main: Result
    baselines: tuple[Result, ...] = Field(alias="beside")

    @property
    def test(self) -> Scores:
        """The main result's scores on the test part."""
        return self.main.test

    @staticmethod
    def read(run: str | Path) -> Report:
        """The report of a finished run.

        Raises:
            HeadstartError: the folder is not that of a finished run.
        """
        path = Path(run) / FILE
        try:
            report = Report.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                f"{run}: expected the folder of a finished run; found no {FILE} in it"
            ) from None
        except ValidationError as error:
            raise RunError(
                f"{path}: not a report of this version: {error.errors()[0]['msg']}"
            ) from None
        return report.model_copy(update={"folder": str(run)})

    def write(self, folder: Path) -> None:
        content = self.model_dump_json(indent=2, by_alias=True)
        (folder / FILE).write_text(content + "\n", encoding="utf-8")

    def verdict(self) -> str:
        """For each baseline, whether the main result is ahead, and by more than chance."""
        return " ".join(self._compared_with(baseline) for baseline in self.baselines)

    def _compared_with(self, baseline: Result) -> str:
        accuracy, other = self.test.accuracy, baseline.test.accuracy
        points = 100 * (accuracy.value - other.value)
        if points:
            side = f"{abs(points):.1f} points {'ahead of' if points > 0 else 'behind'}"
        else:
            side = "level with"
        if baseline.p is None:  # the run of an older version
            disjoint = accuracy.low > other.high or other.low > accuracy.high
            test = f"; the intervals {'do not overlap' if disjoint else 'overlap'}"
        else:
            chance = "more than chance" if baseline.p <= ALPHA else "not distinguishable"
            test = f", {format_p_relation(baseline.p)}: {chance}"
        return f"{self.main.name} is {side} {baseline.name}{test}."

    def summary(self) -> str:
        """The last lines that a run prints."""
        test, worst = self.test, self.test.worst_class()
        selected = " (selected on this set)" if self.selected_on == "test" else ""
        lines = [
            f"test accuracy{selected} {test.accuracy}, n = {test.n}   (in brackets: 95 % intervals)"
        ]
        if self.without_leaks:
            lines.append(
                f"  without the {self.leaked} test examples that are also in training or "
                f"validation: {self.without_leaks.accuracy}, n = {self.without_leaks.n}   "
                "(leaks.csv)"
            )
        lines += self._accuracies()
        if self.baselines:
            lines.append(self.verdict())
        if self.selected_on and self.main.kept:
            kept = self.main.kept
            lines.append(f"the weights are those of phase {kept.phase}, epoch {kept.epoch}")
        undefined = [test.undefined] if test.undefined else []
        failed = [note for note in self.notes if note.startswith("evaluate.")]
        lines += [f"note: {note}" for note in (*undefined, *self.main.notes, *failed)]
        if worst is not None:
            lines.append(f"worst class: {quoted(worst.name)}, recall {worst.recall}, n = {worst.n}")
        return "\n".join(
            [
                *lines,
                f"report:  {self.folder}/report.html",
                f"predict: headstart predict {self.folder} FILE_OR_FOLDER …",
            ]
        )

    def _accuracies(self) -> list[str]:
        """A line for each result and one for the majority class."""
        results, majority = (self.main, *self.baselines), "majority class"
        width = max(len(majority), *(len(result.name) for result in results))
        lines = []
        for result in results:
            cached = f"{result.cached} features were cached" if result.cached else ""
            remarks = "; ".join(filter(None, (result.fitted, cached)))
            line = f"  {result.name:{width}}  {result.test.accuracy}   {result.seconds:6.1f} s"
            lines.append(f"{line}   {remarks}" if remarks else line)
        return [
            *lines,
            f"  {majority:{width}}  {self.test.majority_accuracy:.3f}   (always "
            f"{quoted(self.test.majority_class)})",
        ]

"""Comparison of finished runs on one split: table, verdict and HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from headstart.errors import RunError
from headstart.evaluate.intervals import bootstrap
from headstart.evaluate.paired_tests import ALPHA, format_p, format_p_relation, holm, sign_flip_test
from headstart.evaluate.results import Estimate, FrozenRecord
from headstart.evaluate.scores import proportion
from headstart.files import write_text
from headstart.report.html import render
from headstart.report.predictions import read_predictions
from headstart.report.report import Report


class Cost(FrozenRecord):
    """The cost of one run: seconds of training and testing, peak bytes of its process, and bytes of
    its model on disk."""

    seconds: float
    peak_bytes: int
    model_bytes: int


class ComparisonRow(FrozenRecord):
    """One way to train. `accuracy` is the mean over the seeds; its interval resamples examples and
    seeds. `points` is how many percentage points it is below the best; `p` is the p-value of that
    difference, Holm-corrected for the number of rows (None for the best)."""

    name: str
    seeds: tuple[int, ...]
    accuracy: Estimate
    by_seed: tuple[float, ...]
    macro_f1: float
    log_loss: float
    points: float
    p: float | None
    seconds: float
    peak_bytes: int
    model_bytes: int
    trainable: int
    cached: int = 0  # examples whose frozen features were in the cache already, over all its runs

    @property
    def significantly_lower(self) -> bool:
        """Whether it is below the best by more than chance."""
        return self.p is not None and self.p <= ALPHA


class Comparison(FrozenRecord):
    """Rows sorted from the highest accuracy down, on n test examples, and a sentence for each run
    that failed."""

    n: int
    rows: tuple[ComparisonRow, ...]
    failed: tuple[str, ...]

    def verdict(self) -> str:
        """The conclusions from the table, in sentences."""
        if not self.rows:
            return "No run finished."
        best, *others = self.rows
        sentences = [f"{best.name} has the highest accuracy, {best.accuracy} (n = {self.n})."]
        for row in others:
            lower = f"is {row.points:.1f} points lower" if row.points else "has the same accuracy"
            chance = "more than chance" if row.significantly_lower else "not distinguishable"
            sentences.append(
                f"{row.name} {lower}, {format_p_relation(row.p)}: {chance}{_time(row, best)}."
            )
        fastest = min(
            (row for row in self.rows if not row.significantly_lower), key=lambda row: row.seconds
        )
        if fastest is not best:
            sentences.append(f"The fastest that is not distinguishable is {fastest.name}.")
        if any(row.cached for row in self.rows):
            sentences.append("Seconds exclude frozen features that were read from the cache.")
        return " ".join(sentences)

    def markdown(self) -> str:
        """The table in Markdown."""
        columns: dict[str, Callable[[ComparisonRow], str]] = {
            "": lambda row: row.name.replace("|", "/"),
            "accuracy": lambda row: f"{row.accuracy.value:.3f}",
            "95 % interval": lambda row: f"{row.accuracy.low:.3f} to {row.accuracy.high:.3f}",
            "by seed": lambda row: ", ".join(f"{value:.3f}" for value in row.by_seed),
            "macro-F1": lambda row: f"{row.macro_f1:.3f}",
            "log loss": lambda row: f"{row.log_loss:.3f}",
            "points behind": lambda row: f"{row.points:.1f}",
            "p": lambda row: format_p(row.p),
            "seconds": lambda row: f"{row.seconds:.1f}",
            "peak memory": lambda row: format_bytes(row.peak_bytes),
            "trainable": lambda row: f"{row.trainable:,}",
            "model": lambda row: format_bytes(row.model_bytes),
        }
        if all(len(row.seeds) == 1 for row in self.rows):
            del columns["by seed"]
        lines = [
            list(columns),
            ["---"] * len(columns),
            *([cell(row) for cell in columns.values()] for row in self.rows),
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(row: ComparisonRow, best: ComparisonRow) -> str:
    """How its time compares with the best's; empty if they are similar."""
    ratio = best.seconds / max(row.seconds, 1e-9)
    if ratio >= 2:
        return f"; it takes 1/{ratio:.0f} of the time"
    if ratio >= 1.5:
        return f"; it takes {1 / ratio:.2f} of the time"
    return f"; it takes {1 / ratio:.0f} times as long" if ratio <= 0.5 else ""


def format_bytes(count: int) -> str:
    """A number of bytes in MB or GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


Runs = dict[int, tuple[Path, Cost]]
"""The runs of one way to train: run directory and cost by seed."""


def compare_runs(
    runs_by_name: dict[str, Runs], failed: tuple[str, ...], resamples: int
) -> Comparison:
    """Compare finished runs.

    Args:
        runs_by_name: the runs of each way to train.
        failed: a sentence for each run without a result.
        resamples: of the bootstrap.
    """
    correct = {name: _correct(runs) for name, runs in runs_by_name.items()}
    names = sorted(correct, key=lambda name: -correct[name].mean())
    if not names:
        return Comparison(n=0, rows=(), failed=failed)
    best = correct[names[0]]
    p_values = holm([sign_flip_test(_differences(best, correct[name])) for name in names[1:]])
    rows = [
        _row(
            name,
            runs_by_name[name],
            correct[name],
            100 * (best.mean() - correct[name].mean()),
            p,
            resamples,
        )
        for name, p in zip(names, [None, *p_values], strict=True)
    ]
    return Comparison(n=len(best), rows=tuple(rows), failed=failed)


def _correct(runs: Runs) -> np.ndarray:
    """Which examples each seed's model predicts correctly, shape (n, seeds), sorted by the
    examples' names."""
    columns = []
    for folder, _ in runs.values():
        predictions, n = read_predictions(folder), Report.read(folder).test.n
        if len(predictions.names) != n:
            raise RunError(
                f"{folder}: predictions.csv has {len(predictions.names)} examples, metrics.json "
                f"{n}; delete {folder.parent} and start again"
            )
        columns.append(predictions.correct[np.argsort(np.array(predictions.names), kind="stable")])
    return np.stack(columns, axis=1)


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each example, how much more often the first is correct; whole numbers even if they have
    different numbers of seeds."""
    common = math.lcm(first.shape[1], second.shape[1])
    counts = [
        correct.sum(1).astype(int) * (common // correct.shape[1]) for correct in (first, second)
    ]
    return np.asarray(counts[0] - counts[1])


def _row(
    name: str, runs: Runs, correct: np.ndarray, points: float, p: float | None, resamples: int
) -> ComparisonRow:
    reports = [Report.read(folder) for folder, _ in runs.values()]
    costs = [cost for _, cost in runs.values()]
    return ComparisonRow(
        name=name,
        seeds=tuple(runs),
        accuracy=_accuracy(correct, resamples),
        by_seed=tuple(correct.mean(0).tolist()),
        macro_f1=float(np.mean([report.test.macro_f1.value for report in reports])),
        log_loss=float(np.mean([report.test.log_loss.value for report in reports])),
        points=points,
        p=p,
        seconds=median(cost.seconds for cost in costs),
        peak_bytes=int(median(cost.peak_bytes for cost in costs)),
        model_bytes=int(median(cost.model_bytes for cost in costs)),
        cached=sum(report.main.cached for report in reports),
        trainable=max((phase.trainable for phase in reports[0].main.phases), default=0),
    )


def _accuracy(correct: np.ndarray, resamples: int) -> Estimate:
    """Mean accuracy over the seeds. Its interval resamples examples and seeds; with one seed it is
    Wilson's."""
    n, seeds = correct.shape
    if seeds == 1:
        return proportion(int(correct.sum()), n)
    random = np.random.default_rng(0)

    def means(weights: np.ndarray) -> np.ndarray:
        resampled_seeds = random.integers(seeds, size=(len(weights), seeds))
        accuracies = np.take_along_axis(weights @ correct / n, resampled_seeds, 1)
        return np.asarray(accuracies.mean(1, keepdims=True))

    (low,), (high,) = bootstrap(means, n, resamples)
    return Estimate(value=float(correct.mean()), low=float(low), high=float(high))


@dataclass(frozen=True)
class ComparisonSection:
    """A comparison on a page, with a title and a remark (may be empty)."""

    title: str
    comparison: Comparison
    remark: str = ""


def write_comparison_page(
    title: str, about: str, sections: Sequence[ComparisonSection], path: Path
) -> None:
    """Write comparisons as one HTML file without scripts. Names from recipes and data are escaped.

    Args:
        about: what was measured, and where.
    """
    content = render(
        "comparison.html",
        title=title,
        about=about,
        sections=sections,
        format_bytes=format_bytes,
        format_p=format_p,
    )
    write_text(path, content)

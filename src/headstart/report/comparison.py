"""Finished runs on one split: which are ahead of which by more than chance."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import numpy as np

from headstart.errors import HeadstartError
from headstart.evaluate.comparison import Comparison, Cost, Row
from headstart.evaluate.intervals import bootstrap, wilson
from headstart.evaluate.paired import holm, sign_flip
from headstart.evaluate.results import Figure
from headstart.report.predictions import read_predictions
from headstart.report.report import Report


def compared(
    cells: dict[str, dict[int, tuple[Path, Cost]]], failed: tuple[str, ...], resamples: int
) -> Comparison:
    """The table of finished runs.

    Args:
        cells: for each way to train and each seed the run's folder and what it took.
        failed: a sentence for each run without a result.
        resamples: of the bootstrap.
    """
    right = {name: _right(runs) for name, runs in cells.items()}
    ordered = sorted(right, key=lambda name: -right[name].mean())
    chances = []
    if ordered:
        best = right[ordered[0]]
        chances = holm([sign_flip(_difference(best, right[name])) for name in ordered[1:]])
    rows = [
        _row(
            name,
            cells[name],
            right[name],
            100 * (right[ordered[0]].mean() - right[name].mean()),
            p,
            resamples,
        )
        for name, p in zip(ordered, [None, *chances], strict=bool(ordered))
    ]
    return Comparison(n=len(right[ordered[0]]) if ordered else 0, rows=tuple(rows), failed=failed)


def _right(runs: dict[int, tuple[Path, Cost]]) -> np.ndarray:
    """Which examples each seed's model got right, shape (n, seeds), examples in the order of their
    names."""
    columns = []
    for folder, _ in runs.values():
        found, stated = read_predictions(folder), Report.read(folder).test.n
        if len(found.names) != stated:
            raise HeadstartError(
                f"{folder}: predictions.csv has {len(found.names)} examples, metrics.json "
                f"{stated}; delete {folder.parent} and start again"
            )
        columns.append(found.right[np.argsort(np.array(found.names), kind="stable")])
    return np.stack(columns, axis=1)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How much oftener one was right, of each example, in whole numbers also where one has fewer
    seeds."""
    common = math.lcm(ours.shape[1], theirs.shape[1])
    counted = [found.sum(1).astype(int) * (common // found.shape[1]) for found in (ours, theirs)]
    return np.asarray(counted[0] - counted[1])


def _row(
    name: str,
    runs: dict[int, tuple[Path, Cost]],
    right: np.ndarray,
    points: float,
    p: float | None,
    resamples: int,
) -> Row:
    reports = [Report.read(folder) for folder, _ in runs.values()]
    costs = [cost for _, cost in runs.values()]
    return Row(
        name=name,
        seeds=tuple(runs),
        accuracy=_figure(right, resamples),
        by_seed=tuple(right.mean(0).tolist()),
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


def _figure(right: np.ndarray, resamples: int) -> Figure:
    """Mean accuracy over seeds; its interval draws examples and seeds anew (of one seed,
    Wilson's)."""
    n, seeds = right.shape
    if seeds == 1:
        low, high = wilson(int(right.sum()), n)
        return Figure(value=float(right.mean()), low=low, high=high)
    random = np.random.default_rng(0)

    def means(weights: np.ndarray) -> np.ndarray:
        drawn = random.integers(seeds, size=(len(weights), seeds))
        return np.take_along_axis(weights @ right / n, drawn, 1).mean(1, keepdims=True)

    (low,), (high,) = bootstrap(means, n, resamples)
    return Figure(value=float(right.mean()), low=float(low), high=float(high))

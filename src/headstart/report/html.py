"""report.html: one file, no scripts, nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.report.examples import Example
from headstart.report.pages import render
from headstart.report.plots import learning_curves, reliability
from headstart.report.report import Report

# classes of a confusion matrix that is shown whole; else the pairs most often mixed up
FEW, MIXED_UP = 12, 10


def write_html(
    report: Report,
    manifest: dict[str, Any],
    sizes: dict[str, int],
    test: tuple[np.ndarray, np.ndarray],
    risk: tuple[np.ndarray, np.ndarray],
    examples: Mapping[str, Sequence[Example]],
    folder: Path,
) -> None:
    """Write report.html; every name from the data is shown as text, whatever it holds.

    Args:
        sizes: parameters of each block. test: labels, shape (n,), and probabilities, shape (n,
            classes), of the test part.
        risk: share of examples answered and error among them, shape (n,) each. examples: by what
            they are examples of.
    """
    truth, probabilities = test
    results = [report.main, *report.beside]
    page = render(
        "report.html",
        report=report,
        manifest=manifest,
        sizes=sizes,
        results=results,
        curves={
            result.name: learning_curves(result) for result in results if len(result.epochs) > 1
        },
        reliability=reliability(probabilities.max(1), probabilities.argmax(1) == truth, *risk),
        matrix=_matrix(truth, probabilities) if len(report.labels) <= FEW else None,
        mixed_up=_mixed_up(truth, probabilities, report.labels),
        examples=examples,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _matrix(truth: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """How many examples of each label (row) were called what (column)."""
    classes = probabilities.shape[1]
    counted = np.bincount(truth * classes + probabilities.argmax(1), minlength=classes**2)
    return [[int(count) for count in row] for row in counted.reshape(classes, classes)]


def _mixed_up(
    truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]
) -> list[tuple[str, str, int]]:
    """(label, what it was called, how often), the most frequent first."""
    guess = probabilities.argmax(1)
    pairs = Counter(
        zip(truth[guess != truth].tolist(), guess[guess != truth].tolist(), strict=True)
    )
    return [
        (labels[own], labels[other], count) for (own, other), count in pairs.most_common(MIXED_UP)
    ]

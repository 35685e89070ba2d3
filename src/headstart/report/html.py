"""HTML pages: rendering shared by all pages, and report.html. Each page is one file without scripts
or external resources."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from headstart.evaluate.results import Estimate
from headstart.report.plots import learning_curves, reliability_diagram
from headstart.report.report import Report

THUMBNAIL, EXCERPT, PIECES = 160, 400, 128  # pixels of an image, characters and pieces of a text
MAX_CLASSES = 12  # of a full confusion matrix; with more, the most frequent confusions are listed
CONFUSIONS = 10

# an image, a text, or the pieces of a text with the evidence of each for a class
Shown = str | Image.Image | list[tuple[str, float]]


@dataclass(frozen=True)
class Example:
    """One test example: its name, its label, the most probable classes, its log loss, and what is
    shown of it."""

    name: str
    label: str
    top: tuple[tuple[str, float], ...]
    loss: float
    shown: list[Shown]


def render(template: str, **values: object) -> str:
    """A page from its template. Text is escaped unless it is Markup."""
    environment = Environment(
        loader=PackageLoader("headstart.report"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(template).render(
        axis_limits=axis_limits, as_html=as_html, **values
    )


def axis_limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The ends of the shortest axis, in tenths, that shows all intervals."""
    high = max(math.ceil(10 * max(estimate.high for estimate in estimates)), 1)
    low = min(math.floor(10 * min(estimate.low for estimate in estimates)), high - 1)
    return low / 10, high / 10


def as_html(example: Shown) -> Markup:
    """The beginning of a text, or a thumbnail of an image, as HTML."""
    if isinstance(example, list):
        return _highlighted(example)
    if isinstance(example, str):
        excerpt = example if len(example) <= EXCERPT else f"{example[:EXCERPT]} …"
        return Markup("<q>{}</q>").format(excerpt)
    thumbnail, content = example.copy(), io.BytesIO()
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    thumbnail.save(content, "JPEG", quality=80)
    return Markup('<img alt="" src="data:image/jpeg;base64,{}">').format(
        base64.b64encode(content.getvalue()).decode()
    )


def _highlighted(pieces: list[tuple[str, float]]) -> Markup:
    """A text with evidence for a class on blue ground and evidence against it on red."""
    most = max((abs(weight) for _, weight in pieces), default=0.0) or 1.0
    spans = [
        Markup('<span style="background:rgba({},{:.2f})">{}</span>').format(
            Markup("34,102,204" if weight > 0 else "204,51,51"), 0.75 * abs(weight) / most, piece
        )
        for piece, weight in pieces[:PIECES]
        if piece
    ]
    more = " …" if len(pieces) > PIECES else ""
    return Markup("<q>{}{}</q>").format(Markup("").join(spans), more)


def write_report_page(
    report: Report,
    manifest: Mapping[str, object],
    sizes: dict[str, int],
    test: tuple[np.ndarray, np.ndarray],
    risk_coverage: tuple[np.ndarray, np.ndarray],
    examples: Mapping[str, Sequence[Example]],
    folder: Path,
) -> None:
    """Write report.html. Names from the data are escaped.

    Args:
        sizes: parameters of each block.
        test: labels, shape (n,), and probabilities, shape (n, classes), of the test part.
        risk_coverage: share of examples answered and error rate among them, shape (n,) each.
        examples: test examples by the title of their section.
    """
    truth, probabilities = test
    predicted = probabilities.argmax(1)
    results = [report.main, *report.baselines]
    page = render(
        "report.html",
        report=report,
        manifest=manifest,
        sizes=sizes,
        results=results,
        curves={
            result.name: learning_curves(result) for result in results if len(result.epochs) > 1
        },
        reliability=reliability_diagram(probabilities.max(1), predicted == truth, *risk_coverage),
        matrix=_confusion_matrix(truth, predicted, len(report.labels)),
        confusions=_confusions(truth, predicted, report.labels),
        examples=examples,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, classes: int
) -> list[list[int]] | None:
    """Counts by label (row) and prediction (column); None if there are many classes."""
    if classes > MAX_CLASSES:
        return None
    counts = np.bincount(truth * classes + predicted, minlength=classes**2)
    matrix: list[list[int]] = counts.reshape(classes, classes).tolist()
    return matrix


def _confusions(
    truth: np.ndarray, predicted: np.ndarray, labels: tuple[str, ...]
) -> list[tuple[str, str, int]]:
    """(label, prediction, count) of the most frequent errors."""
    errors = predicted != truth
    pairs = Counter(zip(truth[errors].tolist(), predicted[errors].tolist(), strict=True))
    return [
        (labels[label], labels[prediction], count)
        for (label, prediction), count in pairs.most_common(CONFUSIONS)
    ]

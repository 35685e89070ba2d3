"""The page of `headstart check`: duplicates, doubtful labels, and examples of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.checks.leaks import Leaks, Pair
from headstart.data.dataset import Dataset
from headstart.files import write_text
from headstart.report.html import Shown, as_html, render

# examples a class, classes, pairs and doubtful labels on the page
EACH, CLASSES, PAIRS, DOUBTS = 6, 30, 60, 60


@dataclass(frozen=True)
class CheckPage:
    """The content of the page.

    doubts: part, example, label, predicted label and the probabilities of both a row.
    as_shown: an example as it stands in the data, as far as possible.
    plain, augmented: what the network reads of an example, and the same as in training, given the
        example's row.
    """

    source: str
    lines: tuple[str, ...]
    dataset: Dataset
    leaks: Leaks
    doubts: list[list[str]]
    seed: int
    as_shown: Callable[[str], Shown]
    plain: Callable[[str], Shown]
    augmented: Callable[[str, int], Shown]


def write_check_page(page: CheckPage, path: Path) -> None:
    """Write the page; names and texts from the data are escaped."""
    pairs, doubts = _worst(page.leaks), page.doubts[:DOUBTS]
    shown = {(part, name) for part, name, *_ in doubts}
    for pair in pairs:
        shown |= {(pair.part, pair.name), (pair.other_part, pair.other_name)}
    figures = {
        (role, name): as_html(page.as_shown(part.items[row]))
        for role, part in page.dataset.parts().items()
        for row, name in enumerate(part.names)
        if (role, name) in shown
    }
    content = render(
        "check.html",
        page=page,
        classes=_classes(page),
        pairs=pairs,
        doubts=doubts,
        figures=figures,
    )
    write_text(path, content)


def _worst(leaks: Leaks) -> list[Pair]:
    """Conflicts first, then leaks, of each kind in turn."""
    by_kind: dict[str, list[Pair]] = {}
    for pair in leaks.leaks:
        by_kind.setdefault(pair.kind, []).append(pair)
    share = max((PAIRS - min(len(leaks.conflicts), PAIRS // 3)) // max(len(by_kind), 1), 1)
    return [
        *leaks.conflicts[: PAIRS // 3],
        *(pair for pairs in by_kind.values() for pair in pairs[:share]),
    ]


def _classes(page: CheckPage) -> list[tuple[str, int, list[tuple[Shown, Shown]]]]:
    """Each class: its name, the number of training examples, and some of them, plain and
    augmented."""
    train, random = page.dataset.train, np.random.default_rng(page.seed)
    classes = []
    for number, name in enumerate(page.dataset.labels[:CLASSES]):
        rows = np.flatnonzero(train.labels == number)
        chosen = np.sort(random.permutation(rows)[:EACH]).tolist()
        shown = [
            (page.plain(train.items[row]), page.augmented(train.items[row], row)) for row in chosen
        ]
        classes.append((name, len(rows), shown))
    return classes

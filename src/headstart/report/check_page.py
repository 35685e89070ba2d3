"""The page of `headstart check`: examples of each class as read and as varied, likes, and doubtful
labels. One file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from headstart.checks.leaks import Leaks, Pair
from headstart.data.dataset import Dataset
from headstart.files import write_text
from headstart.report.html import as_html, render

if TYPE_CHECKING:
    from headstart.models.preprocessor import Preprocessor

# examples a class, classes, pairs and doubtful labels on the page
EACH, CLASSES, PAIRS, DOUBTS = 6, 30, 60, 60


@dataclass(frozen=True)
class CheckPage:
    """What the page shows. `doubts` has part, example, label, suspected label and their
    probabilities a row."""

    source: str
    lines: tuple[str, ...]
    dataset: Dataset
    leaks: Leaks
    doubts: list[list[str]]
    seed: int


def write_check_page(
    page: CheckPage, plain: Preprocessor, varied: Preprocessor, path: Path
) -> None:
    """Write the page; every name and text from the data is shown as text, whatever it holds."""
    pairs, doubts = _worst(page.leaks), page.doubts[:DOUBTS]
    shown = {(pair.part, pair.name) for pair in pairs} | {
        (pair.other_part, pair.other_name) for pair in pairs
    }
    shown |= {(part, name) for part, name, *_ in doubts}
    figures = {
        (role, name): as_html(_as_it_stands(part.items[row], plain))
        for role, part in page.dataset.parts().items()
        for row, name in enumerate(part.names)
        if (role, name) in shown
    }
    classes = _classes(page, plain, varied)
    content = render(
        "check.html", page=page, classes=classes, pairs=pairs, doubts=doubts, figures=figures
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


def _classes(
    page: CheckPage, plain: Preprocessor, varied: Preprocessor
) -> list[tuple[str, int, list[tuple[Markup, Markup]]]]:
    """For each class its name, how many training examples it has, and some of them as read and as
    varied."""
    train, random = page.dataset.train, np.random.default_rng(page.seed)
    found = []
    for number, name in enumerate(page.dataset.labels[:CLASSES]):
        rows = np.flatnonzero(train.labels == number)
        some = np.sort(random.permutation(rows)[:EACH]).tolist()
        shown = [
            (as_html(plain.show(train.items[row])), as_html(varied.show(train.items[row], row)))
            for row in some
        ]
        found.append((name, len(rows), shown))
    return found


def _as_it_stands(item: str, preprocessor: Preprocessor) -> str | Image.Image:
    """A text without what its tokenizer makes of it, an image as the network reads it."""
    seen = preprocessor.show(item)
    return item if isinstance(seen, str) else seen

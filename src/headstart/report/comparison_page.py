"""Comparisons as a page: one file, no scripts, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.cache import write_whole
from headstart.evaluate.comparison import Comparison, size
from headstart.evaluate.significance import chance
from headstart.report.pages import render


@dataclass(frozen=True)
class Compared:
    """A comparison under its title, with a remark (empty for none)."""

    title: str
    comparison: Comparison
    remark: str = ""


def write_comparisons(title: str, about: str, parts: Sequence[Compared], path: Path) -> None:
    """Write the page; every name from recipes and data is shown as text, whatever it holds.

    Args:
        about: what was measured, and where.
    """
    content = render(
        "comparison.html", title=title, about=about, parts=parts, size=size, chance=chance
    )
    write_whole(path, content)

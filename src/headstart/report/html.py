"""report.html: one file, no scripts, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from headstart.report.report import Report


def write_html(report: Report, manifest: dict[str, Any], sizes: dict[str, int], folder: Path) -> None:
    """Write report.html; every name from the data is shown as text, whatever it holds."""
    pages = Environment(loader=PackageLoader("headstart.report"), autoescape=True, undefined=StrictUndefined)
    page = pages.get_template("report.html").render(
        report=report, manifest=manifest, sizes=sizes, results=[report.main, *report.beside]
    )
    (folder / "report.html").write_text(page, encoding="utf-8")

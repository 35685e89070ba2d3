"""Progress bars with speed and time left on a terminal; elsewhere nothing is drawn."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, TextIO

REDRAW_SECONDS = 0.1


class Bar:
    """One line of a terminal that shows how far something is, and vanishes when it is closed.

    Args:
        title: what is being done. total: of how many; None where that is not known. unit: what is counted. out: where to draw
            (default: standard error); nothing is drawn if it is no terminal, nor by any process of a run but the first.
    """

    def __init__(self, title: str, total: int | None, unit: str = "examples", out: TextIO | None = None) -> None:
        out = out or sys.stderr
        self._rich: Any = None
        self._drawn = 0.0
        if out.isatty() and os.environ.get("RANK", "0") == "0":
            self._rich = _rich_progress(unit, out)
            self._task = self._rich.add_task(title, total=total)
            self._rich.start()

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        if self._rich is not None:
            self._rich.advance(self._task, count)
            self._redraw()

    def update(self, done: int, title: str) -> None:
        """So many are done in all, and what is shown beside the bar."""
        if self._rich is not None:
            self._rich.update(self._task, completed=done, description=title)
            self._redraw()

    def close(self) -> None:
        """Clear the line."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _redraw(self) -> None:
        if (now := time.monotonic()) - self._drawn > REDRAW_SECONDS:
            self._drawn = now
            self._rich.refresh()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _rich_progress(unit: str, out: TextIO) -> Any:
    """It draws when it is told to: a thread of its own would not go together with forked loader processes."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else "")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        Speed(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(file=out),
        auto_refresh=False,
        transient=True,
        speed_estimate_period=10.0,
    )

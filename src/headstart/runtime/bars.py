"""Progress of one task: a bar with speed and time left on a terminal, else a line each 30 s."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

REDRAW_SECONDS = 0.1
REST = 48  # columns of a terminal that bar, share, speed and time left take
QUIET_SECONDS = 30.0  # between two lines where the output is no terminal


class Bar:
    """One line of a terminal that shows how far something is, and vanishes when it is closed.

    Args:
        title: what is being done. total: of how many examples; None where that is not known. out:
            where to (default: standard error). shown: whether at all; of several processes of a run
            only the first shows anything.
    """

    def __init__(
        self, title: str, total: int | None, out: TextIO | None = None, shown: bool = True
    ) -> None:
        self._title, self._total, self._out = title, total, out or sys.stderr
        self._shown = shown and os.environ.get("RANK", "0") == "0"
        self._done, self._since, self._drawn = 0, time.monotonic(), time.monotonic()
        self._rich: Progress | None = None
        if self._shown and self._out.isatty():
            self._rich = _rich_progress(self._out)
            self._task = self._rich.add_task(title, total=total)
            self._rich.start()

    def advance(self, count: int = 1) -> None:
        """Count further examples as done."""
        self.update(self._done + count, self._title)

    def update(self, done: int, title: str) -> None:
        """Set how many examples are done in all, and the title."""
        self._done, self._title = done, title
        wait = REDRAW_SECONDS if self._rich is not None else QUIET_SECONDS
        if self._shown and (now := time.monotonic()) - self._drawn > wait:
            self._drawn = now
            self._draw(now)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        if self._rich is not None:
            self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._out, flush=True)

    def close(self) -> None:
        """Clear the line."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _draw(self, now: float) -> None:
        if self._rich is not None:
            room = self._rich.console.width - REST
            title = self._title if len(self._title) <= room else f"{self._title[: room - 1]}…"
            self._rich.update(self._task, completed=self._done, description=title, refresh=True)
            return
        of = f" of {self._total:,}" if self._total is not None else ""
        self.print(
            f"{self._title}: {self._done:,}{of}, {self._done / (now - self._since):,.0f} examples/s"
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _rich_progress(out: TextIO) -> Progress:
    """A progress display that draws on request only: a drawing thread does not go together with
    forked loader processes."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Share(ProgressColumn):
        def render(self, task: Task) -> Text:
            share = f"{task.percentage:.0f} %" if task.total else f"{task.completed:,.0f}"
            return Text(share + (f"  {task.speed:,.0f} examples/s" if task.speed else ""))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        Share(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(file=out),
        auto_refresh=False,
        transient=True,
        speed_estimate_period=10.0,
    )

"""What a run says while it works: a bar and a line a phase on a terminal, JSON lines elsewhere, and
always a log file."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import TextIO

from headstart.evaluate.events import (
    EpochDone,
    Event,
    Extracting,
    FeaturesDone,
    Note,
    OnEvent,
    StepDone,
    StrategyStarted,
)
from headstart.runtime.bars import Bar

QUIET_SECONDS = 30.0  # between two lines about steps when the output is no terminal


class Progress:
    """Takes events and plain text."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._log: Path | None = None
        self._listeners: list[OnEvent] = []
        self._title = ""
        self._epoch: EpochDone | None = None
        self._bar: Bar | None = None
        self._epoch_line = ""
        self._printed = time.monotonic()

    def log_to(self, path: Path) -> None:
        """Also write every event but passing ones to this file, as JSON lines."""
        self._log = path

    def also(self, on_event: OnEvent) -> None:
        """Also send every event there."""
        self._listeners.append(on_event)

    def text(self, text: str) -> None:
        """Sentences for people, on their own lines."""
        self._end_bar()
        self._print(text)

    def tell(self, event: Event) -> None:
        """An event of the engine or the runner."""
        for on_event in self._listeners:
            on_event(event)
        if not event.passing and self._log is not None:
            line = {"time": round(time.time(), 3), **event.to_json()}
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self._live:
            self._draw(event)
        elif not event.passing or time.monotonic() - self._printed > QUIET_SECONDS:
            line = event.to_json()
            line.pop("lr", None)  # a rate for each block fills the screen
            self._print(json.dumps(_short(line), ensure_ascii=False))
            self._printed = time.monotonic()

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._out, flush=True)
        except BrokenPipeError:  # nobody reads on; the run is worth more than its lines
            self._out = io.StringIO()

    def _draw(self, event: Event) -> None:
        match event:
            case StrategyStarted():
                self._end_bar()
                self._title, self._epoch = event.name, None
            case StepDone():
                if self._epoch and self._epoch.record.phase != event.phase:
                    self._end_bar()
                done = (event.epoch - 1) * event.of + event.seen
                title = self._about(event.phase, event.epoch, event.epochs)
                self._progress(done, event.epochs * event.of, title)
            case EpochDone():
                self._epoch, record = event, event.record
                self._epoch_line = self._about(record.phase, record.epoch, event.epochs)
                if record.epoch == event.epochs:
                    self._end_bar()
            case Extracting():
                title = f"{self._title}  features of {event.part}"
                self._progress(event.seen, event.of, title)
            case FeaturesDone():
                self.text(
                    f"{self._title}  features of {event.part}: {event.cached} of {event.of} from "
                    f"the cache, {event.computed} computed in {event.seconds:.1f} s"
                )
            case Note():
                self.text(event.note)

    def _about(self, phase: int, epoch: int, epochs: int) -> str:
        """Where training stands, and what the last epoch came to."""
        parts = [self._title, f"phase {phase}", f"epoch {epoch}/{epochs}"]
        if self._epoch:
            parts.append(f"loss {self._epoch.record.loss:.3f}")
        if self._epoch and self._epoch.best:
            metric, best = self._epoch.best.metric, self._epoch.best.best
            named = "" if metric == "accuracy" else f" {metric.replace('_', ' ')}"
            value = self._epoch.selection(metric)
            parts.append(f"validation{named} {value:.3f}, best {best:.3f}")
        return "  ".join(parts)

    def _progress(self, done: int, total: int, title: str) -> None:
        if self._bar is None:
            self._bar = Bar(title, total, out=self._out)
        self._bar.update(done, title)

    def _end_bar(self) -> None:
        """Clear the bar; what the last epoch came to stays as a line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._epoch_line:
            self._print(self._epoch_line)
            self._epoch_line = ""


def _short(value: object) -> object:
    """Floats cut to five figures, for reading."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return value

"""What a run says while it works: a bar and a line a phase on a terminal, JSON lines elsewhere, and
always a log file."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from headstart.runtime.bars import Bar

QUIET_SECONDS = 30.0  # between two lines about steps when the output is no terminal
PASSING = ("step", "extracting")  # events that come by the hundred


class Progress:
    """Takes events (plain dicts with an "event") and plain text."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._log: Path | None = None
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._title = ""
        self._epoch: dict[str, Any] = {}
        self._bar: Bar | None = None
        self._epoch_line = ""
        self._printed = time.monotonic()

    def log_to(self, path: Path) -> None:
        """Also write every event but passing ones to this file, as JSON lines."""
        self._log = path

    def also(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Also send every event there."""
        self._listeners.append(on_event)

    def text(self, text: str) -> None:
        """Sentences for people, on their own lines."""
        self._end_bar()
        self._print(text)

    def tell(self, event: dict[str, Any]) -> None:
        """An event of the engine or the runner."""
        for on_event in self._listeners:
            on_event(event)
        if event["event"] not in PASSING and self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False) + "\n"
                )
        if self._live:
            self._draw(event)
        elif event["event"] not in PASSING or time.monotonic() - self._printed > QUIET_SECONDS:
            shown = {
                key: value for key, value in event.items() if key != "lr"
            }  # a rate for each block fills the screen
            self._print(json.dumps(_short(shown), ensure_ascii=False))
            self._printed = time.monotonic()

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._out, flush=True)
        except BrokenPipeError:  # nobody reads on; the run is worth more than its lines
            self._out = io.StringIO()

    def _draw(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "strategy":
                self._end_bar()
                self._title, self._epoch = event["name"], {}
            case "step":
                if self._epoch.get("phase", event["phase"]) != event["phase"]:
                    self._end_bar()
                done = (event["epoch"] - 1) * event["of"] + event["seen"]
                self._progress(done, event["epochs"] * event["of"], self._about(event))
            case "epoch":
                self._epoch = event
                self._epoch_line = self._about(event)
                if event["epoch"] == event["epochs"]:
                    self._end_bar()
            case "extracting":
                self._progress(
                    event["seen"], event["of"], f"{self._title}  features of {event['part']}"
                )
            case "features":
                self.text(
                    f"{self._title}  features of {event['part']}: {event['cached']} of "
                    f"{event['of']} from the cache, {event['computed']} computed in "
                    f"{event['seconds']:.1f} s"
                )
            case "note":
                self.text(event["note"])

    def _about(self, event: dict[str, Any]) -> str:
        """Where training stands, and what the last epoch came to."""
        parts = [
            self._title,
            f"phase {event['phase']}",
            f"epoch {event['epoch']}/{event['epochs']}",
        ]
        epoch = self._epoch
        if "loss" in epoch:
            parts.append(f"loss {epoch['loss']:.3f}")
        if "selection_accuracy" in epoch:
            metric = epoch["metric"]
            named = "" if metric == "accuracy" else f" {metric.replace('_', ' ')}"
            parts.append(
                f"validation{named} {epoch[f'selection_{metric}']:.3f}, best {epoch['best']:.3f}"
            )
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


def _short(value: Any) -> Any:
    """Floats cut to five figures, for reading."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return value

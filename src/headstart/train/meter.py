"""Our own measure of speed: examples a second of the last epoch's optimizer steps, the very first
ones left out."""

from __future__ import annotations

import time

WARMUP_STEPS = 2  # allocation, kernel choice and loader start-up fall into these


class Meter:
    """Counts the examples of an epoch between `start` and `stop`; time outside (validation, for
    one) does not count."""

    def __init__(self) -> None:
        self._steps = 0
        self._examples = self._seconds = 0.0
        self._since: float | None = None
        self._before: float | None = None

    def start(self) -> None:
        """An epoch begins."""
        self._before = self.examples_per_second
        self._examples = self._seconds = 0.0
        self._since = time.perf_counter()

    def step(self, examples: float) -> None:
        """A step over this many examples (of all processes, on average) has ended."""
        now = time.perf_counter()
        assert self._since is not None
        self._steps += 1
        if self._steps > WARMUP_STEPS:
            self._seconds += now - self._since
            self._examples += examples
        self._since = now

    def stop(self) -> None:
        """What the steps left to do on a device has been done."""
        assert self._since is not None
        if self._steps > WARMUP_STEPS:
            self._seconds += time.perf_counter() - self._since

    @property
    def examples_per_second(self) -> float | None:
        """Of this epoch, or where it has no step yet of the one before; None until a step after the
        warm-up has ended."""
        return self._examples / self._seconds if self._seconds else self._before

"""What a training tells while it runs; each event is also a line of log.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from headstart.evaluate.results import Epoch, EpochRecord


@dataclass(frozen=True)
class Event:
    """The base of all events; `passing` ones come by the hundred and are not logged."""

    kind: ClassVar[str]
    passing: ClassVar[bool] = False

    def to_json(self) -> dict[str, object]:
        """A line of the log: the kind and the fields."""
        return {"event": self.kind, **vars(self)}


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who want no events."""


@dataclass(frozen=True)
class Note(Event):
    """A remark for people."""

    kind = "note"
    note: str


@dataclass(frozen=True)
class StrategyStarted(Event):
    """A strategy begins to train."""

    kind = "strategy"
    name: str


@dataclass(frozen=True)
class StepDone(Event):
    """An optimizer step; `seen` of `of` training examples in this epoch. Phases and epochs count
    from 1."""

    kind = "step"
    passing = True
    phase: int
    epoch: int
    epochs: int
    seen: int
    of: int
    examples_per_second: float | None


@dataclass(frozen=True)
class BestSoFar:
    """The best value of the metric that chooses the epoch, and where it was reached."""

    metric: str
    best: float
    best_at: Epoch


@dataclass(frozen=True)
class EpochDone(Event):
    """One of `epochs` epochs has been scored; `best` is None where no part chooses the epoch."""

    kind = "epoch"
    epochs: int
    record: EpochRecord
    best: BestSoFar | None

    def selection(self, metric: str) -> float | None:
        """A metric on the part that chooses the epoch, if there is one."""
        return self.record.selection(metric)

    def to_json(self) -> dict[str, object]:
        """A line of the log."""
        best = vars(self.best) | {"best_at": self.best.best_at.model_dump()} if self.best else {}
        return {"event": self.kind, "epochs": self.epochs, **self.record.model_dump(), **best}


@dataclass(frozen=True)
class ProbeScored(Event):
    """The scores, as `selection_<metric>`, of a head that was fitted before its backbone trains."""

    kind = "probe"
    phase: int
    scores: Mapping[str, float]

    def selection(self, metric: str) -> float | None:
        """A metric on the part that chooses the epoch."""
        return self.scores.get(f"selection_{metric}")

    def to_json(self) -> dict[str, object]:
        """A line of the log."""
        return {"event": self.kind, "phase": self.phase, **self.scores}


@dataclass(frozen=True)
class Extracting(Event):
    """Examples of a part have passed through the frozen blocks."""

    kind = "extracting"
    passing = True
    part: str
    seen: int
    of: int
    examples_per_second: float


@dataclass(frozen=True)
class FeaturesDone(Event):
    """The features of a part: how many the cache had, and how many were computed."""

    kind = "features"
    part: str
    of: int
    cached: int
    computed: int
    seconds: float


@dataclass(frozen=True)
class ResultScored(Event):
    """A strategy or baseline has been scored on the test part."""

    kind = "result"
    name: str
    test_accuracy: float

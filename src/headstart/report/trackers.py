"""Figures of a run for TensorBoard and the other trackers that Accelerate knows.

Accelerate's tracker classes are used one by one: its `Accelerator.log` would end the run with the
first tracker that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import RecipeError, first_line
from headstart.evaluate.events import (
    EpochDone,
    Event,
    OnEvent,
    ProbeScored,
    ResultScored,
    StrategyStarted,
)
from headstart.registry import unknown

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

FOLDER = "trackers"  # in the run directory, for those that write files


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that Accelerate knows these trackers and that their packages are installed.

    Raises:
        RecipeError: one is not, with the ways out.
    """
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(map(str, LOGGER_TYPE_TO_CLASS))
    available = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise RecipeError(f"train.trackers: {unknown('tracker', name, known)}")
        if name not in available:
            raise RecipeError(
                f"train.trackers: the package of {name!r} is not installed; pip install {name}, "
                "or remove it"
            )


@contextmanager
def tracked(names: Sequence[str], config: Mapping[str, object], folder: Path) -> Iterator[OnEvent]:
    """A function that takes the events of a run; their numbers arrive at each tracker under
    `strategy/key`, one step an event.

    Args:
        names: as Accelerate calls them. config: of the run, nested.

    Raises:
        RecipeError: a tracker cannot be opened.
    """
    trackers = [_open(name, config, folder) for name in names]
    strategy, steps = "", Counter[str]()

    def on_event(event: Event) -> None:
        nonlocal strategy
        if isinstance(event, StrategyStarted):
            strategy = event.name
        if not isinstance(event, EpochDone | ProbeScored | ResultScored):
            return
        prefix = event.name if isinstance(event, ResultScored) else strategy
        steps[prefix] += 1
        numbers = {
            f"{prefix}/{key}": value
            for key, value in event.to_json().items()
            if isinstance(value, int | float)
        }
        for tracker in trackers:
            # such as a server that is gone: the run is worth more than its curves
            with suppress(Exception):
                tracker.log(numbers, step=steps[prefix])

    try:
        yield on_event
    finally:
        for tracker in trackers:
            with suppress(Exception):
                tracker.finish()


def _open(name: str, config: Mapping[str, object], folder: Path) -> GeneralTracker:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    try:
        where = [str(folder / FOLDER)] if kind.requires_logging_directory else []
        tracker = kind("headstart", *where)
        if hasattr(tracker, "start"):
            tracker.start()
        tracker.store_init_configuration(_flat(config))
    except Exception as error:  # each tracker's package has its own
        raise RecipeError(f"train.trackers: {name} cannot be opened: {first_line(error)}") from None
    return tracker


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, int | float | str]:
    """Nested tables as `section.key`, values as trackers take them."""
    flat: dict[str, int | float | str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, int | float | str) else str(value)
    return flat

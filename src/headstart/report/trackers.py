"""Figures of a run for TensorBoard and the other trackers that Accelerate knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, first_line
from headstart.registry import unknown

FOLDER = "trackers"  # in the run directory, for those that write files
TRACKED = ("epoch", "probe", "result")  # events


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that Accelerate knows these trackers and that their packages are installed.

    Raises:
        HeadstartError: one is not, with the ways out.
    """
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(map(str, LOGGER_TYPE_TO_CLASS))
    there = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise HeadstartError(f"train.trackers: {unknown('tracker', name, known)}")
        if name not in there:
            raise HeadstartError(
                f"train.trackers: the package of {name!r} is not installed; pip install {name}, "
                "or remove it"
            )


@contextmanager
def tracked(
    names: Sequence[str], config: dict[str, Any], folder: Path
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Where to send what a run tells; its numbers arrive at each tracker under `strategy/key`, a
    step an event.

    Args:
        names: as Accelerate calls them. config: of the run, nested.

    Raises:
        HeadstartError: a tracker cannot be opened.
    """
    if not names:
        yield lambda event: None
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    opened = [_opened(name, LOGGER_TYPE_TO_CLASS[name], config, folder) for name in names]
    strategy, steps = "", Counter[str]()

    def hear(event: dict[str, Any]) -> None:
        nonlocal strategy
        if event["event"] == "strategy":
            strategy = event["name"]
        if event["event"] not in TRACKED:
            return
        prefix = event.get("name") or strategy
        numbers = {
            f"{prefix}/{key}": value
            for key, value in event.items()
            if isinstance(value, int | float)
        }
        steps[prefix] += 1
        for tracker in opened:
            # such as a server that is gone: the run is worth more than its curves
            with suppress(Exception):
                tracker.log(numbers, step=steps[prefix])

    try:
        yield hear
    finally:
        for tracker in opened:
            with suppress(Exception):
                tracker.finish()


def _opened(name: str, kind: Any, config: dict[str, Any], folder: Path) -> Any:
    try:
        tracker = kind(
            "headstart", *([str(folder / FOLDER)] if kind.requires_logging_directory else [])
        )
        if hasattr(tracker, "start"):
            tracker.start()
        tracker.store_init_configuration(_flat(config))
    except Exception as error:  # each tracker's package has its own
        raise HeadstartError(
            f"train.trackers: {name} cannot be opened: {first_line(error)}"
        ) from None
    return tracker


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as `section.key`, values as trackers take them."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = (
                value if isinstance(value, int | float | str | bool) else str(value)
            )
    return found

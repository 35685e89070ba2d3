"""What reading leaves out, by reason: counts and first examples of rows, or paths of files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.data.unicode import printable
from headstart.errors import DataError

SHOWN = 5
Skipped = dict[str, tuple[int, list[str]]]  # by reason: how many, the first few
SkippedPaths = dict[str, list[str]]  # by reason


def skip(skipped: Skipped, reason: str, example: str) -> None:
    """Count one more example."""
    count, examples = skipped.get(reason, (0, []))
    skipped[reason] = count + 1, [*examples, example][:SHOWN]


def skip_paths(skipped: SkippedPaths, more: Mapping[str, Sequence[str]]) -> None:
    """Add paths."""
    for reason, paths in more.items():
        skipped.setdefault(reason, []).extend(paths)


def skipped_notes(part: str, skipped: Skipped, policy: str) -> list[str]:
    """A sentence on what is left out, if anything.

    Raises:
        HeadstartError: something is, and the recipe's data.unreadable (`policy`) is "error".
    """
    if not skipped:
        return []
    counts = "; ".join(
        f"{count:,} with {reason} ({', '.join(examples)}{', …' if count > len(examples) else ''})"
        for reason, (count, examples) in skipped.items()
    )
    if policy == "error":
        raise DataError(
            f"the {part} part has unusable examples: {counts}. Correct them, or set "
            'data.unreadable = "drop"'
        )
    return [f"left out of the {part} part: {counts}"]


def describe_skipped(skipped: Skipped) -> str:
    """The first examples of each reason, the most frequent first."""
    ordered = sorted(skipped.items(), key=lambda item: -item[1][0])
    shown = [f"{shorten(names, count)} ({reason})" for reason, (count, names) in ordered[:SHOWN]]
    if more := sum(count for _, (count, _) in ordered[SHOWN:]):
        shown.append(f"and {more} more")
    return "; ".join(shown)


def describe_skipped_paths(skipped: SkippedPaths, folder: str | Path) -> list[str]:
    """Each reason with its count and an example, whose path is relative to the folder."""
    return [
        f"{reason}: {len(paths)} (such as {printable(os.path.relpath(paths[0], folder))})"
        for reason, paths in skipped.items()
        if paths
    ]


def shorten(names: Sequence[str], count: int | None = None, shown: int = SHOWN) -> str:
    """The first names, and how many more there are of `count` (default: of the names)."""
    names, more = names[:shown], (len(names) if count is None else count) - len(names[:shown])
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")

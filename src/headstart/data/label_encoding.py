"""From labels to class indices: equal spellings, and the order of classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from headstart.data.skipped import Skipped, describe_skipped
from headstart.data.unicode import printable, quoted, similar_names
from headstart.errors import DataError

BOOLEANS, DIGITS = ("true", "false"), ("1", "0")


class LabelEncoder:
    """Encodes labels as indices of the classes of the training part, in their fixed order
    (`labels`).

    Spellings of one number (1, 1.0) or truth value (True, true, TRUE) are one class, named by the
    shortest. If training has truth values only, 1 and 0 in another part mean these, and vice versa.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        spellings = defaultdict(list)
        for label in labels:
            spellings[canonical(label)].append(label)
        names = {
            key: min(group, key=lambda name: (len(name), name)) for key, group in spellings.items()
        }
        self.labels = sort_labels(names.values())
        self._indices = {key: self.labels.index(name) for key, name in names.items()}
        self._aliases: dict[str, str] = {}
        for known, other in ((BOOLEANS, DIGITS), (DIGITS, BOOLEANS)):
            if set(names) <= set(known):
                self._aliases = dict(zip(other, known, strict=True))

    def index(self, label: str) -> int | None:
        """The class index of a label; None if training does not have it."""
        key = canonical(label)
        return self._indices.get(self._aliases.get(key, key))

    def unknown(self, labels: Iterable[str]) -> list[str]:
        """The labels that training does not have, sorted."""
        return [label for label in sorted(labels) if self.index(label) is None]

    def spelling_notes(self, labels: Iterable[str], role: str) -> list[str]:
        """A note on the labels of a part that are spelled differently from their class."""
        aliases = [
            f"{quoted(label)} is the class {quoted(self.labels[index])}"
            for label in sorted(labels)
            if (index := self.index(label)) is not None and label != self.labels[index]
        ]
        return [f"labels of the {role} part: {', '.join(aliases)}"] if aliases else []


def canonical(label: str) -> str:
    """What equal spellings have in common: a truth value, a whole number, or the label itself."""
    if label.casefold() in BOOLEANS:
        return label.casefold()
    number = re.fullmatch(r"(-?\d+)\.0+", label)
    return number[1] if number else label


def sort_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Labels in their fixed order: by value if all are whole numbers, else by name."""
    try:
        return tuple(sorted(names, key=lambda name: (int(canonical(name)), name)))
    except ValueError:
        return tuple(sorted(names))


def check_class_sizes(
    labels: np.ndarray,
    names: tuple[str, ...],
    where: str | Path,
    noun: str,
    unreadable: Skipped | None = None,
    hints: Sequence[str] = (),
) -> None:
    """Check that there are two classes, and two training examples of each.

    Args:
        labels: class indices of the training examples, shape (n,). names: of the classes. noun:
            what examples are called. hints: sentences for messages.
    """
    if len(names) < 2:
        content = f"one class only ({printable(names[0])})" if names else "no label"
        raise DataError(
            f"{where}: found {content}; expected {noun} of at least two classes"
            + "".join(f". {hint}" for hint in hints)
        )
    counts = np.bincount(labels, minlength=len(names)).tolist()
    counted = zip(map(printable, names), counts, strict=True)
    if small := [f"{name} ({count})" for name, count in counted if count < 2]:
        skipped = f". What cannot be read: {describe_skipped(unreadable)}" if unreadable else ""
        similar = [
            f". Is {' = '.join(map(printable, group))} one class under {len(group)} names?"
            for group in similar_names(names)
        ]
        raise DataError(
            f"{where}: too few readable training {noun} of {', '.join(small[:5])}; expected at "
            f"least 2 a class. Add some or remove the class{skipped}"
            + "".join([*similar[:1], *(f". But {hint}" for hint in hints)])
        )

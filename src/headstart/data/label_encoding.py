"""From the label column of a table to class indices: parsing of cells, equal spellings, the order
of classes, and what makes labels unusable as classes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from headstart.data.skipped import Skipped, describe_skipped
from headstart.data.unicode import nfc, printable, quoted, similar_names, to_utf8
from headstart.errors import HeadstartError

BOOLEANS, DIGITS = ("true", "false"), ("1", "0")
MAX_LABEL_LENGTH = 200  # characters
MAX_CLASSES = 10_000
MAX_NUMERIC_CLASSES = 20  # so few different numbers may be classes, such as half stars
MAX_SPACING = 2  # average distance of numbers that are classes


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


def parse_label(value: object, where: str, example: str) -> str | None:
    """The label in a cell of a table, in NFC and without surrounding spaces; None if it is empty.

    Args:
        where: the column, for messages. example: the row, for messages.

    Raises:
        HeadstartError: it is no name, number or truth value, or too long.
    """
    if isinstance(value, Decimal):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        several = " (several labels of an example cannot be learned yet)"
        raise HeadstartError(
            f"{where}: found {type(value).__name__} in {example}"
            f"{several if isinstance(value, list) else ''}; expected names or numbers"
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = to_utf8(nfc(str(value).strip()))
    if len(name) > MAX_LABEL_LENGTH:
        raise HeadstartError(
            f"{where}, {example}: found a label of {len(name):,} characters "
            f"({printable(name[:40])}…); expected the name of a class, at most {MAX_LABEL_LENGTH} "
            "characters. Name the column of the labels with data.columns.label"
        )
    return name or None


def check_label_counts(counts: Mapping[str, int], where: str, complete: bool) -> None:
    """Check whether the labels of a table can be classes.

    Args:
        counts: how often each label occurs. where: the column, for messages. complete: whether all
            rows are counted.

    Raises:
        HeadstartError: there are too many labels, or they are measured numbers.
    """
    rows = sum(counts.values())
    too_many = len(counts) > MAX_CLASSES or len(counts) > max(100, rows // 2)
    if (too_many or complete) and _are_measurements(counts, rows):
        raise HeadstartError(
            f"{where} holds numbers of many different values ({len(counts):,} in {rows:,} rows, "
            f"such as {', '.join(list(counts)[:3])}): predicting a number is not possible yet. "
            "Name a column of classes with data.columns.label, or make one of the numbers "
            "(low, high)"
        )
    if too_many:
        raise HeadstartError(
            f"{where} has {len(counts):,} different values in {rows:,} rows (such as "
            f"{', '.join(map(printable, list(counts)[:3]))}); expected labels that repeat. "
            "Name the column of the labels with data.columns.label"
        )


def _are_measurements(counts: Mapping[str, int], rows: int) -> bool:
    """Whether labels are measured numbers: many, with fractions, or widely spread and mostly
    unique."""
    if len(counts) <= min(MAX_NUMERIC_CLASSES, rows // 2):
        return False
    try:
        values = [float(label) for label in counts]
    except ValueError:
        return False
    if not all(map(math.isfinite, values)):
        return False
    unique = sum(count == 1 for count in counts.values())
    spread = max(values) - min(values) >= MAX_SPACING * len(values)
    has_fractions = any(not value.is_integer() for value in values)
    return has_fractions or (spread and 3 * unique > len(counts))


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
            what examples are called. unreadable: examples left out. hints: sentences for messages.
    """
    if len(names) < 2:
        content = f"one class only ({printable(names[0])})" if names else "no label"
        raise HeadstartError(
            f"{where}: found {content}; expected {noun} of at least two classes"
            + "".join(f". {hint}" for hint in hints)
        )
    counts = np.bincount(labels, minlength=len(names))
    small = [
        f"{printable(name)} ({count})"
        for name, count in zip(names, counts, strict=True)
        if count < 2
    ]
    if small:
        similar = [
            f". Is {' = '.join(map(printable, group))} one class under {len(group)} names?"
            for group in similar_names(names)
        ]
        raise HeadstartError(
            f"{where}: too few readable training {noun} of {', '.join(small[:5])}; expected at "
            "least 2 a class. Add some or remove the class"
            + (f". What cannot be read: {describe_skipped(unreadable)}" if unreadable else "")
            + "".join(similar[:1])
            + "".join(f". But {hint}" for hint in hints)
        )

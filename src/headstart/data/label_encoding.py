"""Classes: what a value of the label column means, which labels are one class, and in what order
they stand."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from headstart.data.unicode import label_name, printable, quoted
from headstart.errors import HeadstartError

BOOLEANS, DIGITS = ("true", "false"), ("1", "0")
MOST_LABELS = 10_000
FEW_VALUES = 20  # of numbers that may be classes, such as half stars
SPARSE = 2  # numbers of classes lie closer together than this, on average


class Classes:
    """The classes that the labels of the training part name, in their fixed order (`labels`).

    Labels that are one number (1 and 1.0) or one truth value (True, true, TRUE) are one class,
    called by the shortest of them. Where training knows truth values only, 1 and 0 in another part
    are these, and the other way round.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        spellings = defaultdict(list)
        for label in labels:
            spellings[meaning(label)].append(label)
        names = {
            key: min(found, key=lambda name: (len(name), name)) for key, found in spellings.items()
        }
        self.labels = in_order(names.values())
        self._places = {key: self.labels.index(name) for key, name in names.items()}
        self._same: dict[str, str] = {}
        for known, other in ((BOOLEANS, DIGITS), (DIGITS, BOOLEANS)):
            if set(names) <= set(known):
                self._same = dict(zip(other, known, strict=True))

    def place(self, label: str) -> int | None:
        """Which class a label names; None if training has none such."""
        key = meaning(label)
        return self._places.get(self._same.get(key, key))

    def notes(self, labels: Iterable[str], role: str) -> list[str]:
        """A sentence on the labels of a part that are spelled otherwise than their class."""
        places = {label: self.place(label) for label in sorted(labels)}
        said = [
            f"{quoted(label)} is the class {quoted(self.labels[place])}"
            for label, place in places.items()
            if place is not None and label != self.labels[place]
        ]
        return [f"labels of the {role} part: {', '.join(said)}"] if said else []


def meaning(label: str) -> str:
    """What labels that are spelled in several ways have in common: a truth value, a whole number,
    or else themselves."""
    if label.casefold() in BOOLEANS:
        return label.casefold()
    number = re.fullmatch(r"(-?\d+)\.0+", label)
    return number[1] if number else label


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Labels in their fixed order: by value if all are whole numbers, else by name."""
    try:
        return tuple(sorted(names, key=lambda name: (int(meaning(name)), name)))
    except ValueError:
        return tuple(sorted(names))


def label_of(value: Any, where: str, example: str) -> str | None:
    """The label that a value of a table is; None where there is none.

    Raises:
        HeadstartError: it is no name, number or truth value; `where` is the column, in words.
    """
    if isinstance(value, Decimal):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        several = (
            " (several labels of an example cannot be learned yet)"
            if isinstance(value, list)
            else ""
        )
        raise HeadstartError(
            f"{where}: found {type(value).__name__} in {example}{several}; expected names or "
            "numbers"
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return label_name(str(value), f"{where}, {example}") or None


def check_few(counts: Mapping[str, int], where: str, whole: bool) -> None:
    """Whether the labels of a table, with how often each occurs, can be classes.

    Args:
        where: the column, in words. whole: whether these are the labels of all rows.

    Raises:
        HeadstartError: there are too many, or they are numbers that measure something.
    """
    rows = sum(counts.values())
    many = len(counts) > MOST_LABELS or len(counts) > max(100, rows // 2)
    if (many or whole) and _measures(counts, rows):
        raise HeadstartError(
            f"{where} holds numbers of many different values ({len(counts):,} in {rows:,} rows, "
            f"such as {', '.join(list(counts)[:3])}): a number is to be predicted, which is not "
            "possible yet. Name a column of classes with data.columns.label, or make one of the "
            "numbers (cheap, dear)"
        )
    if many:
        raise HeadstartError(
            f"{where} has {len(counts):,} different values in {rows:,} rows (such as "
            f"{', '.join(map(printable, list(counts)[:3]))}); expected a label that repeats "
            "itself. Name the column of the labels with data.columns.label"
        )


def _measures(counts: Mapping[str, int], rows: int) -> bool:
    """Whether labels are measured numbers: many, with fractions, or spread wide and often alone."""
    if len(counts) <= min(FEW_VALUES, rows // 2):
        return False
    try:
        values = [float(label) for label in counts]
    except ValueError:
        return False
    if not all(map(math.isfinite, values)):
        return False
    alone = sum(count == 1 for count in counts.values())
    wide = max(values) - min(values) >= SPARSE * len(values)
    return any(not value.is_integer() for value in values) or (wide and 3 * alone > len(counts))

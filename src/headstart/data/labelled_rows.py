"""Rows of a table as labelled examples: parsing of labels, and what makes a column of them unusable
as classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from headstart.data.column_selection import SelectedColumns
from headstart.data.tables import Table
from headstart.data.train_test_folders import role_from_name
from headstart.data.unicode import nfc, printable, to_utf8
from headstart.errors import DataError

NO_LABEL, NO_KEY, NO_ROLE = "no label", "no group or time", "no known part"
MAX_LABEL_LENGTH = 200  # characters
MAX_CLASSES = 10_000
MAX_NUMERIC_CLASSES = 20  # so few different numbers may be classes, such as half stars
MAX_SPACING = 2  # average distance of numbers that are classes
ROWS_PER_CHECK = 10_000


class LabelledRow(NamedTuple):
    """A row of a table: its name, the cell of the text or image, label, group or time (`key`) and
    part (`role`), each "" where there is none; `problem` says what makes the row unusable."""

    name: str
    value: object
    label: str
    key: str = ""
    role: str = ""
    problem: str = ""


def labelled_rows(table: Table, columns: SelectedColumns) -> Iterator[LabelledRow]:
    """The rows of a table.

    Raises:
        HeadstartError: the labels are no names or numbers, or cannot be classes: there are too
            many, or they are measured numbers.
    """
    where = f"data.columns.label: column {columns.label!r} of {table.path}"
    counts: Counter[str] = Counter()
    roles = (columns.item, columns.label, columns.key, columns.split)
    names = tuple(dict.fromkeys(name for name in roles if name))
    for number, (line, values) in enumerate(table.rows(names), 1):
        cells = dict(zip(names, values, strict=True))
        name = f"{printable(table.path.name)}:{line}"
        label = _parse_label(cells[columns.label], where, name)
        key = _strip(cells[columns.key]) if columns.key else ""
        role = role_from_name(_strip(cells[columns.split])) if columns.split else ""
        problem = ""
        if label is None:
            problem = NO_LABEL
        elif role is None:
            problem = NO_ROLE
        elif columns.key and not key:
            problem = NO_KEY
        else:
            counts[label] += 1
        yield LabelledRow(name, cells[columns.item], label or "", key, role or "", problem)
        if number % ROWS_PER_CHECK == 0:
            _check_labels(counts, where, complete=False)
    _check_labels(counts, where, complete=True)


def _strip(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _parse_label(value: object, where: str, row: str) -> str | None:
    """The label in a cell, in NFC and without surrounding spaces; None if it is empty."""
    if isinstance(value, Decimal):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        several = " (several labels of an example cannot be learned yet)"
        raise DataError(
            f"{where}: found {type(value).__name__} in {row}"
            f"{several if isinstance(value, list) else ''}; expected names or numbers"
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = to_utf8(nfc(str(value).strip()))
    if len(name) > MAX_LABEL_LENGTH:
        raise DataError(
            f"{where}, {row}: found a label of {len(name):,} characters "
            f"({printable(name[:40])}…); expected the name of a class, at most {MAX_LABEL_LENGTH} "
            "characters. Name the column of the labels with data.columns.label"
        )
    return name or None


def _check_labels(counts: Mapping[str, int], where: str, complete: bool) -> None:
    """Check whether labels can be classes, of all rows (`complete`) or the first."""
    rows = sum(counts.values())
    too_many = len(counts) > MAX_CLASSES or len(counts) > max(100, rows // 2)
    examples = ", ".join(map(printable, list(counts)[:3]))
    if (too_many or complete) and _are_measurements(counts, rows):
        raise DataError(
            f"{where} holds numbers of many different values ({len(counts):,} in {rows:,} rows, "
            f"such as {examples}): predicting a number is not possible yet. Name a column of "
            "classes with data.columns.label, or make one of the numbers (low, high)"
        )
    if too_many:
        raise DataError(
            f"{where} has {len(counts):,} different values in {rows:,} rows (such as {examples}); "
            "expected labels that repeat. Name the column of the labels with data.columns.label"
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

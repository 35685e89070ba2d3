"""Delimited tables (.csv, .tsv): the file tells its delimiter, and whether quotes enclose fields or
are plain characters."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.unicode import open_utf8
from headstart.errors import HeadstartError, first_line

SAMPLE = 1000  # rows by which the delimiter is told
LONGEST_FIELD = 2**24  # characters; a quote that is never closed would take in the rest of the file
MOST_VALUES = 10_000  # of a column, to tell whether they repeat
# the first line in which Excel notes the delimiter
EXCEL = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class MalformedError(HeadstartError):
    """A record cannot be read in the way that was tried."""


@dataclass(frozen=True)
class Reading:
    """A way to read a delimited file and, once it is tried, how many records have the width of the
    first (`rows`), and whether these are all (`whole`)."""

    path: Path
    delimiter: str
    quoted: bool
    skipped: int = 0  # lines before the first record
    width: int = 0
    rows: int = 0
    whole: bool = False

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """(Line, fields) of each record; blank lines are none.

        Raises:
            MalformedError: quotes do not enclose whole fields, or a field is longer than any text.
        """
        csv.field_size_limit(LONGEST_FIELD)
        quoting: Any = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        with open_utf8(self.path) as file:
            for _ in range(self.skipped):
                next(file)
            reader = csv.reader(file, delimiter=self.delimiter, quoting=quoting, strict=True)
            line = 1 + self.skipped
            try:
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1 + self.skipped
            except csv.Error as error:
                raise MalformedError(
                    f"{self.path}, line {line}: {first_line(error)}; mend the line"
                ) from None

    def tried(self, most: int | None = None) -> Reading:
        """The same, after a look at all records or the first `most`."""
        width = rows = 0
        try:
            for _, fields in islice(self.records(), most):
                width = width or len(fields)
                if len(fields) != width:
                    return replace(self, width=width, rows=rows)
                rows += 1
        except MalformedError:
            return replace(self, width=width, rows=rows)
        return replace(self, width=width, rows=rows, whole=True)


def reading_of(path: Path) -> tuple[Reading, str]:
    """How a file is to be read, and a sentence where another way would give other rows ("" if none
    would).

    Quotes enclose fields where that reading is well-formed with records of one width. If the plain
    reading has one width too, and more rows, a quote that opens one text and one that ends a later
    one may only seem to enclose what lies
    between: the plain reading is taken if those lines look like rows.
    """
    delimiter, skipped = _delimiter(path)
    enclosing = Reading(path, delimiter, quoted=True, skipped=skipped)
    if not _has_quotes(path):
        return enclosing, ""
    enclosing, plain = enclosing.tried(), replace(enclosing, quoted=False).tried()
    if enclosing.whole and plain.whole and plain.rows > enclosing.rows:
        if _holds_rows(enclosing, plain):
            return plain, (
                f"{path.name}: quotes are read as plain characters, which gives {plain.rows:,} "
                f"lines of {plain.width} columns; as quotes around fields they would merge some "
                f"of them, to {enclosing.rows:,}"
            )
        return enclosing, (
            f"{path.name}: quotes enclose fields of several lines, which gives "
            f"{enclosing.rows:,} rows with the first; read as plain characters there would be "
            f"{plain.rows:,}"
        )
    chosen = max(
        enclosing, plain, key=lambda reading: (reading.whole, reading.rows, reading.quoted)
    )
    if chosen.quoted or delimiter == "\t" or not chosen.whole:
        return chosen, ""
    return (
        chosen,
        f"{path.name}: quotes are read as plain characters, since they do not enclose whole "
        "fields throughout",
    )


def _delimiter(path: Path) -> tuple[str, int]:
    """(delimiter, lines before the first record), by which the first rows come out most alike."""
    with open_utf8(path) as file:
        first, *more = [*islice(file, SAMPLE), ""]
    if match := EXCEL.fullmatch(first):
        return match[1], 1
    below = "".join(more)
    decimals = "," in below and not re.search(r"(?<!\d),|,(?!\d)", below)
    signs = "\t,;|" if path.suffix.lower() == ".tsv" else ",;\t|"
    tried = [
        Reading(path, sign, quoted).tried(SAMPLE) for sign in signs for quoted in (True, False)
    ]

    def fits(reading: Reading) -> tuple[bool, bool, int, bool, int]:
        is_decimal = decimals and reading.delimiter == ","
        return reading.width > 1, reading.whole, reading.rows, not is_decimal, reading.width

    return max(tried, key=fits).delimiter, 0


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(2**20), b""))


def _holds_rows(enclosing: Reading, plain: Reading) -> bool:
    """Whether the lines inside quoted fields are rows of their own.

    They are if the delimiter is a tab, which hardly any text has; else if some column repeats its
    values, as labels do, and has no other values in those lines.
    """
    if plain.delimiter == "\t":
        return True
    starts = np.fromiter((line for line, _ in enclosing.records()), np.int64)
    lines = np.fromiter((line for line, _ in plain.records()), np.int64)
    record = np.searchsorted(starts, lines, "right")
    inside = np.bincount(record)[record] > 1  # more than one line of a record
    values: dict[tuple[int, bool], set[str]] = {
        (place, side): set() for place in range(plain.width) for side in (False, True)
    }
    for within, (_, fields) in zip(
        inside[1:].tolist(), islice(plain.records(), 1, None), strict=True
    ):
        for place, value in enumerate(fields):
            if len(values[place, within]) <= MOST_VALUES:
                values[place, within].add(value)
    outside = int((~inside).sum())
    repeating = [
        place
        for place in range(plain.width)
        if len(values[place, False]) <= min(outside // 2, MOST_VALUES)
    ]
    return any(values[place, True] <= values[place, False] for place in repeating)

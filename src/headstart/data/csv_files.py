"""CSV and TSV files: detecting the delimiter, and whether quotes enclose fields or are plain
characters."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from headstart.data.unicode import open_utf8
from headstart.errors import HeadstartError, first_line

SAMPLE_ROWS = 1000  # first rows, from which the delimiter is detected
MAX_FIELD_LENGTH = 2**24  # characters; an unclosed quote would take in the rest of the file
MAX_VALUES = 10_000  # different values of a column that are compared
# the first line in which Excel states the delimiter
EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class MalformedCsvError(HeadstartError):
    """A record cannot be read with this delimiter and quoting."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with its delimiter and quoting.

    skipped: lines before the first record. After `count`, `rows` is the number of records before
    one of another width than the first (`width`); `complete` says that there is none.
    """

    path: Path
    delimiter: str
    quoted: bool
    skipped: int = 0
    width: int = 0
    rows: int = 0
    complete: bool = False

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """(line, fields) of each record, blank lines left out.

        Raises:
            MalformedCsvError: quotes do not enclose whole fields, or a field is too long.
        """
        csv.field_size_limit(MAX_FIELD_LENGTH)
        with open_utf8(self.path) as file:
            for _ in range(self.skipped):
                next(file)
            reader = csv.reader(
                file,
                delimiter=self.delimiter,
                quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
                strict=True,
            )
            line = 1 + self.skipped
            try:
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1 + self.skipped
            except csv.Error as error:
                raise MalformedCsvError(
                    f"{self.path}, line {line}: {first_line(error)}; correct the line"
                ) from None

    def count(self, limit: int | None = None) -> CsvFile:
        """The same file with the records counted, all or the first `limit`."""
        width = rows = 0
        complete = False
        try:
            for _, fields in islice(self.records(), limit):
                width = width or len(fields)
                if len(fields) != width:
                    break
                rows += 1
            else:
                complete = True
        except MalformedCsvError:
            pass
        return replace(self, width=width, rows=rows, complete=complete)


def detect_csv(path: Path) -> tuple[CsvFile, str]:
    """How to read a CSV file, and a note if another quoting would give other rows ("" if not).

    Quotes enclose fields if that gives well-formed records of one width. If quotes as plain
    characters give one width too, and more rows, that is chosen if the lines within quoted fields
    look like rows.
    """
    delimiter, skipped = _detect_delimiter(path)
    enclosing = CsvFile(path, delimiter, quoted=True, skipped=skipped)
    if not _has_quotes(path):
        return enclosing, ""
    enclosing, plain = enclosing.count(), replace(enclosing, quoted=False).count()
    if enclosing.complete and plain.complete and plain.rows > enclosing.rows:
        if _quoted_lines_are_rows(enclosing, plain):
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
    best = max(enclosing, plain, key=lambda file: (file.complete, file.rows, file.quoted))
    if best.quoted or delimiter == "\t" or not best.complete:
        return best, ""
    return best, (
        f"{path.name}: quotes are read as plain characters, since they do not enclose whole "
        "fields throughout"
    )


def _detect_delimiter(path: Path) -> tuple[str, int]:
    """(the delimiter that gives the most uniform first rows, lines before the first record)."""
    with open_utf8(path) as file:
        first, *more = [*islice(file, SAMPLE_ROWS), ""]
    if match := EXCEL_SEPARATOR.fullmatch(first):
        return match[1], 1
    text = "".join(more)
    has_decimal_commas = "," in text and not re.search(r"(?<!\d),|,(?!\d)", text)
    delimiters = "\t,;|" if path.suffix.lower() == ".tsv" else ",;\t|"
    candidates = [
        CsvFile(path, delimiter, quoted).count(SAMPLE_ROWS)
        for delimiter in delimiters
        for quoted in (True, False)
    ]

    def fit(file: CsvFile) -> tuple[bool, bool, int, bool, int]:
        is_decimal = has_decimal_commas and file.delimiter == ","
        return file.width > 1, file.complete, file.rows, not is_decimal, file.width

    return max(candidates, key=fit).delimiter, 0


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(2**20), b""))


def _quoted_lines_are_rows(enclosing: CsvFile, plain: CsvFile) -> bool:
    """Whether the lines inside quoted fields are rows: if the delimiter is a tab, which is rare in
    texts; or if some column repeats its values, as labels do, and has no others in those lines."""
    if plain.delimiter == "\t":
        return True
    starts = np.fromiter((line for line, _ in enclosing.records()), np.int64)
    lines = np.fromiter((line for line, _ in plain.records()), np.int64)
    record = np.searchsorted(starts, lines, "right")
    inside = np.bincount(record)[record] > 1  # lines of a record of several lines
    # by column: the values outside of such records, and inside
    values = [(set[str](), set[str]()) for _ in range(plain.width)]
    rows = islice(plain.records(), 1, None)
    for is_inside, (_, fields) in zip(inside[1:].tolist(), rows, strict=True):
        for column, value in zip(values, fields, strict=True):
            if len(column[is_inside]) <= MAX_VALUES:
                column[is_inside].add(value)
    max_repeating = min(int((~inside).sum()) // 2, MAX_VALUES)
    return any(len(outside) <= max_repeating and within <= outside for outside, within in values)

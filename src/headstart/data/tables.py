"""Tables as files: each kind is one function that tells the names of the columns and goes through the rows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from headstart.data.names import printable
from headstart.errors import HeadstartError, first_line

LOOKED_AT = 1000  # rows, where something is to be guessed
Rows = Iterator[tuple[int, tuple[Any, ...]]]


@dataclass(frozen=True)
class Table:
    """A table: its columns in order, and its rows as (number of the line or row, values of the columns asked for)."""

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[tuple[str, ...]], Rows]


def is_table_name(path: Path) -> bool:
    """Whether the file name says table."""
    return path.suffix.lower() in KINDS


def open_table(path: Path) -> Table:
    """The table in a file; its rows are read when they are asked for.

    Raises:
        HeadstartError: the file is of no known kind, empty, not UTF-8 or damaged; `rows` raises it too, with the line.
    """
    if not is_table_name(path):
        raise HeadstartError(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(KINDS)}")
    table = KINDS[path.suffix.lower()](path)
    if not all(name.strip() for name in table.columns):
        raise HeadstartError(f"{path}: a column has no name; expected a first line that names them all")
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise HeadstartError(f"{path}: two columns are named {twice[0]!r}; rename one")
    return table


def _csv(path: Path) -> Table:
    with _utf8(path) as file:
        header = re.sub(r'"[^"]*"', "", file.readline())
    counts = {sign: header.count(sign) for sign in ",;\t"}
    return _delimited(path, max(counts, key=lambda sign: counts[sign]), csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> Table:
    return _delimited(path, "\t", csv.QUOTE_MINIMAL if _is_quoted(path) else csv.QUOTE_NONE)


def _is_quoted(path: Path) -> bool:
    """Whether quotes in a tab-separated file enclose fields, as spreadsheets write them, or are plain characters.

    They enclose fields if, read so, the file is well-formed from start to end and every row has as many fields as the first.
    """
    try:
        widths = {len(values) for _, values in _records(path, "\t", csv.QUOTE_MINIMAL)}
    except HeadstartError:
        return False
    return len(widths) == 1


def _records(path: Path, delimiter: str, quoting: Any) -> Rows:
    """(Line, fields) of a delimited file, blank lines left out."""
    csv.field_size_limit(2**31 - 1)
    with _utf8(path) as file:
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
        line = 1
        try:
            for values in reader:
                if values:
                    yield line, tuple(values)
                line = reader.line_num + 1
        except csv.Error as error:
            raise HeadstartError(f"{path}, line {line}: {first_line(error)}; mend the line") from None


def _delimited(path: Path, delimiter: str, quoting: Any) -> Table:
    _, header = next(_records(path, delimiter, quoting), (0, ()))
    if not header:
        _empty(path)
    columns = tuple(str(name).strip() for name in header)

    def rows(wanted: tuple[str, ...]) -> Rows:
        places = [columns.index(name) for name in wanted]
        following = _records(path, delimiter, quoting)
        next(following)
        for line, values in following:
            if len(values) != len(columns):
                raise HeadstartError(
                    f"{path}, line {line}: found {len(values)} fields; expected {len(columns)} "
                    f"({', '.join(map(printable, columns))}). Put fields that hold {delimiter!r} or a new line into quotes, or "
                    "mend the line"
                )
            yield line, tuple(values[place] for place in places)

    return Table(path, columns, rows)


def _json_lines(path: Path) -> Table:
    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        with _utf8(path) as file:
            for line, content in enumerate(file, 1):
                if not content.strip():
                    continue
                try:
                    record = json.loads(content)
                except (ValueError, RecursionError) as error:
                    raise HeadstartError(f"{path}, line {line}: no JSON ({first_line(error)}); mend the line") from None
                if not isinstance(record, dict):
                    raise HeadstartError(f'{path}, line {line}: expected an object such as {{"text": …, "label": …}}')
                yield line, record

    keys = {key: None for _, record in islice(records(), LOOKED_AT) for key in record}
    if not keys:
        _empty(path)

    def rows(wanted: tuple[str, ...]) -> Rows:
        for line, record in records():
            yield line, tuple(record.get(name) for name in wanted)

    return Table(path, tuple(keys), rows)


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise HeadstartError(f"{path}: no readable Parquet file: {first_line(error)}") from None

    def rows(wanted: tuple[str, ...]) -> Rows:
        number = 0
        try:
            for batch in file.iter_batches(10_000, columns=list(wanted)):
                for values in zip(*(batch.column(name).to_pylist() for name in wanted), strict=True):
                    number += 1
                    yield number, values
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise HeadstartError(f"{path}: damaged after row {number}: {first_line(error)}") from None

    return Table(path, tuple(file.schema_arrow.names), rows)


KINDS: dict[str, Callable[[Path], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


@contextmanager
def _utf8(path: Path) -> Iterator[Any]:
    """A text file, with or without a byte order mark; what is no UTF-8 is an error that names the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise HeadstartError(f"{path}{_first_fault(path)}") from None


def _first_fault(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return " is written in UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f", line {number}: byte 0x{line[error.start]:02x} at place {error.start + 1} is no UTF-8; expected UTF-8 "
                    "throughout. Convert the file, for instance with iconv -f LATIN1 -t UTF-8 (or its true encoding)"
                )
    return " is no UTF-8; convert it"


def _empty(path: Path) -> NoReturn:
    raise HeadstartError(f"{path}: the table is empty; expected a first line with the names of the columns, and rows")

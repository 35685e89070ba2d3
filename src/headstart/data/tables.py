"""Table files (CSV, JSON lines, Parquet): the names of their columns, and their rows as a
stream."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from headstart.data.csv_files import detect_csv
from headstart.data.file_tree import files_in
from headstart.data.unicode import open_utf8, printable, quoted
from headstart.errors import DataError, first_line

SAMPLE_ROWS = 1000  # first rows, from which something is detected
# no name at all, or one that pandas gives its index
UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")
Rows = Iterator[tuple[int, tuple[object, ...]]]


@dataclass(frozen=True)
class Table:
    """A table: its columns in order, and `rows(columns)`, their values with the number of the line.

    Columns without a name, and those that share one (`duplicate_columns`), are left out; `notes`
    name them.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[tuple[str, ...]], Rows]
    duplicate_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sample(self) -> dict[str, list[object]]:
        """The values of each column in the first rows."""
        rows = [values for _, values in islice(self.rows(self.columns), SAMPLE_ROWS)]
        return {name: [row[index] for row in rows] for index, name in enumerate(self.columns)}

    def missing_column(self, name: str) -> str:
        """A message on a column that the table does not have."""
        if name in self.duplicate_columns:
            return f"{self.path}: two columns are named {name!r}; rename one"
        return f"{self.path} has no column {name!r}; it has {self.list_columns()}"

    def list_columns(self) -> str:
        """The names of the columns, for a message, and why others are left out."""
        names = _join(self.columns[:20]) or "none with a name of its own"
        return names + "".join(f" ({note})" for note in self.notes)


class RawTable(NamedTuple):
    """A table as the file has it: names of all columns, rows of the columns at some positions, and
    notes on how it is read."""

    names: tuple[str, ...]
    rows: Callable[[tuple[int, ...]], Rows]
    notes: tuple[str, ...] = ()


def has_table_extension(path: Path) -> bool:
    """Whether the file name ends as a table's."""
    return path.suffix.lower() in TABLE_FORMATS


def tables_in(folder: Path) -> list[Path]:
    """The tables directly in a folder, sorted."""
    return [path for path in files_in(folder) if has_table_extension(path)]


def open_table(path: Path, header: bool = True) -> Table:
    """Open a table; its rows are read when iterated.

    Args:
        header: whether the first line of a .csv or .tsv names the columns; if not, they are called
            "1", "2" and so on.

    Raises:
        HeadstartError: the file has no known format, is empty, not UTF-8 or damaged; iterating the
            rows raises it too, with the line.
    """
    if not has_table_extension(path):
        raise DataError(
            f"{path}: unknown table format {path.suffix!r}; expected {', '.join(TABLE_FORMATS)}"
        )
    raw = TABLE_FORMATS[path.suffix.lower()](path, header)
    if not raw.names:
        raise DataError(
            f"{path}: the table is empty; expected a first line with the names of the columns, "
            "and rows"
        )
    named = [(name, index) for index, name in enumerate(raw.names) if not UNNAMED.fullmatch(name)]
    counts = Counter(name for name, _ in named)
    duplicates = tuple(name for name, count in counts.items() if count > 1)
    positions = {name: index for name, index in named if name not in duplicates}

    def rows(columns: tuple[str, ...]) -> Rows:
        return raw.rows(tuple(positions[name] for name in columns))

    notes = [*raw.notes, *_unnamed_notes(path, raw)]
    if duplicates:
        notes.append(
            f"columns of {path.name} that share their name with another are not read: "
            f"{_join(duplicates)}"
        )
    return Table(path, tuple(positions), rows, duplicates, tuple(notes))


def _unnamed_notes(path: Path, raw: RawTable) -> list[str]:
    """Notes on columns without a name that hold more than row numbers."""
    unnamed = tuple(index for index, name in enumerate(raw.names) if UNNAMED.fullmatch(name))
    if not unnamed:
        return []
    columns = zip(*(values for _, values in islice(raw.rows(unnamed), SAMPLE_ROWS)), strict=True)
    filled = [[str(value) for value in column if value not in (None, "")] for column in columns]
    return [
        f"a column of {path.name} that has no name is not read (such as "
        f"{quoted(values[0][:40])}); to have it read, give it a name"
        for values in filled
        if values and not (all(map(str.isdecimal, values)) and len({*values}) == len(values))
    ]


def _open_csv(path: Path, header: bool) -> RawTable:
    csv_file, note = detect_csv(path)
    _, first = next(csv_file.records(), (0, []))
    names = tuple(name.strip() if header else str(n) for n, name in enumerate(first, 1))

    def rows(positions: tuple[int, ...]) -> Rows:
        for line, values in islice(csv_file.records(), int(header), None):
            if len(values) != len(names):
                raise DataError(
                    f"{path}, line {line}: found {len(values)} fields; expected {len(names)} "
                    f"({_join(names)}). Put fields that hold {csv_file.delimiter!r} or a new "
                    "line into quotes, or correct the line"
                )
            yield line, tuple([values[index] for index in positions])

    return RawTable(names, rows, (note,) if note else ())


def _open_json_lines(path: Path, header: bool) -> RawTable:
    def records() -> Iterator[tuple[int, Mapping[str, object]]]:
        with open_utf8(path) as file:
            for line, content in enumerate(file, 1):
                if not content.strip():
                    continue
                try:
                    record = json.loads(content)
                except (ValueError, RecursionError) as error:
                    raise DataError(
                        f"{path}, line {line}: not JSON ({first_line(error)}); correct the line"
                    ) from None
                if not isinstance(record, dict):
                    raise DataError(
                        f'{path}, line {line}: expected an object such as {{"text": …, "label": …}}'
                    )
                yield line, record

    names = tuple(dict.fromkeys(key for _, rec in islice(records(), SAMPLE_ROWS) for key in rec))

    def rows(positions: tuple[int, ...]) -> Rows:
        for line, record in records():
            yield line, tuple([record.get(names[index]) for index in positions])

    return RawTable(names, rows)


def _open_parquet(path: Path, header: bool) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {first_line(error)}") from None
    names = tuple(file.schema_arrow.names)

    def rows(positions: tuple[int, ...]) -> Rows:
        number = 0
        columns = [names[index] for index in positions]
        try:
            for batch in file.iter_batches(10_000, columns=list(dict.fromkeys(columns))):
                values = (batch.column(name).to_pylist() for name in columns)
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(f"{path}: damaged after row {number}: {first_line(error)}") from None

    return RawTable(names, rows)


TABLE_FORMATS: dict[str, Callable[[Path, bool], RawTable]] = {
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".parquet": _open_parquet,
}


def _join(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names))

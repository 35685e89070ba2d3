"""Tables as files: each kind is one function that tells the names of the columns and goes through
the rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from headstart.data.csv_files import reading_of
from headstart.data.unicode import open_utf8, printable, quoted
from headstart.errors import HeadstartError, first_line

LOOKED_AT = 1000  # rows, where something is to be guessed
UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")  # pandas' index among them
Rows = Iterator[tuple[int, tuple[Any, ...]]]


@dataclass(frozen=True)
class Table:
    """A table: its columns in order, and its rows as (number of the line or row, values of the
    columns asked for).

    Columns without a name, and those that share one (`doubled`), are not among them; `notes` name
    them and whatever else was decided, in sentences.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[tuple[str, ...]], Rows]
    doubled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sample(self) -> dict[str, list[Any]]:
        """The values of each column in the first rows."""
        rows = [values for _, values in islice(self.rows(self.columns), LOOKED_AT)]
        return {name: [row[place] for row in rows] for place, name in enumerate(self.columns)}

    def no_column(self, name: str) -> str:
        """What to say where a column is asked for that cannot be had."""
        if name in self.doubled:
            return f"{self.path}: two columns are named {name!r}; rename one"
        return f"{self.path} has no column {name!r}; it has {self.listed()}"

    def listed(self) -> str:
        """The names of the columns, for a message, and why others are not among them."""
        names = (
            ", ".join(printable(name) for name in self.columns[:20])
            or "none that has a name of its own"
        )
        return names + "".join(f" ({note})" for note in self.notes)


class Source(NamedTuple):
    """What a file holds: names of columns as they stand, rows of the columns at some places, what
    was decided in reading."""

    names: tuple[str, ...]
    rows: Callable[[tuple[int, ...]], Rows]
    notes: tuple[str, ...] = ()


def is_table_name(path: Path) -> bool:
    """Whether the file name says table."""
    return path.suffix.lower() in KINDS


def open_table(path: Path, header: bool = True) -> Table:
    """The table in a file; its rows are read when they are asked for.

    Args:
        header: whether the first line of a .csv or .tsv names the columns; without, they are called
            "1", "2" and so on.

    Raises:
        HeadstartError: the file is of no known kind, empty, not UTF-8 or damaged; `rows` raises it
            too, with the line.
    """
    if not is_table_name(path):
        raise HeadstartError(
            f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(KINDS)}"
        )
    source = KINDS[path.suffix.lower()](path, header)
    if not source.names:
        _empty(path)
    counts = Counter(source.names)
    doubled = tuple(
        name for name, count in counts.items() if count > 1 and not UNNAMED.fullmatch(name)
    )
    places = {
        name: place
        for place, name in enumerate(source.names)
        if name not in doubled and not UNNAMED.fullmatch(name)
    }

    def rows(wanted: tuple[str, ...]) -> Rows:
        return source.rows(tuple(places[name] for name in wanted))

    notes = [*source.notes, *_unnamed(path, source)]
    if doubled:
        notes.append(
            f"columns of {path.name} that share their name with another are not read: "
            f"{_names(doubled)}"
        )
    return Table(path, tuple(places), rows, doubled, tuple(notes))


def _unnamed(path: Path, source: Source) -> list[str]:
    """A sentence on columns without a name that hold more than nothing or the numbers of the
    rows."""
    places = tuple(place for place, name in enumerate(source.names) if UNNAMED.fullmatch(name))
    if not places:
        return []
    columns = zip(*(values for _, values in islice(source.rows(places), LOOKED_AT)), strict=True)
    given = [[str(value) for value in column if value not in (None, "")] for column in columns]
    data = [values for values in given if values and not _is_index(values)]
    return [
        f"a column of {path.name} that has no name is not read (such as "
        f"{quoted(values[0][:40])}); to have it read, give it a name"
        for values in data
    ]


def _is_index(values: Sequence[str]) -> bool:
    """Whether these are numbers of rows: whole, and no two the same."""
    return all(value.isdecimal() for value in values) and len(set(values)) == len(values)


def _delimited(path: Path, header: bool) -> Source:
    reading, note = reading_of(path)
    _, first = next(reading.records(), (0, []))
    names = (
        tuple(name.strip() for name in first)
        if header
        else tuple(str(n + 1) for n in range(len(first)))
    )

    def rows(places: tuple[int, ...]) -> Rows:
        for line, values in islice(reading.records(), int(header), None):
            if len(values) != len(names):
                raise HeadstartError(
                    f"{path}, line {line}: found {len(values)} fields; expected {len(names)} "
                    f"({_names(names)}). Put fields that hold {reading.delimiter!r} or a new "
                    "line into quotes, or mend the line"
                )
            yield line, tuple([values[place] for place in places])

    return Source(names, rows, (note,) if note else ())


def _json_lines(path: Path, header: bool) -> Source:
    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        with open_utf8(path) as file:
            for line, content in enumerate(file, 1):
                if not content.strip():
                    continue
                try:
                    record = json.loads(content)
                except (ValueError, RecursionError) as error:
                    raise HeadstartError(
                        f"{path}, line {line}: no JSON ({first_line(error)}); mend the line"
                    ) from None
                if not isinstance(record, dict):
                    raise HeadstartError(
                        f'{path}, line {line}: expected an object such as {{"text": …, "label": …}}'
                    )
                yield line, record

    names = tuple({key: None for _, record in islice(records(), LOOKED_AT) for key in record})

    def rows(places: tuple[int, ...]) -> Rows:
        for line, record in records():
            yield line, tuple([record.get(names[place]) for place in places])

    return Source(names, rows)


def _parquet(path: Path, header: bool) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise HeadstartError(f"{path}: no readable Parquet file: {first_line(error)}") from None
    names = tuple(file.schema_arrow.names)

    def rows(places: tuple[int, ...]) -> Rows:
        number = 0
        wanted = [names[place] for place in places]
        try:
            for batch in file.iter_batches(10_000, columns=list(dict.fromkeys(wanted))):
                for values in zip(
                    *(batch.column(name).to_pylist() for name in wanted), strict=True
                ):
                    number += 1
                    yield number, values
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise HeadstartError(
                f"{path}: damaged after row {number}: {first_line(error)}"
            ) from None

    return Source(names, rows)


KINDS: dict[str, Callable[[Path, bool], Source]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names))


def _empty(path: Path) -> NoReturn:
    raise HeadstartError(
        f"{path}: the table is empty; expected a first line with the names of the columns, and rows"
    )

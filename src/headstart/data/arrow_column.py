"""Columns of Arrow files, mapped into memory: values are read when indexed, so that a table need
not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

T = TypeVar("T", str, bytes)


class ArrowColumn(Sequence[T]):
    """Some rows of a column of strings or bytes in Arrow files.

    Args:
        paths: the files, one after the other.
        field: name of the column.
        rows: row numbers, counted over all files; None for all rows.
    """

    def __init__(self, paths: tuple[Path, ...], field: str, rows: np.ndarray | None = None) -> None:
        self._paths: tuple[Path, ...] = paths
        self._field: str = field
        self._rows = np.arange(len(_mapped(paths, field)), dtype=np.int32) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> ArrowColumn[T]: ...
    def __getitem__(self, row: int | slice) -> T | ArrowColumn[T]:
        if isinstance(row, slice):
            return self.take(row)
        value: T = _mapped(self._paths, self._field)[int(self._rows[row])].as_py()
        return value

    def __add__(self, other: ArrowColumn[T]) -> ArrowColumn[T]:
        if self._paths == other._paths:
            return ArrowColumn(self._paths, self._field, np.concatenate([self._rows, other._rows]))
        offset = np.int32(len(_mapped(self._paths, self._field)))
        rows = np.concatenate([self._rows, other._rows + offset])
        return ArrowColumn(self._paths + other._paths, self._field, rows)

    def take(self, rows: np.ndarray | slice) -> ArrowColumn[T]:
        """The values at these rows, in this order."""
        return ArrowColumn(self._paths, self._field, self._rows[rows])

    def sizes(self) -> np.ndarray:
        """Bytes of each value, shape (n,), from the offsets in the files alone."""
        sizes = pc.binary_length(_mapped(self._paths, self._field)).to_numpy()
        return np.take(sizes, self._rows)


@lru_cache(maxsize=32)
def _mapped(paths: tuple[Path, ...], field: str) -> pa.ChunkedArray:
    columns = [map_arrow_file(path).column(field) for path in paths]
    return pa.chunked_array(
        [chunk for column in columns for chunk in column.chunks], columns[0].type
    )


def map_arrow_file(path: Path) -> pa.Table:
    """The table of an Arrow file, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

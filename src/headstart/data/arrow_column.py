"""Values that stay in files: read by row when they are asked for, so that a table need not fit into
memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Column(Sequence[Any]):
    """A field of some rows of Arrow files, which are mapped into memory and not read.

    Args:
        paths: the files, one after the other.
        field: name of a column in them, of strings or bytes.
        rows: numbers of the rows, counted over all files; None for all rows.
    """

    def __init__(self, paths: tuple[Path, ...], field: str, rows: np.ndarray | None = None) -> None:
        self._paths, self._field = paths, field
        self._rows = np.arange(len(_mapped(paths, field)), dtype=np.int32) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> Column: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return Column(self._paths, self._field, self._rows[row])
        return _mapped(self._paths, self._field)[int(self._rows[row])].as_py()

    def __add__(self, other: Column) -> Column:
        if self._paths == other._paths:
            return Column(self._paths, self._field, np.concatenate([self._rows, other._rows]))
        before = np.int32(len(_mapped(self._paths, self._field)))
        rows = np.concatenate([self._rows, other._rows + before])
        return Column(self._paths + other._paths, self._field, rows)

    def take(self, rows: np.ndarray) -> Column:
        """The values at these rows, in this order."""
        return Column(self._paths, self._field, self._rows[rows])

    def sizes(self) -> np.ndarray:
        """Bytes of each value, shape (n,), from the files' offsets alone."""
        return pc.binary_length(_mapped(self._paths, self._field)).to_numpy()[self._rows]


@lru_cache(maxsize=32)
def _mapped(paths: tuple[Path, ...], field: str) -> Any:
    columns = [arrow_table(path).column(field) for path in paths]
    return pa.chunked_array(
        [chunk for column in columns for chunk in column.chunks], columns[0].type
    )


def arrow_table(path: Path) -> pa.Table:
    """The table of an Arrow file, its columns mapped from the disk."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

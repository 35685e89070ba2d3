"""Strings that stay in files: read by row when they are asked for, so that a table need not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa


class Column(Sequence[str]):
    """A field of some rows of Arrow files, which are mapped into memory and not read.

    Args:
        paths: the files, one after the other.
        field: name of a string column in them.
        rows: numbers of the rows, counted over all files; None for all rows.
    """

    def __init__(self, paths: tuple[Path, ...], field: str, rows: np.ndarray | None = None) -> None:
        self._paths, self._field = paths, field
        self._rows = np.arange(len(_mapped(paths, field))) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Column: ...
    def __getitem__(self, row: int | slice) -> str | Column:
        if isinstance(row, slice):
            return Column(self._paths, self._field, self._rows[row])
        return _mapped(self._paths, self._field)[int(self._rows[row])].as_py()

    def __add__(self, other: Column) -> Column:
        if self._paths == other._paths:
            return Column(self._paths, self._field, np.concatenate([self._rows, other._rows]))
        before = len(_mapped(self._paths, self._field))
        rows = np.concatenate([self._rows, other._rows + before])
        return Column(self._paths + other._paths, self._field, rows)

    def take(self, rows: Sequence[int] | np.ndarray) -> Column:
        """The strings at these rows, in this order."""
        return Column(self._paths, self._field, self._rows[np.asarray(rows, dtype=np.int64)])


@lru_cache(maxsize=32)
def _mapped(paths: tuple[Path, ...], field: str) -> Any:
    chunks = [chunk for path in paths for chunk in arrow_table(path).column(field).chunks]
    return pa.chunked_array(chunks, pa.string())


def arrow_table(path: Path) -> pa.Table:
    """The table of an Arrow file, its columns mapped from the disk."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

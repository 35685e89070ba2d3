"""Text files as UTF-8, and what to say of those that are something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError


@contextmanager
def open_utf8(path: Path) -> Iterator[Any]:
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

"""Text files as UTF-8, and what to say of those that are something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError

SAMPLE = 4096  # bytes that tell the encoding


@contextmanager
def open_utf8(path: Path) -> Iterator[Any]:
    """A text file, with or without a byte order mark; what is no UTF-8 is an error that names the
    line."""
    with path.open("rb") as raw:
        if is_utf16(raw.read(SAMPLE)):
            raise HeadstartError(
                f"{path} is written in UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8"
            )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise HeadstartError(f"{path}{_first_fault(path)}") from None


def is_utf16(start: bytes) -> bool:
    """Whether the first bytes of a file are UTF-16: a byte order mark, or many NULs, as in Latin
    letters."""
    return start[:2] in (b"\xff\xfe", b"\xfe\xff") or 4 * start.count(0) > len(start)


def _first_fault(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f", line {number}: byte 0x{line[error.start]:02x} at place {error.start + 1} "
                    "is no UTF-8; expected UTF-8 throughout. Convert the file, for instance with "
                    "iconv -f LATIN1 -t UTF-8 (or its true encoding)"
                )
    return " is no UTF-8; convert it"

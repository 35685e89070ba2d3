"""Unicode: reading text files as UTF-8, and showing and comparing names from any source."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from headstart.errors import DataError

ENCODING_SAMPLE = 4096  # first bytes of a file, from which its encoding is detected
# categories of control characters, lone surrogates and line separators
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
BIDI_CONTROLS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
VARIATION_SELECTORS = set(map(chr, range(0xFE00, 0xFE10)))
JOINER = r"[\s_\u2010-\u2015-]"  # spaces, underscores, hyphens and dashes
NO_JOINER = r"[^\s_\u2010-\u2015-]"


@contextmanager
def open_utf8(path: Path) -> Iterator[TextIO]:
    """Open a text file as UTF-8, with or without a byte order mark.

    Raises:
        HeadstartError: the file is not UTF-8; the message names the line.
    """
    with path.open("rb") as raw:
        if is_utf16(raw.read(ENCODING_SAMPLE)):
            raise DataError(
                f"{path} is written in UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8"
            )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise DataError(f"{path}{_first_invalid_byte(path)}") from None


def is_utf16(start: bytes) -> bool:
    """Whether the first bytes of a file are UTF-16: a byte order mark, or many NUL bytes."""
    return start[:2] in (b"\xff\xfe", b"\xfe\xff") or 4 * start.count(0) > len(start)


def _first_invalid_byte(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f", line {number}: byte 0x{line[error.start]:02x} at position "
                    f"{error.start + 1} is not UTF-8; expected UTF-8 throughout. Convert the "
                    "file, for example with iconv -f LATIN1 -t UTF-8 (or its true encoding)"
                )
    return " is not UTF-8; convert it"


def printable(name: str) -> str:
    """A name that can be shown anywhere, with escapes for invalid UTF-8 and controls."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in UNPRINTABLE or character in BIDI_CONTROLS
        else character
        for character in to_utf8(name)
    )


def quoted(name: str) -> str:
    """A printable name in quotes."""
    return f"'{printable(name)}'"


def to_utf8(name: str) -> str:
    """A name with escapes for what is not UTF-8: bytes of a file name, lone surrogates."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate, which JSON may hold
        return name.encode("utf-8", "backslashreplace").decode()


def nfc(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which class names are stored and compared."""
    return unicodedata.normalize("NFC", name)


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in case, joiners of words or invisible characters."""
    groups = defaultdict(list)
    for name in names:
        groups[_comparison_key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _comparison_key(name: str) -> str:
    """A name without case and joiners; other signs stay, and so do joiners between two digits."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(
        c for c in folded if unicodedata.category(c) != "Cf" and c not in VARIATION_SELECTORS
    )
    pattern = rf"(?<={NO_JOINER}){JOINER}+(?={NO_JOINER})"
    return re.sub(pattern, _joiner_between_digits, visible.strip()) or name


def _joiner_between_digits(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1], match.string[match.end()]
    return match[0] if before.isdigit() and after.isdigit() else ""

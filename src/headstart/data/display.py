"""Names from elsewhere: which of them are one label, and how any of them is shown."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from headstart.errors import HeadstartError

LONGEST_LABEL = 200  # characters
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, half characters, and what breaks a line
# of the direction of the text that follows
OVERRIDES = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SELECTORS = set(map(chr, range(0xFE00, 0xFE10)))  # of one look of a character among several


def printable(name: str) -> str:
    """A name as text for any file or terminal: what is no UTF-8, and control characters, become
    escapes."""
    return "".join(
        sign.encode("unicode_escape").decode()
        if unicodedata.category(sign) in UNSHOWN or sign in OVERRIDES
        else sign
        for sign in utf8(name)
    )


def quoted(name: str) -> str:
    """A name as text, in quotes."""
    return f"'{printable(name)}'"


def utf8(name: str) -> str:
    """A name with escapes for what is no UTF-8: bytes of a file's name, halves of characters."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as JSON may hold it
        return name.encode("utf-8", "backslashreplace").decode()


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names of classes are kept and compared."""
    return unicodedata.normalize("NFC", name)


def label_name(value: str, where: str) -> str:
    """A label as it is kept: as the data has it, in one way of writing each character (NFC),
    without spaces around.

    Raises:
        HeadstartError: it is too long to be one; `where` says where it stands.
    """
    name = utf8(composed(value.strip()))
    if len(name) > LONGEST_LABEL:
        raise HeadstartError(
            f"{where}: found a label of {len(name):,} characters ({printable(name[:40])}…); "
            f"expected the name of a class, at most {LONGEST_LABEL} characters. Name the column "
            "of the labels with data.columns.label"
        )
    return name


def twins(names: Iterable[str]) -> list[list[str]]:
    """Names that differ only in case, in the spaces or hyphens between their parts, or in what
    cannot be seen."""
    alike = defaultdict(list)
    for name in names:
        alike[_plain(name)].append(name)
    return [found for found in alike.values() if len(found) > 1]


def _plain(name: str) -> str:
    """What is left of a name without case and joints; marks and signs stay, and so do joints of two
    numbers."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    seen = "".join(
        c for c in folded if unicodedata.category(c) != "Cf" and c not in SELECTORS
    ).strip()
    return (
        re.sub(
            r"(?<=[^\s_\u2010-\u2015-])(?:[\s_\u2010-\u2015-]+)(?=[^\s_\u2010-\u2015-])",
            _joint,
            seen,
        )
        or name
    )


def _joint(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1], match.string[match.end()]
    return match[0] if before.isdigit() and after.isdigit() else ""

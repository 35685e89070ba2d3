"""Names from elsewhere, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from headstart.errors import HeadstartError

LONGEST_LABEL = 200  # characters


def printable(name: str) -> str:
    """A file name as text for any file or terminal: what is no UTF-8, and control characters, become escapes."""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as JSON may hold it
        text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names of classes are kept and compared."""
    return unicodedata.normalize("NFC", name)


def label_name(value: str, where: str) -> str:
    """A label as written in a table, made fit to be shown.

    Raises:
        HeadstartError: it is too long to be one; `where` says where it stands.
    """
    name = printable(composed(value.strip()))
    if len(name) > LONGEST_LABEL:
        raise HeadstartError(
            f"{where}: found a label of {len(name):,} characters ({name[:40]}…); expected the name of a class, at most "
            f"{LONGEST_LABEL} characters. Name the column of the labels with data.columns.label"
        )
    return name


def twins(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in case, spaces or signs only."""
    alike = defaultdict(list)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        alike["".join(sign for sign in plain if sign.isalnum()) or name].append(name)
    return [found for found in alike.values() if len(found) > 1]

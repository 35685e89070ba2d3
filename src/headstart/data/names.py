"""Names from elsewhere, made fit to be shown."""

from __future__ import annotations


def printable(name: str) -> str:
    """A file name as text for any file or terminal: what is no UTF-8, and control characters, become escapes."""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as JSON may hold it
        text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

"""Names from elsewhere, made fit to be shown."""

from __future__ import annotations


def printable(name: str) -> str:
    """A file name as text for any file or terminal: what is no UTF-8, and control characters, become escapes."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

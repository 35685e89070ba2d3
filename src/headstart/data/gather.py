"""What the arguments of a prediction stand for: files, folders, tables, or the texts themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headstart.data.columns import ITEMS
from headstart.data.images import is_image_name
from headstart.data.listing import walk
from headstart.data.names import printable
from headstart.data.pictures import digests, pictures
from headstart.data.tables import is_table_name, open_table
from headstart.data.texts import plain_text
from headstart.errors import HeadstartError


class Gathered(NamedTuple):
    """Examples to predict, what each is called, and for each one that cannot be read the reason."""

    items: Sequence[str]
    names: Sequence[str]
    faults: dict[str, str]


def images_at(paths: list[str], column: str | None = None) -> Gathered:
    """The image files that paths stand for: files, folders with all below them, and what tables name.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a path does not exist, there is no image at any of them, or a table has no column of paths.
    """
    files: list[str] = []
    for path in map(Path, filter(None, paths)):
        if path.is_dir():
            files += [str(file) for file in walk(path) if is_image_name(file)]
        elif path.is_file() and is_table_name(path):
            files += [str(path.parent / str(named)) for _, named in _rows(path, "image", column)]
        elif path.is_file():
            files.append(str(path))
        else:
            raise HeadstartError(f"{path}: no such file or folder; expected images, folders of them, or tables")
    if not files:
        raise HeadstartError(
            f"{', '.join(paths) or 'no path'}: found no image; expected images, folders of them, or tables"
        )
    checked = zip(files, pictures(files, digests(files)), strict=True)
    faults = {file: picture.fault for file, picture in checked if picture.fault}
    readable = [file for file in files if file not in faults]
    return Gathered(readable, readable, faults)


def texts_at(given: list[str], column: str | None = None) -> Gathered:
    """The texts that arguments stand for: .txt files, folders of them, the rows of tables; any other is a text as it stands.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a path does not exist, a table has no text column, or there is no text at all.
    """
    found: list[tuple[str, str | None]] = []  # name and content
    for text in given:
        path = Path(text) if text.strip() and len(text) < 1024 and "\0" not in text else None
        if path is not None and _exists(path):
            files = [file for file in walk(path) if file.suffix.lower() == ".txt"] if path.is_dir() else [path]
            if not files:
                raise HeadstartError(f"{path}: found no .txt file in this folder; expected some")
            for file in files:
                if is_table_name(file):
                    found += [(name, plain_text(value, name)) for name, value in _rows(file, "text", column)]
                else:
                    found.append((str(file), plain_text(file.read_bytes(), str(file))))
        elif path is not None and _looks_like_a_path(text):
            raise HeadstartError(f"{text}: no such file; expected a text, a .txt file, a folder of them, or a table")
        else:
            found.append((text, plain_text(text, "the text")))
    if not found:
        raise HeadstartError("found no text; expected texts, .txt files, folders of them, or tables")
    faults = {
        printable(name) or '""': "an empty text" if content is not None else "no UTF-8 text"
        for name, content in found
        if not content or not content.strip()
    }
    good = [(name, content) for name, content in found if content and content.strip()]
    return Gathered([content for _, content in good], [printable(name) for name, _ in good], faults)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that no file could be called
        return False


def _looks_like_a_path(text: str) -> bool:
    return " " not in text and (is_table_name(Path(text)) or text.lower().endswith(".txt") or "/" in text)


def _rows(path: Path, kind: str, column: str | None) -> Iterator[tuple[str, Any]]:
    """What each row of a table has in the column that the model was trained on, or else in the one that is called so."""
    table = open_table(path)
    found = [name for name in table.columns if name == column] or [n for n in table.columns if n.lower() in ITEMS[kind]]
    if len(table.columns) == 1:
        found = list(table.columns)
    if len(found) != 1:
        known = f"{column!r}, as in training" if column else f"for instance {kind!r}"
        raise HeadstartError(
            f"{path}: expected one column of {kind}s, called {known}; it has {', '.join(map(printable, table.columns))}"
        )
    for line, (value,) in table.rows((found[0],)):
        yield f"{path}:{line}", value

"""What the arguments of a prediction stand for: files, folders, tables, or the texts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from headstart.data.columns import ITEMS
from headstart.data.images import digests_or_faults, is_image_name
from headstart.data.listing import walk
from headstart.data.names import printable
from headstart.data.tables import is_table_name, open_table
from headstart.data.texts import plain_text
from headstart.errors import HeadstartError


class Gathered(NamedTuple):
    """Examples to predict, what each is called, and for each one that cannot be read the reason."""

    items: Sequence[str]
    names: Sequence[str]
    faults: dict[str, str]


def images_at(paths: list[str]) -> Gathered:
    """The image files that paths stand for (folders with all below them).

    Raises:
        HeadstartError: a path does not exist, or there is no image at any of them.
    """
    files: list[str] = []
    for path in map(Path, filter(None, paths)):
        if path.is_dir():
            files += [str(file) for file in walk(path) if is_image_name(file)]
        elif path.is_file():
            files.append(str(path))
        else:
            raise HeadstartError(f"{path}: no such file or folder; expected images or folders of images")
    if not files:
        raise HeadstartError(f"{', '.join(paths) or 'no path'}: found no image; expected images or folders of images")
    checked = dict(zip(files, digests_or_faults(files), strict=True))
    faults = {file: fault for file, (_, fault) in checked.items() if fault}
    readable = [file for file in files if file not in faults]
    return Gathered(readable, readable, faults)


def texts_at(given: list[str]) -> Gathered:
    """The texts that arguments stand for: .txt files, folders of them, the rows of tables; any other is a text as it stands.

    Raises:
        HeadstartError: a file of these kinds does not exist, a table has no text column, or there is no text at all.
    """
    found: list[tuple[str, str | None]] = []  # name and content
    for text in given:
        path = Path(text) if text.strip() and len(text) < 1024 and "\0" not in text else None
        if path is not None and _exists(path):
            files = [file for file in walk(path) if file.suffix.lower() == ".txt"] if path.is_dir() else [path]
            if not files:
                raise HeadstartError(f"{path}: found no .txt file in this folder; expected some")
            for file in files:
                found += _rows(file) if is_table_name(file) else [(str(file), plain_text(file.read_bytes(), str(file)))]
        elif path is not None and " " not in text and (is_table_name(path) or path.suffix.lower() == ".txt"):
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


def _rows(path: Path) -> list[tuple[str, str | None]]:
    table = open_table(path)
    found = [name for name in table.columns if name.lower() in ITEMS["text"]]
    if len(table.columns) == 1:
        found = list(table.columns)
    if len(found) != 1:
        raise HeadstartError(
            f"{path}: expected one column of texts, called for instance 'text'; it has "
            f"{', '.join(map(printable, table.columns))}"
        )
    return [(f"{path}:{line}", plain_text(value, f"{path}:{line}")) for line, (value,) in table.rows((found[0],))]

"""What the arguments of a prediction stand for: files, folders, tables, standard input, or the
texts themselves."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from headstart.data.archive import is_archive_name
from headstart.data.column_selection import ITEM_NAMES, example_in_header
from headstart.data.file_tree import BROKEN_LINK, SPECIAL_FILE, walk
from headstart.data.image_formats import is_image, may_be_image
from headstart.data.image_tables import ImagePathResolver, has_value, not_relative
from headstart.data.skipped import describe_skipped_paths
from headstart.data.tables import Table, has_table_extension, open_table
from headstart.data.texts import plain_text
from headstart.data.unicode import printable, quoted
from headstart.errors import HeadstartError

STDIN, STDIN_NAME = "-", "standard input"
LONGEST_NAME = 40  # characters of a column


class Input(NamedTuple):
    """An example to predict: what it is called, what an encoder reads, and a reason if that is not
    there to be read."""

    name: str
    item: Any
    fault: str = ""


def images_at(paths: Sequence[str], column: str | None = None) -> Iterator[Input]:
    """The image files that paths stand for: files, folders with all below them, what tables name,
    and for "-" the lines of standard input but blank ones. Whether they hold images shows when they
    are decoded.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a path does not exist, there is no image at any of them, or a table has no
            column of paths.
    """
    for path in paths:
        if path != STDIN and not (path and _exists(Path(path))):
            raise HeadstartError(
                f"{path}: no such file or folder; expected images, folders of them, or tables"
            )
        _check_plain(path)
    return some(
        _images(paths, column), f"{', '.join(paths[:5]) or 'no path'}: found no image", "images"
    )


def texts_at(given: Sequence[str], column: str | None = None) -> Iterator[Input]:
    """The texts that arguments stand for: .txt files, folders of them, the rows of tables, for "-"
    the lines of standard input, of which a blank one is an empty text; any other is a text as it
    stands.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a path does not exist, a table has no text column, or there is no text at
            all.
    """
    for text in given:
        if _names_a_file(text) is None and _looks_like_a_path(text):
            raise HeadstartError(
                f"{text}: no such file; expected a text, a .txt file, a folder of them, or a table"
            )
        if _names_a_file(text):
            _check_plain(text)
    return some(_texts(given, column), "found no text", "texts, .txt files")


def text_of(value: Any, name: str) -> Input:
    """A text as it came, if it is one."""
    try:
        content = plain_text(value, name)
    except HeadstartError as error:
        return Input(printable(name), "", str(error).removeprefix(f"{name}: "))
    if content is None:
        return Input(printable(name), "", "no UTF-8 text")
    return Input(
        printable(name) if name.strip() else quoted(name),
        content,
        "" if content.strip() else "an empty text",
    )


def some(found: Iterator[Input], trouble: str, expected: str) -> Iterator[Input]:
    """The same, once it is sure that there are any."""
    first = next(found, None)
    if first is None:
        raise HeadstartError(f"{trouble}; expected {expected}, folders of them, or tables")
    return chain([first], found)


def _images(paths: Sequence[str], column: str | None) -> Iterator[Input]:
    for path in paths:
        if path == STDIN:
            yield from (_image(os.fsdecode(line)) for _, line in _lines() if line.strip())
        else:
            yield from images_in(path, column)


def images_in(path: str, column: str | None) -> Iterator[Input]:
    """The images that one path stands for; a file is one, whether it is there or not."""
    place = Path(path)
    if place.is_dir():
        return map(_image, _below(place, "images", is_image, may_be_image))
    return _images_named(place, column) if has_table_extension(place) else iter([_image(path)])


def _image(path: str, fault: str = "") -> Input:
    if "\0" in path:
        return Input(printable(path), "", "no path: a NUL byte is in it; give one path a line")
    if is_archive_name(path) and os.path.isfile(path):
        return Input(printable(path), "", "an archive; unpack it and give the folder")
    if not fault and _is_odd(path):
        fault = "no plain file"
    if not fault and os.path.islink(path) and not _exists(Path(path)):
        fault = "a link that leads nowhere"
    return Input(printable(path), path, fault)


def _images_named(table: Path, column: str | None) -> Iterator[Input]:
    paths = ImagePathResolver(table.parent, f"{table}: the column of images")
    for row, name in _rows(table, "image", column):
        if not has_value(name):
            yield Input(printable(row), "", "no path in this row")
            continue
        path, fault = paths.resolve(name)
        if not fault and not os.path.lexists(path):
            counted = (
                f"paths in a table are counted from its folder, {printable(str(table.parent))}"
            )
            fault = f"no such file; {not_relative(str(name)) or counted}"
        yield _image(path, fault)


def _below(
    folder: Path, noun: str, accepts: Callable[[Path], bool], by_name: Callable[[Path], bool]
) -> list[str]:
    """Files below a folder that are or, by their names, may be examples; what clearly is none is
    counted, on standard error."""
    files, left_out = walk(folder)
    chosen = {path: None for path in files if accepts(Path(path))}
    others = {f"files that are not {noun}": [path for path in files if path not in chosen]}
    for reason, paths in left_out.items():
        chosen |= {
            path: None
            for path in paths
            if reason in (BROKEN_LINK, SPECIAL_FILE) and by_name(Path(path))
        }
        others[reason] = [path for path in paths if path not in chosen]
    if told := describe_skipped_paths(others, folder):
        print(f"left out of {printable(str(folder))}: {'; '.join(told)}", file=sys.stderr)
    return list(chosen)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _texts(given: Sequence[str], column: str | None) -> Iterator[Input]:
    for text in given:
        path = _names_a_file(text)
        if text == STDIN:
            yield from (text_of(line, name) for name, line in _lines())
        elif path is None:
            yield text_of(text, text)
        else:
            yield from texts_in(path, column)


def texts_in(path: Path, column: str | None) -> Iterator[Input]:
    """The texts in a file, a table or a folder of .txt files.

    Raises:
        HeadstartError: it is not there, or there is no text in it.
    """
    if not _exists(path):
        raise HeadstartError(
            f"{path}: no such file; expected a .txt file, a folder of them, or a table"
        )
    _check_plain(str(path))
    if has_table_extension(path):
        found = (text_of(value, name) for name, value in _rows(path, "text", column))
        yield from some(found, f"{path}: found no text", "texts, .txt files")
    elif path.is_dir():
        files = _below(path, "texts", _is_text, _is_text)
        if not files:
            raise HeadstartError(f"{path}: found no .txt file in this folder; expected some")
        yield from map(_content, map(Path, files))
    else:
        yield _content(path)


def _content(path: Path) -> Input:
    if _is_odd(str(path)):
        return Input(printable(str(path)), "", "no plain file")
    try:
        return text_of(path.read_bytes(), str(path))
    except OSError as error:
        return Input(printable(str(path)), "", error.strerror or "cannot be read")


def _lines() -> Iterator[tuple[str, bytes]]:
    """(name, line) of standard input."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield f"{STDIN}:{number}", line.rstrip(b"\r\n")


def _names_a_file(text: str) -> Path | None:
    path = Path(text) if text.strip() and len(text) < 1024 and "\0" not in text else None
    return path if path is not None and _exists(path) else None


def _check_plain(path: str) -> None:
    if path != STDIN and _is_odd(path) and not Path(path).is_dir():
        raise HeadstartError(f"{path}: is a pipe or a device; expected a plain file or a folder")


def _is_odd(path: str) -> bool:
    """Whether something is there that is no plain file, such as a pipe, which would be waited for
    for ever."""
    return _exists(Path(path)) and not Path(path).is_file()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that no file could be called
        return False


def _looks_like_a_path(text: str) -> bool:
    if " " in text:
        return False
    named = has_table_extension(Path(text)) or text.lower().endswith((".txt", "/"))
    return named or text.startswith(("/", "./", "../", "~/"))


def taken_for(given: Sequence[str]) -> str:
    """What each argument for a model of texts is taken for, counted: "1 folder, 2 texts"."""
    counts = Counter(map(_taken_for, given))
    return ", ".join(
        kind if kind == STDIN_NAME else f"{count} {kind}{'s' if count > 1 else ''}"
        for kind, count in counts.items()
    )


def _taken_for(text: str) -> str:
    path = _names_a_file(text)
    if text == STDIN:
        return STDIN_NAME
    if path is None:
        return "text"
    return "folder" if path.is_dir() else "table" if has_table_extension(path) else "file"


def _rows(path: Path, kind: str, column: str | None) -> Iterator[tuple[str, Any]]:
    """What each row of a table has in the column that the model was trained on, or else in the one
    that is called so."""
    table = open_table(path)
    found = [name for name in table.columns if name == column] or [
        n for n in table.columns if n.lower() in ITEM_NAMES[kind]
    ]
    if not found and column is not None and column.isdecimal():  # trained on a table without names
        table = open_table(path, header=False)
        found = [name for name in table.columns if name == column]
    if len(table.columns) == 1:
        found = found or [_named_column(table)]
    if len(found) != 1:
        known = f"{column!r}, as in training" if column else f"for instance {kind!r}"
        raise HeadstartError(
            f"{path}: expected one column of {kind}s, called {known}; it has {table.list_columns()}"
        )
    for line, (value,) in table.rows((found[0],)):
        yield f"{path}:{line}", value


def _named_column(table: Table) -> str:
    """The only column of a table, if its first line can be a name and not the first example.

    Raises:
        HeadstartError: it cannot.
    """
    (name,) = table.columns
    if len(name) > LONGEST_NAME or example_in_header(table) is not None:
        raise HeadstartError(
            f"{table.path}: the first line, {printable(name[:LONGEST_NAME])!r}, looks like an "
            "example, not like the name of the column; give it a name in a first line, such as "
            "text"
        )
    return name

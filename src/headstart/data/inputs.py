"""The examples that the arguments of a prediction stand for: files, folders, tables, standard
input, or the texts themselves."""

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
from headstart.data.tables import has_table_extension, open_table
from headstart.data.texts import plain_text
from headstart.data.unicode import printable, quoted
from headstart.errors import DataError, HeadstartError

STDIN, STDIN_NAME = "-", "standard input"
LONGEST_NAME = 40  # characters of a column
MAX_PATH_LENGTH = 1024
EXPECTED = {"image": "images", "text": "texts, .txt files"}  # by noun, for messages


class Input(NamedTuple):
    """An example to predict: its name, what a preprocessor reads, and why it cannot be read, if it
    cannot."""

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
        if path != STDIN and not (path and _exists(path)):
            raise DataError(
                f"{path}: no such file or folder; expected images, folders of them, or tables"
            )
        _check_regular(path)
    inputs = chain.from_iterable(
        _stdin_images() if p == STDIN else images_in(p, column) for p in paths
    )
    return require_any(inputs, ", ".join(paths[:5]) or "no path", "image")


def texts_at(arguments: Sequence[str], column: str | None = None) -> Iterator[Input]:
    """The texts that arguments stand for: .txt files, folders of them, the rows of tables, for "-"
    the lines of standard input, of which a blank one is an empty text; any other is a text as it
    stands.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a path does not exist, a table has no text column, or there is no text at
            all.
    """
    for text in arguments:
        if is_path(text):
            _check_regular(text)
        elif _looks_like_path(text):
            raise DataError(
                f"{text}: no such file; expected a text, a .txt file, a folder of them, or a table"
            )
    inputs = chain.from_iterable(_texts_of(text, column) for text in arguments)
    return require_any(inputs, ", ".join(arguments[:5]) or "no argument", "text")


def require_any(inputs: Iterator[Input], source: str, noun: str) -> Iterator[Input]:
    """The same inputs, after a check that there are any in `source`."""
    first = next(inputs, None)
    if first is None:
        raise DataError(
            f"{printable(source)}: found no {noun}; expected {EXPECTED[noun]}, folders of them, or "
            "tables"
        )
    return chain([first], inputs)


def images_in(path: str, column: str | None) -> Iterator[Input]:
    """The images that one path stands for; a file is one, whether it exists or not."""
    if Path(path).is_dir():
        return map(_image, _files_below(Path(path), "images", is_image, may_be_image))
    if has_table_extension(Path(path)):
        return _images_in_table(Path(path), column)
    return iter([_image(path)])


def _stdin_images() -> Iterator[Input]:
    return (_image(os.fsdecode(line)) for _, line in _stdin_lines() if line.strip())


def _image(path: str, fault: str = "") -> Input:
    if "\0" in path:
        fault = "no path: a NUL byte is in it; give one path a line"
    elif is_archive_name(path) and os.path.isfile(path):
        fault = "an archive; unpack it and give the folder"
    elif not fault and _is_irregular(path):
        fault = "no plain file"
    elif not fault and os.path.islink(path) and not _exists(path):
        fault = "a link that leads nowhere"
    return Input(printable(path), path, fault)


def _images_in_table(table: Path, column: str | None) -> Iterator[Input]:
    paths = ImagePathResolver(table.parent, f"{table}: the column of images")
    for row, cell in _cells(table, "image", column):
        if not has_value(cell):
            yield Input(printable(row), "", "no path in this row")
            continue
        path, fault = paths.resolve(cell)
        if not fault and not os.path.lexists(path):
            fault = "no such file; " + (
                not_relative(str(cell))
                or f"paths in a table are counted from its folder, {printable(str(table.parent))}"
            )
        yield _image(path, fault)


def _files_below(
    folder: Path, noun: str, accepts: Callable[[Path], bool], by_name: Callable[[Path], bool]
) -> list[str]:
    """Files below a folder that are or, by their names, may be examples; the others are counted, on
    standard error."""
    tree = walk(folder)
    examples = [path for path in tree.files if accepts(Path(path))]
    rest = set(tree.files).difference(examples)
    others = {f"files that are not {noun}": [path for path in tree.files if path in rest]}
    for reason, paths in tree.skipped.items():
        unreadable = reason in (BROKEN_LINK, SPECIAL_FILE)
        named = [path for path in paths if unreadable and by_name(Path(path))]
        examples += named
        others[reason] = [path for path in paths if path not in named]
    if skipped := describe_skipped_paths(others, folder):
        print(f"left out of {printable(str(folder))}: {'; '.join(skipped)}", file=sys.stderr)
    return examples


def _is_text_file(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _texts_of(argument: str, column: str | None) -> Iterator[Input]:
    if argument == STDIN:
        return (text_of(line, name) for name, line in _stdin_lines())
    return (
        texts_in(Path(argument), column)
        if is_path(argument)
        else iter([text_of(argument, argument)])
    )


def texts_in(path: Path, column: str | None) -> Iterator[Input]:
    """The texts in a file, a table or a folder of .txt files.

    Raises:
        HeadstartError: it does not exist, or there is no text in it.
    """
    if not _exists(path):
        raise DataError(f"{path}: no such file; expected a .txt file, a folder of them, or a table")
    _check_regular(path)
    if has_table_extension(path):
        inputs = (text_of(value, name) for name, value in _cells(path, "text", column))
        yield from require_any(inputs, str(path), "text")
    elif path.is_dir():
        files = _files_below(path, "texts", _is_text_file, _is_text_file)
        if not files:
            raise DataError(f"{path}: found no .txt file in this folder; expected some")
        yield from map(_text_in_file, files)
    else:
        yield _text_in_file(str(path))


def _text_in_file(path: str) -> Input:
    if _is_irregular(path):
        return Input(printable(path), "", "no plain file")
    try:
        return text_of(Path(path).read_bytes(), path)
    except OSError as error:
        return Input(printable(path), "", error.strerror or "cannot be read")


def text_of(value: object, name: str) -> Input:
    """A text as it came, if it is one."""
    try:
        content = plain_text(value, name)
    except HeadstartError as error:
        return Input(printable(name), "", str(error).removeprefix(f"{name}: "))
    if content is None:
        return Input(printable(name), "", "no UTF-8 text")
    fault = "" if content.strip() else "an empty text"
    return Input(printable(name) if name.strip() else quoted(name), content, fault)


def _stdin_lines() -> Iterator[tuple[str, bytes]]:
    """(name, line) of standard input."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield f"{STDIN}:{number}", line.rstrip(b"\r\n")


def _check_regular(path: str | Path) -> None:
    if path != STDIN and _is_irregular(path) and not Path(path).is_dir():
        raise DataError(f"{path}: is a pipe or a device; expected a plain file or a folder")


def _is_irregular(path: str | Path) -> bool:
    """Whether this exists and is no regular file, such as a pipe, which may never end."""
    return _exists(path) and not Path(path).is_file()


def _exists(path: str | Path) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a text that no file could be called
        return False


def is_path(text: str) -> bool:
    """Whether a text is the path of something that exists."""
    return bool(text.strip()) and len(text) < MAX_PATH_LENGTH and _exists(text)


def _looks_like_path(text: str) -> bool:
    has_extension = has_table_extension(Path(text)) or text.lower().endswith((".txt", "/"))
    return " " not in text and (has_extension or text.startswith(("/", "./", "../", "~/")))


def taken_for(arguments: Sequence[str]) -> str:
    """What each argument for a model of texts is taken for, counted: "1 folder, 2 texts"."""
    counts = Counter(map(_taken_for, arguments))
    return ", ".join(
        kind if kind == STDIN_NAME else f"{count} {kind}{'s' if count > 1 else ''}"
        for kind, count in counts.items()
    )


def _taken_for(text: str) -> str:
    if text == STDIN or not is_path(text):
        return STDIN_NAME if text == STDIN else "text"
    path = Path(text)
    return "folder" if path.is_dir() else "table" if has_table_extension(path) else "file"


def _cells(path: Path, kind: str, column: str | None) -> Iterator[tuple[str, object]]:
    """(name, cell) of each row of a table in the column that the model was trained on, or else in
    the one that is called so."""
    table = open_table(path)
    names = [name for name in table.columns if name == column] or [
        name for name in table.columns if name.lower() in ITEM_NAMES[kind]
    ]
    if not names and column is not None and column.isdecimal():  # trained on a table without names
        table = open_table(path, header=False)
        names = [name for name in table.columns if name == column]
    if not names and len(table.columns) == 1:
        names = list(table.columns)
        if len(names[0]) > LONGEST_NAME or example_in_header(table) is not None:
            raise DataError(
                f"{path}: the first line, {printable(names[0][:LONGEST_NAME])!r}, looks like an "
                "example, not like the name of the column; give it a name in a first line, such as "
                "text"
            )
    if len(names) != 1:
        known = f"{column!r}, as in training" if column else f"for instance {kind!r}"
        raise DataError(
            f"{path}: expected one column of {kind}s, called {known}; it has {table.list_columns()}"
        )
    for line, (value,) in table.rows((names[0],)):
        yield f"{path}:{line}", value

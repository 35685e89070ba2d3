"""Python objects as inputs of a prediction: texts, paths, opened images, bytes; one or many."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from os import PathLike, fspath
from pathlib import Path

from PIL import Image

from headstart.data.inputs import Input, images_in, is_path, require_any, text_of, texts_in
from headstart.data.tables import TABLE_FORMATS
from headstart.data.unicode import printable
from headstart.errors import DataError, HeadstartError

TEXT_FILE_EXTENSIONS = (".txt", *TABLE_FORMATS)
SINGLE = (str, bytes, bytearray, PathLike, Image.Image)


def as_items(examples: object) -> list[object]:
    """The items of a sequence, array or Series, in order; a single item as a list of it.

    Raises:
        HeadstartError: it has no order, or more than one dimension.
    """
    if isinstance(examples, SINGLE):
        return [examples]
    shape = getattr(examples, "shape", (0,))
    unordered = isinstance(examples, Set | Mapping)
    if unordered or len(shape) != 1 or not isinstance(examples, Iterable):
        raise DataError(
            f"predict: found {_describe(examples)}; expected one example, or a list, "
            "one-dimensional array or Series of them (of a table its column, of pixels "
            "Image.fromarray)"
        )
    return list(examples.tolist() if hasattr(examples, "tolist") else examples)


def text_inputs(items: Iterable[object], column: str | None) -> Iterator[Input]:
    """Inputs of a text model: a string is a text, unless it is the path of an existing .txt or
    table file; a `Path` is a file, a folder of .txt files or a table; bytes are UTF-8. What cannot
    be read becomes an input with a fault.

    Args:
        column: of the tables that the model was trained on, if it was.
    """

    def inputs_of(item: object, index: int) -> Iterable[Input]:
        if isinstance(item, str) and not _is_text_file(item):
            return [text_of(item, item)]
        if isinstance(item, str | PathLike):
            return texts_in(Path(fspath(item)), column)
        if isinstance(item, bytes | bytearray):
            return [text_of(bytes(item), _name(index))]
        return [_unknown(item, index, "a text")]

    return _flatten(items, inputs_of)


def image_inputs(items: Iterable[object], column: str | None) -> Iterator[Input]:
    """Inputs of an image model: strings and `Path`s are files, folders or tables, bytes the content
    of a file. What cannot be read becomes an input with a fault.

    Args:
        column: of the tables that the model was trained on, if it was.
    """

    def inputs_of(item: object, index: int) -> Iterable[Input]:
        if isinstance(item, str | PathLike):
            path = fspath(item)
            return require_any(images_in(path, column), path, "image")
        if isinstance(item, Image.Image):
            return [Input(printable(str(getattr(item, "filename", ""))) or _name(index), item)]
        if isinstance(item, bytes | bytearray):
            return [Input(_name(index), io.BytesIO(item))]
        expected = "an image: a path, bytes, or one opened with Pillow (Image.fromarray for pixels)"
        return [_unknown(item, index, expected)]

    return _flatten(items, inputs_of)


def _flatten(
    items: Iterable[object], inputs_of: Callable[[object, int], Iterable[Input]]
) -> Iterator[Input]:
    """The inputs of each item in turn; where reading an item fails, an input with the fault."""
    for index, item in enumerate(items):
        try:
            yield from inputs_of(item, index)
        except HeadstartError as error:
            name = fspath(item) if isinstance(item, str | PathLike) else _name(index)
            yield Input(printable(name), "", str(error).removeprefix(name).lstrip(":, "))


def _is_text_file(text: str) -> bool:
    return text.lower().endswith(TEXT_FILE_EXTENSIONS) and is_path(text) and Path(text).is_file()


def _unknown(item: object, index: int, expected: str) -> Input:
    missing = item is None or item != item  # NaN
    problem = "nothing is there" if missing is True else f"found {_describe(item)}"
    return Input(_name(index), "", f"{problem}; expected {expected}")


def _name(index: int) -> str:
    return f"item {index}"


def _describe(value: object) -> str:
    """The type and shape of an object, without its contents."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (
        f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else ""
    )

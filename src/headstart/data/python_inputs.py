"""What Python gives to a prediction: texts, paths, opened images, bytes; one, or a sequence or
stream of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from PIL import Image

from headstart.data.inputs import Input, images_in, some, text_of, texts_in
from headstart.data.tables import KINDS
from headstart.data.unicode import printable
from headstart.errors import HeadstartError

FILES = (".txt", *KINDS)  # endings of files that hold texts
ONE = (str, bytes, bytearray, PathLike, Image.Image)


def items_of(given: Any) -> list[Any]:
    """The items of a sequence, an array or a Series, in order; what is one item by itself is a list
    of it.

    Raises:
        HeadstartError: it has no order, or more than one dimension.
    """
    if isinstance(given, ONE):
        return [given]
    shape = getattr(given, "shape", (0,))
    if isinstance(given, Set | Mapping) or len(shape) != 1 or not isinstance(given, Iterable):
        raise HeadstartError(
            f"predict: found {_kind(given)}; expected one example, or a list, one-dimensional "
            "array or Series of them (of a table its column, of pixels Image.fromarray)"
        )
    return list(given.tolist() if hasattr(given, "tolist") else given)


def texts_of(items: Iterable[Any], column: str | None) -> Iterator[Input]:
    """Examples for a model of texts: a string is a text, unless it is the path of a file with a
    known ending; a `Path` is a file, a folder of .txt files or a table; bytes are UTF-8. What
    cannot be read is an example with a fault.

    Args:
        column: of the tables that the model was trained on, if it was.
    """

    def examples(item: Any, place: int) -> Iterable[Input]:
        if isinstance(item, PathLike) or _is_file_of_texts(item):
            return texts_in(Path(fspath(item)), column)
        if isinstance(item, str):
            return [text_of(item, item)]
        if isinstance(item, bytes | bytearray):
            return [text_of(bytes(item), _name(place))]
        return [_unknown(item, place, "a text")]

    return _each(items, examples)


def images_of(items: Iterable[Any], column: str | None) -> Iterator[Input]:
    """Examples for a model of images: strings and `Path`s are files, folders or tables, bytes what
    a file holds. What cannot be read is an example with a fault.

    Args:
        column: of the tables that the model was trained on, if it was.
    """

    def examples(item: Any, place: int) -> Iterable[Input]:
        if isinstance(item, str | PathLike):
            return some(
                images_in(fspath(item), column), f"{fspath(item)}: found no image", "images"
            )
        if isinstance(item, Image.Image):
            return [Input(printable(str(getattr(item, "filename", ""))) or _name(place), item)]
        if isinstance(item, bytes | bytearray):
            return [Input(_name(place), io.BytesIO(item))]
        expected = "an image: a path, bytes, or one opened with Pillow (Image.fromarray for pixels)"
        return [_unknown(item, place, expected)]

    return _each(items, examples)


def _each(items: Iterable[Any], examples: Callable[[Any, int], Iterable[Input]]) -> Iterator[Input]:
    """The examples of each item in turn. Where an item cannot be read, or read any further, one
    with the reason follows."""
    for place, item in enumerate(items):
        try:
            yield from examples(item, place)
        except HeadstartError as error:
            name = fspath(item)
            yield Input(printable(name), "", str(error).removeprefix(name).lstrip(":, "))


def _is_file_of_texts(item: Any) -> bool:
    if not isinstance(item, str) or len(item) > 1024 or not item.lower().endswith(FILES):
        return False
    try:
        return Path(item).is_file()
    except (OSError, ValueError):  # a text that no file could be called
        return False


def _unknown(item: Any, place: int, expected: str) -> Input:
    missing = item is None or item != item
    return Input(
        _name(place),
        "",
        f"{'nothing is there' if missing is True else f'found {_kind(item)}'}; expected {expected}",
    )


def _name(place: int) -> str:
    return f"item {place}"


def _kind(given: Any) -> str:
    """What something is, in words that do not hold its contents."""
    shape = getattr(given, "shape", None)
    return type(given).__name__ + (
        f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else ""
    )

"""What Python gives to a prediction: texts, paths, opened images, bytes; one, or a sequence or stream of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Set
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from PIL import Image

from headstart.data.gather import Found, images_in, some, text_of, texts_in
from headstart.data.names import printable
from headstart.data.tables import KINDS
from headstart.errors import HeadstartError

FILES = (".txt", *KINDS)  # endings of files that hold texts
ONE = (str, bytes, bytearray, PathLike, Image.Image)


def items_of(given: Any) -> list[Any]:
    """The items of a sequence, an array or a Series, in order; what is one item by itself is a list of it.

    Raises:
        HeadstartError: it has no order, or more than one dimension.
    """
    if isinstance(given, ONE):
        return [given]
    shape = getattr(given, "shape", (0,))
    if isinstance(given, Set | Mapping) or len(shape) != 1 or not isinstance(given, Iterable):
        raise HeadstartError(
            f"predict: found {_kind(given)}; expected one example, or a list, one-dimensional array or Series of them (of a "
            "table its column, of pixels Image.fromarray)"
        )
    return list(given.tolist() if hasattr(given, "tolist") else given)


def texts_of(items: Iterable[Any], column: str | None) -> Iterator[Found]:
    """Examples for a model of texts: a string is a text, unless it is the path of a file with a known ending; a `Path` is a
    file, a folder of .txt files or a table; bytes are UTF-8.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a `Path` leads nowhere, or to nothing that holds texts.
    """
    for place, item in enumerate(items):
        if isinstance(item, PathLike) or _is_file_of_texts(item):
            yield from texts_in(Path(fspath(item)), column)
        elif isinstance(item, str | bytes | bytearray):
            yield text_of(
                item if isinstance(item, str) else bytes(item), item if isinstance(item, str) else _name(place)
            )
        else:
            yield _unknown(item, place, "a text")


def images_of(items: Iterable[Any], column: str | None) -> Iterator[Found]:
    """Examples for a model of images: strings and `Path`s are files, folders or tables, bytes what a file holds.

    Args:
        column: of the tables that the model was trained on, if it was.

    Raises:
        HeadstartError: a folder or table holds no image.
    """
    for place, item in enumerate(items):
        if isinstance(item, str | PathLike):
            yield from some(images_in(fspath(item), column), f"{fspath(item)}: found no image", "images")
        elif isinstance(item, Image.Image):
            yield Found(printable(str(getattr(item, "filename", ""))) or _name(place), item)
        elif isinstance(item, bytes | bytearray):
            yield Found(_name(place), io.BytesIO(item))
        else:
            yield _unknown(
                item, place, "an image: a path, bytes, or one opened with Pillow (Image.fromarray for pixels)"
            )


def _is_file_of_texts(item: Any) -> bool:
    if not isinstance(item, str) or len(item) > 1024 or not item.lower().endswith(FILES):
        return False
    try:
        return Path(item).is_file()
    except (OSError, ValueError):  # a text that no file could be called
        return False


def _unknown(item: Any, place: int, expected: str) -> Found:
    missing = item is None or item != item
    return Found(
        _name(place), "", f"{'nothing is there' if missing is True else f'found {_kind(item)}'}; expected {expected}"
    )


def _name(place: int) -> str:
    return f"item {place}"


def _kind(given: Any) -> str:
    """What something is, in words that do not hold its contents."""
    shape = getattr(given, "shape", None)
    return type(given).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else "")

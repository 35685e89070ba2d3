"""Tables that name image files by their paths."""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from headstart.data.class_folders import ClassFiles
from headstart.data.column_selection import SelectedColumns
from headstart.data.file_tree import list_folder
from headstart.data.image_formats import has_image_extension
from headstart.data.labelled_rows import labelled_rows
from headstart.data.skipped import Skipped, skip
from headstart.data.tables import Table
from headstart.data.unicode import printable, quoted
from headstart.errors import DataError

MAX_PATH_LENGTH = 4096  # characters
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class ImagePathResolver:
    """Finds the image files that the cells of a table name.

    A cell is a path relative to `folder`, with slashes or backslashes; without an extension it
    means the only image of that name (`img001` for `img001.jpg`). `column` is what messages call
    the column.
    """

    def __init__(self, folder: Path, column: str) -> None:
        self.folder, self.column = folder, column
        self._images: dict[Path, dict[str, list[str]]] = {}

    def resolve(self, cell: object) -> tuple[str, str]:
        """(path of the file, why it is ambiguous or "").

        Args:
            cell: a path, or an image of a hub data set: a dict of its bytes and its path.

        Raises:
            HeadstartError: the cell is not a path, but the image itself.
        """
        name = str(cell.get("path") or "") if isinstance(cell, dict) else cell
        is_path = not isinstance(name, bytes | bytearray | list)
        if isinstance(name, str):
            is_path = 0 < len(name) <= MAX_PATH_LENGTH and "\0" not in name
        path, problem = self._resolve(str(name)) if is_path else ("", "")
        if not is_path or (isinstance(cell, dict) and not os.path.isfile(path)):
            content = "bytes" if isinstance(cell, bytes | bytearray | dict) else "something else"
            raise DataError(
                f"{self.column} holds {content}, not paths of existing files; write each image to "
                "a file, and the paths of the files into a column of their own"
            )
        return path, problem

    def _resolve(self, name: str) -> tuple[str, str]:
        if name.lower().startswith("file://"):
            name = unquote(urlsplit(name).path)
        path = self.folder / name
        if "\\" in name and not path.exists():
            path = self.folder / name.replace("\\", "/")
        if has_image_extension(path) or path.is_file():
            return str(path), ""
        candidates = self._images_in(path.parent).get(path.name, [])
        if len(candidates) > 1:
            return str(path), f"may be {' or '.join(candidates[:3])}; write its extension"
        return str(path.parent / candidates[0] if candidates else path), ""

    def _images_in(self, folder: Path) -> dict[str, list[str]]:
        """The image files of a folder by their names without extension."""
        if folder not in self._images:
            images: dict[str, list[str]] = {}
            for entry in list_folder(folder) if folder.is_dir() else ():
                if has_image_extension(path := Path(entry.name)):
                    images.setdefault(path.stem, []).append(entry.name)
            self._images[folder] = images
        return self._images[folder]


def has_value(cell: object) -> bool:
    """Whether a cell of a table is not empty."""
    return cell is not None and bool(cell.strip() if isinstance(cell, str) else cell != "")


def not_relative(path: str) -> str:
    """Why a path is not relative to any folder, and what to do; "" if it is."""
    if URL.match(path):
        return (
            "they are addresses (URLs), which are not fetched; download the files and write "
            "their paths"
        )
    if path.startswith("/") or PureWindowsPath(path).drive:
        return (
            "they are absolute; bring the files there, or write the paths relative to the folder "
            "of the table"
        )
    return ""


def list_image_table(
    table: Table, columns: SelectedColumns, images: str | None
) -> tuple[dict[str, ClassFiles], Skipped]:
    """(the images that a table names, by the role in its split column or ""; rows left out).

    Args:
        images: the folder that the paths are relative to, if it is not that of the table.

    Raises:
        HeadstartError: there is no such folder, a path is ambiguous, none of the files exists, or
            the labels are not classes.
    """
    folder = table.path.parent if images is None else Path(os.path.expanduser(images))
    if not folder.is_dir():
        raise DataError(
            f"data.images: no folder {folder}; expected the one that the paths in {table.path} are "
            "relative to"
        )
    paths = ImagePathResolver(
        folder, f"data.columns.image: column {columns.item!r} of {table.path}"
    )
    parts: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, str] = {}
    skipped: Skipped = {}
    first = ""
    for row in labelled_rows(table, columns):
        problem = row.problem or ("" if has_value(row.value) else "no path")
        if problem:
            skip(skipped, problem, row.name)
            continue
        path, ambiguity = paths.resolve(row.value)
        if ambiguity:
            raise DataError(f"{table.path.parent / row.name}: {quoted(str(row.value))} {ambiguity}")
        first = first or str(row.value)
        parts.setdefault(row.role, {}).setdefault(row.label, []).append(path)
        if columns.key:
            keys[path] = row.key
    files = [path for by_label in parts.values() for paths in by_label.values() for path in paths]
    if files and not any(map(os.path.exists, files)):
        reason = not_relative(first)
        advice = reason and f"{printable(first)}: {reason}"
        raise DataError(
            f"{table.path}: none of its files exists, such as "
            + (
                advice
                or f"{printable(files[0])}; expected paths relative to {quoted(str(folder))}. Name "
                "the folder that they are relative to with data.images, such as data.images = "
                '"photos"'
            )
        )
    parts = parts or {"": {}}
    return {role: ClassFiles(folder, part, keys=keys) for role, part in parts.items()}, skipped

"""Images that a table names by their paths."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from headstart.data.class_folders import Listing
from headstart.data.column_selection import Chosen
from headstart.data.file_tree import entries
from headstart.data.image_formats import has_image_extension
from headstart.data.label_encoding import check_few, label_of
from headstart.data.skipped import NO_KEY, NO_LABEL, NO_ROLE, LeftRows, leave_out
from headstart.data.tables import Table
from headstart.data.train_test_folders import role_of
from headstart.data.unicode import printable, quoted
from headstart.errors import HeadstartError

LONGEST = 4096  # characters of a path
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class ImagePaths:
    """Finds the files that names in a table stand for.

    A name is a path counted from `folder`, with slashes or backslashes; one without an ending
    stands for the only image of that name (`img001` for `img001.jpg`). `column` is what messages
    call the column of names.
    """

    def __init__(self, folder: Path, column: str) -> None:
        self.folder, self.column = folder, column
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, cell: Any) -> tuple[str, str]:
        """(path of the file, why it cannot be told or "").

        Args:
            cell: a name, or an image of the hub's: its bytes and its name.

        Raises:
            HeadstartError: it is no name, but the image itself.
        """
        name = str(cell.get("path") or "") if isinstance(cell, dict) else cell
        if isinstance(name, bytes | bytearray | list) or (
            isinstance(name, str) and not _may_be_path(name)
        ):
            raise self._no_path(cell)
        path, fault = self._find(_plain(str(name)))
        if isinstance(cell, dict) and not os.path.isfile(path):
            raise self._no_path(cell)
        return path, fault

    def _no_path(self, cell: Any) -> HeadstartError:
        holds = "bytes" if isinstance(cell, bytes | bytearray | dict) else "something else"
        return HeadstartError(
            f"{self.column} holds {holds}, not paths of files that are there; write each image "
            "to a file, and the paths of the files into a column of their own"
        )

    def _find(self, name: str) -> tuple[str, str]:
        place = self.folder / name
        if "\\" in name and not place.exists():
            place = self.folder / name.replace("\\", "/")
        if has_image_extension(place) or place.is_file():
            return str(place), ""
        found = self._images_in(place.parent).get(place.name, [])
        if len(found) > 1:
            return str(place), f"may be {' or '.join(found[:3])}; write its ending"
        return str(place.parent / found[0] if found else place), ""

    def _images_in(self, folder: Path) -> dict[str, list[str]]:
        """The image files of a folder by their names without ending."""
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for entry in entries(folder) if folder.is_dir() else ():
                if has_image_extension(path := Path(entry.name)):
                    stems.setdefault(path.stem, []).append(entry.name)
            self._stems[folder] = stems
        return self._stems[folder]


def has_path(cell: Any) -> bool:
    """Whether a cell of a table holds anything."""
    return cell is not None and bool(cell.strip() if isinstance(cell, str) else cell != "")


def not_counted(name: str) -> str:
    """Why it does not matter which folder paths are counted from, and what to do; "" if it does."""
    if URL.match(name):
        return (
            "they are addresses (URLs), which are not fetched; download the files and write "
            "their paths"
        )
    if name.startswith("/") or PureWindowsPath(name).drive:
        return (
            "they are absolute; bring the files there, or write the paths as counted from the "
            "folder of the table"
        )
    return ""


def _plain(name: str) -> str:
    """A path as it is, or the one that a file URL says."""
    return unquote(urlsplit(name).path) if name.lower().startswith("file://") else name


def _may_be_path(name: str) -> bool:
    return bool(name) and len(name) <= LONGEST and "\0" not in name


def images_folder(given: str | None, table: Table) -> Path:
    """The folder that paths in a table are counted from: data.images, or the table's own.

    Raises:
        HeadstartError: there is no such folder.
    """
    if given is None:
        return table.path.parent
    folder = Path(os.path.expanduser(given))
    if not folder.is_dir():
        raise HeadstartError(
            f"data.images: no folder {folder}; expected the one that the paths in {table.path} "
            "are counted from"
        )
    return folder


def list_table(table: Table, chosen: Chosen, folder: Path) -> tuple[dict[str, Listing], LeftRows]:
    """(the images that a table names, by the role that its split column tells, "" without one; rows
    left out).

    Args:
        folder: that the paths are counted from.

    Raises:
        HeadstartError: a file cannot be told, none of the files is there, or the labels are no
            classes.
    """
    paths = ImagePaths(folder, f"data.columns.image: column {chosen.item!r} of {table.path}")
    where = f"data.columns.label: column {chosen.label!r} of {table.path}"
    parts: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, str] = {}
    names: list[str] = []
    left_out: LeftRows = {}
    wanted = [name for name in (chosen.item, chosen.label, chosen.key, chosen.split) if name]
    for line, (path, value, *others) in table.rows(tuple(wanted)):
        example = f"{printable(table.path.name)}:{line}"
        label = label_of(value, where, example)
        key, said = (others.pop(0) if column else "" for column in (chosen.key, chosen.split))
        role = role_of(str(said)) if chosen.split else ""
        keyless = chosen.key is not None and not (key and str(key).strip())
        if not has_path(path) or label is None or role is None or keyless:
            reason = (
                NO_LABEL
                if label is None
                else NO_ROLE
                if role is None
                else NO_KEY
                if keyless
                else "no path"
            )
            leave_out(left_out, reason, example)
            continue
        place, fault = paths.find(path)
        if fault:
            raise HeadstartError(f"{table.path}, line {line}: {quoted(str(path))} {fault}")
        names.append(str(path))
        parts.setdefault(role, {}).setdefault(label, []).append(place)
        if chosen.key:
            keys[place] = str(key).strip()
    places = [place for files in parts.values() for some in files.values() for place in some]
    _check_there(places, names, table, folder)
    counts: Counter[str] = Counter()
    for files in parts.values():
        counts.update({label: len(places) for label, places in files.items()})
    check_few(counts, where, whole=True)
    return {
        role: Listing(folder, files, keys=keys) for role, files in (parts or {"": {}}).items()
    }, left_out


def _check_there(places: Sequence[str], names: Sequence[str], table: Table, folder: Path) -> None:
    if not places or any(map(os.path.exists, places)):
        return
    found = f"{table.path}: none of its files is there, such as "
    if why := not_counted(names[0]):
        raise HeadstartError(f"{found}{printable(names[0])}: {why}")
    raise HeadstartError(
        f"{found}{printable(places[0])}; expected paths counted from {quoted(str(folder))}. "
        "Name the folder that they are counted from with data.images, such as data.images = "
        '"photos"'
    )

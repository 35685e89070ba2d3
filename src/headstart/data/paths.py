"""Images that a table names by their paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headstart.data.classes import check_few, label_of
from headstart.data.columns import Chosen
from headstart.data.formats import is_image_name
from headstart.data.left_out import NO_KEY, NO_LABEL, NO_ROLE, LeftRows, leave_out
from headstart.data.listing import Listing
from headstart.data.names import printable, quoted
from headstart.data.parts import role_of
from headstart.data.tables import Table
from headstart.data.walk import entries
from headstart.errors import HeadstartError


class ImagePaths:
    """Finds the files that names in a table stand for.

    A name is a path counted from `folder`, with slashes or backslashes; one without an ending stands for the only image of that
    name (`img001` for `img001.jpg`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> tuple[str, str]:
        """(path of the file, why it cannot be told or "")."""
        place = self.folder / name
        if "\\" in name and not place.exists():
            place = self.folder / name.replace("\\", "/")
        if is_image_name(place) or place.is_file():
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
                if is_image_name(path := Path(entry.name)):
                    stems.setdefault(path.stem, []).append(entry.name)
            self._stems[folder] = stems
        return self._stems[folder]


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
            f"data.images: no folder {folder}; expected the one that the paths in {table.path} are counted from"
        )
    return folder


def list_table(table: Table, chosen: Chosen, folder: Path) -> tuple[dict[str, Listing], LeftRows]:
    """(the images that a table names, by the role that its split column tells, "" without one; rows left out).

    Args:
        folder: that the paths are counted from.

    Raises:
        HeadstartError: a file cannot be told, none of the files is there, or the labels are no classes.
    """
    paths = ImagePaths(folder)
    where = f"data.columns.label: column {chosen.label!r} of {table.path}"
    parts: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, str] = {}
    left_out: LeftRows = {}
    wanted = [name for name in (chosen.item, chosen.label, chosen.key, chosen.split) if name]
    for line, (path, value, *others) in table.rows(tuple(wanted)):
        example = f"{printable(table.path.name)}:{line}"
        label = label_of(value, where, example)
        key, said = (others.pop(0) if column else "" for column in (chosen.key, chosen.split))
        role = role_of(str(said)) if chosen.split else ""
        keyless = chosen.key is not None and not (key and str(key).strip())
        if not path or label is None or role is None or keyless:
            reason = NO_LABEL if label is None else NO_ROLE if role is None else NO_KEY if keyless else "no path"
            leave_out(left_out, reason, example)
            continue
        place, fault = paths.find(str(path))
        if fault:
            raise HeadstartError(f"{table.path}, line {line}: {quoted(str(path))} {fault}")
        parts.setdefault(role, {}).setdefault(label, []).append(place)
        if chosen.key:
            keys[place] = str(key).strip()
    _check_there([place for files in parts.values() for places in files.values() for place in places], table, folder)
    counts: Counter[str] = Counter()
    for files in parts.values():
        counts.update({label: len(places) for label, places in files.items()})
    check_few(counts, where, whole=True)
    return {role: Listing(folder, files, keys=keys) for role, files in (parts or {"": {}}).items()}, left_out


def _check_there(places: Sequence[str], table: Table, folder: Path) -> None:
    if places and not any(map(os.path.exists, places)):
        raise HeadstartError(
            f"{table.path}: none of its files is there, such as {printable(places[0])}; expected paths counted from "
            f"{quoted(str(folder))}. "
            'Name the folder that they are counted from with data.images, such as data.images = "photos"'
        )

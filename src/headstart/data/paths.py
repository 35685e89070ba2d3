"""Images that a table names by their paths."""

from __future__ import annotations

import os
from pathlib import Path

from headstart.data.formats import is_image_name
from headstart.data.listing import Listing
from headstart.data.names import label_name, printable
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


def list_table(table: Table, image: str, label: str, key: str | None, folder: Path) -> Listing:
    """The images that a table names, by class.

    Args:
        key: column of their groups or times. folder: that the paths are counted from.

    Raises:
        HeadstartError: a row lacks something, its file cannot be told, or none of the files is there.
    """
    paths = ImagePaths(folder)
    files: dict[str, list[str]] = {}
    keys: dict[str, str] = {}
    for line, (path, name, *more) in table.rows((image, label, *([key] if key else []))):
        where = f"{table.path}, line {line}"
        if not path or name is None or not str(name).strip():
            raise HeadstartError(f"{where}: no {'label' if path else 'path'}; give one or remove the line")
        if more and (more[0] is None or not str(more[0]).strip()):
            raise HeadstartError(f"{where}: no {printable(str(key))}; give one or remove the line")
        place, fault = paths.find(str(path))
        if fault:
            raise HeadstartError(f"{where}: {printable(str(path))!r} {fault}")
        files.setdefault(label_name(str(name), where), []).append(place)
        if more:
            keys[place] = str(more[0]).strip()
    first = next((place for places in files.values() for place in places), None)
    if first and not any(os.path.exists(place) for places in files.values() for place in places):
        raise HeadstartError(
            f"{table.path}: none of its files is there, such as {printable(first)}; expected paths counted from {folder}. Name "
            'the folder that they are counted from with data.images, such as data.images = "photos"'
        )
    return Listing(folder, files, keys=keys)

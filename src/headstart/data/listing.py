"""Files of examples in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.names import printable
from headstart.errors import HeadstartError


@dataclass(frozen=True)
class Kind:
    """A kind of file: what people call one, which there are, and the name of an example of it."""

    noun: str
    accepts: Callable[[Path], bool]
    such_as: str


@dataclass(frozen=True)
class Listing:
    """Files of one part by class name, how many other files lay among them, and the group or time of each, if any."""

    folder: Path
    files: dict[str, list[str]]
    ignored: int
    keys: dict[str, str] = field(default_factory=dict)


def list_classes(folder: Path, kind: Kind) -> Listing:
    """The files of a kind in a folder that holds one folder a class.

    Raises:
        HeadstartError: there are none, or two classes would look alike.
    """
    files: dict[str, list[str]] = {}
    ignored = 0
    for child in sorted(folders_in(folder)):
        seen = [path for path in walk(child)]
        wanted = [str(path) for path in seen if kind.accepts(path)]
        ignored += len(seen) - len(wanted)
        if printable(child.name) in files:
            raise HeadstartError(
                f"{folder}: two class folders would both be shown as {printable(child.name)!r}; rename one"
            )
        files[printable(child.name)] = wanted
    if not any(files.values()):
        loose = sum(1 for path in folder.iterdir() if path.is_file() and kind.accepts(path))
        found = f"{loose} {kind.noun}s that are in no class folder" if loose else f"no {kind.noun} in any folder"
        if not loose and not files:
            found = "nothing" if not any(folder.iterdir()) else "no folder in it"
        raise HeadstartError(
            f"{folder}: found {found}; expected one folder of {kind.noun}s a class, such as {folder / kind.such_as}"
        )
    return Listing(folder, {name: paths for name, paths in files.items() if paths}, ignored)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, but hidden ones and those that archivers add."""
    return [
        child
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
    ]


def walk(folder: Path) -> list[Path]:
    """All visible files below a folder, sorted; hidden ones and what lies in hidden folders do not count."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in sorted(files) if not name.startswith(".")]
    return [path for path in found if path.is_file()]  # no pipes, no dead links


def _refuse(error: OSError) -> None:
    raise HeadstartError(f"{error.filename}: cannot be listed ({error.strerror}); make it readable or move it away")

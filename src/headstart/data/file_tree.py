"""Everything below a folder: the files to read, and by its reason what is left out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headstart.data.archive import COUNT
from headstart.data.unicode import printable
from headstart.errors import HeadstartError

HIDDEN, DEAD, ODD, TWICE = (
    "hidden or a system's own",
    "links that lead nowhere",
    "neither files nor folders",
    "folders that links lead to again",
)
# what archivers, network drives, desktops and interpreters put beside people's files; in lower case
SYSTEM = {
    "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information", "desktop.ini", "thumbs.db", "ehthumbs.db", "icon\r",
}  # fmt: skip

LeftOut = Mapping[str, Sequence[str]]  # paths by the reason


class Tree(NamedTuple):
    """The plain files below a folder, each folder's sorted and before those of its subfolders, and
    what is left out."""

    files: list[str]
    left_out: dict[str, list[str]]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or of those that archivers and systems add."""
    return name.startswith(".") or name.lower() in SYSTEM


def walk(folder: str | Path) -> Tree:
    """Everything below a folder, links followed; a folder that a link leads to again, or above
    where the walk began, is not entered, nor is a hidden one.

    Raises:
        HeadstartError: a folder cannot be listed.
    """
    tree = Tree([], {})
    above = {*Path(folder).absolute().parents, *Path(folder).resolve().parents}
    seen = {_identity(parent) for parent in above}
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        if (identity := _identity(place)) in seen:
            _add(tree.left_out, TWICE, place)
            continue
        seen.add(identity)
        inner = []
        for entry in entries(place):
            kind = kind_of(entry)
            if kind == "file":
                tree.files.append(entry.path)
            elif kind == "folder":
                inner.append(entry.path)
            else:
                _add(tree.left_out, kind, entry.path)
        waiting += reversed(inner)
    return tree


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name.

    Raises:
        HeadstartError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(
                (entry for entry in found if entry.name != COUNT), key=lambda entry: entry.name
            )
    except OSError as error:
        raise HeadstartError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable or move it away"
        ) from None


def kind_of(entry: os.DirEntry[str]) -> str:
    """Whether something is a "file" or a "folder", links followed, or else the reason to leave it
    out."""
    if is_hidden(entry.name):
        return HIDDEN
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # links in a circle, or into a folder that is closed
        return DEAD
    return DEAD if entry.is_symlink() and not os.path.exists(entry.path) else ODD


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, but hidden ones and those that archivers and systems add."""
    return [Path(entry.path) for entry in entries(folder) if kind_of(entry) == "folder"]


def said(left_out: LeftOut, folder: str | Path) -> list[str]:
    """What is left out, in words: reason, count and an example, whose path is counted from the
    folder."""
    return [
        f"{reason}: {len(paths)} (such as {printable(os.path.relpath(paths[0], folder))})"
        for reason, paths in left_out.items()
        if paths
    ]


def merge(into: dict[str, list[str]], more: LeftOut) -> None:
    """Add to what is left out."""
    for reason, paths in more.items():
        into.setdefault(reason, []).extend(paths)


def _identity(folder: str | Path) -> tuple[int, int]:
    """What tells a folder from every other, whatever path led to it."""
    state = os.stat(folder)
    return state.st_dev, state.st_ino


def _add(left_out: dict[str, list[str]], reason: str, path: str) -> None:
    left_out.setdefault(reason, []).append(path)

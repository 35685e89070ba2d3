"""Folders: their entries in a fixed order, and all files below them, links followed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from headstart.data.archive import COUNT
from headstart.data.skipped import SkippedPaths, skip_paths
from headstart.errors import DataError

# reasons to leave out an entry of a folder
HIDDEN, BROKEN_LINK = "hidden or system files", "broken links"
SPECIAL_FILE, REPEATED_FOLDER = "neither files nor folders", "folders that a link leads to again"
# what archivers, network drives, desktops and interpreters add to folders; in lower case
SYSTEM_NAMES = {
    "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information", "desktop.ini", "thumbs.db", "ehthumbs.db", "icon\r",
}  # fmt: skip


class FileTree(NamedTuple):
    """The regular files below a folder, sorted by name within each folder and before those of its
    subfolders; and what was left out."""

    files: list[str]
    skipped: SkippedPaths


def walk(folder: str | Path) -> FileTree:
    """All files below a folder, links followed.

    Not entered: hidden folders, and a folder that was entered before or contains `folder`, to which
    a link may lead.

    Raises:
        HeadstartError: a folder cannot be listed.
    """
    files: list[str] = []
    skipped: SkippedPaths = {}
    parents = {*Path(folder).absolute().parents, *Path(folder).resolve().parents}
    seen = {_device_and_inode(parent) for parent in parents}
    stack = [str(folder)]
    while stack:
        current = stack.pop()
        if (identity := _device_and_inode(current)) in seen:
            skip_paths(skipped, {REPEATED_FOLDER: [current]})
            continue
        seen.add(identity)
        inner = []
        for entry in list_folder(current):
            kind = entry_type(entry)
            if kind == "file":
                files.append(entry.path)
            elif kind == "folder":
                inner.append(entry.path)
            else:
                skip_paths(skipped, {kind: [entry.path]})
        stack += reversed(inner)
    return FileTree(files, skipped)


def list_folder(folder: str | Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name.

    Raises:
        HeadstartError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if e.name != COUNT), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable or move it away"
        ) from None


def entry_type(entry: os.DirEntry[str]) -> str:
    """ "file" or "folder", links followed, or the reason to leave the entry out."""
    if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
        return HIDDEN
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # links in a circle, or into a closed folder
        return BROKEN_LINK
    broken = entry.is_symlink() and not os.path.exists(entry.path)
    return BROKEN_LINK if broken else SPECIAL_FILE


def files_in(folder: str | Path) -> list[Path]:
    """The files directly in a folder, sorted, without hidden and system files."""
    return [Path(entry.path) for entry in list_folder(folder) if entry_type(entry) == "file"]


def subfolders(folder: str | Path) -> list[Path]:
    """The folders directly in a folder, sorted, without hidden and system folders."""
    return [Path(entry.path) for entry in list_folder(folder) if entry_type(entry) == "folder"]


def _device_and_inode(folder: str | Path) -> tuple[int, int]:
    state = os.stat(folder)
    return state.st_dev, state.st_ino

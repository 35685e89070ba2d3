"""Files of examples in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.file_tree import HIDDEN, LeftOut, entries, kind_of, merge, said, walk
from headstart.data.unicode import nfc, printable
from headstart.errors import HeadstartError

SHOWN = 5


@dataclass(frozen=True)
class Kind:
    """A kind of file: what people call one, which there are, the name of an example of it, and
    whether tables name such files, which then lie in folders beside them."""

    noun: str
    accepts: Callable[[Path], bool]
    such_as: str
    named_in_tables: bool = False


@dataclass(frozen=True)
class Listing:
    """The files of one part by class name.

    left_out: paths of what else lies there, by the reason. without: folders that hold no example,
    and what they hold instead.
    inner: folders within class folders whose files count to the class. merged: classes that several
    folders name. keys: the group or time of each file, if any.
    """

    folder: Path
    files: Mapping[str, Sequence[str]]
    left_out: LeftOut = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    inner: Sequence[str] = ()
    merged: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)

    def notes(self, noun: str) -> list[str]:
        """Sentences on what is no example, and on folders that are no class or more than one."""
        notes = []
        if self.left_out:
            notes.append(
                f"left out of {self.folder}: {'; '.join(said(self.left_out, self.folder))}"
            )
        if self.without:
            shown = [f"{name} ({held})" for name, held in self.without.items()]
            notes.append(
                f"folders in {self.folder} without any {noun}, so they are no classes: "
                f"{_some(shown)}"
            )
        if self.inner:
            shown = [printable(os.path.relpath(path, self.folder)) for path in self.inner]
            notes.append(
                f"class folders of {self.folder} have folders in them, whose {noun}s count to "
                f"the class: {_some(shown)}. If the inner folders are the classes, move them up, "
                "or name paths and labels in a table"
            )
        if self.merged:
            notes.append(
                f"several folders of {self.folder} have one name, written in two forms of "
                f"Unicode, and are one class: {_some(self.merged)}"
            )
        return notes

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))


def list_classes(folder: Path, kind: Kind) -> Listing:
    """The files of a kind in a folder that holds one folder a class.

    Names of classes are in Unicode's composed form (NFC).

    Raises:
        HeadstartError: there are none, or two classes would look alike.
    """
    folders, left_out = _class_folders(folder, kind)
    files: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    without: dict[str, str] = {}
    inner: dict[str, None] = {}
    merged: dict[str, None] = {}
    for place in folders:
        found, held = _examples_below(place, kind)
        merge(left_out, held)
        name = nfc(os.path.basename(place))
        label = printable(name)
        if not found:
            without[label] = "; ".join(said(held, place)) or "empty"
            continue
        if names.setdefault(label, name) != name:
            raise HeadstartError(
                f"{folder}: two class folders would both be shown as {label!r}; rename one"
            )
        if label in files:
            merged[label] = None
        inner |= dict.fromkeys(
            parent for path in found if (parent := os.path.dirname(path)) != place
        )
        files.setdefault(label, []).extend(found)
    if not files:
        raise HeadstartError(_nothing(folder, kind, left_out, without))
    return Listing(folder, files, left_out, without, tuple(inner), tuple(merged))


def _class_folders(folder: Path, kind: Kind) -> tuple[list[str], dict[str, list[str]]]:
    """(the folders in a folder, what else lies beside them by the reason to leave it out)."""
    folders: list[str] = []
    left_out: dict[str, list[str]] = {}
    for entry in entries(folder):
        reason = kind_of(entry)
        if reason == "folder":
            folders.append(entry.path)
            continue
        if reason == "file":
            reason = _loose(kind) if kind.accepts(Path(entry.path)) else _other(kind)
        merge(left_out, {reason: [entry.path]})
    return folders, left_out


def _examples_below(folder: str, kind: Kind) -> tuple[list[str], dict[str, list[str]]]:
    """(files of the kind, what else lies below the folder by the reason to leave it out)."""
    tree = walk(folder)
    found: list[str] = []
    others: list[str] = []
    for path in tree.files:
        (found if kind.accepts(Path(path)) else others).append(path)
    return found, {**tree.left_out, **({_other(kind): others} if others else {})}


def _loose(kind: Kind) -> str:
    return f"{kind.noun}s in no class folder"


def _other(kind: Kind) -> str:
    return f"files that are no {kind.noun}s"


def _nothing(folder: Path, kind: Kind, left_out: LeftOut, without: Mapping[str, str]) -> str:
    loose = len(left_out.get(_loose(kind), ()))
    found = (
        f"{loose} {kind.noun}s that are in no class folder"
        if loose
        else f"no {kind.noun} in any folder"
    )
    if not loose and not without:
        found = "no folder in it" if any(reason != HIDDEN for reason in left_out) else "nothing"
    held = f" ({_some([f'{name}: {what}' for name, what in without.items()])})" if without else ""
    return (
        f"{folder}: found {found}{held}; expected one folder of {kind.noun}s a class, such as "
        f"{folder / kind.such_as}"
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

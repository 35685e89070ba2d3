"""Example files in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.file_tree import HIDDEN, entry_type, list_folder, walk
from headstart.data.skipped import SkippedPaths, describe_skipped_paths, shorten, skip_paths
from headstart.data.unicode import nfc, printable
from headstart.errors import DataError


@dataclass(frozen=True)
class FileKind:
    """A kind of example file.

    noun: "image" or "text". example: relative path of one, for messages. named_in_tables: whether
    tables name such files, which then lie beside them.
    """

    noun: str
    accepts: Callable[[Path], bool]
    example: str
    named_in_tables: bool = False

    @property
    def outside(self) -> str:
        """The reason to leave out a file of the kind that is in no class folder."""
        return f"{self.noun}s in no class folder"

    @property
    def other(self) -> str:
        """The reason to leave out a file of another kind."""
        return f"files that are not {self.noun}s"

    def count_below(self, folder: Path) -> int:
        """How many files of the kind are below a folder."""
        return sum(self.accepts(Path(path)) for path in walk(folder).files)


@dataclass(frozen=True)
class ClassFiles:
    """The files of one part by class name.

    skipped: other paths, by reason. empty: folders without examples, and what they hold instead.
    nested: folders within class folders. merged: names that several folders have in different
    Unicode forms. keys: group or time of each file, if any.
    """

    folder: Path
    files: Mapping[str, Sequence[str]]
    skipped: SkippedPaths = field(default_factory=dict)
    empty: Mapping[str, str] = field(default_factory=dict)
    nested: Sequence[str] = ()
    merged: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)

    def notes(self, noun: str) -> list[str]:
        """Sentences on files that are not examples, and on folders that are not one class each."""
        notes = []
        if self.skipped:
            skipped = "; ".join(describe_skipped_paths(self.skipped, self.folder))
            notes.append(f"left out of {self.folder}: {skipped}")
        if self.empty:
            empty = shorten([f"{name} ({content})" for name, content in self.empty.items()])
            notes.append(
                f"folders in {self.folder} without any {noun}, so they are not classes: {empty}"
            )
        if self.nested:
            nested = [printable(os.path.relpath(path, self.folder)) for path in self.nested]
            notes.append(
                f"class folders of {self.folder} have subfolders, whose {noun}s count to the "
                f"class: {shorten(nested)}. If the subfolders are the classes, move them up, or "
                "name paths and labels in a table"
            )
        if self.merged:
            notes.append(
                f"several folders of {self.folder} have one name, written in two forms of "
                f"Unicode, and are one class: {shorten(self.merged)}"
            )
        return notes

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes."""
        return list(self.files)

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))


def list_class_folders(folder: Path, kind: FileKind) -> ClassFiles:
    """The files of a kind in a folder with one subfolder a class; class names are in NFC.

    Raises:
        HeadstartError: there are none, or two class names would look alike.
    """
    folders: list[str] = []
    skipped: SkippedPaths = {}
    for entry in list_folder(folder):
        reason = entry_type(entry)
        if reason == "folder":
            folders.append(entry.path)
            continue
        if reason == "file":
            reason = kind.outside if kind.accepts(Path(entry.path)) else kind.other
        skip_paths(skipped, {reason: [entry.path]})
    files: dict[str, list[str]] = {}
    names, empty = dict[str, str](), dict[str, str]()
    nested, merged = dict[str, None](), dict[str, None]()
    for class_folder in folders:
        tree = walk(class_folder)
        examples = [path for path in tree.files if kind.accepts(Path(path))]
        others = dict(tree.skipped)
        if len(examples) < len(tree.files):
            rest = set(examples)
            others[kind.other] = [path for path in tree.files if path not in rest]
        skip_paths(skipped, others)
        name = nfc(os.path.basename(class_folder))
        label = printable(name)
        if not examples:
            empty[label] = "; ".join(describe_skipped_paths(others, class_folder)) or "empty"
            continue
        if names.setdefault(label, name) != name:
            raise DataError(
                f"{folder}: two class folders would both be shown as {label!r}; rename one"
            )
        if label in files:
            merged[label] = None
        nested |= dict.fromkeys(
            parent for path in examples if (parent := os.path.dirname(path)) != class_folder
        )
        files.setdefault(label, []).extend(examples)
    if not files:
        raise DataError(_no_examples(folder, kind, skipped, empty))
    return ClassFiles(folder, files, skipped, empty, tuple(nested), tuple(merged))


def _no_examples(
    folder: Path, kind: FileKind, skipped: SkippedPaths, empty: Mapping[str, str]
) -> str:
    if outside := len(skipped.get(kind.outside, ())):
        content = f"{outside} {kind.outside}"
    elif empty:
        content = f"no {kind.noun} in any folder"
    else:
        content = "no folder in it" if any(reason != HIDDEN for reason in skipped) else "nothing"
    if empty:
        content += f" ({shorten([f'{name}: {what}' for name, what in empty.items()])})"
    return (
        f"{folder}: found {content}; expected one folder of {kind.noun}s a class, such as "
        f"{folder / kind.example}"
    )

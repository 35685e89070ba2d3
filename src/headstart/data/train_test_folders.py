"""Which folders or tables of a source are its training, validation and test part: detected by their
names and contents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headstart.data.class_folders import ClassFiles, FileKind
from headstart.data.file_tree import files_in, subfolders, walk
from headstart.data.skipped import shorten
from headstart.data.tables import has_table_extension, tables_in
from headstart.data.unicode import nfc, printable, quoted
from headstart.errors import DataError

ROLE_WORDS = {
    "train": "train|training|trainval",
    "validation": "val|valid|validation|dev|eval|evaluation",
    "test": "test|testing",
}
FILLER_WORDS = (
    "set|sets|data|dataset|images?|imgs?|photos?|pictures?|pics?|texts?|files?|folder|split|part"
    "|samples?|examples?|seg"
)
_TRAIN_INSTEAD = 'write data.train = "{}" in place of data.source'
SHARD = re.compile(r"-\d+-of-\d+$")  # how the hub ends the names of pieces of one table
SHOWN = 10


class Parts(NamedTuple):
    """The folder or table of each part by its role, and notes on the rest of the source."""

    paths: dict[str, Path]
    notes: list[str]


def role_from_name(name: str) -> str | None:
    """The role that a name states: a word for it, alone or with fillers such as "set" or "images"
    (`train_images`)."""
    letters = "".join(_words(SHARD.sub("", name)))
    for role, words in ROLE_WORDS.items():
        if re.fullmatch(f"({FILLER_WORDS})*({words})({FILLER_WORDS})*", letters):
            return role
    return None


def find_parts(folder: Path, kind: FileKind) -> Parts:
    """The parts of a source; without parts by name, all of it is training.

    Folders named like parts are classes if they hold examples directly, as other folders beside
    them do.

    Raises:
        HeadstartError: the parts are ambiguous, or there is no training part.
    """
    folder, notes = innermost_folder(folder, role_from_name)
    folders, tables = subfolders(folder), tables_in(folder)
    by_role = _group_by_role([*folders, *tables])
    if not by_role:
        return Parts({"train": _training_only(folder, folders, tables, kind)}, notes)
    paths = [path for group in by_role.values() for path in group]
    counts = {other: kind.count_below(other) for other in folders if other not in paths}
    if _are_classes(folder, by_role, [other for other, count in counts.items() if count]):
        shown = ", ".join(f"{printable(path.name)!r}" for path in paths)
        note = f"taken for classes, as all folders here hold {kind.noun}s: {shown}"
        return Parts({"train": folder}, [*notes, note])
    _check_roles(folder, by_role)
    parts = {role: path for role, (path,) in by_role.items()}
    for role in [role for role, path in parts.items() if role != "train" and _is_flat(path)]:
        count = kind.count_below(parts[role])
        notes.append(
            f"{parts.pop(role)} has no class folders, so its {kind.noun}s have no labels and "
            f"cannot be the {role} part; left out: {count} {kind.noun}s"
        )
    return Parts(parts, [*notes, *_unused_notes(folder, paths, tables, counts, kind)])


def innermost_folder(outer: Path, stop: Callable[[str], object]) -> tuple[Path, list[str]]:
    """Descend through folders that hold a single folder and no table, while that one holds more.

    Args:
        stop: whether to stop before a folder of a given name.

    Returns:
        The innermost folder, and a note on the descent and on files left out, if there was any.
    """
    folder, files = outer, list[Path]()
    while len(inner := subfolders(folder)) == 1 and not tables_in(folder):
        circular = folder.resolve().is_relative_to(inner[0].resolve())
        is_last = circular or not (subfolders(inner[0]) or tables_in(inner[0]))
        if is_last or stop(nfc(inner[0].name)):
            break
        files = [*files_in(folder), *files]
        folder = inner[0]
    if folder == outer:
        return folder, []
    note = f"everything in {outer} is in its folder {printable(os.path.relpath(folder, outer))}"
    if files:
        note += f"; files beside it, left out: {len(files)} (such as {printable(files[0].name)})"
    return folder, [note]


def single_class_hints(files: ClassFiles) -> list[str]:
    """What to do where the only class folder holds subfolders, as in `images/cat`, `images/dog`
    beside `annotations`."""
    if len(files.files) != 1 or not files.nested:
        return []
    (name,) = files.files
    folder = files.folder / name
    nested = [Path(os.path.relpath(path, folder)).parts for path in files.nested]
    if not all(role_from_name(first) for first, *_ in nested):
        advice = f"if the folders in it are the classes, {_TRAIN_INSTEAD.format(folder)}"
    elif all(len(path) > 1 for path in nested):
        advice = f'the folders in it are parts: write data.source = "{folder}"'
    else:
        advice = (
            f"the folders in it ({', '.join(sorted({path[0] for path in nested}))}) are parts "
            "without class folders, as of boxes or masks. Classes are learned from CLASS/file, "
            "or from a table with the path and the label of each image"
        )
    return [f"{quoted(name)} is the only class; {advice}"]


def check_classes_are_not_parts(folder: Path, unknown: Sequence[str]) -> None:
    """Refuse a folder named as one part in the recipe if its unknown classes are all parts."""
    parts = {role: name for name in unknown if (role := role_from_name(name))}
    if folder.is_dir() and len(parts) == len(unknown):
        part = parts.get("test", unknown[0])
        raise DataError(
            f"{folder}: has parts ({', '.join(unknown)}); name the one that is meant: "
            f"{folder / part}"
        )


def _group_by_role(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Folders and tables by the role in their names, less words that all share (`pets_train`)."""
    names = [path.stem if has_table_extension(path) else path.name for path in paths]
    shared = set.intersection(*(set(_words(name)) for name in names)) if len(names) > 1 else set()
    groups: dict[str, list[Path]] = {role: [] for role in ROLE_WORDS}
    for path, name in zip(paths, names, strict=True):
        own_words = " ".join(word for word in _words(name) if word not in shared)
        if role := role_from_name(name) or role_from_name(own_words):
            groups[role].append(path)
    return {role: group for role, group in groups.items() if group}


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", nfc(name).casefold())


def _check_roles(folder: Path, by_role: Mapping[str, Sequence[Path]]) -> None:
    """Refuse several parts of one role, and held-out parts without a training part."""
    for role, paths in by_role.items():
        if len(paths) == 1:
            continue
        names = ", ".join(path.name for path in paths)
        if all(has_table_extension(path) and SHARD.search(path.stem) for path in paths):
            raise DataError(
                f"data.source: the {role} part in {folder} lies in pieces: {names}; expected "
                f'one table. Texts are read from pieces with data.source = "hub:{folder}"; or '
                f"join these to {role}{paths[0].suffix} and move them away"
            )
        advice = _advice(folder)
        if any(map(has_table_extension, paths)):
            advice = "A table of images is data.train, and data.images their folder"
        raise DataError(
            f"data.source: {folder} has more than one {role} part: {names}; keep one. {advice}"
        )
    if "train" not in by_role:
        names = " and ".join(path.name for paths in by_role.values() for path in paths)
        raise DataError(
            f"data.source: {folder} has {names} but no training part; add one. {_advice(folder)}"
        )


def _are_classes(
    folder: Path, by_role: Mapping[str, Sequence[Path]], others: Sequence[Path]
) -> bool:
    """Whether folders named like parts are classes; HeadstartError if that cannot be told.
    `others` are folders of examples beside them."""
    parts = [path for paths in by_role.values() for path in paths]
    if all(path.is_dir() and not subfolders(path) for path in parts):
        if len(by_role) == 1:
            return len(parts) + len(others) > 1
        raise DataError(
            f"data.source: {' and '.join(path.name for path in parts)} in {folder} hold no "
            f"class folders; expected {parts[0].name}/CLASS/file. {_advice(folder)}, or name "
            "paths and labels in a table"
        )
    if len(by_role) == 1 and others and parts[0].is_dir():
        classes = _subfolder_names(parts[0])
        if not all(classes & _subfolder_names(other) for other in others):
            raise DataError(
                f"data.source: {folder} holds {parts[0].name}/, which may be a part or a class, "
                f"and {', '.join(printable(other.name) for other in others[:SHOWN])}. "
                f"{_advice(folder)}"
            )
    return False


def _training_only(folder: Path, folders: list[Path], tables: list[Path], kind: FileKind) -> Path:
    """The one table of a folder, perhaps beside the one folder of images that it names; or the
    folder itself with one subfolder a class."""
    images_beside = len(folders) == 1 and kind.named_in_tables and not subfolders(folders[0])
    if len(tables) == 1 and (not folders or images_beside):
        return tables[0]
    if tables and len(folders) < 2:
        beside = f" beside {folders[0].name}/" if folders else ""
        raise DataError(
            f"data.source: {folder} has {', '.join(path.name for path in tables[:SHOWN])}{beside}; "
            "expected train.csv (and dev.csv, test.csv) or one table. Name them with data.train "
            f'and data.test, such as data.train = "{tables[0]}"'
        )
    if len(shared := _shared_subfolders(folders, kind)) > 1:
        names = ", ".join(printable(path.name) for path in folders[:SHOWN])
        raise DataError(
            f"data.source: folders in {folder} ({names}) all hold folders of the same names "
            f"({', '.join(map(printable, sorted(shared)[:SHOWN]))}), so they look like parts, not "
            "like classes; expected CLASS/file, or train/CLASS/file and test/CLASS/file. "
            f"{_advice(folder)}"
        )
    return folder


def _shared_subfolders(folders: Sequence[Path], kind: FileKind) -> set[str]:
    """Names of subfolders that folders have in common, unless one holds examples directly."""
    if any(kind.accepts(path) for folder in folders for path in files_in(folder)):
        return set()
    names = [inner for folder in folders if (inner := _subfolder_names(folder))]
    return set.intersection(*names) if len(names) > 1 else set()


def _subfolder_names(folder: Path) -> set[str]:
    return {nfc(inner.name) for inner in subfolders(folder)}


def _is_flat(part: Path) -> bool:
    """Whether a part is a folder without class folders but itself again (`test/test/1.jpg`)."""
    inner = subfolders(part) if part.is_dir() else []
    itself = [folder.name for folder in inner] == [part.name]
    return part.is_dir() and (not inner or (itself and not subfolders(inner[0])))


def _unused_notes(
    folder: Path,
    parts: Sequence[Path],
    tables: Sequence[Path],
    counts: Mapping[Path, int],
    kind: FileKind,
) -> list[str]:
    """A note on what lies beside the parts, except folders of files that tables name."""
    has_folders = any(path.is_dir() for path in parts)
    unused = []
    for other, count in counts.items() if has_folders or not kind.named_in_tables else ():
        in_it = sum(has_table_extension(Path(path)) for path in walk(other).files)
        content = f"{count or 'no'} {kind.noun}s" + (f", tables: {in_it}" if in_it else "")
        unused.append(f"{printable(other.name)}/ ({content})")
    files = files_in(folder) if has_folders else tables
    if unused := [*unused, *(printable(path.name) for path in files if path not in parts)]:
        return [
            f"beside the parts in {folder}, not used: {shorten(unused, shown=SHOWN)}. "
            "data.validation and data.test name others"
        ]
    return []


def _advice(folder: Path) -> str:
    return (
        f"If the folders in it are the classes, {_TRAIN_INSTEAD.format(folder)}; if not, name the "
        "parts with data.train, data.validation and data.test"
    )

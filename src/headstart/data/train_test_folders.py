"""Which folders or tables of a source are its parts: told by their names, and by what lies in
them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headstart.data.class_folders import Kind, Listing
from headstart.data.file_tree import entries, folders_in, kind_of, walk
from headstart.data.tables import is_table_name
from headstart.data.unicode import nfc, printable, quoted
from headstart.errors import HeadstartError

WORDS = {
    "train": "train|training|trainval",
    "validation": "val|valid|validation|dev|eval|evaluation",
    "test": "test|testing",
}
FILLERS = (
    "set|sets|data|dataset|images?|imgs?|photos?|pictures?|pics?|texts?|files?|folder|split|part"
    "|samples?|examples?|seg"
)
PIECE = re.compile(r"-\d+-of-\d+$")  # how the hub ends the names of pieces of one table
SHOWN = 10


class Parts(NamedTuple):
    """The folder or table of each part by its role, and sentences on what else lies there."""

    places: dict[str, Path]
    notes: list[str]


def role_of(name: str) -> str | None:
    """The part that a name says: a word for it, as it stands or among words such as "set" or
    "images" (`train_images`)."""
    letters = "".join(_words(PIECE.sub("", name)))
    for role, words in WORDS.items():
        if re.fullmatch(f"({FILLERS})*({words})({FILLERS})*", letters):
            return role
    return None


def parts_of(folder: Path, kind: Kind) -> Parts:
    """The parts of a source; one that has none by their names is all training.

    Folders that are called like parts are classes where they hold examples directly, as others
    beside them do.

    Raises:
        HeadstartError: its parts cannot be told, or there is no training part.
    """
    outer, folder = folder, descended(folder, role_of)
    notes = descent(outer, folder)
    folders, tables = folders_in(folder), tables_in(folder)
    named = _by_role([*folders, *tables])
    if not named:
        return Parts({"train": _all_training(folder, folders, tables, kind)}, notes)
    parts = [place for places in named.values() for place in places]
    counts = {other: count_of(other, kind) for other in folders if other not in parts}
    beside = [other for other, count in counts.items() if count]
    if _are_classes(folder, named, beside):
        shown = ", ".join(f"{printable(place.name)!r}" for place in parts)
        return Parts(
            {"train": folder},
            [*notes, f"taken for classes, as all folders here hold {kind.noun}s: {shown}"],
        )
    _check_one_each(folder, named)
    chosen, unlabelled = _labelled({role: place for role, (place,) in named.items()}, kind)
    return Parts(chosen, [*notes, *unlabelled, *_beside(folder, parts, tables, counts, kind)])


def descended(folder: Path, stop: Callable[[str], object]) -> Path:
    """The folder that everything is in: down through folders that hold one folder and no table,
    while that one holds more.

    Args:
        stop: tells from a name that the way ends before the folder of that name.
    """
    while (
        len(inner := folders_in(folder)) == 1
        and not tables_in(folder)
        and not stop(nfc(inner[0].name))
    ):
        circle = folder.resolve().is_relative_to(inner[0].resolve())
        if circle or not (folders_in(inner[0]) or tables_in(inner[0])):
            break
        folder = inner[0]
    return folder


def descent(outer: Path, inner: Path) -> list[str]:
    """A sentence on the way from a folder down to the one that `descended` gave, and on files that
    lie beside that way."""
    if outer == inner:
        return []
    way = [parent for parent in inner.parents if parent == outer or outer in parent.parents]
    loose = [entry.path for parent in way for entry in entries(parent) if kind_of(entry) == "file"]
    left_out = (
        f"; files beside it, left out: {len(loose)} (such as "
        f"{printable(os.path.basename(loose[0]))})"
        if loose
        else ""
    )
    return [
        f"everything in {outer} is in its folder "
        f"{printable(os.path.relpath(inner, outer))}{left_out}"
    ]


def only_class(listing: Listing) -> list[str]:
    """What to write where the only class holds folders, as in `images/cat`, `images/dog` beside
    `annotations`."""
    if len(listing.files) != 1 or not listing.inner:
        return []
    (name,) = listing.files
    place = listing.folder / name
    ways = [Path(os.path.relpath(inner, place)).parts for inner in listing.inner]
    if not all(role_of(first) for first, *_ in ways):
        way_out = (
            f'if the folders in it are the classes, write data.train = "{place}" in place of '
            "data.source"
        )
    elif all(len(way) > 1 for way in ways):
        way_out = f'the folders in it are parts: write data.source = "{place}"'
    else:
        way_out = (
            f"the folders in it ({', '.join(sorted({way[0] for way in ways}))}) are parts "
            "without class folders, as of boxes or masks. Classes are learned from CLASS/file, "
            "or from a table with the path and the label of each image"
        )
    return [f"{quoted(name)} is the only class; {way_out}"]


def check_no_parts(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that is given as one part where its unknown classes (`names`) are parts
    themselves."""
    parts = {role: name for name in names if (role := role_of(name))}
    if folder.is_dir() and len(parts) == len(names):
        meant = parts.get("test", names[0])
        raise HeadstartError(
            f"{folder}: has parts ({', '.join(names)}); name the one that is meant: "
            f"{folder / meant}"
        )


def tables_in(folder: Path) -> list[Path]:
    """The tables that lie in a folder, sorted."""
    found = (Path(entry.path) for entry in entries(folder) if kind_of(entry) == "file")
    return [path for path in found if is_table_name(path)]


def count_of(folder: Path, kind: Kind) -> int:
    """Files of a kind below a folder."""
    return sum(kind.accepts(Path(path)) for path in walk(folder).files)


def _by_role(places: Sequence[Path]) -> dict[str, list[Path]]:
    """Folders and tables by the part that their names say, also beside a word that all names share
    (`pets_train`)."""
    names = [place.stem if is_table_name(place) else place.name for place in places]
    shared = set.intersection(*(set(_words(name)) for name in names)) if len(names) > 1 else set()
    found: dict[str, list[Path]] = {}
    for place, name in zip(places, names, strict=True):
        role = role_of(name) or role_of(
            " ".join(word for word in _words(name) if word not in shared)
        )
        if role:
            found.setdefault(role, []).append(place)
    return {role: found[role] for role in WORDS if role in found}


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", nfc(name).casefold())


def _check_one_each(folder: Path, named: Mapping[str, Sequence[Path]]) -> None:
    """Refuse parts that are there twice, and held-out ones without training."""
    for role, places in named.items():
        if len(places) > 1:
            names = ", ".join(place.name for place in places)
            if all(is_table_name(place) and PIECE.search(place.stem) for place in places):
                raise HeadstartError(
                    f"data.source: the {role} part in {folder} lies in pieces: {names}; expected "
                    "one table. Texts are "
                    f'read from pieces with data.source = "hub:{folder}"; or join these to '
                    f"{role}{places[0].suffix} and move "
                    "them away"
                )
            tabled = "A table of images is data.train, and data.images their folder"
            way_out = tabled if any(map(is_table_name, places)) else _ways_out(folder)
            raise HeadstartError(
                f"data.source: {folder} has more than one {role} part: {names}; keep one. {way_out}"
            )
    if "train" not in named:
        names = " and ".join(place.name for places in named.values() for place in places)
        raise HeadstartError(
            f"data.source: {folder} has {names} but no training part; add one. {_ways_out(folder)}"
        )


def _are_classes(folder: Path, named: Mapping[str, Sequence[Path]], beside: Sequence[Path]) -> bool:
    """Whether folders that are called like parts are classes.

    Raises:
        HeadstartError: they may be either.
    """
    parts = [place for places in named.values() for place in places]
    flat = [place for place in parts if place.is_dir() and not folders_in(place)]
    if len(flat) == len(parts) and len(named) == 1:
        return len(parts) + len(beside) > 1
    if len(flat) == len(parts):
        raise HeadstartError(
            f"data.source: {' and '.join(place.name for place in parts)} in {folder} hold no "
            f"class folders; expected {parts[0].name}/CLASS/file. {_ways_out(folder)}, or name "
            "paths and labels in a table"
        )
    if len(named) == 1 and beside and parts[0].is_dir():
        own = _folder_names(parts[0])
        if not all(own & _folder_names(other) for other in beside):
            raise HeadstartError(
                f"data.source: {folder} holds {parts[0].name}/, which may be a part or a class, "
                f"and {', '.join(printable(other.name) for other in beside[:SHOWN])}. "
                f"{_ways_out(folder)}"
            )
    return False


def _all_training(folder: Path, folders: list[Path], tables: list[Path], kind: Kind) -> Path:
    """The one table of a folder, perhaps beside the one folder of images that it names; or the
    folder itself with one folder a class."""
    if kind.named_in_tables and len(tables) == len(folders) == 1 and not folders_in(folders[0]):
        return tables[0]
    if tables and len(folders) < 2:
        beside = f" beside {folders[0].name}/" if folders else ""
        if len(tables) > 1 or folders:
            raise HeadstartError(
                f"data.source: {folder} has "
                f"{', '.join(path.name for path in tables[:SHOWN])}{beside}; expected train.csv "
                "(and "
                "dev.csv, test.csv) or one table. Name them with data.train and data.test, such "
                f'as data.train = "{tables[0]}"'
            )
        return tables[0]
    shared = _shared(folders, kind)
    if len(shared) > 1:
        shown = ", ".join(printable(path.name) for path in folders[:SHOWN])
        raise HeadstartError(
            f"data.source: folders in {folder} ({shown}) all hold folders of the same names "
            f"({', '.join(map(printable, sorted(shared)[:SHOWN]))}), so they look like parts, "
            "not like classes; expected CLASS/file, or train/CLASS/file and test/CLASS/file. "
            f"{_ways_out(folder)}"
        )
    return folder


def _shared(folders: Sequence[Path], kind: Kind) -> set[str]:
    """Names of folders that all of several folders hold, unless one holds examples directly."""
    held = []
    for folder in folders:
        found = [(Path(entry.path), kind_of(entry)) for entry in entries(folder)]
        if any(sort == "file" and kind.accepts(path) for path, sort in found):
            return set()
        held += [{nfc(path.name) for path, sort in found if sort == "folder"}]
    several = [names for names in held if names]
    return set.intersection(*several) if len(several) > 1 else set()


def _labelled(parts: dict[str, Path], kind: Kind) -> tuple[dict[str, Path], list[str]]:
    """(the parts but held-out ones without class folders, sentences on those)."""
    without = [
        role
        for role, place in parts.items()
        if role != "train" and place.is_dir() and _is_flat(place)
    ]
    notes = [
        f"{parts[role]} has no class folders, so what it holds has no labels and cannot be the "
        f"{role} part; left out: {count_of(parts[role], kind)} {kind.noun}s"
        for role in without
    ]
    return {role: place for role, place in parts.items() if role not in without}, notes


def _is_flat(part: Path) -> bool:
    """Whether a part has no class folders: none at all, or itself once more (`test/test/1.jpg`)."""
    inner = folders_in(part)
    return not inner or (
        [place.name for place in inner] == [part.name] and not folders_in(inner[0])
    )


def _beside(
    folder: Path,
    parts: Sequence[Path],
    tables: Sequence[Path],
    counts: Mapping[Path, int],
    kind: Kind,
) -> list[str]:
    """A sentence on what lies beside the parts, but for folders that hold the files which tables
    name."""
    shown = [
        f"{printable(other.name)}/ ({_held(other, count, kind)})" for other, count in counts.items()
    ]
    if any(place.is_dir() for place in parts):
        loose = [entry.name for entry in entries(folder) if kind_of(entry) == "file"]
        shown += [printable(name) for name in loose if folder / name not in parts]
    else:
        shown = [] if kind.named_in_tables else shown
        shown += [printable(table.name) for table in tables if table not in parts]
    if not shown:
        return []
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return [
        f"beside the parts in {folder}, not used: {', '.join(shown[:SHOWN])}{more}. "
        "data.validation and data.test name others"
    ]


def _held(folder: Path, count: int, kind: Kind) -> str:
    """What a folder holds, in words: how many examples, and how many tables if there are any."""
    tables = sum(is_table_name(Path(path)) for path in walk(folder).files)
    return f"{count or 'no'} {kind.noun}s" + (f", tables: {tables}" if tables else "")


def _folder_names(folder: Path) -> set[str]:
    return {nfc(place.name) for place in folders_in(folder)}


def _ways_out(folder: Path) -> str:
    return (
        f'If the folders in it are the classes, write data.train = "{folder}" in place of '
        "data.source; if not, name the parts "
        "with data.train, data.validation and data.test"
    )

"""Where examples lie: each kind of source is one function that finds the folders or tables of its
parts."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from pathlib import Path

from headstart.data.archive import is_archive, is_archive_name, is_whole, notes_on, unpack
from headstart.data.cache import cache_folder, make_once
from headstart.data.class_folders import Kind
from headstart.data.dataset import Dataset
from headstart.data.download import download
from headstart.data.file_tree import entries, folders_in, kind_of
from headstart.data.hub import hub_tables
from headstart.data.samples import SAMPLES, sample
from headstart.data.tables import KINDS, is_table_name
from headstart.data.train_test_folders import Parts, descended, descent, parts_of, tables_in
from headstart.data.unicode import nfc, printable
from headstart.errors import HeadstartError
from headstart.recipe import Data, Recipe

# in the cache: the contents of archives, each in a folder that is called by its checksums
UNPACKED = "data"


def places(data: Data, kind: Kind) -> Parts:
    """Where the parts lie that a recipe names, a folder or a table each: "train" always,
    "validation" and "test" where given.

    Raises:
        HeadstartError: a folder or table is missing, or its parts cannot be told.
    """
    parts, notes = _of_source(data, kind)
    for role in ("validation", "test"):
        given = getattr(data, role)
        if isinstance(given, str):
            parts[role] = _place(given, f"data.{role}")
    if set(parts) == {"train", "validation"} and not isinstance(data.validation, str):
        parts["test"] = parts.pop("validation")  # a single held-out set is the test
    return Parts(*_class_folders(parts, notes))


def _of_source(data: Data, kind: Kind) -> Parts:
    if data.source is None:
        return Parts({"train": _place(str(data.train), "data.train")}, [])
    if data.is_url:
        return _of_archive(_downloaded(data), kind)
    if data.source.startswith("sample:"):
        return parts_of(sample(data.source.removeprefix("sample:")), kind)
    if data.source.startswith("hub:"):
        return parts_of(hub_tables(data.source.removeprefix("hub:")), kind)
    place = _place(data.source, "data.source")
    if place.is_file() and not is_table_name(place):
        return _of_archive(_local_archive(place), kind)
    return parts_of(place, kind) if place.is_dir() else Parts({"train": place}, [])


def _of_archive(folder: Path, kind: Kind) -> Parts:
    inner = [
        entry.name
        for entry in entries(folder)
        if kind_of(entry) == "file" and is_archive_name(entry.name)
    ]
    if inner and not folders_in(folder) and not tables_in(folder):
        shown = ", ".join(map(printable, inner[:10]))
        raise HeadstartError(
            f"data.source: {folder} holds no folder or table, but archives: {shown}. Unpack it "
            "and give those"
        )
    parts, notes = parts_of(folder, kind)
    return Parts(parts, [*notes_on(folder), *notes])


def naming_archives(read: Callable[[Recipe], Dataset]) -> Callable[[Recipe], Dataset]:
    """Reading whose messages and notes name the archive that a source is, and not the folder that
    it is unpacked to."""

    @wraps(read)
    def reading(recipe: Recipe) -> Dataset:
        unpacked = re.compile(re.escape(f"{cache_folder() / UNPACKED}{os.sep}") + r"[0-9a-f-]+")
        source = str(recipe.data.source)

        def named(notes: Iterable[str]) -> tuple[str, ...]:
            return tuple(unpacked.sub(lambda _: source, note) for note in notes)

        try:
            dataset = read(recipe)
        except HeadstartError as error:
            (message,) = named([str(error)])
            if message != str(error):
                way_out = (
                    f". To name what is in {source}, unpack it first"
                    if "data.train" in message
                    else ""
                )
                error.args = (message + way_out,)
            raise
        notes_of = {role: named(notes) for role, notes in dataset.notes_of.items()}
        return replace(dataset, notes=named(dataset.notes), notes_of=notes_of)

    return reading


def _class_folders(parts: dict[str, Path], notes: list[str]) -> tuple[dict[str, Path], list[str]]:
    """The parts as the folders that hold the class folders, which may lie deeper; training says
    which are classes."""
    classes: set[str] = set()
    found = dict(parts)
    for role in sorted(parts, key=lambda role: role != "train"):
        if parts[role].is_dir():
            found[role] = descended(parts[role], classes.__contains__)
            classes = classes or {nfc(inner.name) for inner in folders_in(found[role])}
            notes = [*notes, *descent(parts[role], found[role])]
    return found, notes


def _place(path: str, key: str) -> Path:
    place = Path(os.path.expanduser(path))
    if place.is_dir() or (
        place.is_file() and (is_table_name(place) or (key == "data.source" and is_archive(place)))
    ):
        return place
    if place.is_file() and is_archive(place):
        raise HeadstartError(
            f"{key}: {place} is an archive, which data.source alone may be; unpack it and give "
            "the folder"
        )
    if place.exists():
        raise HeadstartError(
            f"{key}: {place} is a file, and no table or archive; expected a table "
            f"({', '.join(KINDS)}), a folder with one folder of examples a class, or a .zip or "
            ".tar of one"
        )
    parent = next(parent for parent in [*place.parents, Path()] if parent.is_dir())
    there = ", ".join(
        sorted([f.name for f in folders_in(parent)] + [t.name for t in tables_in(parent)])[:10]
    )
    raise HeadstartError(
        f"{key}: no folder or table {place}; {parent.resolve()} holds {there or 'no folder'}. "
        "Give a folder (class/file, or train|val|test/class/file), a table (.csv, .tsv, .jsonl, "
        ".parquet), or a sample to try headstart without data of your own "
        f"({', '.join(f'sample:{name}' for name in SAMPLES)})"
    )


def _downloaded(data: Data) -> Path:
    """The folder that the archive at the source's URL holds, fetched and unpacked on first use."""
    checksums = {name: value for name in ("sha256", "sha1") if (value := getattr(data, name))}

    def fill(folder: Path) -> None:
        archive = download(str(data.source), checksums)
        unpack(archive, folder)
        archive.unlink()

    return _unpacked("-".join(checksums.values()), fill)


def _local_archive(archive: Path) -> Path:
    """The folder that a local archive holds, unpacked on first use and again when it has
    changed."""
    with archive.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()
    return _unpacked(name, lambda folder: unpack(archive, folder))


def _unpacked(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of an archive's content in the cache."""
    return make_once(cache_folder() / UNPACKED / name, fill, is_whole)

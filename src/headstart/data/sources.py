"""Where data lies: each kind of source is one function that finds the folders or tables of its
parts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

from headstart.data.archive import is_archive, is_archive_name, is_whole, notes_on, unpack
from headstart.data.cache import cache_folder, make_once
from headstart.data.class_folders import FileKind
from headstart.data.dataset import Dataset
from headstart.data.download import download
from headstart.data.file_tree import files_in, subfolders
from headstart.data.hub import hub_tables
from headstart.data.samples import SAMPLES, sample
from headstart.data.tables import TABLE_FORMATS, has_table_extension, tables_in
from headstart.data.train_test_folders import Parts, find_parts, innermost_folder
from headstart.data.unicode import nfc, printable
from headstart.errors import DataError, HeadstartError
from headstart.files import file_digest
from headstart.recipe import Data, Recipe

# in the cache: the contents of archives, each in a folder named by its checksums
UNPACKED = "data"


def find_sources(data: Data, kind: FileKind) -> Parts:
    """The folder or table of each part that a recipe names: "train" always, "validation" and "test"
    where there are any.

    Raises:
        HeadstartError: a folder or table is missing, or the parts are ambiguous.
    """
    parts, notes = _parts_of_source(data, kind)
    for role in ("validation", "test"):
        path = getattr(data, role)
        if isinstance(path, str):
            parts[role] = _existing(path, f"data.{role}")
    if set(parts) == {"train", "validation"} and not isinstance(data.validation, str):
        parts["test"] = parts.pop("validation")  # a single held-out part is the test
    return _parent_of_class_folders(Parts(parts, notes))


def _parts_of_source(data: Data, kind: FileKind) -> Parts:
    if data.source is None:
        return Parts({"train": _existing(str(data.train), "data.train")}, [])
    if data.is_url:
        return _parts_of_archive(_download(data), kind)
    if data.source.startswith("sample:"):
        return find_parts(sample(data.source.removeprefix("sample:")), kind)
    if data.source.startswith("hub:"):
        return find_parts(hub_tables(data.source.removeprefix("hub:")), kind)
    path = _existing(data.source, "data.source")
    if path.is_dir():
        return find_parts(path, kind)
    if has_table_extension(path):
        return Parts({"train": path}, [])
    return _parts_of_archive(_unpack(path), kind)


def _parts_of_archive(folder: Path, kind: FileKind) -> Parts:
    archives = [path.name for path in files_in(folder) if is_archive_name(path.name)]
    if archives and not subfolders(folder) and not tables_in(folder):
        raise DataError(
            f"data.source: {folder} holds no folder or table, but archives: "
            f"{', '.join(map(printable, archives[:10]))}. Unpack it and give those"
        )
    parts, notes = find_parts(folder, kind)
    return Parts(parts, [*notes_on(folder), *notes])


def with_archive_names(read: Callable[[Recipe], Dataset]) -> Callable[[Recipe], Dataset]:
    """Decorates a reader: its messages and notes name the archive of a source, not the folder to
    which it is unpacked."""

    @wraps(read)
    def read_source(recipe: Recipe) -> Dataset:
        unpacked = re.escape(f"{cache_folder() / UNPACKED}{os.sep}") + r"[0-9a-f-]+"
        source = str(recipe.data.source)

        def renamed(*notes: str) -> tuple[str, ...]:
            return tuple(re.sub(unpacked, lambda _: source, note) for note in notes)

        try:
            dataset = read(recipe)
        except HeadstartError as error:
            (message,) = renamed(str(error))
            if message != str(error) and "data.train" in message:
                message += f". To name what is in {source}, unpack it first"
            error.args = (message,)
            raise
        notes_of = {role: renamed(*notes) for role, notes in dataset.notes_of.items()}
        return replace(dataset, notes=renamed(*dataset.notes), notes_of=notes_of)

    return read_source


def _parent_of_class_folders(parts: Parts) -> Parts:
    """The parts as the folders that hold the class folders (of training, at first)."""
    classes: set[str] = set()
    paths, notes = dict(parts.paths), [*parts.notes]
    for role in sorted(paths, key=lambda role: role != "train"):
        if paths[role].is_dir():
            paths[role], passed = innermost_folder(paths[role], classes.__contains__)
            classes = classes or {nfc(inner.name) for inner in subfolders(paths[role])}
            notes += passed
    return Parts(paths, notes)


def _existing(name: str, key: str) -> Path:
    """The folder, table or archive of a name in the recipe; HeadstartError if there is none."""
    path = Path(os.path.expanduser(name))
    if path.is_dir() or (path.is_file() and has_table_extension(path)):
        return path
    if path.is_file() and is_archive(path):
        if key == "data.source":
            return path
        raise DataError(
            f"{key}: {path} is an archive, which only data.source may be; unpack it and give "
            "the folder"
        )
    if path.exists():
        raise DataError(
            f"{key}: {path} is a file, and no table or archive; expected a table "
            f"({', '.join(TABLE_FORMATS)}), a folder with one folder of examples a class, or a "
            ".zip or .tar of one"
        )
    parent = next(parent for parent in [*path.parents, Path()] if parent.is_dir())
    content = sorted(inner.name for inner in (*subfolders(parent), *tables_in(parent)))
    raise DataError(
        f"{key}: no folder or table {path}; {parent.resolve()} holds "
        f"{', '.join(content[:10]) or 'no folder'}. Give a folder (class/file, or "
        "train|val|test/class/file), a table (.csv, .tsv, .jsonl, .parquet), or a sample to try "
        f"headstart without data of your own ({', '.join(f'sample:{name}' for name in SAMPLES)})"
    )


def _download(data: Data) -> Path:
    """The folder of the archive at the source's URL, downloaded and unpacked on first use."""
    checksums = {name: value for name in ("sha256", "sha1") if (value := getattr(data, name))}

    def fill(folder: Path) -> None:
        archive = download(str(data.source), checksums)
        unpack(archive, folder)
        archive.unlink()

    return make_once(cache_folder() / UNPACKED / "-".join(checksums.values()), fill, is_whole)


def _unpack(archive: Path) -> Path:
    """The folder of a local archive, unpacked on first use and again when it has changed."""
    return make_once(
        cache_folder() / UNPACKED / file_digest(archive), partial(unpack, archive), is_whole
    )

"""Where examples lie: each kind of source is one function that finds the folders or tables of its parts."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from headstart.data.archive import is_archive, is_whole, unpack
from headstart.data.cache import cache_folder, locked, make_once
from headstart.data.download import download
from headstart.data.hub import hub_tables
from headstart.data.listing import folders_in
from headstart.data.samples import SAMPLES, sample
from headstart.data.tables import KINDS, is_table_name
from headstart.errors import HeadstartError
from headstart.sections import Data

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


def places(data: Data) -> dict[str, Path]:
    """Where the parts lie that a recipe names, a folder or a table each: "train" always, "validation" and "test" where given.

    Raises:
        HeadstartError: a folder or table is missing, or its parts cannot be told.
    """
    if data.source is None:
        parts = {"train": _place(str(data.train), "data.train")}
    elif data.is_url:
        parts = _parts_of(_downloaded(data))
    elif data.source.startswith("sample:"):
        parts = _parts_of(sample(data.source.removeprefix("sample:")))
    elif data.source.startswith("hub:"):
        parts = _parts_of(hub_tables(data.source.removeprefix("hub:")))
    else:
        place = _place(data.source, "data.source")
        if place.is_file() and not is_table_name(place):
            place = _local_archive(place)
        parts = _parts_of(place) if place.is_dir() else {"train": place}
    for role in ("validation", "test"):
        given = getattr(data, role)
        if isinstance(given, str):
            parts[role] = _place(given, f"data.{role}")
    if set(parts) == {"train", "validation"} and not isinstance(data.validation, str):
        parts["test"] = parts.pop("validation")  # a single held-out set is the test
    return parts


def _place(path: str, key: str) -> Path:
    place = Path(os.path.expanduser(path))
    if place.is_dir() or (place.is_file() and (is_table_name(place) or (key == "data.source" and is_archive(place)))):
        return place
    if place.exists():
        raise HeadstartError(
            f"{key}: {place} is a file, and no table or archive; expected a table ({', '.join(KINDS)}), a folder with "
            "one folder of examples a class, or a .zip or .tar of one"
        )
    parent = next(parent for parent in [*place.parents, Path()] if parent.is_dir())
    there = ", ".join(sorted([f.name for f in folders_in(parent)] + [t.name for t in _tables_in(parent)])[:10])
    raise HeadstartError(
        f"{key}: no folder or table {place}; {parent.resolve()} holds {there or 'no folder'}. Give a folder (class/file, or "
        "train|val|test/class/file), a table (.csv, .tsv, .jsonl, .parquet), or a sample to try headstart without data of "
        f"your own ({', '.join(f'sample:{name}' for name in SAMPLES)})"
    )


def _tables_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and is_table_name(path) and path.name[0] != ".")


def _downloaded(data: Data) -> Path:
    """The folder that the archive at the source's URL holds, fetched and unpacked on first use."""
    checksums = {name: value for name in ("sha256", "sha1") if (value := getattr(data, name))}

    def fill(folder: Path) -> None:
        archive = download(str(data.source), checksums)
        unpack(archive, folder)
        archive.unlink()

    return _unpacked("-".join(checksums.values()), fill)


def _local_archive(archive: Path) -> Path:
    """The folder that a local archive holds, unpacked on first use and again when it has changed."""
    with archive.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()
    return _unpacked(name, lambda folder: unpack(archive, folder))


def _unpacked(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of an archive's content in the cache, filled by one process unless it is there and whole."""
    folder = cache_folder() / "data" / name
    if not is_whole(folder):
        with locked(folder.with_suffix(".lock")):
            if not is_whole(folder):
                shutil.rmtree(folder, ignore_errors=True)
                make_once(folder, fill)
    while len(inner := folders_in(folder)) == 1 and not _is_part(inner[0]):  # the one folder that everything is in
        folder = inner[0]
    return folder


def _is_part(path: Path) -> bool:
    return any(_name(path) in names for names in PARTS.values())


def _name(place: Path) -> str:
    return (place.stem if place.is_file() else place.name).lower()


def _parts_of(folder: Path) -> dict[str, Path]:
    """The parts of a source, folders or tables; a source that has none by their names is all training."""
    parts: dict[str, Path] = {}
    tables = _tables_in(folder)
    for role, names in PARTS.items():
        found = sorted(child for child in [*folders_in(folder), *tables] if _name(child) in names)
        if len(found) > 1:
            raise HeadstartError(
                f"data.source: {folder} has more than one {role} part: {', '.join(path.name for path in found)}; keep one, or "
                "name them with data.train, data.validation and data.test"
            )
        if found:
            parts[role] = found[0]
    if not parts and tables and not folders_in(folder):
        if len(tables) > 1:
            raise HeadstartError(
                f"data.source: {folder} has {', '.join(path.name for path in tables[:10])}; expected train.csv (and dev.csv, "
                "test.csv) or one table. Name them with data.train and data.test"
            )
        return {"train": tables[0]}
    if not parts:
        return {"train": folder}
    if "train" not in parts:
        raise HeadstartError(
            f"data.source: {folder} has {' and '.join(path.name for path in parts.values())} but no training part; "
            "add one, or name it with data.train and the test with data.test"
        )
    return parts

"""Where examples lie: each kind of source is one function that lists labelled files by part."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.data.archive import is_archive, is_whole, unpack
from headstart.data.cache import cache_folder, locked, make_once
from headstart.data.download import download
from headstart.data.images import digests_or_faults, is_image_name
from headstart.data.names import printable
from headstart.data.samples import sample
from headstart.errors import HeadstartError
from headstart.sections import Data

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Listing:
    """Files of one part by class name, and how many other files lay among them."""

    folder: Path
    files: dict[str, list[str]]
    ignored: int


def list_images(data: Data) -> dict[str, Listing]:
    """The parts that the recipe's paths hold: "train" always, "validation" and "test" where they are given.

    Raises:
        HeadstartError: a folder is missing, empty or holds no class.
    """
    if data.source is None:
        parts = {"train": _folder(str(data.train), "data.train")}
    elif data.is_url:
        parts = _parts_of(_downloaded(data))
    elif data.source.startswith("sample:"):
        parts = _parts_of(sample(data.source.removeprefix("sample:")))
    elif Path(os.path.expanduser(data.source)).is_file():
        parts = _parts_of(_local_archive(Path(os.path.expanduser(data.source))))
    else:
        parts = _parts_of(_folder(data.source, "data.source"))
    for role in ("validation", "test"):
        given = getattr(data, role)
        if isinstance(given, str):
            parts[role] = _folder(given, f"data.{role}")
    if set(parts) == {"train", "validation"} and not isinstance(data.validation, str):
        parts["test"] = parts.pop("validation")  # a single held-out set is the test
    return {role: _list_classes(folder) for role, folder in parts.items()}


def _folder(path: str, key: str) -> Path:
    folder = Path(os.path.expanduser(path))
    if folder.is_dir():
        return folder
    if folder.exists():
        raise HeadstartError(f"{key}: {folder} is a file; expected a folder with one folder of images a class")
    parent = next(parent for parent in [*folder.parents, Path()] if parent.is_dir())
    there = ", ".join(sorted(child.name for child in _folders(parent))[:10])
    raise HeadstartError(
        f"{key}: no folder {folder}; {parent.resolve()} holds {there or 'no folder'}. Give a folder (class/file, or "
        "train|val|test/class/file), or sample:patches to try headstart without data of your own"
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
    """The folder that a local archive holds, unpacked on first use and again when it has changed."""
    if not is_archive(archive):
        raise HeadstartError(
            f"data.source: {archive} is a file, and no .zip or .tar; expected a folder with one folder of images a class, or "
            "an archive of one"
        )
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
    while len(inner := _folders(folder)) == 1 and not _is_part(inner[0]):  # the one folder that everything is in
        folder = inner[0]
    return folder


def _is_part(folder: Path) -> bool:
    return any(folder.name.lower() in names for names in PARTS.values())


def _parts_of(folder: Path) -> dict[str, Path]:
    """The part folders of a source; a source that has none is all training."""
    parts: dict[str, Path] = {}
    for role, names in PARTS.items():
        found = sorted(child for child in _folders(folder) if child.name.lower() in names)
        if len(found) > 1:
            raise HeadstartError(
                f"data.source: {folder} has more than one {role} part: {', '.join(path.name for path in found)}; keep one, or "
                "name the folders with data.train, data.validation and data.test"
            )
        if found:
            parts[role] = found[0]
    if not parts:
        return {"train": folder}
    if "train" not in parts:
        raise HeadstartError(
            f"data.source: {folder} has {' and '.join(path.name for path in parts.values())} but no train folder; "
            "add one, or name the folders with data.train and data.test"
        )
    return parts


def _list_classes(folder: Path) -> Listing:
    files: dict[str, list[str]] = {}
    ignored = 0
    for child in sorted(_folders(folder)):
        seen = [path for path in _walk(child)]
        images = [str(path) for path in seen if is_image_name(path)]
        ignored += len(seen) - len(images)
        if printable(child.name) in files:
            raise HeadstartError(
                f"{folder}: two class folders would both be shown as {printable(child.name)!r}; rename one"
            )
        files[printable(child.name)] = images
    if not any(files.values()):
        loose = sum(1 for path in folder.iterdir() if path.is_file() and is_image_name(path))
        found = f"{loose} images that are in no class folder" if loose else "no image in any folder"
        if not loose and not files:
            found = "nothing" if not any(folder.iterdir()) else "no folder in it"
        raise HeadstartError(
            f"{folder}: found {found}; expected one folder of images a class, such as {folder / 'hot_dog' / '1.jpg'}"
        )
    return Listing(folder, {name: images for name, images in files.items() if images}, ignored)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, but hidden ones and those that archivers add."""
    return [
        child
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
    ]


def _walk(folder: Path) -> list[Path]:
    """All visible files below a folder, sorted; hidden ones and what lies in hidden folders do not count."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in sorted(files) if not name.startswith(".")]
    return [path for path in found if path.is_file()]  # no pipes, no dead links


def _refuse(error: OSError) -> None:
    raise HeadstartError(f"{error.filename}: cannot be listed ({error.strerror}); make it readable or move it away")


def images_at(paths: list[str]) -> tuple[list[str], dict[str, str]]:
    """The image files that paths stand for (folders with all below them), and for each unreadable one the reason.

    Raises:
        HeadstartError: a path does not exist, or there is no image at any of them.
    """
    files: list[str] = []
    for path in map(Path, filter(None, paths)):
        if path.is_dir():
            files += [str(file) for file in _walk(path) if is_image_name(file)]
        elif path.is_file():
            files.append(str(path))
        else:
            raise HeadstartError(f"{path}: no such file or folder; expected images or folders of images")
    if not files:
        raise HeadstartError(f"{', '.join(paths) or 'no path'}: found no image; expected images or folders of images")
    checked = dict(zip(files, digests_or_faults(files), strict=True))
    faults = {file: fault for file, (_, fault) in checked.items() if fault}
    return [file for file in files if file not in faults], faults

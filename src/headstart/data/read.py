"""From a recipe's [data] to a Dataset: list, check, fix the labels, assign the roles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.columns import choose
from headstart.data.dataset import Dataset, Examples
from headstart.data.formats import is_image
from headstart.data.listing import Kind, Listing, list_classes
from headstart.data.names import printable, twins
from headstart.data.paths import images_folder, list_table
from headstart.data.pictures import digests, pictures
from headstart.data.roles import assign_roles
from headstart.data.sources import places
from headstart.data.tables import open_table
from headstart.data.texts import Texts, of_files, of_table
from headstart.errors import HeadstartError
from headstart.recipe import Recipe

IMAGES = Kind("image", is_image, "hot_dog/1.jpg")
TEXT_FILES = Kind("text", lambda path: path.suffix.lower() == ".txt", "positive/1.txt")


def read_images(recipe: Recipe) -> Dataset:
    """Every readable labelled image the recipe names, in its role; nothing is decoded twice or kept in memory.

    Raises:
        HeadstartError: a folder is missing or empty, there are fewer than two classes or two examples of one, a
            held-out part has classes that training lacks, or files are unreadable and the recipe calls that fatal.
    """
    where, notes = places(recipe.data, IMAGES)
    listings: dict[str, Listing] = {}
    columns = recipe.data.columns
    if recipe.data.images is not None and all(place.is_dir() for place in where.values()):
        raise HeadstartError("data.images: is for paths in a table, and the source is a folder of classes; remove it")
    for role, place in where.items():
        if place.is_dir():
            listings[role] = list_classes(place, IMAGES)
        else:
            table = open_table(place)
            image, label, guessed = choose(table, columns, "image")
            columns = columns.model_copy(update={"image": image, "label": label})  # the same in the parts that follow
            notes += [guessed] if guessed else []
            folder = images_folder(recipe.data.images, table)
            listings[role] = list_table(table, image, label, columns.group or columns.time, folder)
    labels = in_order(listings["train"].files)
    parts = {}
    faults: list[str] = []
    for role, listing in listings.items():
        _known(set(listing.files), labels, role, listing.folder)
        parts[role], broken = _readable(listing, labels)
        faults += broken
        notes += listing.notes("image")
    if faults:
        notes.append(_unreadable(faults, recipe.data.unreadable, sum(map(len, parts.values()))))
    _enough(parts["train"], labels, listings["train"].folder, "images", faults)
    return _finished(parts, labels, recipe, notes, columns.image)


def read_texts(recipe: Recipe) -> Dataset:
    """Every labelled text the recipe names, in its role; the texts stay on the disk.

    Raises:
        HeadstartError: a table or folder is missing, empty, damaged or not UTF-8, a column is missing or holds something
            else, there are fewer than two classes or two examples of one, or a held-out part has unknown classes.
    """
    where, notes = places(recipe.data, TEXT_FILES)
    found: dict[str, Texts] = {}
    if recipe.data.images is not None:
        raise HeadstartError(f"data.images: is for tables of images, and the task {recipe.task} reads texts; remove it")
    columns = recipe.data.columns
    for role, place in where.items():
        if place.is_dir():
            listing = list_classes(place, TEXT_FILES)
            found[role] = of_files(listing)
            notes += listing.notes("text")
        else:
            table = open_table(place)
            if role == "test" and recipe.data.test is None and columns.label and columns.label not in table.columns:
                notes.append(f"{place.name} has no column {columns.label!r}, so it cannot be the test; left out")
                continue
            text, label, guessed = choose(table, columns, "text")
            columns = columns.model_copy(update={"text": text, "label": label})  # the same in the parts that follow
            notes += [guessed] if guessed else []
            found[role] = of_table(table, text, label, columns.group or columns.time)
            if role == "test" and recipe.data.test is None and not len(found[role].examples):
                notes.append(f"{place.name} has no labels, so it cannot be the test; left out")
                del found[role]
    notes += [_left_out(role, texts, recipe.data.unreadable) for role, texts in found.items() if texts.left_out]
    if set(found) == {"train", "validation"} and not isinstance(recipe.data.validation, str):
        found["test"] = found.pop("validation")
    labels = in_order(found["train"].labels)
    for role, texts in found.items():
        _known(set(texts.labels), labels, role, where[role])
        if not len(texts.examples):
            raise HeadstartError(
                f"{where[role]}: the {role} part has no labelled text; expected a table with rows, or files"
            )
    parts = {role: _relabelled(texts, labels) for role, texts in found.items()}
    _enough(parts["train"], labels, where["train"], "texts", [])
    return _finished(parts, labels, recipe, notes, columns.text)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Labels in their fixed order: by value if all are whole numbers, else by name."""
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def _finished(
    parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe, notes: list[str], column: str | None
) -> Dataset:
    data = recipe.data
    if data.groups is not None:
        parts = {role: replace(part, keys=_groups(part, data.groups)) for role, part in parts.items()}
    dataset = assign_roles(parts, labels, recipe)
    if data.limit is not None:
        _enough(dataset.train, labels, Path("data.limit"), "examples", [])
    return replace(dataset, column=column).noting(*notes)


def _groups(part: Examples, pattern: str) -> tuple[str, ...]:
    """The name of each file's group."""
    found = [re.search(pattern, name) for name in part.names]
    without = [name for name, match in zip(part.names, found, strict=True) if match is None]
    if without:
        raise HeadstartError(
            f"data.groups: {pattern!r} finds nothing in {len(without)} of {len(part)} names, such as {without[0]}; expected a "
            "pattern that finds the group in each"
        )
    return tuple(match[1] or "" for match in found if match)


def _known(found: set[str], labels: tuple[str, ...], role: str, where: Path) -> None:
    strangers = sorted(found - set(labels))
    if strangers:
        raise HeadstartError(
            f"{where}: the {role} part has classes that training lacks: {', '.join(strangers[:5])}; "
            f"expected some of {', '.join(labels[:10])}. Remove those examples or add training examples of them"
        )


def _relabelled(texts: Texts, labels: tuple[str, ...]) -> Examples:
    places = np.array([labels.index(name) for name in texts.labels], dtype=np.int64)
    return replace(texts.examples, labels=places[texts.examples.labels])


def _left_out(role: str, texts: Texts, policy: str) -> str:
    counted = "; ".join(
        f"{n} with {fault} ({', '.join(some)}{', …' if n > len(some) else ''})"
        for fault, (n, some) in texts.left_out.items()
    )
    if policy == "error":
        raise HeadstartError(
            f'the {role} part has examples of no use: {counted}. Mend them, or set data.unreadable = "drop"'
        )
    return f"left out of the {role} part: {counted}"


def _readable(listing: Listing, labels: tuple[str, ...]) -> tuple[Examples, list[str]]:
    rows = [(path, labels.index(name)) for name, paths in listing.files.items() for path in paths]
    paths = [path for path, _ in rows]
    contents = digests(paths)
    found = pictures(paths, contents)
    good = [row for row, picture in enumerate(found) if not picture.fault]
    faulty = [(path, picture.fault) for path, picture in zip(paths, found, strict=True) if picture.fault]
    faults = [f"{printable(path)[:300]} ({fault[:300]})" for path, fault in faulty]
    items = tuple(paths[row] for row in good)
    names = tuple(printable(os.path.relpath(path, listing.folder)) for path in items)
    keys = tuple(listing.keys[path] for path in items) if listing.keys else None
    classes = np.array([rows[row][1] for row in good], np.int64)
    return Examples(items, classes, names, tuple(contents[row] for row in good), keys), faults


def _unreadable(faults: list[str], policy: str, readable: int) -> str:
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    found = f"{len(faults)} of {len(faults) + readable} images cannot be read: {shown}"
    if not readable:
        raise HeadstartError(f"{found}. Expected at least two readable images of two classes; replace the files")
    if policy == "error":
        raise HeadstartError(f'{found}. Replace or remove them, or set data.unreadable = "drop" to leave them out')
    return f"{found}. They are left out"


def _enough(train: Examples, labels: tuple[str, ...], where: Path, noun: str, faults: list[str]) -> None:
    if len(labels) < 2:
        raise HeadstartError(
            f"{where}: found {f'one class only ({labels[0]})' if labels else 'no label'}; expected {noun} of at least two "
            "classes"
        )
    counts = np.bincount(train.labels, minlength=len(labels))
    small = [f"{name} ({counts[index]})" for index, name in enumerate(labels) if counts[index] < 2]
    if small:
        alike = [f". Is {' = '.join(names)} one class under {len(names)} names?" for names in twins(labels)]
        raise HeadstartError(
            f"{where}: too few readable training {noun} of {', '.join(small[:5])}; expected at least 2 a class. "
            "Add some or remove the class"
            + (f". {len(faults)} cannot be read: {faults[0]}" if faults else "")
            + "".join(alike[:1])
        )

"""From a recipe's [data] to a Dataset: list, check, fix the labels, assign the roles."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.class_folders import Kind, Listing, list_classes
from headstart.data.column_selection import Chosen, choose, split_of
from headstart.data.dataset import Dataset, Examples
from headstart.data.grey_range import with_grey_range
from headstart.data.image_formats import is_image
from headstart.data.image_tables import images_folder, list_table
from headstart.data.label_encoding import Classes
from headstart.data.pictures import digests, pictures
from headstart.data.skipped import LeftRows, leave_out, left_out_notes, reasons
from headstart.data.sources import naming_archives, places
from headstart.data.tables import Table, open_table
from headstart.data.texts import Texts, of_files, of_table
from headstart.data.train_test_folders import check_no_parts, only_class
from headstart.data.train_test_split import train_test_split
from headstart.data.unicode import printable, similar_names
from headstart.data.unsupported_tasks import other_tasks
from headstart.errors import HeadstartError
from headstart.recipe import Columns, Recipe

IMAGES = Kind("image", is_image, "hot_dog/1.jpg", named_in_tables=True)
# sentences by the role of the part that they are about, or WHOLE
Notes = defaultdict[str, list[str]]
WHOLE = ""
TEXT_FILES = Kind("text", lambda path: path.suffix.lower() == ".txt", "positive/1.txt")


@naming_archives
def read_images(recipe: Recipe) -> Dataset:
    """Every readable labelled image the recipe names, in its role; nothing is decoded twice or kept
    in memory.

    Raises:
        HeadstartError: a folder is missing or empty, there are fewer than two classes or two
            examples of one, a held-out part has classes that training lacks, or files are
            unreadable and the recipe calls that fatal.
    """
    where, found = places(recipe.data, IMAGES)
    notes: Notes = defaultdict(list, {WHOLE: found})
    listings: dict[str, Listing] = {}
    left_out: dict[str, LeftRows] = {}
    hints: list[str] = []
    columns = recipe.data.columns
    if recipe.data.images is not None and all(place.is_dir() for place in where.values()):
        raise HeadstartError(
            "data.images: is for paths in a table, and the source is a folder of classes; remove it"
        )
    for role, place in where.items():
        if place.is_dir():
            listings[role] = list_classes(place, IMAGES)
            hints += only_class(listings[role]) if role == "train" else []
        else:
            table = open_table(place, recipe.data.header)
            chosen = _chosen(table, columns, "image", recipe, role)
            # the other parts' too
            columns = columns.model_copy(update={"image": chosen.item, "label": chosen.label})
            hints += other_tasks(table, chosen) if role == "train" else []
            notes[role] += [*table.notes, *chosen.notes]
            parted, left_out[role] = list_table(
                table, chosen, images_folder(recipe.data.images, table)
            )
            listings |= (
                _roles(parted, where, chosen, notes[role]) if chosen.split else {role: parted[""]}
            )
    notes[WHOLE] += hints
    for role, some in left_out.items():
        notes[role] += left_out_notes(role, some, recipe.data.unreadable)
    listings = _held_out(listings, recipe)
    classes = Classes(listings["train"].files)
    parts = {}
    faults: dict[str, LeftRows] = {}
    for role, listing in listings.items():
        notes[role] += _known(listing.files, classes, role, listing.folder, hints)
        parts[role], faults[role] = _readable(listing, classes)
        notes[role] += listing.notes("image")
    for role, note in _unreadable(faults, recipe.data.unreadable, parts).items():
        notes[role].append(note)
    hints += left_out_notes("train", left_out.get("train", {}), recipe.data.unreadable)
    _enough(parts["train"], classes.labels, where["train"], "images", faults["train"], hints)
    dataset = _finished(parts, classes.labels, recipe, notes, columns.image)
    return with_grey_range(dataset, recipe.model.preprocessing.grey_range)


@naming_archives
def read_texts(recipe: Recipe) -> Dataset:
    """Every labelled text the recipe names, in its role; the texts stay on the disk.

    Raises:
        HeadstartError: a table or folder is missing, empty, damaged or not UTF-8, a column is
            missing or holds something else, there are fewer than two classes or two examples of
            one, or a held-out part has unknown classes.
    """
    where, sentences = places(recipe.data, TEXT_FILES)
    notes: Notes = defaultdict(list, {WHOLE: sentences})
    found: dict[str, Texts] = {}
    hints: list[str] = []
    if recipe.data.images is not None:
        raise HeadstartError(
            f"data.images: is for tables of images, and the task {recipe.task} reads texts; "
            "remove it"
        )
    columns = recipe.data.columns
    for role, place in where.items():
        if place.is_dir():
            listing = list_classes(place, TEXT_FILES)
            hints += only_class(listing) if role == "train" else []
            found[role] = of_files(listing)
            notes[role] += left_out_notes(role, found[role].left_out, recipe.data.unreadable)
            notes[role] += listing.notes("text")
        else:
            table = open_table(place, recipe.data.header)
            if (
                role == "test"
                and recipe.data.test is None
                and columns.label
                and columns.label not in table.columns
            ):
                notes[WHOLE].append(
                    f"{place.name} has no column {columns.label!r}, so it cannot be the test; "
                    "left out"
                )
                continue
            chosen = _chosen(table, columns, "text", recipe, role)
            # for the other parts too
            columns = columns.model_copy(update={"text": chosen.item, "label": chosen.label})
            hints += other_tasks(table, chosen) if role == "train" else []
            notes[role] += [*table.notes, *chosen.notes]
            texts = of_table(table, chosen)
            notes[role] += left_out_notes(role, texts.left_out, recipe.data.unreadable)
            found |= (
                _roles(texts.by_role(), where, chosen, notes[role])
                if chosen.split
                else {role: texts}
            )
            if role == "test" and recipe.data.test is None and not len(texts.examples):
                notes[WHOLE].append(
                    f"{place.name} has no labels, so it cannot be the test; left out"
                )
                del found[role]
    notes[WHOLE] += hints
    found = _held_out(found, recipe)
    classes = Classes(found["train"].labels)
    for role, texts in found.items():
        notes[role] += _known(texts.labels, classes, role, where.get(role, where["train"]), hints)
        if not len(texts.examples):
            raise HeadstartError(
                f"{where.get(role, where['train'])}: the {role} part has no labelled text; "
                "expected a table with rows, or files"
            )
    parts = {role: _relabelled(texts, classes) for role, texts in found.items()}
    hints += left_out_notes("train", found["train"].left_out, recipe.data.unreadable)
    _enough(parts["train"], classes.labels, where["train"], "texts", hints=hints)
    return _finished(parts, classes.labels, recipe, notes, columns.text)


def _chosen(table: Table, columns: Columns, kind: str, recipe: Recipe, role: str) -> Chosen:
    """The columns of a part's table; those of the training part may tell the parts, unless the
    recipe does."""
    if role != "train":
        return choose(table, columns.model_copy(update={"split": None}), kind)
    told = (
        isinstance(recipe.data.test, float)
        or recipe.data.split.folds
        or recipe.data.split.test_from
    )
    chosen = choose(table, columns, kind, guess_split=not told)
    if told and not chosen.split and (unread := split_of(table, {chosen.item, chosen.label})[0]):
        note = (
            f"column {unread!r}, which names parts, is not read, since the recipe says what the "
            "test is"
        )
        return replace(chosen, notes=(*chosen.notes, note))
    return chosen


def _roles(
    parted: dict[str, Any], where: dict[str, Path], chosen: Chosen, notes: list[str]
) -> dict[str, Any]:
    """The parts that a split column tells, but for those that lie elsewhere."""
    if "train" not in parted:
        raise HeadstartError(
            f"data.columns.split: column {chosen.split!r} of {where['train']} says train in no "
            "row of use; expected train, val or test in each"
        )
    elsewhere = [role for role in parted if role != "train" and role in where]
    notes += [
        f"{len(parted[role])} rows of {where['train'].name} are the {role} part by column "
        f"{chosen.split!r}; they are left out, since {where[role]} is"
        for role in elsewhere
    ]
    return {role: part for role, part in parted.items() if role not in elsewhere}


def _held_out(parts: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The parts by their roles: a single held-out one is the test."""
    if set(parts) == {"train", "validation"} and not isinstance(recipe.data.validation, str):
        return {"train": parts["train"], "test": parts["validation"]}
    return parts


def _finished(
    parts: dict[str, Examples],
    labels: tuple[str, ...],
    recipe: Recipe,
    notes: Notes,
    column: str | None,
) -> Dataset:
    data = recipe.data
    if data.groups is not None:
        parts = {
            role: replace(part, keys=_groups(part, data.groups)) for role, part in parts.items()
        }
    dataset = train_test_split(parts, labels, recipe)
    if data.limit is not None:
        _enough(dataset.train, labels, Path("data.limit"), "examples")
    dataset = replace(dataset, column=column)
    for role, some in notes.items():
        dataset = dataset.with_notes(*some, parts=[role] if role else [])
    return dataset


def _groups(part: Examples, pattern: str) -> tuple[str, ...]:
    """The name of each file's group."""
    found = [re.search(pattern, name) for name in part.names]
    without = [name for name, match in zip(part.names, found, strict=True) if match is None]
    if without:
        raise HeadstartError(
            f"data.groups: {pattern!r} finds nothing in {len(without)} of {len(part)} names, "
            f"such as {without[0]}; expected a pattern that finds the group in each"
        )
    return tuple(match[1] or "" for match in found if match)


def _known(
    labels: Iterable[str], classes: Classes, role: str, where: Path, hints: Sequence[str]
) -> list[str]:
    """Sentences on the labels of a part that are spelled otherwise than their class."""
    labels = sorted(labels)
    strangers = [printable(label) for label in labels if classes.place(label) is None]
    if strangers:
        check_no_parts(where, strangers)
        raise HeadstartError(
            f"{where}: the {role} part has classes that training lacks: "
            f"{', '.join(strangers[:5])}; expected some of "
            f"{', '.join(map(printable, classes.labels[:10]))}. Remove those examples or add "
            f"training examples of them{_but(hints)}"
        )
    return classes.notes(labels, role)


def _relabelled(texts: Texts, classes: Classes) -> Examples:
    places = np.array([classes.place(name) for name in texts.labels], dtype=np.int64)
    return replace(texts.examples, labels=places[texts.examples.labels])


def _readable(listing: Listing, classes: Classes) -> tuple[Examples, LeftRows]:
    """(the images that can be read, the others by the reason)."""
    faults: LeftRows = {}
    rows = [(path, classes.place(name)) for name, paths in listing.files.items() for path in paths]
    paths = [path for path, _ in rows]
    contents = digests(paths)
    found = pictures(paths, contents)
    good = [row for row, picture in enumerate(found) if not picture.fault]
    for path, picture in zip(paths, found, strict=True):
        if picture.fault:
            leave_out(faults, picture.fault[:300], printable(path)[:300])
    items = tuple(paths[row] for row in good)
    names = tuple(printable(os.path.relpath(path, listing.folder)) for path in items)
    keys = tuple(listing.keys[path] for path in items) if listing.keys else None
    labels = np.array([rows[row][1] for row in good], np.int64)
    return Examples(items, labels, names, tuple(contents[row] for row in good), keys), faults


def _unreadable(
    faults: Mapping[str, LeftRows], policy: str, readable: Mapping[str, Examples]
) -> dict[str, str]:
    """A sentence on the images that cannot be read, for each part that has some.

    Raises:
        HeadstartError: there are some and the recipe's data.unreadable (`policy`) calls it fatal,
            or all of them are.
    """
    said = {}
    for role, some in faults.items():
        count = sum(count for count, _ in some.values())
        part = f" of the {role} part" if len(faults) > 1 else ""
        if count:
            said[role] = (
                f"{count} of {count + len(readable[role])} images{part} cannot be read: "
                f"{reasons(some)}"
            )
    found = ". ".join(said.values())
    if said and not any(map(len, readable.values())):
        raise HeadstartError(
            f"{found}. Expected at least two readable images of two classes; replace the files"
        )
    if said and policy == "error":
        raise HeadstartError(
            f'{found}. Replace or remove them, or set data.unreadable = "drop" to leave them out'
        )
    return {role: f"{note}. They are left out" for role, note in said.items()}


def _enough(
    train: Examples,
    labels: tuple[str, ...],
    where: Path,
    noun: str,
    faults: LeftRows | None = None,
    hints: Sequence[str] = (),
) -> None:
    if len(labels) < 2:
        raise HeadstartError(
            f"{where}: found "
            f"{f'one class only ({printable(labels[0])})' if labels else 'no label'}; expected "
            f"{noun} of at least two classes" + "".join(f". {hint}" for hint in hints)
        )
    counts = np.bincount(train.labels, minlength=len(labels))
    small = [
        f"{printable(name)} ({counts[index]})"
        for index, name in enumerate(labels)
        if counts[index] < 2
    ]
    if small:
        alike = [
            f". Is {' = '.join(map(printable, names))} one class under {len(names)} names?"
            for names in similar_names(labels)
        ]
        raise HeadstartError(
            f"{where}: too few readable training {noun} of {', '.join(small[:5])}; expected at "
            "least 2 a class. Add some or remove the class"
            + (f". What cannot be read: {reasons(faults)}" if faults else "")
            + "".join(alike[:1])
            + _but(hints)
        )


def _but(hints: Sequence[str]) -> str:
    return "".join(f". But {hint}" for hint in hints)

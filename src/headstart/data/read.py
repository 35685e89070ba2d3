"""From a recipe's [data] to a Dataset: list, check, fix the labels, assign the roles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.columns import choose
from headstart.data.dataset import Dataset, Examples, repeated
from headstart.data.images import digests_or_faults, is_image_name
from headstart.data.listing import Kind, Listing, list_classes
from headstart.data.names import printable
from headstart.data.sources import places
from headstart.data.splits import carve, subset
from headstart.data.tables import Table, open_table
from headstart.data.texts import Texts, of_files, of_table
from headstart.errors import HeadstartError
from headstart.recipe import Recipe
from headstart.sections import Columns

VALIDATION_SHARE, TEST_SHARE = 0.15, 0.2
IMAGES = Kind("image", is_image_name, "hot_dog/1.jpg")
TEXT_FILES = Kind("text", lambda path: path.suffix.lower() == ".txt", "positive/1.txt")


def read_images(recipe: Recipe) -> Dataset:
    """Every readable labelled image the recipe names, in its role; nothing is decoded twice or kept in memory.

    Raises:
        HeadstartError: a folder is missing or empty, there are fewer than two classes or two examples of one, a
            held-out part has classes that training lacks, or files are unreadable and the recipe calls that fatal.
    """
    notes: list[str] = []
    listings: dict[str, Listing] = {}
    columns = recipe.data.columns
    for role, place in places(recipe.data).items():
        if place.is_dir():
            listings[role] = list_classes(place, IMAGES)
        else:
            table = open_table(place)
            image, label, guessed = choose(table, columns, "image")
            columns = Columns(image=image, label=label)  # the same in the parts that follow
            notes += [guessed] if guessed else []
            listings[role] = _listed(table, image, label)
    labels = in_order(listings["train"].files)
    parts = {}
    faults: list[str] = []
    for role, listing in listings.items():
        _known(set(listing.files), labels, role, listing.folder)
        parts[role], broken = _readable(listing, labels)
        faults += broken
        if listing.ignored:
            notes.append(f"{listing.ignored} files in {listing.folder} are no images by their names; left out")
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
    notes: list[str] = []
    found: dict[str, Texts] = {}
    where = places(recipe.data)
    columns = recipe.data.columns
    for role, place in where.items():
        if place.is_dir():
            listing = list_classes(place, TEXT_FILES)
            found[role] = of_files(listing)
            if listing.ignored:
                notes.append(f"{listing.ignored} files in {listing.folder} are no .txt files; left out")
        else:
            table = open_table(place)
            if role == "test" and recipe.data.test is None and columns.label and columns.label not in table.columns:
                notes.append(f"{place.name} has no column {columns.label!r}, so it cannot be the test; left out")
                continue
            text, label, guessed = choose(table, columns, "text")
            columns = Columns(text=text, label=label)  # the same in the parts that follow
            notes += [guessed] if guessed else []
            found[role] = of_table(table, text, label)
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
    copies = repeated(parts.values())
    if copies:
        notes.append(f"{copies} examples are exact copies of others")
    return replace(assign_roles(parts, labels, recipe), column=column).noting(*notes)


def assign_roles(parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe) -> Dataset:
    """Carve the test from the training part, take what data.limit leaves, and carve the validation, each where wanted.

    A share of 0 means no validation part.

    Raises:
        HeadstartError: a class of the training part is too small to give an example to each part.
    """
    data = recipe.data
    notes = []
    if "test" in parts and isinstance(data.test, float):
        raise HeadstartError(
            f"data.test: {data.test} asks for a share of the training part, but the data brings a test part of "
            f"{len(parts['test'])} examples; remove data.test, or name the training folder alone with data.train"
        )
    if "test" not in parts:
        share = data.test if isinstance(data.test, float) else TEST_SHARE
        parts["train"], parts["test"] = _carve(parts["train"], share, recipe.seed, "data.test")
    there = len(parts["train"])
    if data.limit is not None and data.limit < there:
        parts["train"] = subset(parts["train"], data.limit, recipe.seed)
        notes.append(f"data.limit: {len(parts['train'])} of {there} training examples, chosen at random by class")
        _enough(parts["train"], labels, Path("data.limit"), "examples", [])
    if data.validation == 0 or recipe.train.select_on == "test":
        parts.pop("validation", None)
    elif isinstance(data.validation, float) or "validation" not in parts:
        share = data.validation if isinstance(data.validation, float) else VALIDATION_SHARE
        parts["train"], parts["validation"] = _carve(parts["train"], share, recipe.seed + 1, "data.validation")
    return Dataset(labels, parts["train"], parts.get("validation"), parts["test"]).noting(*notes)


def _carve(train: Examples, share: float, seed: int, key: str) -> tuple[Examples, Examples]:
    stays, carved = carve(train, share, seed)
    if not carved:
        raise HeadstartError(
            f"{key}: no class has two training examples left to carve {share:g} from; give more examples or smaller shares "
            "(data.test, data.validation)"
        )
    return stays, carved


def _known(found: set[str], labels: tuple[str, ...], role: str, where: Path) -> None:
    strangers = sorted(found - set(labels))
    if strangers:
        raise HeadstartError(
            f"{where}: the {role} part has classes that training lacks: {', '.join(strangers[:5])}; "
            f"expected some of {', '.join(labels[:10])}. Remove those examples or add training examples of them"
        )


def _listed(table: Table, image: str, label: str) -> Listing:
    """The images that a table names by their paths, counted from the folder it lies in."""
    folder = table.path.parent
    files: dict[str, list[str]] = {}
    for line, (path, name) in table.rows((image, label)):
        if not path or name is None or not str(name).strip():
            raise HeadstartError(
                f"{table.path}, line {line}: no {'label' if path else 'path'}; give one or remove the line"
            )
        files.setdefault(printable(str(name).strip()), []).append(str(folder / str(path)))
    return Listing(folder, files, 0)


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
    checked = digests_or_faults([path for path, _ in rows])
    good = [(path, label, digest) for (path, label), (digest, _) in zip(rows, checked, strict=True) if digest]
    faults = [f"{printable(path)} ({fault})" for (path, _), (_, fault) in zip(rows, checked, strict=True) if fault]
    items = tuple(path for path, _, _ in good)
    names = tuple(printable(os.path.relpath(path, listing.folder)) for path in items)
    digests = tuple(bytes.fromhex(digest) for *_, digest in good)
    return Examples(items, np.array([label for _, label, _ in good], np.int64), names, digests), faults


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
        raise HeadstartError(
            f"{where}: too few readable training {noun} of {', '.join(small[:5])}; expected at least 2 a class. "
            "Add some or remove the class" + (f". {len(faults)} cannot be read: {faults[0]}" if faults else "")
        )

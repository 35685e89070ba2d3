"""From a recipe's [data] to a Dataset: the parts are found, read, encoded and split."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from headstart.data.class_folders import ClassFiles, FileKind, list_class_folders
from headstart.data.column_selection import SelectedColumns, find_split_column, select_columns
from headstart.data.dataset import Dataset, Examples
from headstart.data.grey_range import with_grey_range
from headstart.data.image_formats import is_image
from headstart.data.image_tables import list_image_table
from headstart.data.label_encoding import LabelEncoder, check_class_sizes
from headstart.data.pictures import digests, pictures
from headstart.data.skipped import Skipped, describe_skipped, skip, skipped_notes
from headstart.data.sources import find_sources, with_archive_names
from headstart.data.tables import Table, open_table
from headstart.data.texts import Texts, of_files, of_table
from headstart.data.train_test_folders import check_classes_are_not_parts, single_class_hints
from headstart.data.train_test_split import train_test_split
from headstart.data.unicode import printable
from headstart.data.unsupported_tasks import unsupported_task_hints
from headstart.errors import DataError
from headstart.recipe import Columns, Recipe

IMAGE_FILES = FileKind("image", is_image, "hot_dog/1.jpg", named_in_tables=True)
TEXT_FILES = FileKind("text", lambda path: path.suffix.lower() == ".txt", "positive/1.txt")
Notes = defaultdict[str, list[str]]  # sentences by the role of the part that they are about
ALL = ""  # in place of a role, for the whole data set
Part = TypeVar("Part", bound=ClassFiles | Texts)


@dataclass(frozen=True)
class _Parts(Generic[Part]):
    """The parts of a source as they are read, and the classes of the training part.

    column: of the texts or images, if they come from a table. hints: for messages about classes.
    """

    by_role: dict[str, Part]
    encoder: LabelEncoder
    notes: Notes
    hints: Sequence[str]
    training: Path
    column: str | None

    def dataset(
        self, recipe: Recipe, examples: dict[str, Examples], noun: str, unreadable: Skipped
    ) -> Dataset:
        """The data set of the encoded examples, split where the source has no test part."""
        labels = self.encoder.labels
        check_class_sizes(
            examples["train"].labels, labels, self.training, noun, unreadable, self.hints
        )
        dataset = train_test_split(examples, labels, recipe)
        if recipe.data.limit is not None:
            check_class_sizes(dataset.train.labels, labels, "data.limit", "examples")
        dataset = replace(dataset, column=self.column)
        for role, sentences in self.notes.items():
            dataset = dataset.with_notes(*sentences, parts=[role] if role else [])
        return dataset


@with_archive_names
def read_images(recipe: Recipe) -> Dataset:
    """Every readable labelled image that the recipe names, by part; pixels stay in the files.

    Raises:
        HeadstartError: a folder is missing or empty, there are fewer than two classes or two
            examples of one, a held-out part has classes that training lacks, or files are
            unreadable and the recipe calls that an error.
    """
    list_table = partial(list_image_table, images=recipe.data.images)
    parts = _read_parts(recipe, IMAGE_FILES, lambda files: (files, {}), list_table)
    examples = {}
    unreadable: dict[str, Skipped] = {}
    for role, files in parts.by_role.items():
        examples[role], unreadable[role] = _read_images(files, parts.encoder)
    for role, note in _unreadable_notes(unreadable, recipe.data.unreadable, examples).items():
        parts.notes[role].append(note)
    dataset = parts.dataset(recipe, examples, "images", unreadable["train"])
    return with_grey_range(dataset, recipe.model.preprocessing.grey_range)


@with_archive_names
def read_texts(recipe: Recipe) -> Dataset:
    """Every labelled text that the recipe names, by part; the texts stay on disk.

    Raises:
        HeadstartError: a table or folder is missing, empty, damaged or not UTF-8, a column is
            missing or holds something else, there are fewer than two classes or two examples of
            one, or a held-out part has classes that training lacks.
    """
    parts = _read_parts(recipe, TEXT_FILES, of_files, of_table)
    examples = {}
    for role, texts in parts.by_role.items():
        classes = np.array([parts.encoder.index(name) for name in texts.labels], np.int64)
        examples[role] = replace(texts.examples, labels=classes[texts.examples.labels])
    return parts.dataset(recipe, examples, "texts", {})


def _read_parts(
    recipe: Recipe,
    kind: FileKind,
    of_files: Callable[[ClassFiles], tuple[Part, Skipped]],
    of_table: Callable[[Table, SelectedColumns], tuple[dict[str, Part], Skipped]],
) -> _Parts[Part]:
    """The parts of a recipe's source.

    Args:
        of_files: makes (a part, what is left out) of class folders. of_table: makes (the parts by
            the roles in the split column or "", the rows left out) of a table.
    """
    data = recipe.data
    columns = data.columns
    paths, source_notes = find_sources(data, kind)
    _check_images_key(recipe, kind, paths)
    notes: Notes = defaultdict(list, {ALL: source_notes})
    parts: dict[str, Part] = {}
    hints: list[str] = []
    column: str | None = None
    for role, path in paths.items():
        if path.is_dir():
            files = list_class_folders(path, kind)
            parts[role], skipped = of_files(files)
            part_hints, part_notes = single_class_hints(files), files.notes(kind.noun)
        else:
            table = open_table(path, data.header)
            is_optional = role == "test" and data.test is None
            if is_optional and columns.label and columns.label not in table.columns:
                notes[ALL].append(
                    f"{path.name} has no column {columns.label!r}, so it cannot be the test; left "
                    "out"
                )
                continue
            selected = _select_columns(table, columns, kind.noun, recipe, role)
            column = selected.item
            # the same columns in the other parts
            known = {kind.noun: selected.item, "label": selected.label}
            columns = columns.model_copy(update=known)
            by_role, skipped = of_table(table, selected)
            part_hints = unsupported_task_hints(table, selected)
            part_notes = [*table.notes, *selected.notes]
            if is_optional and not any(map(len, by_role.values())):
                notes[ALL].append(f"{path.name} has no labels, so it cannot be the test; left out")
            elif selected.split:
                parts |= _parts_of_split_column(by_role, paths, selected, part_notes)
            else:
                parts[role] = by_role[""]
        left_out = skipped_notes(role, skipped, data.unreadable)
        notes[role] += [*part_notes, *left_out]
        if role == "train":
            notes[ALL] += part_hints
            hints = [*part_hints, *left_out]
    if set(parts) == {"train", "validation"} and not isinstance(data.validation, str):
        parts["test"] = parts.pop("validation")  # a single held-out part is the test
    encoder = LabelEncoder(parts["train"].labels)
    for role, part in parts.items():
        path = paths.get(role, paths["train"])
        notes[role] += _label_notes(encoder, part.labels, role, path, hints)
        if not len(part):
            raise DataError(
                f"{path}: the {role} part has no labelled {kind.noun}; expected a table with rows, "
                "or files"
            )
    return _Parts(parts, encoder, notes, hints, paths["train"], column)


def _check_images_key(recipe: Recipe, kind: FileKind, paths: Mapping[str, Path]) -> None:
    problem = ""
    if not kind.named_in_tables:
        problem = f"is for tables of images, and the task {recipe.task} reads {kind.noun}s"
    elif all(path.is_dir() for path in paths.values()):
        problem = "is for paths in a table, and the source is a folder of classes"
    if recipe.data.images is not None and problem:
        raise DataError(f"data.images: {problem}; remove it")


def _select_columns(
    table: Table, columns: Columns, kind: str, recipe: Recipe, role: str
) -> SelectedColumns:
    """The columns of a part's table; the training table may have one that names parts, unless the
    recipe states the test."""
    if role != "train":
        return select_columns(table, columns.model_copy(update={"split": None}), kind)
    data = recipe.data
    has_test = isinstance(data.test, float) or data.split.folds or data.split.test_from
    selected = select_columns(table, columns, kind, detect_split=not has_test)
    if not has_test or selected.split:
        return selected
    split, _ = find_split_column(table, {selected.item, selected.label})
    if split is None:
        return selected
    note = (
        f"column {split!r}, which names parts, is not read, since the recipe says what the test is"
    )
    return replace(selected, notes=(*selected.notes, note))


def _parts_of_split_column(
    by_role: dict[str, Part], paths: Mapping[str, Path], columns: SelectedColumns, notes: list[str]
) -> dict[str, Part]:
    """The parts that a split column names, without those that the recipe has elsewhere."""
    if "train" not in by_role:
        raise DataError(
            f"data.columns.split: column {columns.split!r} of {paths['train']} says train in no "
            "usable row; expected train, val or test in each"
        )
    elsewhere = [role for role in by_role if role != "train" and role in paths]
    notes += [
        f"{len(by_role[role])} rows of {paths['train'].name} are the {role} part by column "
        f"{columns.split!r}; they are left out, since {paths[role]} is"
        for role in elsewhere
    ]
    return {role: part for role, part in by_role.items() if role not in elsewhere}


def _label_notes(
    encoder: LabelEncoder, labels: Sequence[str], role: str, path: Path, hints: Sequence[str]
) -> list[str]:
    """A note on labels that are spelled differently from their class; HeadstartError if training
    lacks some."""
    if unknown := list(map(printable, encoder.unknown(labels))):
        check_classes_are_not_parts(path, unknown)
        known = ", ".join(map(printable, encoder.labels[:10]))
        raise DataError(
            f"{path}: the {role} part has classes that training lacks: {', '.join(unknown[:5])}; "
            f"expected some of {known}. Remove those examples or add training examples of them"
            + "".join(f". But {hint}" for hint in hints)
        )
    return encoder.spelling_notes(labels, role)


def _read_images(files: ClassFiles, encoder: LabelEncoder) -> tuple[Examples, Skipped]:
    """(the readable images, the others)."""
    skipped: Skipped = {}
    paths = [path for in_class in files.files.values() for path in in_class]
    labels = [encoder.index(name) for name, in_class in files.files.items() for _ in in_class]
    contents = digests(paths)
    readable = []
    for row, (path, picture) in enumerate(zip(paths, pictures(paths, contents), strict=True)):
        if picture.fault:
            skip(skipped, picture.fault[:300], printable(path)[:300])
        else:
            readable.append(row)
    items = tuple(paths[row] for row in readable)
    names = tuple(printable(os.path.relpath(path, files.folder)) for path in items)
    keys = tuple(files.keys[path] for path in items) if files.keys else None
    classes = np.array([labels[row] for row in readable], np.int64)
    return Examples(items, classes, names, tuple(contents[row] for row in readable), keys), skipped


def _unreadable_notes(
    unreadable: Mapping[str, Skipped], policy: str, readable: Mapping[str, Examples]
) -> dict[str, str]:
    """A note on the unreadable images of each part; HeadstartError if none can be read, or the
    recipe's data.unreadable (`policy`) is "error"."""
    notes = {}
    for role, skipped in unreadable.items():
        part = f" of the {role} part" if len(unreadable) > 1 else ""
        if count := sum(count for count, _ in skipped.values()):
            notes[role] = (
                f"{count} of {count + len(readable[role])} images{part} cannot be read: "
                f"{describe_skipped(skipped)}"
            )
    advice = 'Replace or remove them, or set data.unreadable = "drop" to leave them out'
    is_none_left = not any(map(len, readable.values()))
    if is_none_left:
        advice = "Expected at least two readable images of two classes; replace the files"
    if notes and (is_none_left or policy == "error"):
        raise DataError(f"{'. '.join(notes.values())}. {advice}")
    return {role: f"{note}. They are left out" for role, note in notes.items()}

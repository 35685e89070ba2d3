"""Hints that a table is meant for a task that headstart cannot learn yet: several labels, ordered
labels, several inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.data.column_selection import SelectedColumns, is_binary, is_number, text_pair
from headstart.data.image_formats import has_image_extension
from headstart.data.tables import Table
from headstart.data.unicode import quoted

ORDERED_NAMES = re.compile(
    r"(stars?|ratings?|scores?|grades?|levels?|severity|overall)(_.*)?", re.IGNORECASE
)
SEPARATORS = ";|,"
MIN_TEXT_LENGTH = 20  # mean characters of a text; names and numbers are shorter
MAX_PATH_LENGTH = 1024


def unsupported_task_hints(table: Table, columns: SelectedColumns) -> list[str]:
    """Sentences on other tasks that the columns of a table suggest, from its first rows."""
    values = table.sample()
    labels = _filled(values[columns.label])
    used = {columns.item, columns.label, columns.key, columns.split}
    unused = {name: values[name] for name in table.columns if name not in used}
    return [
        *_binary_columns_hint(columns.label, values[columns.label], unused),
        *_joined_labels_hint(columns.label, labels),
        *_ordered_labels_hint(columns.label, labels),
        *_unused_inputs_hints(columns.item, values[columns.item], unused),
    ]


def _binary_columns_hint(
    label: str, labels: list[object], unused: dict[str, list[object]]
) -> Iterator[str]:
    binary = [name for name, values in unused.items() if is_binary(values)]
    if binary and is_binary(labels):
        yield (
            f"{_join(binary)} {'holds' if len(binary) == 1 else 'hold'} 0 and 1 only, as "
            f"{quoted(label)} does: if these are tags of one example, several at once cannot be "
            f"learned yet. This run learns {quoted(label)} alone; make a recipe for each "
            "(data.columns.label)"
        )


def _joined_labels_hint(label: str, labels: list[str]) -> Iterator[str]:
    """Labels that join tags which occur in other labels too."""
    different = set(labels)
    for separator in SEPARATORS:
        joined = [name for name in different if separator in name]
        tags = {tag.strip() for name in different for tag in name.split(separator)}
        shared = len(tags) < len(different) or any(
            tag in different for name in joined for tag in name.split(separator)
        )
        if len(joined) > 1 and shared and "" not in tags:
            yield (
                f"labels such as {quoted(min(joined))} look like several tags ({len(tags)} in "
                f"all, separated by {separator!r}): several at once cannot be learned yet, and "
                "each combination is a class of its own. Write one column of yes and no for the "
                f"tag that matters, or keep one tag a row in column {quoted(label)}"
            )
            return


def _ordered_labels_hint(label: str, labels: list[str]) -> Iterator[str]:
    numbers = sorted({float(name) for name in labels}) if all(map(is_number, labels)) else []
    are_stars = numbers in (list(range(1, 6)), list(range(1, 11)))
    if are_stars or (len(numbers) >= 3 and ORDERED_NAMES.fullmatch(label)):
        yield (
            f"labels of column {quoted(label)} are the numbers {numbers[0]:g} to {numbers[-1]:g}: "
            "if they have an order (stars, grades), it is not learned yet; they are classes, and a "
            "near miss counts as much as a far one"
        )


def _unused_inputs_hints(
    item: str, items: list[object], unused: dict[str, list[object]]
) -> Iterator[str]:
    """Columns of texts or images beside the one that is read."""
    pair = text_pair([item, *unused]) or ()
    images = [name for name, values in unused.items() if _are_image_names(values)]
    texts = [
        name
        for name, values in unused.items()
        if name not in images and (name in pair or _are_texts(values))
    ]
    advice = ". To use both, write them into one column of texts and name that"
    if _are_image_names(items):
        advice = ""
    for names, noun, more in ((texts, "texts", advice), (images, "images", "")):
        if names:
            yield (
                f"not read, though {'it holds' if len(names) == 1 else 'they hold'} {noun}: "
                f"{_join(names)}. Only {quoted(item)} is, since a model of several columns cannot "
                f"be learned yet{more}"
            )


def _filled(values: list[object]) -> list[str]:
    return [str(value).strip() for value in values if value not in (None, "")]


def _are_image_names(values: list[object]) -> bool:
    names = _filled(values)
    return bool(names) and all(
        len(name) < MAX_PATH_LENGTH and has_image_extension(Path(name)) for name in names
    )


def _are_texts(values: list[object]) -> bool:
    """Whether a column holds texts: long, mostly different, and not single words."""
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return (
        bool(texts)
        and 2 * len(set(texts)) >= len(texts)
        and float(np.mean([len(text) for text in texts])) >= MIN_TEXT_LENGTH
        and any(" " in text or not text.isascii() for text in texts)
    )


def _join(names: list[str]) -> str:
    return ", ".join(map(quoted, names[:10]))

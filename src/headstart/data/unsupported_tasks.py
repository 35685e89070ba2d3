"""Signs in a table that something else is meant than one class of one text or image: said in words,
since it is not learned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.column_selection import Chosen, is_tag, pair
from headstart.data.image_formats import has_image_extension
from headstart.data.tables import Table
from headstart.data.unicode import quoted

ORDERED = re.compile(
    r"(stars?|ratings?|scores?|grades?|levels?|severity|overall)(_.*)?", re.IGNORECASE
)
SEPARATORS = ";|,"
PROSE = 20  # characters of a text, on average; names and numbers are shorter


def other_tasks(table: Table, chosen: Chosen) -> list[str]:
    """Sentences on what the columns of a table may be meant for, from its first rows."""
    values = table.sample()
    labels = [str(value).strip() for value in values[chosen.label] if value not in (None, "")]
    used = {chosen.item, chosen.label, chosen.key, chosen.split}
    rest = [name for name in table.columns if name not in used]
    return [
        *_tags(chosen.label, rest, values),
        *_several(chosen.label, labels),
        *_ordered(chosen.label, labels),
        *_unread(chosen.item, rest, values),
    ]


def _tags(label: str, rest: list[str], values: dict[str, list[Any]]) -> list[str]:
    tags = [name for name in rest if is_tag(values[name])]
    if not tags or not is_tag(values[label]):
        return []
    return [
        f"{_list(tags)} {'holds' if len(tags) == 1 else 'hold'} 0 and 1 only, as {quoted(label)} "
        "does: if these are tags of one example, several at once cannot be learned yet. This run "
        f"learns {quoted(label)} alone; make a recipe for each (data.columns.label)"
    ]


def _several(label: str, labels: list[str]) -> list[str]:
    """Labels made of tags that occur in other labels too."""
    different = set(labels)
    for sign in SEPARATORS:
        joined = [name for name in different if sign in name]
        tags = {tag.strip() for name in different for tag in name.split(sign)}
        again = len(tags) < len(different) or any(
            tag in different for name in joined for tag in name.split(sign)
        )
        if len(joined) > 1 and again and "" not in tags:
            return [
                f"labels such as {quoted(min(joined))} look like several tags ({len(tags)} in "
                f"all, with {sign!r} between): several at once cannot be learned yet, and each "
                "combination is a class of its own. Write one column of yes and no for the tag "
                f"that matters, or keep one tag a row in column {quoted(label)}"
            ]
    return []


def _ordered(label: str, labels: list[str]) -> list[str]:
    try:
        numbers = sorted({float(name) for name in labels})
    except ValueError:
        return []
    stars = numbers in (list(range(1, 6)), list(range(1, 11)))
    if len(numbers) < 3 or not (stars or ORDERED.fullmatch(label)):
        return []
    return [
        f"labels of column {quoted(label)} are the numbers {numbers[0]:g} to {numbers[-1]:g}: if "
        "they have an order (stars, grades), it is not learned yet; they are classes, and a near "
        "miss counts as much as a far one"
    ]


def _unread(item: str, rest: list[str], values: dict[str, list[Any]]) -> list[str]:
    images = [
        name
        for name in rest
        if _given(values[name]) and all(map(_names_image, _given(values[name])))
    ]
    two = pair([item, *rest])
    reads_images = all(map(_names_image, _given(values[item])))
    texts = [
        name
        for name in rest
        if name not in images and (_is_prose(values[name]) or (two and name in two))
    ]
    return [
        f"not read, though {'it holds' if len(names) == 1 else 'they hold'} {what}: "
        f"{_list(names)}. Only {quoted(item)} is, since a model of several columns cannot be "
        "learned yet"
        + (
            ""
            if reads_images or what == "images"
            else ". To use both, write them into one column of texts and name that"
        )
        for names, what in ((texts, "texts"), (images, "images"))
        if names
    ]


def _given(values: list[Any]) -> list[str]:
    return [str(value) for value in values if value not in (None, "")]


def _names_image(value: str) -> bool:
    return len(value) < 1024 and has_image_extension(Path(value))


def _is_prose(values: list[Any]) -> bool:
    """Whether a column holds texts of its own: long, and hardly any twice."""
    given = [value for value in values if isinstance(value, str) and value.strip()]
    if not given or len(set(given)) < len(given) / 2:
        return False
    return float(np.mean([len(value) for value in given])) >= PROSE and any(
        not value.isascii() or " " in value for value in given
    )


def _list(names: list[str]) -> str:
    return ", ".join(map(quoted, names[:10]))

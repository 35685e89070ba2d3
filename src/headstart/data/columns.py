"""Which column of a table is which: named in the recipe, or guessed with a reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

from headstart.data.names import printable
from headstart.data.tables import LOOKED_AT, Table
from headstart.errors import HeadstartError
from headstart.sections import Columns

LABELS = ("label", "labels", "class", "category", "target", "sentiment", "intent")
ITEMS = {
    "text": (
        "text",
        "sentence",
        "text_a",
        "texts",
        "content",
        "review",
        "body",
        "document",
        "comment",
        "tweet",
        "question",
    ),
    "image": ("image", "images", "path", "file", "filename", "file_name", "image_path"),
}


def choose(table: Table, asked: Columns, kind: str) -> tuple[str, str, str]:
    """(column of the texts or image paths, column of the labels, how they were found in words, or "").

    Args:
        kind: "text" or "image".

    Raises:
        HeadstartError: a column that was asked for is missing, or nothing says which one it is.
    """
    other = "image" if kind == "text" else "text"
    if getattr(asked, other) is not None:
        raise HeadstartError(
            f"data.columns.{other}: the task reads {kind}s; remove it, or name the {kind}s with data.columns.{kind}"
        )
    named = {"label": asked.label, kind: getattr(asked, kind)}
    for role, name in {**named, "group": asked.group, "time": asked.time}.items():
        if name is not None and name not in table.columns:
            raise HeadstartError(
                f"data.columns.{role}: {table.path} has no column {name!r}; it has {_list(table.columns)}"
            )
    table = replace(table, columns=tuple(name for name in table.columns if name not in (asked.group, asked.time)))
    if len(table.columns) < 2:
        raise HeadstartError(
            f"{table.path}: found the column {_list(table.columns)} only; expected one of {kind}s and one of labels, with "
            "their names in the first line"
        )
    label = named["label"] or _by_name(table, LABELS, named[kind])
    item = named[kind] or _by_name(table, ITEMS[kind], label)
    reason = "by their names"
    if (label is None or item is None) and len(table.columns) == 2:
        reason = "there are only two columns"
        if label is None and item is None:
            label, reason = _fewer_values(table), "of the two columns the labels repeat themselves more"
        label = label or next(name for name in table.columns if name != item)
        item = item or next(name for name in table.columns if name != label)
    if item is None or label is None:
        missing = " and ".join(role for role, name in ((kind, item), ("label", label)) if name is None)
        raise HeadstartError(
            f"{table.path}: nothing says which column holds the {missing}; it has {_list(table.columns)}. Name them: "
            f'data.columns = {{ {kind} = "…", label = "…" }}'
        )
    if item == label:
        raise HeadstartError(
            f"data.columns: {kind} and label are both {item!r}; {table.path} has {_list(table.columns)}"
        )
    guessed = "" if all(named.values()) else f"{kind}s are column {item!r}, labels are column {label!r} ({reason})"
    return item, label, guessed


def _by_name(table: Table, names: tuple[str, ...], other: str | None) -> str | None:
    """The column whose name is one of these, if there is just one."""
    found = [column for column in table.columns if column.lower() in names and column != other]
    return found[0] if len(found) == 1 else None


def _fewer_values(table: Table) -> str:
    values: list[tuple[Any, ...]] = [row for _, row in islice(table.rows(table.columns), LOOKED_AT)]
    return min(table.columns, key=lambda name: len({str(row[table.columns.index(name)]) for row in values}))


def _list(columns: tuple[str, ...]) -> str:
    return ", ".join(printable(name) for name in columns[:20])

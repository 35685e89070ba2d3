"""Keys of a recipe that an earlier version called otherwise; the old names still work."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from functools import partial

from headstart.errors import RenamedKeyWarning

RENAMED = {"evaluate.beside": "evaluate.baselines", "train.select_on": "train.selection"}


# a context for recipes that nobody is going to edit, such as those of finished runs
without_warnings = partial(warnings.catch_warnings, action="ignore", category=RenamedKeyWarning)


def current_name(key: str) -> str:
    """The present name of a dotted key; warns if that is another one."""
    if key in RENAMED:
        note = f"{key} is now called {RENAMED[key]}; the old name still works"
        warnings.warn(note, RenamedKeyWarning, stacklevel=2)
    return RENAMED.get(key, key)


def check_given_once(keys: Collection[str]) -> None:
    """
    Raises:
        ValueError: one of these dotted keys is the old name of another one.
    """
    for old, new in RENAMED.items():
        if old in keys and new in keys:
            raise ValueError(f"{old} is the old name of {new}, and both are given; remove {old}")


def with_current_names(recipe: Mapping[str, object]) -> dict[str, object]:
    """The tables of a recipe with the present names of their keys; warns of each old one.

    Raises:
        ValueError: a key is given under both names.
    """
    tables = dict(recipe)
    for section, table in recipe.items():
        if isinstance(table, dict):
            keys = {key: f"{section}.{key}" for key in table}
            check_given_once(keys.values())
            tables[section] = {
                current_name(dotted).removeprefix(f"{section}."): table[key]
                for key, dotted in keys.items()
            }
    return tables


def with_first_names(recipe: Mapping[str, object]) -> dict[str, object]:
    """The reverse of `with_current_names`."""
    first = {new: old for old, new in RENAMED.items()}
    return {
        section: {
            first.get(f"{section}.{key}", f"{section}.{key}").removeprefix(f"{section}."): value
            for key, value in table.items()
        }
        if isinstance(table, dict)
        else table
        for section, table in recipe.items()
    }

"""How the recipe that a folder states differs from another one."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from headstart.recipe.recipe import Recipe
from headstart.recipe.renamed import with_current_names, without_warnings


def differences(path: Path, recipe: Recipe, ignored: Collection[str] = ("output",)) -> list[str]:
    """A phrase for each key in which a resolved recipe file differs from a recipe.

    Args:
        ignored: dotted keys that are not compared.

    Raises:
        OSError, ValueError: the file cannot be read, or is no TOML.
    """
    with without_warnings():
        theirs = with_current_names(tomllib.loads(path.read_text(encoding="utf-8")))
    return _differences(theirs, recipe.resolved(), ignored)


def _differences(
    theirs: Mapping[str, object],
    ours: Mapping[str, object],
    ignored: Collection[str],
    prefix: str = "",
) -> list[str]:
    phrases = []
    for key in sorted({*theirs, *ours}):
        dotted, there, here = f"{prefix}{key}", theirs.get(key), ours.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            phrases += _differences(there, here, ignored, f"{dotted}.")
        elif there != here and dotted not in ignored:
            phrases.append(f"{dotted}: {_shown(there)} there, {_shown(here)} here")
    return phrases


def _shown(value: object) -> str:
    return "unset" if value is None else repr(value)

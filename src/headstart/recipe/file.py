"""From a TOML file and the command line to a Recipe.

Every problem is reported in one answer, each with its key, what was found, what was expected and,
where one is near, the name that was probably meant.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from headstart.errors import HeadstartError
from headstart.recipe.recipe import Recipe
from headstart.registry import suggest


def read(
    path: str | Path, overrides: Sequence[str], names: Mapping[str, Collection[str]]
) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the TOML file.
        overrides: `key=value` pairs, the key dotted (`train.epochs=1`), the value in TOML (a bare
            word is a string).
        names: what the registries hold, by kind ("task", "strategy", "beside").

    Raises:
        HeadstartError: the file is missing or no TOML, or the recipe is wrong; all problems in one
            message.
    """
    path = Path(path)
    values = _read_toml(path)
    for override in overrides:
        _set(values, override)
    values.setdefault("output", f"runs/{path.stem}")
    try:
        return Recipe.model_validate(values, context=names)
    except ValidationError as error:
        raise HeadstartError(_explain(error, str(path), overrides)) from None


def split_values(several: str) -> list[str]:
    """Values with commas between them; commas in brackets, braces and quotes belong to a value."""
    return re.findall(r"""(?:[^,\[{"']|\[[^]]*]|{[^}]*}|"[^"]*"|'[^']*'|[\[{"'])+""", several)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path()
        there = sorted(str(file) for file in folder.glob("*.toml"))
        raise HeadstartError(f"{path}: no such recipe file; {suggest(str(path), there)}") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise HeadstartError(
            f"{path}: expected a readable TOML file in UTF-8; found: {error}"
        ) from None
    # numbers of a million digits and endless nesting among them
    except (ValueError, RecursionError) as error:
        raise HeadstartError(f"{path}: not valid TOML: {str(error)[:300]}") from None


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.strip().split(".")) or "\n" in override:
        raise HeadstartError(
            f"command line: expected key=value such as train.epochs=1; found {override!r}"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    *sections, last = key.strip().split(".")
    place: Any = values
    for section in sections:
        inner = place.get(section)
        # a short form such as schedule = "step" gives way to the table it stands for
        if not isinstance(inner, dict):
            inner = place[section] = {"name": inner} if isinstance(inner, str) else {}
        place = inner
    place[last] = value


def _explain(error: ValidationError, path: str, overrides: Sequence[str]) -> str:
    overridden = {override.partition("=")[0].strip() for override in overrides}
    said: dict[str, list[str]] = {}
    meant: dict[str, str] = {}
    for problem in error.errors():
        where = _keys_only(problem)
        key = ".".join(str(part) for part in where) or "recipe"
        given = any(
            f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
            for other in overridden
        )
        origin = "command line" if given else path
        start = f"{origin}: {key}: "
        said.setdefault(start, []).append(_say(problem, where))
        if problem["type"] not in ("extra_forbidden", "missing", "value_error"):
            meant[start] = _describe(where).removeprefix("expected ")
    lines = [
        start + _either(sayings) + (f" ({meant[start]})" if meant.get(start) else "")
        for start, sayings in said.items()
    ]
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} problems in the recipe:\n" + "\n".join(f"  {line}" for line in lines)


def _either(sayings: Sequence[str]) -> str:
    """One sentence for what the members of a union said of the same value."""
    first, *others = dict.fromkeys(sayings)
    return first + "".join(f", or {other.partition('expected ')[2] or other}" for other in others)


def _keys_only(problem: Any) -> list[int | str]:
    """An error's place without the members of unions that pydantic names in it: keys, numbers in
    arrays, and at most a last key that the recipe does not know."""
    where: list[int | str] = []
    for number, part in enumerate(problem["loc"], 1):
        stranger = problem["type"] == "extra_forbidden" and number == len(problem["loc"])
        if isinstance(part, int) or stranger or part in _keys(where):
            where.append(part)
    return where


def _say(problem: Any, where: Sequence[int | str]) -> str:
    found = problem["input"]
    if problem["type"] == "extra_forbidden":
        elsewhere = [
            name for name in _keys([]) if where[-1] in _keys([name]) and [name] != where[:-1]
        ]
        hint = (
            f"it belongs into [{elsewhere[0]}]"
            if elsewhere
            else suggest(str(where[-1]), _keys(where[:-1]))
        )
        return f"unknown key (found {found!r}); {hint}"
    if problem["type"] == "missing":
        return "missing; " + (_describe(where) or "this key is required")
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"found {found!r}; expected a table of keys"
    expected = problem["msg"].removeprefix("Input should be ").replace("valid dictionary", "table")
    expected = expected.replace("a valid boolean", "true or false")
    return f"found {found!r}; expected {expected}"


def _section(where: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that a path of keys leads to."""
    model: Any = Recipe
    for part in where:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        model = next((kind for kind in _models(field.annotation)), None)
        if model is None:
            return None
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _keys(where: Sequence[int | str]) -> list[str]:
    section = _section(where)
    return list(section.model_fields) if section else []


def _describe(where: Sequence[int | str]) -> str:
    section = _section(where[:-1])
    field = section.model_fields.get(str(where[-1])) if section else None
    return f"expected {field.description}" if field and field.description else ""

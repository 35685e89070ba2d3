"""From a TOML file and the command line to a Recipe.

Every problem is reported in one message, each with its key, what was found, what was expected and,
where one is near, the name that was probably meant.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headstart.errors import RecipeError
from headstart.recipe.recipe import Recipe
from headstart.recipe.renamed import check_given_once, current_name, with_current_names
from headstart.registry import suggest

Keys = Sequence[int | str]  # from the top of a recipe to a value in it


def read(
    path: str | Path, overrides: Sequence[str], names: Mapping[str, Collection[str]]
) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the TOML file.
        overrides: `key=value` pairs, the key dotted (`train.epochs=1`), the value in TOML (a bare
            word is a string).
        names: what the registries hold, by kind ("task", "strategy", "baseline", …).

    Raises:
        RecipeError: the file is missing or no TOML, or the recipe is wrong; all problems in one
            message.
    """
    path = Path(path)
    values = _read_toml(path)
    changes = _parse(overrides)
    for keys, value in changes:
        _set(values, keys, value)
    values.setdefault("output", f"runs/{path.stem}")
    try:
        return Recipe.model_validate(values, context=names)
    except ValidationError as error:
        overridden = [".".join(keys) for keys, _ in changes]
        raise RecipeError(_explain(error, str(path), overridden)) from None


def split_values(several: str) -> list[str]:
    """Values with commas between them; commas in brackets, braces and quotes belong to a value."""
    return re.findall(r"""(?:[^,\[{"']|\[[^]]*]|{[^}]*}|"[^"]*"|'[^']*'|[\[{"'])+""", several)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path()
        files = sorted(str(file) for file in folder.glob("*.toml"))
        raise RecipeError(f"{path}: no such recipe file; {suggest(str(path), files)}") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path}: expected a readable TOML file in UTF-8; found: {error}"
        ) from None
    # numbers of a million digits and endless nesting among them
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {str(error)[:300]}") from None
    try:
        return with_current_names(values)
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None


def _parse(overrides: Sequence[str]) -> list[tuple[list[str], object]]:
    """Keys and value of each override, with present names."""
    parsed: list[tuple[str, object]] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")) or "\n" in override:
            raise RecipeError(
                f"command line: expected key=value such as train.epochs=1; found {override!r}"
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text
        parsed.append((key, value))
    try:
        check_given_once([key for key, _ in parsed])
        return [
            (current_name(key).split("."), with_current_names({key: value})[key])
            for key, value in parsed
        ]
    except ValueError as error:
        raise RecipeError(f"command line: {error}") from None


def _set(values: dict[str, object], keys: Sequence[str], value: object) -> None:
    *sections, last = keys
    table = values
    for section in sections:
        inner: object = table.get(section)
        # a short form such as schedule = "step" is replaced by the table it stands for
        if not isinstance(inner, dict):
            inner = dict[str, object](name=inner) if isinstance(inner, str) else {}
            table[section] = inner
        table = inner
    table[last] = value


def _explain(error: ValidationError, path: str, overridden: Sequence[str]) -> str:
    messages: dict[str, list[str]] = {}  # by where they begin
    meanings: dict[str, str] = {}
    for problem in error.errors():
        keys = _keys_only(problem)
        key = ".".join(map(str, keys)) or "recipe"
        from_override = any(
            f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
            for other in overridden
        )
        start = f"{'command line' if from_override else path}: {key}: "
        messages.setdefault(start, []).append(_message(problem, keys))
        if problem["type"] not in ("extra_forbidden", "missing", "value_error"):
            meanings[start] = _expected(keys).removeprefix("expected ")
    lines = [
        start + _joined(several) + (f" ({meanings[start]})" if meanings.get(start) else "")
        for start, several in messages.items()
    ]
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} problems in the recipe:\n" + "\n".join(f"  {line}" for line in lines)


def _joined(messages: Sequence[str]) -> str:
    """One sentence for what the members of a union expected of the same value."""
    first, *others = dict.fromkeys(messages)
    return first + "".join(f", or {other.partition('expected ')[2] or other}" for other in others)


def _keys_only(problem: ErrorDetails) -> list[int | str]:
    """The location of an error without the members of unions that pydantic names in it: keys,
    numbers in arrays, and at most a last key that the recipe does not know."""
    keys: list[int | str] = []
    for number, part in enumerate(problem["loc"], 1):
        unknown = problem["type"] == "extra_forbidden" and number == len(problem["loc"])
        if isinstance(part, int) or unknown or part in _known_keys(keys):
            keys.append(part)
    return keys


def _message(problem: ErrorDetails, keys: Keys) -> str:
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        sections = [
            name
            for name in _known_keys([])
            if keys[-1] in _known_keys([name]) and [name] != keys[:-1]
        ]
        hint = (
            f"it belongs into [{sections[0]}]"
            if sections
            else suggest(str(keys[-1]), _known_keys(keys[:-1]))
        )
        return f"unknown key (found {value!r}); {hint}"
    if problem["type"] == "missing":
        return "missing; " + (_expected(keys) or "this key is required")
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"found {value!r}; expected a table of keys"
    expected = problem["msg"].removeprefix("Input should be ").replace("valid dictionary", "table")
    expected = expected.replace("a valid boolean", "true or false")
    return f"found {value!r}; expected {expected}"


def _section(keys: Keys) -> type[BaseModel] | None:
    """The model that these keys lead to."""
    model: type[BaseModel] | None = Recipe
    for key in keys:
        if isinstance(key, str) and model is not None:
            field = model.model_fields.get(key)
            model = next(iter(_models(field.annotation)), None) if field else None
    return model


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _known_keys(keys: Keys) -> list[str]:
    section = _section(keys)
    return list(section.model_fields) if section else []


def _expected(keys: Keys) -> str:
    section = _section(keys[:-1])
    field = section.model_fields.get(str(keys[-1])) if section and keys else None
    return f"expected {field.description}" if field and field.description else ""

"""What a recipe may name, and recipes read and described accordingly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from headstart.evaluate.metrics import metrics
from headstart.models import sklearn_head
from headstart.models.baselines import baselines
from headstart.recipe import Recipe
from headstart.recipe.file import read
from headstart.recipe.transfer import AUTO
from headstart.tasks import tasks
from headstart.transfer.strategies import strategies


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe file, checked against what is registered.

    Raises:
        HeadstartError: see `recipe_file.read`.
    """
    return read(path, overrides, _names())


def _names() -> dict[str, Collection[str]]:
    """What a recipe may name, by kind."""
    return {
        "task": tasks,
        "strategy": strategies,
        "strategy or baseline": [*strategies, *baselines],
        "classifier": sklearn_head.names(),
        "metric": metrics,
    }


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes, with the registered names in it."""
    schema = Recipe.model_json_schema()
    schema["title"] = "headstart recipe"
    schema["required"] = [key for key in schema["required"] if key != "output"]
    names = {kind: list(known) for kind, known in _names().items()}
    parts = schema["$defs"]
    schema["properties"]["task"]["enum"] = names["task"]
    parts["Transfer"]["properties"]["strategy"]["enum"] = [*names["strategy"], AUTO]
    parts["Baseline"]["properties"]["name"]["enum"] = names["strategy or baseline"]
    parts["Train"]["properties"]["metric"]["enum"] = names["metric"]
    parts["Head"]["properties"]["classifier"]["anyOf"][0]["enum"] = names["classifier"]
    return schema

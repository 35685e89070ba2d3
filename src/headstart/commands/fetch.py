"""headstart fetch: download all that a recipe needs, so that it then runs without a network."""

from __future__ import annotations

from headstart.recipe import Recipe
from headstart.recipe.transfer import AUTO
from headstart.report.describe import describe_parts
from headstart.tasks import task_for
from headstart.transfer.strategies import strategies


def fetch(recipe: Recipe) -> str:
    """Bring the data and the weights of a recipe into the caches: in words, what is there now.

    Raises:
        HeadstartError: something cannot be had.
    """
    modality = task_for(recipe.task, recipe.model.backbone).modality
    dataset = modality.read(recipe)
    lines = [f"data       {recipe.data.source or recipe.data.train}: {describe_parts(dataset)}"]
    named = [strategies.get(name) for name in recipe.strategies if name in strategies]
    if AUTO in recipe.strategies or any(strategy.pretrained for strategy in named):
        network, _ = modality.network(recipe.model, dataset, True)
        assert network.spec.pretrained
        lines.append(
            f"backbone   {recipe.model.backbone}: weights with SHA-256 "
            f"{network.spec.pretrained.sha256}"
        )
    return "\n".join(lines)

"""What a recipe would do, without doing it: in words, in seconds, or as far as its downloads go."""

from __future__ import annotations

from headstart.recipe import Recipe
from headstart.recipe.strategy import AUTO
from headstart.tasks import task_for
from headstart.train.prepared import Machine, Prepared
from headstart.transfer.strategies import strategies


def fetch(recipe: Recipe) -> str:
    """Bring the data and the weights of a recipe into the caches: in words, what is there now.

    Raises:
        HeadstartError: something cannot be had.
    """
    from headstart.report.describe import describe_parts

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


def describe(prepared: Prepared, machine: Machine, detailed: bool = False) -> str:
    """What will happen, in words."""
    from headstart.report.describe import describe as words
    from headstart.report.describe import millions

    processes = f", {machine.world} processes" if machine.world > 1 else ""
    parts = f" in {prepared.accumulation} parts" if prepared.accumulation > 1 else ""
    batch = f", batches of {prepared.batch_size}{parts}" if prepared.chooses_an_epoch else ""
    where = f"{machine.device.type}, {prepared.precision}{processes}{batch}"
    network = prepared.network
    size = millions(sum(prepared.sizes.values()))
    backbone = (
        f"{prepared.recipe.model.backbone} ({network.spec.backbone}), {size} parameters, "
        f"{network.reads}"
    )
    return words(
        prepared.recipe,
        prepared.dataset,
        backbone,
        prepared.sizes,
        prepared.phases,
        where,
        detailed,
    )

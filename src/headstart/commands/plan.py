"""headstart plan: what a recipe would do, in words and in seconds, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.catalogue import read_recipe
from headstart.report.describe import describe as describe_run
from headstart.report.describe import millions
from headstart.runtime.machine import start
from headstart.train.context import Context
from headstart.train.prepare import prepare


def plan(recipe: str | Path, overrides: Sequence[str] = ()) -> str:
    """Data, phases, blocks, rates and a time estimate of a recipe, in words.

    Raises:
        HeadstartError: data, backbone or plan cannot be had.
    """
    context = prepare(read_recipe(recipe, overrides), start())

    from headstart.train.estimate import training_seconds

    words = describe(context, detailed=True)
    more = "; baselines take additional time" if context.recipe.evaluate.baselines else ""
    return (
        f"{words}\n\nestimate   about {training_seconds(context):.0f} s of training on this "
        f"machine, from a few real batches{more}"
    )


def describe(context: Context, detailed: bool = False) -> str:
    """What will happen, in words."""
    world, network = context.machine.world, context.network
    processes = f", {world} processes" if world > 1 else ""
    parts = f" in {context.accumulation} parts" if context.accumulation > 1 else ""
    batch = f", batches of {context.batch_size}{parts}" if context.chooses_an_epoch else ""
    backbone = (
        f"{context.recipe.model.backbone} ({network.spec.backbone}), "
        f"{millions(sum(context.sizes.values()))} parameters, {network.reads}"
    )
    return describe_run(
        context.recipe,
        context.dataset,
        backbone,
        context.sizes,
        context.phases,
        f"{context.device.type}, {context.precision}{processes}{batch}",
        detailed,
    )

"""From a recipe to all that training needs: data read, network built, plan made. `headstart plan` ends here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import HeadstartError
from headstart.evaluate.baselines import baselines
from headstart.recipe import Recipe
from headstart.recipe_file import read
from headstart.registry import unknown
from headstart.report.report import Phase
from headstart.tasks import Task, tasks
from headstart.transfer.strategies import plan, strategies

if TYPE_CHECKING:
    import torch

    from headstart.data.dataset import Dataset
    from headstart.models.network import Network
    from headstart.train.engine import Setting
    from headstart.transfer.plan import Plan


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe file, checked against what is registered.

    Raises:
        HeadstartError: see `recipe_file.read`.
    """
    beside = [*strategies.names(), *baselines.names()]
    return read(path, overrides, {"task": tasks.names(), "strategy": strategies.names(), "beside": beside})


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes, with the registered names in it."""
    schema = Recipe.model_json_schema()
    schema["title"] = "headstart recipe"
    schema["required"] = [key for key in schema["required"] if key != "output"]
    schema["properties"]["task"]["enum"] = tasks.names()
    parts = schema["$defs"]
    parts["Transfer"]["properties"]["strategy"]["enum"] = strategies.names()
    parts["Beside"]["properties"]["name"]["enum"] = [*strategies.names(), *baselines.names()]
    return schema


@dataclass(frozen=True)
class Machine:
    """Where this process computes, and which of how many it is."""

    device: torch.device
    rank: int
    world: int


@dataclass(frozen=True)
class Prepared:
    """A recipe that is ready to train: data read, network built, plan made."""

    recipe: Recipe
    task: Task
    dataset: Dataset
    network: Network
    plan: Plan
    precision: str
    sizes: dict[str, int]
    phases: tuple[Phase, ...]


def start() -> Machine:
    """Settle device and processes (Accelerate reads what the launcher left) and the way memory is held."""
    import torch
    from accelerate import PartialState

    from headstart.train.precision import keep_freed_memory

    keep_freed_memory()
    state = PartialState(cpu=not torch.accelerator.is_available())
    return Machine(state.device, state.process_index, state.num_processes)


def prepare(recipe: Recipe, machine: Machine, dataset: Dataset | None = None) -> Prepared:
    """Read the data, build the network, make the plan.

    Raises:
        HeadstartError: data, backbone or plan cannot be had.
    """
    import torch

    from headstart.train.precision import choose_precision
    from headstart.transfer.blocks import Blocks

    task = tasks.get(recipe.task)
    for other in recipe.evaluate.beside:
        if other.name in strategies.names():
            continue
        if other.name not in task.baselines:
            raise HeadstartError(
                f"evaluate.beside: {unknown(f'baseline of {recipe.task}', other.name, sorted(task.baselines))}"
            )
        if other.lr or other.epochs:
            raise HeadstartError(f"evaluate.beside: {other.name} trains no network; remove its lr and epochs")
    if recipe.train.batch_size < machine.world * recipe.train.accumulation:
        raise HeadstartError(
            f"train.batch_size: found {recipe.train.batch_size}; {machine.world} processes with train.accumulation = "
            f"{recipe.train.accumulation} need at least {machine.world * recipe.train.accumulation}"
        )
    dataset = dataset or task.read(recipe)
    torch.manual_seed(recipe.seed)
    network, notes = task.network(recipe, len(dataset.labels), recipe.transfer.pretrained)
    blocks = Blocks(network)
    made = plan(recipe, blocks.names)
    precision = choose_precision(recipe.train.precision, network.net, machine.device)
    network.spec |= {"task": recipe.task, "labels": list(dataset.labels), "precision": precision}
    return Prepared(
        recipe=recipe,
        task=task,
        dataset=dataset.noting(*notes),
        network=network,
        plan=made,
        precision=precision,
        sizes={name: blocks.size(name) for name in blocks.names},
        phases=tuple(Phase(**vars(phase), trainable=blocks.trainable(phase)) for phase in made.phases),
    )


def describe(prepared: Prepared, machine: Machine, detailed: bool = False) -> str:
    """What will happen, in words."""
    from headstart.report.describe import describe as words

    processes = f", {machine.world} processes" if machine.world > 1 else ""
    where = f"{machine.device.type}, {prepared.precision}{processes}"
    return words(
        prepared.recipe, prepared.dataset, prepared.network.spec, prepared.sizes, prepared.phases, where, detailed
    )


def estimate(prepared: Prepared, machine: Machine) -> float:
    """Seconds that the training of all phases will take, from a few real steps of each."""
    from headstart.train.engine import seconds_per_epoch

    with tempfile.TemporaryDirectory() as folder:
        setting = engine_setting(prepared, machine, Path(folder), lambda event: None)
        return sum(phase.epochs * seconds_per_epoch(prepared.network, phase, setting) for phase in prepared.plan.phases)


def engine_setting(
    prepared: Prepared, machine: Machine, folder: Path, tell: Callable[[dict[str, Any]], None]
) -> Setting:
    """What the engine needs beside network and plan."""
    from headstart.train.draws import Shard
    from headstart.train.engine import Setting

    task, dataset, recipe = prepared.task, prepared.dataset, prepared.recipe
    return Setting(
        train=dataset.train,
        selection=dataset.test if recipe.train.select_on == "test" else dataset.validation,
        augmented=task.encoder(prepared.network, recipe.augment.policy),
        plain=task.encoder(prepared.network, "none"),
        collate=task.collate,
        options=recipe.train,
        seed=recipe.seed,
        device=machine.device,
        precision=prepared.precision,
        shard=Shard(machine.rank, machine.world),
        folder=folder,
        tell=tell,
    )

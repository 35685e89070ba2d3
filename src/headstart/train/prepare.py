"""From a recipe to all that training needs: data read, network built, plan made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headstart.checks.duplicates import cached_duplicates
from headstart.checks.leaks import Leaks, apply_leak_policy
from headstart.checks.sanity_checks import check_classes
from headstart.data.dataset import Dataset, concatenate
from headstart.data.unicode import quoted
from headstart.errors import RecipeError, RunError
from headstart.evaluate.events import OnEvent, ignore
from headstart.evaluate.intervals import wilson
from headstart.evaluate.metrics import NEED_TWO_CLASSES
from headstart.modalities import Modality
from headstart.models import sklearn_head
from headstart.models.baselines import baselines
from headstart.recipe import FROZEN_TASKS, Head, Recipe
from headstart.recipe.strategy import FROZEN
from headstart.recipe.transfer import AUTO
from headstart.registry import unknown
from headstart.runtime.machine import Machine
from headstart.tasks import task_for
from headstart.train.context import Context
from headstart.transfer.choice import choose
from headstart.transfer.strategies import head_of, plan, strategies

if TYPE_CHECKING:
    from headstart.models.network import Network

FEW = 50  # examples


def read_checked(recipe: Recipe) -> tuple[Dataset, Leaks]:
    """The recipe's data with what the checks say of it, and what its parts share; data.leaks is
    done to it.

    Raises:
        HeadstartError: the data cannot be read, or has leaks that the recipe calls fatal.
    """
    modality = task_for(recipe.task, recipe.model.backbone).modality
    dataset = modality.read(recipe)
    everything = concatenate(dataset.parts().values())
    checked, leaks = apply_leak_policy(
        dataset, cached_duplicates(modality.duplicates, everything), recipe.data.leaks
    )
    return checked.with_notes(*check_classes(checked), *modality.notes(everything)), leaks


def prepare(
    recipe: Recipe,
    machine: Machine,
    read: tuple[Dataset, Leaks] | None = None,
    on_event: OnEvent = ignore,
) -> Context:
    """Read the data unless it is read already, build the network, make the plan.

    Raises:
        HeadstartError: data, backbone or plan cannot be had.
    """
    task = task_for(recipe.task, recipe.model.backbone)
    _check_frozen(recipe, task.modality)
    reasons = []
    if recipe.transfer.strategy == AUTO:
        read = read or read_checked(recipe)
        recipe, reason = _choose_strategy(recipe, machine, read)
        reasons.append(reason)
    recipe = recipe.with_changes(evaluate={"baselines": recipe.rivals})
    _check_recipe(recipe, task.modality)
    dataset, leaks = read or read_checked(recipe)
    network, notes = _network(recipe, task.modality, dataset)

    from headstart.models.blocks import Blocks
    from headstart.train.memory import accumulation, batch_size
    from headstart.train.precision import choose_precision

    blocks = Blocks(network)
    context = Context(
        recipe=recipe,
        machine=machine,
        task=task,
        dataset=dataset,
        leaks=leaks,
        network=network,
        plan=plan(recipe, blocks.names),
        batch_size=batch_size(recipe.train.batch_size, len(dataset.train)),
        sizes={name: blocks.size(name) for name in blocks.names},
        on_event=on_event,
    )
    context = replace(context, precision=choose_precision(context))
    context = replace(context, accumulation=accumulation(context))
    network.spec = network.spec.model_copy(
        update={
            "task": recipe.task,
            "labels": dataset.labels,
            "column": dataset.column,
            "precision": context.precision,
        }
    )
    _check_metric(context)
    held_out = dataset.validation
    if context.chooses_an_epoch and held_out and len(held_out) < FEW:
        notes.append(
            f"only {len(held_out)} validation examples choose the epoch, so which one is best is "
            "partly luck"
        )
    return context.with_notes(*notes, *reasons)


def prepare_frozen(
    recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks], random: bool = False
) -> Context:
    """The same for features of the frozen backbone alone, whatever strategy the recipe has.

    Args:
        random: whether its weights are random and not the pretrained ones.
    """
    return prepare(
        recipe.with_changes(
            transfer={"strategy": "scratch" if random else FROZEN}, model={"head": Head()}
        ),
        machine,
        read,
    )


def _choose_strategy(
    recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks]
) -> tuple[Recipe, str]:
    """The recipe with the strategy that its data calls for, and the reason."""
    from headstart.train.estimate import training_seconds
    from headstart.train.probe import frozen_fit

    frozen = prepare_frozen(recipe, machine, read)
    fit, tested = frozen_fit(frozen), len(frozen.dataset.test)
    low, high = wilson(round(fit.accuracy * tested), tested)
    choice = choose(len(frozen.dataset.train), fit, (high - low) / 2)
    chosen = recipe.with_strategy(choice.strategy)
    if choice.table == FROZEN:
        return chosen, choice.reason
    seconds = training_seconds(prepare(recipe.with_strategy(choice.table), machine, read))
    return chosen, (
        f"{choice.reason}; {choice.table} would train for about {seconds:,.0f} s on this machine"
    )


def _check_frozen(recipe: Recipe, modality: Modality) -> None:
    """
    Raises:
        HeadstartError: the recipe trains a backbone that has to stay as it is.
    """
    strategy = recipe.transfer.strategy
    if strategy != AUTO and strategies.get(strategy).frozen:
        return
    if recipe.task in FROZEN_TASKS:
        raise RecipeError(
            f"task: {recipe.task} keeps its embedder frozen; found strategy {strategy!r}: remove "
            "it, or choose a task whose name does not begin with embedding"
        )
    if not modality.tunable:
        raise RecipeError(
            f"transfer.strategy: found {strategy!r}, but {recipe.model.backbone} has nothing to "
            f'train; set transfer.strategy = "{FROZEN}"'
        )


def _check_recipe(recipe: Recipe, modality: Modality) -> None:
    """Refuse what the recipe asks for and its modality does not have."""
    if recipe.augment.policy not in (None, *modality.policies):
        raise RecipeError(
            f"augment.policy: found {recipe.augment.policy!r}; {recipe.task} has "
            f"{', '.join(modality.policies)}"
        )
    for other in recipe.evaluate.baselines:
        if other.name in strategies:
            continue
        names = sorted([*modality.baselines, *baselines.plugins()])
        if other.name not in names:
            raise RecipeError(
                f"evaluate.baselines: {unknown(f'baseline of {recipe.task}', other.name, names)}"
            )
        baselines.get(other.name)
        if other.lr or other.epochs:
            raise RecipeError(
                f"evaluate.baselines: {other.name} trains no network; remove its lr and epochs"
            )


def _network(recipe: Recipe, modality: Modality, dataset: Dataset) -> tuple[Network, list[str]]:
    """The network that the recipe names, with its head and adapters, and notes on it.

    Raises:
        HeadstartError: it cannot be had, or lacks what the recipe asks of it.
    """
    import torch

    from headstart.models.adapters import add_adapters
    from headstart.models.preprocessor import Mixer

    torch.manual_seed(recipe.seed)
    head, strategy = head_of(recipe), strategies.get(recipe.transfer.strategy)
    model = recipe.with_changes(model={"head": head}).model
    network, notes = modality.network(model, dataset, strategy.pretrained)
    if strategy.adapted:
        adapters = recipe.transfer.adapters
        add_adapters(network, adapters.rank, adapters.alpha, adapters.dropout, adapters.targets)
    if head.is_estimator:
        if recipe.train.class_weights is not None or recipe.train.sampling == "balanced":
            sklearn_head.check_weights(head)
        sklearn_head.try_out(head, network.spec.width, len(dataset.labels))
    if recipe.transfer.freeze_statistics and not network.statistics:
        raise RecipeError(
            f"transfer.freeze_statistics: {recipe.model.backbone} keeps no running statistics "
            "(it has no BatchNorm); remove it"
        )
    if recipe.augment.mixes and not isinstance(network.preprocessor(), Mixer):
        key = "mixup" if recipe.augment.mixup else "cutmix"
        raise RunError(f"augment.{key}: {recipe.task} has examples that cannot be mixed; remove it")
    return network, notes


def _check_metric(context: Context) -> None:
    """Refuse a metric that the part which chooses the epoch does not define."""
    part, train = context.selection, context.recipe.train
    if part is not None and train.metric in NEED_TWO_CLASSES and len(np.unique(part.labels)) == 1:
        raise RecipeError(
            f"train.metric: {train.metric} is not defined on the {train.selection} part, whose "
            f"{len(part)} examples are all of {quoted(context.dataset.labels[part.labels[0]])}. "
            'Set train.metric = "loss" or "accuracy", or give that part examples of other classes'
        )

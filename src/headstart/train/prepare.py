"""From a recipe to all that training needs: data read, network built, plan made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headstart.checks.duplicates import cached_duplicates
from headstart.checks.leaks import Leaks, apply_leak_policy
from headstart.checks.sanity_checks import check_classes
from headstart.data.dataset import Dataset, Examples, concatenate
from headstart.data.unicode import quoted
from headstart.errors import HeadstartError
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
from headstart.train.context import Context, OnEvent, ignore
from headstart.transfer.choice import choose
from headstart.transfer.plan import Plan
from headstart.transfer.strategies import head_of, plan, strategies

if TYPE_CHECKING:
    import torch

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
    if recipe.transfer.strategy == AUTO:
        return _prepare_auto(recipe, machine, read, on_event)
    recipe = recipe.with_changes(evaluate={"baselines": recipe.rivals})
    _check_recipe(recipe, task.modality)
    dataset, leaks = read or read_checked(recipe)
    network, notes = _network(recipe, task.modality, dataset)

    from headstart.models.blocks import Blocks
    from headstart.train.memory import batch_size
    from headstart.train.precision import choose_precision

    blocks = Blocks(network)
    made = plan(recipe, blocks.names)
    sample = partial(_sample, network, dataset.train)
    precision = choose_precision(
        recipe.train.precision, network, made.tuned, sample, machine.device
    )
    of_this_run = {"labels": dataset.labels, "precision": precision, "column": dataset.column}
    network.spec = network.spec.model_copy(update={"task": recipe.task, **of_this_run})
    size = batch_size(recipe.train.batch_size, len(dataset.train))
    context = Context(
        recipe=recipe,
        machine=machine,
        task=task,
        dataset=dataset.with_notes(*notes),
        leaks=leaks,
        network=network,
        plan=made,
        precision=precision,
        batch_size=size,
        accumulation=_accumulation(recipe, machine, network, made, size, precision, sample),
        sizes={name: blocks.size(name) for name in blocks.names},
        on_event=on_event,
    )
    _check_metric(context)
    held_out = dataset.validation
    if context.chooses_an_epoch and held_out and len(held_out) < FEW:
        return context.with_notes(
            f"only {len(held_out)} validation examples choose the epoch, so which one is best is "
            "partly luck"
        )
    return context


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


def _prepare_auto(
    recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks] | None, on_event: OnEvent
) -> Context:
    """The recipe with the strategy that its data calls for, and a note that gives the reason."""
    from headstart.train.estimate import training_seconds
    from headstart.train.probe import frozen_fit

    read = read or read_checked(recipe)
    frozen = prepare_frozen(recipe, machine, read)
    fit = frozen_fit(frozen)
    tested = len(frozen.dataset.test)
    low, high = wilson(round(fit.accuracy * tested), tested)
    choice = choose(len(frozen.dataset.train), fit, (high - low) / 2)
    if choice.table == FROZEN:
        chosen = prepare(_with(recipe, FROZEN), machine, read, on_event)
        return chosen.with_notes(choice.reason)
    trained = prepare(_with(recipe, choice.table), machine, read, on_event)
    expected = (
        f"{choice.reason}; {choice.table} would train for about "
        f"{training_seconds(trained):,.0f} s on this machine"
    )
    if choice.strategy != choice.table:
        trained = prepare(_with(recipe, choice.strategy), machine, read, on_event)
    return trained.with_notes(expected)


def _check_frozen(recipe: Recipe, modality: Modality) -> None:
    """
    Raises:
        HeadstartError: the recipe trains a backbone that has to stay as it is.
    """
    strategy = recipe.transfer.strategy
    if strategy != AUTO and strategies.get(strategy).frozen:
        return
    if recipe.task in FROZEN_TASKS:
        raise HeadstartError(
            f"task: {recipe.task} keeps its embedder frozen; found strategy {strategy!r}: remove "
            "it, or choose a task whose name does not begin with embedding"
        )
    if not modality.tunable:
        raise HeadstartError(
            f"transfer.strategy: found {strategy!r}, but {recipe.model.backbone} has nothing to "
            f'train; set transfer.strategy = "{FROZEN}"'
        )


def _check_recipe(recipe: Recipe, modality: Modality) -> None:
    """Refuse what the recipe asks for and its modality does not have."""
    if recipe.augment.policy not in (None, *modality.policies):
        raise HeadstartError(
            f"augment.policy: found {recipe.augment.policy!r}; {recipe.task} has "
            f"{', '.join(modality.policies)}"
        )
    for other in recipe.evaluate.baselines:
        if other.name in strategies:
            continue
        names = sorted([*modality.baselines, *baselines.plugins()])
        if other.name not in names:
            raise HeadstartError(
                f"evaluate.baselines: {unknown(f'baseline of {recipe.task}', other.name, names)}"
            )
        baselines.get(other.name)
        if other.lr or other.epochs:
            raise HeadstartError(
                f"evaluate.baselines: {other.name} trains no network; remove its lr and epochs"
            )


def _network(recipe: Recipe, modality: Modality, dataset: Dataset) -> tuple[Network, list[str]]:
    """The network that the recipe names, with its head and adapters, and notes on it.

    Raises:
        HeadstartError: it cannot be had, or lacks what the recipe asks of it.
    """
    import torch

    from headstart.models.adapters import put_in
    from headstart.models.preprocessor import Mixer

    torch.manual_seed(recipe.seed)
    head, strategy = head_of(recipe), strategies.get(recipe.transfer.strategy)
    model = recipe.with_changes(model={"head": head}).model
    network, notes = modality.network(model, dataset, strategy.pretrained)
    if head.is_estimator:
        sklearn_head.try_out(head, network.spec.width, len(dataset.labels))
        if recipe.train.class_weights is not None or recipe.train.sampling == "balanced":
            sklearn_head.check_weights(head)
    if strategy.adapted:
        adapters = recipe.transfer.adapters
        put_in(network, adapters.rank, adapters.alpha, adapters.dropout, adapters.targets)
    if recipe.transfer.freeze_statistics and not network.statistics:
        raise HeadstartError(
            f"transfer.freeze_statistics: {recipe.model.backbone} keeps no running statistics "
            "(it has no BatchNorm); remove it"
        )
    if recipe.augment.mixes and not isinstance(network.preprocessor(), Mixer):
        key = "mixup" if recipe.augment.mixup else "cutmix"
        raise HeadstartError(
            f"augment.{key}: {recipe.task} has examples that cannot be mixed; remove it"
        )
    return network, notes


def _with(recipe: Recipe, strategy: str) -> Recipe:
    """The recipe with another strategy, and no classifier that only frozen features have."""
    head = recipe.model.head
    if head.is_estimator and strategy != FROZEN:
        head = head.model_copy(update={"classifier": None, "options": {}})
    return recipe.with_changes(transfer={"strategy": strategy}, model={"head": head})


def _check_metric(context: Context) -> None:
    """Refuse a metric that the part which chooses the epoch does not define."""
    part, train = context.selection, context.recipe.train
    if part is not None and train.metric in NEED_TWO_CLASSES and len(np.unique(part.labels)) == 1:
        raise HeadstartError(
            f"train.metric: {train.metric} is not defined on the {train.selection} part, whose "
            f"{len(part)} examples are all of {quoted(context.dataset.labels[part.labels[0]])}. "
            'Set train.metric = "loss" or "accuracy", or give that part examples of other classes'
        )


def _accumulation(
    recipe: Recipe,
    machine: Machine,
    network: Network,
    plan: Plan,
    batch_size: int,
    precision: str,
    sample: Callable[[], dict[str, torch.Tensor]],
) -> int:
    """In how many parts a process works through its share of a batch, the same in every process."""
    from headstart.runtime.processes import from_all
    from headstart.train.memory import parts

    wanted = recipe.train.accumulation
    least = machine.world * (wanted if isinstance(wanted, int) else 1)
    if batch_size < least:
        raise HeadstartError(
            f"train.batch_size: found {batch_size}; {machine.world} processes with "
            f"train.accumulation = {wanted} need at least {least}"
        )
    if isinstance(wanted, int) or not plan.tuned:
        return wanted if isinstance(wanted, int) else 1
    share = -(-batch_size // machine.world)
    return max(from_all(parts(network, plan.tuned, share, sample(), machine.device, precision)))


def _sample(network: Network, train: Examples) -> dict[str, torch.Tensor]:
    """A batch of four examples, the largest where sizes differ."""
    preprocessor, items = network.preprocessor(), train.items
    sizes = preprocessor.sizes(items)
    rows = range(4) if sizes is None else np.argsort(sizes)[::-1][:4].tolist()
    return preprocessor.collate([preprocessor(items[row % len(items)]) for row in rows])

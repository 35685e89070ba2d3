"""From a recipe to all that training needs: data read, network built, plan made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.checks.counts import class_notes
from headstart.checks.leaks import Leaks, settled
from headstart.checks.likeness import remembered
from headstart.data.dataset import Dataset, Examples, joined
from headstart.data.names import composed, quoted
from headstart.errors import HeadstartError
from headstart.evaluate.metrics import NEED_TWO_CLASSES
from headstart.memory import keep_freed_memory
from headstart.models import classifier
from headstart.recipe import EMBEDDING, Recipe
from headstart.registry import unknown
from headstart.report.report import Phase
from headstart.runtime.bars import Bar
from headstart.runtime.threads import share_cores
from headstart.sections import Head
from headstart.sections.transfer import AUTO, FROZEN
from headstart.tasks import Task, task_for
from headstart.transfer.choice import choose
from headstart.transfer.strategies import plan, strategies

if TYPE_CHECKING:
    import torch

    from headstart.models.network import Network
    from headstart.train.setting import Setting
    from headstart.transfer.plan import Plan

FEW = 50  # examples
KEPT = 0.25  # of the free memory, for decoded training examples
LONGEST_WAIT = timedelta(days=2)  # of a process for another, such as for the main one that fits a forest


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
    batch_size: int
    accumulation: int
    sizes: dict[str, int]
    phases: tuple[Phase, ...]
    leaks: Leaks

    @property
    def settings(self) -> dict[str, Any]:
        """What the recipe may leave open, as this run has it."""
        from headstart.report.describe import choices

        settled: dict[str, Any] = {"precision": self.precision}
        if self.chooses_an_epoch:
            settled |= {"optimizer": self.recipe.train.optimizer, "batch_size": self.batch_size}
            settled |= choices(self.recipe)
        if self.plan.tuned:
            settled |= {"accumulation": self.accumulation, "augmentation": self.policy}
        return settled

    @property
    def policy(self) -> str:
        """How training examples are varied."""
        return self.recipe.augment.policy or self.task.policies[0]

    @property
    def selection(self) -> Examples | None:
        """The held-out part that chooses the epoch, if one is to be chosen."""
        if not self.chooses_an_epoch:
            return None
        return self.dataset.test if self.recipe.train.select_on == "test" else self.dataset.validation

    @property
    def chooses_an_epoch(self) -> bool:
        """Whether there are epochs, the best of which a held-out part may choose."""
        return any(phase.epochs for phase in self.phases)


def start() -> Machine:
    """Settle device and processes (Accelerate reads what the launcher left) and the way memory is held."""
    share_cores()
    keep_freed_memory()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)
    return Machine(state.device, state.process_index, state.num_processes)


def read_checked(recipe: Recipe, task: Task) -> tuple[Dataset, Leaks]:
    """The recipe's data with what the checks say of it, and what its parts share; data.leaks is done to it.

    Raises:
        HeadstartError: the data cannot be read, or has leaks that the recipe calls fatal.
    """
    dataset = task.read(recipe)
    everything = joined(dataset.parts().values())
    checked, leaks = settled(dataset, remembered(task.like, everything), recipe.data.leaks)
    return checked.noting(*class_notes(checked), *task.notes(everything)), leaks


def prepare(recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks] | None = None) -> Prepared:
    """Read the data unless it is read already, build the network, make the plan.

    Raises:
        HeadstartError: data, backbone or plan cannot be had.
    """
    import torch

    from headstart.models.encoder import Mixer
    from headstart.train.memory import batch_size
    from headstart.train.precision import choose_precision
    from headstart.transfer.adapters import put_in
    from headstart.transfer.blocks import Blocks

    if recipe.transfer.strategy == AUTO:
        return _prepare_what_is_best(recipe, machine, read)
    recipe = recipe.but(evaluate={"beside": recipe.rivals})
    task = task_for(recipe.task, recipe.model.backbone)
    if recipe.task == EMBEDDING and not recipe.transfer.frozen:
        raise HeadstartError(
            f"task: {EMBEDDING} keeps its embedder frozen; found strategy {recipe.transfer.strategy!r}: remove it, or choose "
            "the task text_classification or image_classification"
        )
    if recipe.augment.policy not in (None, *task.policies):
        raise HeadstartError(
            f"augment.policy: found {recipe.augment.policy!r}; {recipe.task} has {', '.join(task.policies)}"
        )
    for other in recipe.evaluate.beside:
        if other.name in strategies.names():
            continue
        if other.name not in task.baselines:
            raise HeadstartError(
                f"evaluate.beside: {unknown(f'baseline of {recipe.task}', other.name, sorted(task.baselines))}"
            )
        if other.lr or other.epochs:
            raise HeadstartError(f"evaluate.beside: {other.name} trains no network; remove its lr and epochs")
    dataset, leaks = read or read_checked(recipe, task)
    torch.manual_seed(recipe.seed)
    head = recipe.head()
    asked = recipe.but(model={"head": head})
    network, notes = task.network(asked.model, dataset, recipe.transfer.pretrained)
    if head.is_estimator:
        classifier.try_out(head, network.spec["width"], len(dataset.labels))
        if recipe.train.class_weights is not None or recipe.train.sampling == "balanced":
            classifier.check_weights(head)
    if recipe.transfer.adapted:
        asked_for = recipe.transfer.adapters
        put_in(network, asked_for.rank, asked_for.alpha, asked_for.dropout, asked_for.targets)
    if recipe.transfer.freeze_statistics and not network.statistics:
        raise HeadstartError(
            f"transfer.freeze_statistics: {recipe.model.backbone} keeps no running statistics (it has no BatchNorm); remove it"
        )
    if recipe.augment.mixes and not isinstance(network.encoder(), Mixer):
        key = "mixup" if recipe.augment.mixup else "cutmix"
        raise HeadstartError(f"augment.{key}: {recipe.task} has examples that cannot be mixed; remove it")
    blocks = Blocks(network)
    made = plan(recipe, blocks.names)
    sample = partial(_sample, network, dataset.train)
    precision = choose_precision(recipe.train.precision, network, made.tuned, sample, machine.device)
    network.spec |= {"task": recipe.task, "labels": list(dataset.labels), "precision": precision}
    network.spec["column"] = dataset.column
    size = batch_size(recipe.train.batch_size, len(dataset.train))
    prepared = Prepared(
        recipe=recipe,
        task=task,
        dataset=dataset.noting(*notes),
        network=network,
        plan=made,
        precision=precision,
        batch_size=size,
        accumulation=1,
        sizes={name: blocks.size(name) for name in blocks.names},
        phases=tuple(Phase(**vars(phase), trainable=blocks.trainable(phase)) for phase in made.phases),
        leaks=leaks,
    )
    _check_metric(prepared)
    held_out = prepared.dataset.validation
    if prepared.chooses_an_epoch and held_out and len(held_out) < FEW:
        note = f"only {len(held_out)} validation examples choose the epoch, so which one is best is partly luck"
        prepared = replace(prepared, dataset=prepared.dataset.noting(note))
    return replace(prepared, accumulation=_accumulation(prepared, machine))


def _prepare_what_is_best(recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks] | None) -> Prepared:
    """A recipe with the strategy that its data calls for."""
    from headstart.train.probe import separated

    frozen = prepare(recipe.but(transfer={"strategy": FROZEN}, model={"head": Head()}), machine, read)
    with tempfile.TemporaryDirectory() as folder:
        found = separated(frozen.network, setting_of(frozen, machine, Path(folder), lambda event: None))
    strategy, reason = choose(len(frozen.dataset.train), found)
    head = recipe.model.head
    if head.is_estimator and strategy != FROZEN:
        head = head.model_copy(update={"classifier": None, "options": {}})
    chosen = recipe.but(transfer={"strategy": strategy}, model={"head": head})
    return prepare(chosen, machine, (frozen.dataset.noting(reason), frozen.leaks))


def _check_metric(prepared: Prepared) -> None:
    """Whether the part that chooses the epoch defines the metric that does."""
    part = prepared.selection
    if part is not None and prepared.recipe.train.metric in NEED_TWO_CLASSES and len(np.unique(part.labels)) == 1:
        raise HeadstartError(
            f"train.metric: {prepared.recipe.train.metric} is not defined on the {prepared.recipe.train.select_on} part, whose "
            f'{len(part)} examples are all of {quoted(prepared.dataset.labels[part.labels[0]])}. Set train.metric = "loss" or '
            '"accuracy", or give that part examples of other classes'
        )


def _accumulation(prepared: Prepared, machine: Machine) -> int:
    """In how many parts a process works through its share of a batch, the same in every process."""
    from headstart.train.memory import parts
    from headstart.train.processes import from_all

    wanted, size, tuned = prepared.recipe.train.accumulation, prepared.batch_size, prepared.plan.tuned
    least = machine.world * (wanted if isinstance(wanted, int) else 1)
    if size < least:
        raise HeadstartError(
            f"train.batch_size: found {size}; {machine.world} processes with train.accumulation = {wanted} need at least "
            f"{least}"
        )
    if isinstance(wanted, int) or not tuned:
        return wanted if isinstance(wanted, int) else 1
    sample = _sample(prepared.network, prepared.dataset.train)
    share = -(-size // machine.world)
    return max(from_all(parts(prepared.network, tuned, share, sample, machine.device, prepared.precision)))


def _sample(network: Network, train: Examples) -> dict[str, torch.Tensor]:
    """A batch of four examples, the largest where sizes differ."""
    encoder, items = network.encoder(), train.items
    sizes = encoder.sizes(items)
    rows = range(4) if sizes is None else np.argsort(sizes)[::-1][:4].tolist()
    return encoder.collate([encoder(items[row % len(items)]) for row in rows])


def _class_weights(recipe: Recipe, train: Examples, labels: tuple[str, ...]) -> np.ndarray | None:
    """Of each class in the loss, shape (classes,), or None where all weigh the same."""
    from headstart.train.loss import balanced

    asked = recipe.train.class_weights
    if asked is None:
        return None
    if isinstance(asked, str):
        return balanced(train.labels, len(labels))
    asked = {composed(name): weight for name, weight in asked.items()}
    strangers = [name for name in asked if name not in labels]
    if strangers:
        raise HeadstartError(f"train.class_weights: {unknown('class', strangers[0], list(labels))}")
    weights = np.array([asked.get(name, 1.0) for name in labels])
    if (weights > 0).sum() < 2:
        raise HeadstartError(
            f"train.class_weights: found {asked}; expected at least two classes with a weight above 0, or nothing is told apart"
        )
    return weights


def setting_of(prepared: Prepared, machine: Machine, folder: Path, tell: Callable[[dict[str, Any]], None]) -> Setting:
    """What training needs beside network and plan.

    A head that is fitted as a whole has no epoch to choose, so the validation part is training data to it.
    """
    import torch

    from headstart.train.draws import Shard
    from headstart.train.kept import Kept
    from headstart.train.memory import free_memory
    from headstart.train.setting import Setting

    dataset, recipe = prepared.dataset, prepared.recipe
    train = dataset.train if prepared.chooses_an_epoch else joined(dataset.for_learning().values())
    again = sum(phase.epochs for phase in prepared.plan.tuned) > 1  # than once an example is read
    return Setting(
        train=train,
        selection=prepared.selection,
        augmented=prepared.network.encoder(prepared.policy),
        plain=prepared.network.encoder(),
        options=recipe.train,
        transfer=recipe.transfer,
        augment=recipe.augment,
        varied=prepared.policy != "none" or recipe.augment.mixes,
        class_weights=_class_weights(recipe, train, dataset.labels),
        batch_size=prepared.batch_size,
        accumulation=prepared.accumulation,
        seed=recipe.seed,
        device=machine.device,
        precision=prepared.precision,
        shard=Shard(machine.rank, machine.world),
        folder=folder,
        tell=tell,
        kept=Kept(len(train) if again else 0, int(KEPT * free_memory(torch.device("cpu")))),
    )


def features_of(prepared: Prepared, machine: Machine, role: str, part: Examples) -> np.ndarray | None:
    """Frozen features of a part, shape (n, width), from the cache as far as it has them; None in all but the main process."""
    from headstart.train.features import extract

    title = f"features of {role}"
    with tempfile.TemporaryDirectory() as folder, Bar(title, len(part)) as bar:

        def show(event: dict[str, Any]) -> None:
            if event["event"] == "extracting":
                bar.update(event["seen"], title)

        return extract(prepared.network, role, part, setting_of(prepared, machine, Path(folder), show))[0]

"""What is ready to train, and what training needs beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.checks.leaks import Leaks
from headstart.data.dataset import Dataset, Examples, concatenate
from headstart.data.unicode import nfc
from headstart.errors import HeadstartError
from headstart.evaluate.results import PhaseRecord
from headstart.recipe import Recipe
from headstart.registry import unknown
from headstart.runtime.allocator import keep_freed_memory
from headstart.runtime.bars import Bar
from headstart.runtime.threads import share_cores
from headstart.tasks import Task

if TYPE_CHECKING:
    import torch

    from headstart.models.network import Network
    from headstart.train.context import TrainContext
    from headstart.transfer.plan import Plan

KEPT = 0.25  # of the free memory, for decoded training examples
# of a process for another, such as for the main one that fits a forest
LONGEST_WAIT = timedelta(days=2)


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
    phases: tuple[PhaseRecord, ...]
    leaks: Leaks

    def with_notes(self, note: str) -> Prepared:
        """The same with a further note on the data."""
        return replace(self, dataset=self.dataset.with_notes(note))

    @property
    def settings(self) -> dict[str, Any]:
        """What the recipe may leave open, as this run has it."""
        settled: dict[str, Any] = {"precision": self.precision}
        if self.chooses_an_epoch:
            settled |= {"optimizer": self.recipe.train.optimizer, "batch_size": self.batch_size}
            settled |= self.recipe.non_defaults()
        if self.plan.tuned:
            settled |= {"accumulation": self.accumulation, "augmentation": self.policy}
        return settled

    @property
    def policy(self) -> str:
        """How training examples are varied."""
        return self.recipe.augment.policy or self.task.modality.policies[0]

    @property
    def selection(self) -> Examples | None:
        """The held-out part that chooses the epoch, if one is to be chosen."""
        if not self.chooses_an_epoch:
            return None
        return (
            self.dataset.test if self.recipe.train.selection == "test" else self.dataset.validation
        )

    @property
    def chooses_an_epoch(self) -> bool:
        """Whether there are epochs, the best of which a held-out part may choose."""
        return any(phase.epochs for phase in self.phases)


def start() -> Machine:
    """Settle device and processes (Accelerate reads what the launcher left) and the way memory is
    held."""
    share_cores()
    keep_freed_memory()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)
    return Machine(state.device, state.process_index, state.num_processes)


def class_weights(recipe: Recipe, train: Examples, labels: tuple[str, ...]) -> np.ndarray | None:
    """Of each class in the loss, shape (classes,), or None where all weigh the same."""
    from headstart.train.loss import balanced

    asked = recipe.train.class_weights
    if asked is None:
        return None
    if isinstance(asked, str):
        return balanced(train.labels, len(labels))
    asked = {nfc(name): weight for name, weight in asked.items()}
    strangers = [name for name in asked if name not in labels]
    if strangers:
        raise HeadstartError(f"train.class_weights: {unknown('class', strangers[0], list(labels))}")
    weights = np.array([asked.get(name, 1.0) for name in labels])
    if (weights > 0).sum() < 2:
        raise HeadstartError(
            f"train.class_weights: found {asked}; expected at least two classes with a weight "
            "above 0, or nothing is told apart"
        )
    return weights


def context_of(
    prepared: Prepared, machine: Machine, folder: Path, tell: Callable[[dict[str, Any]], None]
) -> TrainContext:
    """What training needs beside network and plan.

    A head that is fitted as a whole has no epoch to choose, so the validation part is training data
    to it.
    """
    import torch

    from headstart.train.context import TrainContext
    from headstart.train.decoded_cache import DecodedCache
    from headstart.train.memory import free_memory
    from headstart.train.sampling import Shard

    dataset, recipe = prepared.dataset, prepared.recipe
    train = (
        dataset.train if prepared.chooses_an_epoch else concatenate(dataset.for_learning().values())
    )
    again = sum(phase.epochs for phase in prepared.plan.tuned) > 1  # than once an example is read
    return TrainContext(
        train=train,
        selection=prepared.selection,
        augmented=prepared.network.preprocessor(prepared.policy),
        plain=prepared.network.preprocessor(),
        options=recipe.train,
        transfer=recipe.transfer,
        augment=recipe.augment,
        varied=prepared.policy != "none" or recipe.augment.mixes,
        class_weights=class_weights(recipe, train, dataset.labels),
        batch_size=prepared.batch_size,
        accumulation=prepared.accumulation,
        seed=recipe.seed,
        device=machine.device,
        precision=prepared.precision,
        shard=Shard(machine.rank, machine.world),
        folder=folder,
        tell=tell,
        kept=DecodedCache(len(train) if again else 0, int(KEPT * free_memory(torch.device("cpu")))),
    )


def features_of(
    prepared: Prepared, machine: Machine, role: str, part: Examples
) -> np.ndarray | None:
    """Frozen features of a part, shape (n, width), from the cache as far as it has them; None in
    all but the main process."""
    from headstart.train.features import extract

    title = f"features of {role}"
    with tempfile.TemporaryDirectory() as folder, Bar(title, len(part)) as bar:

        def show(event: dict[str, Any]) -> None:
            if event["event"] == "extracting":
                bar.update(event["seen"], title)

        return extract(
            prepared.network, role, part, context_of(prepared, machine, Path(folder), show)
        )[0]


def estimate(prepared: Prepared, machine: Machine) -> float:
    """Seconds that all phases will take, from a few real batches of each."""
    from headstart.train.features import seconds_to_extract

    with tempfile.TemporaryDirectory() as folder:
        context = context_of(prepared, machine, Path(folder), lambda event: None)
        seconds = 0.0
        if len(prepared.plan.tuned) < len(prepared.plan.phases):
            parts = context.train + prepared.dataset.test
            seconds += seconds_to_extract(prepared.network, parts, context)
        if prepared.plan.tuned:
            from headstart.train.engine import seconds_per_epoch

            seconds += sum(
                phase.epochs * seconds_per_epoch(prepared.network, phase, context)
                for phase in prepared.plan.tuned
            )
        return seconds

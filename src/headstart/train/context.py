"""All that goes along with one training, made once by `prepare`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headstart.checks.leaks import Leaks
from headstart.data.dataset import Dataset, Examples, concatenate
from headstart.evaluate.events import OnEvent, ignore
from headstart.evaluate.results import PhaseRecord
from headstart.recipe import Recipe
from headstart.runtime.machine import Machine
from headstart.tasks import Task
from headstart.transfer.plan import Plan

if TYPE_CHECKING:
    import torch

    from headstart.models.network import Network
    from headstart.models.preprocessor import Preprocessor
    from headstart.train.decoded_cache import DecodedCache

DECODED_SHARE = 0.25  # of the free memory may hold decoded training examples


@dataclass(frozen=True)
class Context:
    """A recipe that is ready to train: data read, network built, plan made.

    Args:
        batch_size: examples of an optimizer step, over all processes.
        sizes: parameters of each block, as they were before training.
        on_event: is told of each step, epoch and note.
        precision: fp32, bf16 or fp16.
        accumulation: micro-batches in which a process works through its share of a batch.
    """

    recipe: Recipe
    machine: Machine
    task: Task
    dataset: Dataset
    leaks: Leaks
    network: Network
    plan: Plan
    batch_size: int
    sizes: dict[str, int]
    on_event: OnEvent = ignore
    precision: str = "fp32"
    accumulation: int = 1

    def with_notes(self, *notes: str) -> Context:
        """The same with further notes on the data."""
        return replace(self, dataset=self.dataset.with_notes(*notes))

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @property
    def chooses_an_epoch(self) -> bool:
        """Whether there are epochs, the best of which a held-out part may choose."""
        return any(phase.epochs for phase in self.plan.phases)

    @cached_property
    def train(self) -> Examples:
        """The examples to learn from.

        A head that is fitted as a whole has no epoch to choose, so the validation part is training
        data to it.
        """
        if self.chooses_an_epoch:
            return self.dataset.train
        return concatenate(self.dataset.for_learning().values())

    @property
    def selection(self) -> Examples | None:
        """The held-out part that chooses the epoch, if one is to be chosen."""
        if not self.chooses_an_epoch:
            return None
        on_test = self.recipe.train.selection == "test"
        return self.dataset.test if on_test else self.dataset.validation

    @property
    def policy(self) -> str:
        """How training examples are varied."""
        return self.recipe.augment.policy or self.task.modality.policies[0]

    @property
    def augments(self) -> bool:
        """Whether an example may look different each time."""
        return self.policy != "none" or self.recipe.augment.mixes

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """Makes tensors of examples, always the same."""
        return self.network.preprocessor()

    @cached_property
    def augmenting_preprocessor(self) -> Preprocessor:
        """Makes tensors of training examples, varied by the policy."""
        return self.network.preprocessor(self.policy)

    def sample(self) -> dict[str, torch.Tensor]:
        """A batch of four training examples, the largest where sizes differ."""
        preprocessor, items = self.preprocessor, self.dataset.train.items
        sizes = preprocessor.sizes(items)
        rows = range(4) if sizes is None else np.argsort(sizes)[::-1][:4].tolist()
        return preprocessor.collate([preprocessor(items[row % len(items)]) for row in rows])

    @cached_property
    def class_weights(self) -> np.ndarray | None:
        """Of each class in the loss, shape (classes,), or None where all weigh the same."""
        from headstart.train.loss import class_weights

        return class_weights(self.recipe.train, self.train.labels, self.dataset.labels)

    @cached_property
    def decoded(self) -> DecodedCache:
        """Holds decoded training examples, where they are read more than once."""
        import torch

        from headstart.runtime.machine import free_memory
        from headstart.train.decoded_cache import DecodedCache

        again = sum(phase.epochs for phase in self.plan.tuned) > 1
        limit = int(DECODED_SHARE * free_memory(torch.device("cpu")))
        return DecodedCache(len(self.train) if again else 0, limit)

    @property
    def phases(self) -> tuple[PhaseRecord, ...]:
        """The plan's phases with their trainable parameters."""
        return tuple(
            PhaseRecord(**vars(phase), trainable=sum(self.sizes[block] for block in phase.rates))
            for phase in self.plan.phases
        )

    @property
    def settings(self) -> dict[str, object]:
        """The settings that this run has, those that the recipe left open among them."""
        settings: dict[str, object] = {"precision": self.precision}
        if self.chooses_an_epoch:
            settings |= {"optimizer": self.recipe.train.optimizer, "batch_size": self.batch_size}
            settings |= self.recipe.non_defaults()
        if self.plan.tuned:
            settings |= {"accumulation": self.accumulation, "augmentation": self.policy}
        return settings

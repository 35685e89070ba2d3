"""Which examples come when, and every random number of a run, each drawn from what it belongs to.

An example's augmentation depends on (seed, phase, epoch, row) alone; an epoch's order on (seed, phase, epoch); what layers
draw (dropout) on (seed, phase, step, rank). So the number of loader workers changes nothing, and that of processes only
what layers draw and what BatchNorm sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from headstart.data.dataset import Examples

Encode = Callable[[str, int | None], dict[str, Tensor]]
Collate = Callable[[list[dict[str, Tensor]]], dict[str, Tensor]]


def seed_for(*key: int) -> int:
    """A 63-bit seed from a key of whole numbers ≥ 0; other keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Shard:
    """The part of each batch that one of several processes works on."""

    rank: int = 0
    world: int = 1


class Pick(NamedTuple):
    """One training example to make: its row, the seed of its augmentation, and its weight in the loss."""

    row: int
    seed: int
    weight: float


class Batches(Sampler[list[Pick]]):
    """The micro-batches of one process, epoch by epoch.

    An epoch is cut into as few batches of at most `batch_size` examples as there must be, all of nearly the same size: a
    last batch of one example would be too little for BatchNorm. A batch is dealt out to the processes and, within each, to
    `accumulation` micro-batches, and the weights of a whole batch sum to 1 over all of them; a process that would get
    nothing of it works on an example of weight 0.
    """

    def __init__(
        self, count: int, batch_size: int, accumulation: int, seed: int, phase: int, shard: Shard = Shard()
    ) -> None:
        self.epoch = 0
        self._count, self._batch_size, self._accumulation = count, batch_size, accumulation
        self._key, self._shard = (seed, phase), shard

    def __len__(self) -> int:
        return self.steps * self._accumulation

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return -(-self._count // self._batch_size)

    def __iter__(self) -> Iterator[list[Pick]]:
        order = np.random.default_rng(seed_for(*self._key, self.epoch)).permutation(self._count)
        parts = self._shard.world * self._accumulation
        for batch in np.array_split(order, self.steps):
            for micro in range(self._accumulation):
                rows = batch[self._shard.rank * self._accumulation + micro :: parts]
                weight = 1 / len(batch) if len(rows) else 0.0
                yield [
                    Pick(int(row), seed_for(*self._key, self.epoch, int(row)), weight)
                    for row in (rows if len(rows) else batch[:1])
                ]


class TrainingSet(Dataset[dict[str, Tensor]]):
    """Examples as the engine reads them: asked for a Pick, gives inputs, label and weight."""

    def __init__(self, examples: Examples, encode: Encode) -> None:
        self._examples, self._encode = examples, encode

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, pick: Pick) -> dict[str, Any]:
        return {
            **self._encode(self._examples.items[pick.row], pick.seed),
            "labels": torch.tensor(self._examples.labels[pick.row]),
            "weights": torch.tensor(pick.weight),
        }


def stack(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of samples that all have the same shapes."""
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

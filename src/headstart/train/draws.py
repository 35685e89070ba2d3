"""Which examples come when, and every random number of a run, each drawn from what it belongs to.

An example's augmentation depends on (seed, phase, epoch, row) alone; an epoch's order on (seed, phase, epoch); what layers
draw (dropout) on (seed, phase, step, rank). So the number of loader workers changes nothing, and that of processes only
what layers draw and what BatchNorm sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from headstart.data.dataset import Examples
from headstart.models.encoder import Encoder

POOL = 50  # batches among which examples are sorted by size


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

    Where `sizes` says how large each example is, examples of like size share a batch, which so needs little padding: within
    every 50 batches of the random order they are sorted by size, and the batches then come in random order.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        accumulation: int,
        seed: int,
        phase: int,
        shard: Shard = Shard(),
        sizes: np.ndarray | None = None,
    ) -> None:
        self.epoch = 0
        self._sizes = sizes
        self._count, self._batch_size, self._accumulation = count, batch_size, accumulation
        self._key, self._shard = (seed, phase), shard

    def __len__(self) -> int:
        return self.steps * self._accumulation

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return -(-self._count // self._batch_size)

    def __iter__(self) -> Iterator[list[Pick]]:
        parts = self._shard.world * self._accumulation
        for batch in self._whole_batches():
            for micro in range(self._accumulation):
                rows = batch[self._shard.rank * self._accumulation + micro :: parts]
                weight = 1 / len(batch) if len(rows) else 0.0
                yield [
                    Pick(int(row), seed_for(*self._key, self.epoch, int(row)), weight)
                    for row in (rows if len(rows) else batch[:1])
                ]

    def _whole_batches(self) -> list[np.ndarray]:
        random = np.random.default_rng(seed_for(*self._key, self.epoch))
        batches = np.array_split(random.permutation(self._count), self.steps)
        if self._sizes is None:
            return batches
        for start in range(0, len(batches), POOL):
            pool = batches[start : start + POOL]
            rows = np.concatenate(pool)
            by_size = rows[np.argsort(self._sizes[rows], kind="stable")]
            batches[start : start + POOL] = np.split(by_size, np.cumsum([len(batch) for batch in pool])[:-1])
        return [batches[number] for number in random.permutation(len(batches))]


class TrainingSet(Dataset[tuple[dict[str, Any], int, float]]):
    """Examples as the engine reads them: asked for a Pick, gives inputs, label and weight."""

    def __init__(self, examples: Examples, encoder: Encoder) -> None:
        self._examples, self._encoder = examples, encoder

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, pick: Pick) -> tuple[dict[str, Any], int, float]:
        inputs = self._encoder(self._examples.items[pick.row], pick.seed)
        return inputs, int(self._examples.labels[pick.row]), pick.weight

    def collate(self, samples: list[tuple[dict[str, Any], int, float]]) -> dict[str, Tensor]:
        """A batch: the network's inputs, labels and weights."""
        inputs, labels, weights = zip(*samples, strict=True)
        return {**self._encoder.collate(list(inputs)), "labels": torch.tensor(labels), "weights": torch.tensor(weights)}

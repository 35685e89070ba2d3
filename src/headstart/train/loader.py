"""Makes a phase's batches of its training examples, in processes of their own or between two
steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headstart.data.dataset import Examples
from headstart.models.preprocessor import DecodesOnce, Mixer, Preprocessor, Sample
from headstart.runtime.threads import cores_per_process, readers
from headstart.train.context import Context
from headstart.train.decoded_cache import DecodedCache
from headstart.train.integrity import assert_unchanged, reading
from headstart.train.sampling import Batches, SampleSpec, seed_for

MOST_WORKERS = 16
PREFETCHED = 4  # batches that each worker has ready


def loader_of(context: Context, batches: Batches) -> DataLoader[TrainingSample]:
    """A phase's batches, made by processes ahead of the network, or without them by threads between
    two steps.

    Where the network computes on the processor itself, what is made ahead takes the cores from it
    while it waits for the slower one (ResNet-18 on 2 cores, two processes: 0.85 of the speed with
    batches ready in memory; two threads between the steps: 0.957).
    """
    examples = TrainingSet(
        context.train,
        context.augmenting_preprocessor,
        context.network.spec.classes,
        context.decoded,
    )
    workers = loader_workers(context.recipe.train.workers, context.device)
    if not workers:
        examples.map = readers().map
    return DataLoader(
        examples,
        batch_sampler=batches,
        collate_fn=examples.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=context.device.type == "cuda",
    )


def loader_workers(wanted: int | str, device: torch.device) -> int:
    """Loader processes of one training process: what the recipe says, else by the cores that it has
    for itself."""
    if isinstance(wanted, int):
        return wanted
    return 0 if device.type == "cpu" else min(max(cores_per_process() - 1, 1), MOST_WORKERS)


TrainingSample = tuple[Sample, int | np.ndarray, float, int]

Key = tuple[int, int]  # the row of an example and the seed of its augmentation
Make = Callable[[Key], Sample]


class TrainingSet(Dataset[TrainingSample]):
    """Examples as the engine reads them: asked for SampleSpecs, gives inputs, label, weight and
    row of each.

    A label is a class number, or shares of the classes where examples are mixed.

    Args:
        decoded: where decoded examples stay.
    """

    def __init__(
        self, examples: Examples, preprocessor: Preprocessor, classes: int, decoded: DecodedCache
    ) -> None:
        self._examples, self._preprocessor = examples, preprocessor
        self._classes, self._decoded = classes, decoded
        # that of a pool of threads, where there is one
        self.map: Callable[[Make, Iterable[Key]], Iterable[Sample]] = map

    def __len__(self) -> int:
        return len(self._examples)

    def __getitems__(self, specs: list[SampleSpec]) -> list[TrainingSample]:
        keys = {(spec.row, spec.seed) for spec in specs}
        keys |= {(spec.partner.row, spec.partner.seed) for spec in specs if spec.partner}
        made = dict(zip(keys, self.map(self._make, keys), strict=True))
        return [self._sample(spec, made) for spec in specs]

    def _make(self, key: Key) -> Sample:
        row, seed = key
        if not isinstance(self._preprocessor, DecodesOnce):
            return self._preprocessor(self._examples.items[row], seed)
        array = self._decoded.get(row)
        if array is None:
            with reading(self._examples.names[row]):
                assert_unchanged(self._examples, row, self._preprocessor)
                array = self._preprocessor.decoded(self._examples.items[row])
            self._decoded.put(row, array)
        return self._preprocessor(array, seed)

    def _sample(self, spec: SampleSpec, made: dict[Key, Sample]) -> TrainingSample:
        inputs, label = made[spec.row, spec.seed], int(self._examples.labels[spec.row])
        if spec.partner is None:
            return inputs, label, spec.weight, spec.row
        row, seed, how, share = spec.partner
        assert isinstance(self._preprocessor, Mixer)
        inputs, share = self._preprocessor.mix(
            inputs, made[row, seed], how, share, seed_for(spec.seed, 2)
        )
        shares = np.zeros(self._classes, np.float32)
        shares[label] += share
        shares[int(self._examples.labels[row])] += 1 - share
        return inputs, shares, spec.weight, spec.row

    def collate(self, samples: list[TrainingSample]) -> dict[str, Tensor]:
        """A batch: the network's inputs, labels, weights and rows."""
        inputs, labels, weights, rows = zip(*samples, strict=True)
        targets = torch.from_numpy(np.stack(labels))
        numbers = {"labels": targets, "weights": torch.tensor(weights), "rows": torch.tensor(rows)}
        return {**self._preprocessor.collate(list(inputs)), **numbers}

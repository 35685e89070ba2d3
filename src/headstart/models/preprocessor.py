"""What turns an example into tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Item = Any  # an example as its modality has it: a path, a picture, a text, or what `decoded` gave
Sample = dict[str, Any]  # a preprocessed example: its parts by name


class Preprocessor(Protocol):
    """Belongs to one network."""

    def __call__(self, item: Item, seed: int | None = None) -> Sample:
        """Preprocess an example; with a seed it is augmented, the same way for the same seed."""

    def show(self, item: str, seed: int | None = None) -> str | Image.Image:
        """The same example for people: what the network reads of it."""

    def collate(self, samples: list[Sample]) -> dict[str, Tensor]:
        """A batch: the network's inputs by name."""

    def sizes(self, items: Sequence[str]) -> np.ndarray | None:
        """The size of each example, shape (n,), to batch like with like; None if all are equal."""

    def fingerprint(self, item: str) -> str:
        """SHA-256 of an example's content as it is now."""


@runtime_checkable
class DecodesOnce(Preprocessor, Protocol):
    """A preprocessor in two steps: a slow one, always the same, and one that augments."""

    def decoded(self, item: Item) -> np.ndarray:
        """What `__call__` takes instead of the item: one to three dimensions, uint8 or int32."""


@runtime_checkable
class Mixer(Preprocessor, Protocol):
    """A preprocessor whose examples can be mixed with each other."""

    def mix(
        self, first: Sample, second: Sample, how: str, share: float, seed: int
    ) -> tuple[Sample, float]:
        """A mixture by `how`, "mixup" or "cutmix", and the share that the first example has in it,
        which should be `share`."""


@runtime_checkable
class Viewer(Preprocessor, Protocol):
    """A preprocessor that makes several views of an example for test-time augmentation."""

    def views(self, item: Item) -> list[Sample]:
        """Views of an example that all have its label."""


def stack(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of samples that all have the same shapes."""
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

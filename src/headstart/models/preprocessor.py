"""What makes tensors of an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Preprocessor(Protocol):
    """Belongs to one network. An example is a path of a file, or a text."""

    def __call__(self, item: Any, seed: int | None = None) -> dict[str, Any]:
        """One example, varied at random where a seed is given: the same way whenever the seed is
        the same."""

    def show(self, item: str, seed: int | None = None) -> str | Image.Image:
        """The same example for people: what the network gets to see of it."""

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch: the network's inputs by name."""

    def sizes(self, items: Sequence[str]) -> np.ndarray | None:
        """How large each example is, shape (n,), where that differs: examples of like size then
        share a batch."""

    def fingerprint(self, item: str) -> str:
        """SHA-256 of an example's content as it is now."""


@runtime_checkable
class DecodesOnce(Preprocessor, Protocol):
    """A preprocessor in two steps: the first one decodes, which takes long and is the same each
    time; the second one varies."""

    def decoded(self, item: Any) -> np.ndarray:
        """What `__call__` takes instead of the item: one to three dimensions, uint8 or int32."""


@runtime_checkable
class Mixer(Preprocessor, Protocol):
    """A preprocessor whose examples can be mixed with each other."""

    def mix(
        self, one: dict[str, Any], other: dict[str, Any], how: str, share: float, seed: int
    ) -> tuple[dict[str, Any], float]:
        """An example of which `share` is one and the rest the other, and the share that it came out
        as.

        Args:
            how: "mixup" or "cutmix".
        """


@runtime_checkable
class Viewer(Preprocessor, Protocol):
    """A preprocessor that makes several views of one example."""

    def views(self, item: Any) -> list[dict[str, Any]]:
        """The example, and what it might have been as well without another label."""


def stack(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of samples that all have the same shapes."""
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

"""What every source becomes: parts of labelled examples under one fixed order of labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one part, in a fixed order.

    `items` are what the task's encoder reads (paths of images, texts), `labels` index the dataset's label names,
    `names` say which example it is in `predictions.csv`, `digests` are SHA-256 of the contents.
    """

    items: tuple[str, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Sequence[int]) -> Examples:
        """The examples at these rows, in this order."""
        return Examples(
            items=tuple(self.items[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            digests=tuple(self.digests[row] for row in rows),
        )

    def __add__(self, other: Examples) -> Examples:
        """These examples and then the others."""
        return Examples(
            items=self.items + other.items,
            labels=self.labels + other.labels,
            names=self.names + other.names,
            digests=self.digests + other.digests,
        )

    @property
    def targets(self) -> np.ndarray:
        """The labels as an array of shape (n,), int64."""
        return np.asarray(self.labels, dtype=np.int64)

    def digest(self) -> str:
        """SHA-256 over contents and labels, whatever the folder they lie in."""
        rows = sorted(f"{digest} {label}" for digest, label in zip(self.digests, self.labels, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """The parts of a data set by their roles, and what reading it brought to light (`notes`, sentences for people)."""

    labels: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples
    notes: tuple[str, ...] = field(default=())

    def parts(self) -> dict[str, Examples]:
        """The parts there are, by role."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: examples for role, examples in named.items() if examples is not None}

    def counts(self, role: str) -> dict[str, int]:
        """Examples a class in one part."""
        found = Counter(self.parts()[role].labels)
        return {name: found[index] for index, name in enumerate(self.labels)}

    def noting(self, *notes: str) -> Dataset:
        """The same data with further notes."""
        return replace(self, notes=(*self.notes, *notes))

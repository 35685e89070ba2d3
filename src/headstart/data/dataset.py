"""What every source becomes: parts of labelled examples under one fixed order of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from headstart.data.column import Column


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one part, in a fixed order.

    `items` are what an encoder reads (paths of images, texts), `labels` index the dataset's label names (shape (n,), int64),
    `names` say which example it is in `predictions.csv`, `digests` are SHA-256 of the contents (shape (n, 32), bytes).
    """

    items: Sequence[str]
    labels: np.ndarray
    names: Sequence[str]
    digests: np.ndarray

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Sequence[int] | np.ndarray) -> Examples:
        """The examples at these rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Examples(_take(self.items, chosen), self.labels[chosen], _take(self.names, chosen), self.digests[chosen])

    def __add__(self, other: Examples) -> Examples:
        """These examples and then the others."""
        return Examples(
            self.items + other.items,  # type: ignore[operator]
            np.concatenate([self.labels, other.labels]),
            self.names + other.names,  # type: ignore[operator]
            np.concatenate([self.digests, other.digests]),
        )

    def digest(self) -> str:
        """SHA-256 over contents and labels, whatever the order and the files they lie in."""
        rows = np.hstack([self.digests, self.labels.astype("<i8")[:, None].view(np.uint8)])
        return hashlib.sha256(np.sort(np.ascontiguousarray(rows).view("S40").ravel()).tobytes()).hexdigest()


def _take(values: Sequence[str], rows: np.ndarray) -> Sequence[str]:
    return values.take(rows) if isinstance(values, Column) else tuple(values[row] for row in rows)


def repeated(parts: Sequence[Examples]) -> int:
    """How many examples are exact copies of others, within the parts and between them."""
    digests = np.ascontiguousarray(np.concatenate([part.digests for part in parts]))
    return len(digests) - len(np.unique(digests.view("S32")))


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
        found = np.bincount(self.parts()[role].labels, minlength=len(self.labels))
        return dict(zip(self.labels, found.tolist(), strict=True))

    def noting(self, *notes: str) -> Dataset:
        """The same data with further notes."""
        return replace(self, notes=(*self.notes, *notes))

"""What every source becomes: parts of labelled examples under one fixed order of labels."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from headstart.data.arrow_column import Column
from headstart.data.greyscale import GreyRange


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one part, in a fixed order.

    `items` are what an encoder reads (paths of images, texts), `labels` index the dataset's label
    names (shape (n,), int64), `names` say which example it is in `predictions.csv`, `digests` are
    SHA-256 of the contents, 32 bytes each. `keys`, where there are any, are the groups or times by
    which the data is split.
    """

    items: Sequence[str]
    labels: np.ndarray
    names: Sequence[str]
    digests: Sequence[bytes]
    keys: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Sequence[int] | np.ndarray) -> Examples:
        """The examples at these rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        items, names, digests = (
            _take(values, chosen) for values in (self.items, self.names, self.digests)
        )
        keys = None if self.keys is None else _take(self.keys, chosen)
        return Examples(items, self.labels[chosen], names, digests, keys)

    def __add__(self, other: Examples) -> Examples:
        """These examples and then the others."""
        both: Any = [
            (self.items, other.items),
            (self.names, other.names),
            (self.digests, other.digests),
        ]
        items, names, digests = (first + second for first, second in both)
        keys: Any = None
        if self.keys is not None and other.keys is not None:
            keys = self.keys + other.keys  # type: ignore[operator]
        return Examples(items, np.concatenate([self.labels, other.labels]), names, digests, keys)

    def digest(self) -> str:
        """SHA-256 over contents and labels, whatever the order and the files they lie in."""
        rows = (
            d + int(label).to_bytes(8) for d, label in zip(self.digests, self.labels, strict=True)
        )
        return hashlib.sha256(np.sort(np.fromiter(rows, "S40", len(self))).tobytes()).hexdigest()

    def sequence(self) -> str:
        """SHA-256 over contents, labels and names in their order."""
        total = hashlib.sha256(self.labels.tobytes())
        for digest, name in zip(self.digests, self.names, strict=True):
            total.update(digest + name.encode("utf-8", "replace"))
        return total.hexdigest()


def _take(values: Any, rows: np.ndarray) -> Any:
    return values.take(rows) if isinstance(values, Column) else tuple(values[row] for row in rows)


def joined(parts: Iterable[Examples]) -> Examples:
    """All examples of some parts, one part after the other."""
    return reduce(operator.add, parts)


@dataclass(frozen=True)
class Dataset:
    """The parts of a data set by their roles, and what reading it brought to light: `notes`,
    sentences for people, and by the role of a part those that are about it."""

    labels: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples
    notes: tuple[str, ...] = field(default=())
    column: str | None = None  # of a table that the examples came from
    unused: Examples | None = None  # training examples that are left out
    # of images of more than 8 bits: what is shown as black and as white
    grey_range: GreyRange | None = None
    notes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parts(self) -> dict[str, Examples]:
        """The parts there are, by role."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: examples for role, examples in named.items() if examples is not None}

    def for_learning(self) -> dict[str, Examples]:
        """The parts that a model may learn from or be chosen by, by role."""
        return {role: examples for role, examples in self.parts().items() if role != "test"}

    def everything(self) -> dict[str, Examples]:
        """The parts and what is left out."""
        return self.parts() | ({"unused": self.unused} if self.unused is not None else {})

    def counts(self, role: str) -> dict[str, int]:
        """Examples a class in one part."""
        found = np.bincount(self.parts()[role].labels, minlength=len(self.labels))
        return dict(zip(self.labels, found.tolist(), strict=True))

    def with_notes(self, *notes: str, parts: Iterable[str] = ()) -> Dataset:
        """The same data with further notes, which are about these parts."""
        of_parts = {role: (*self.notes_of.get(role, ()), *notes) for role in parts}
        return replace(self, notes=(*self.notes, *notes), notes_of={**self.notes_of, **of_parts})

"""What every source becomes: parts of labelled examples with one fixed order of classes."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TypeVar

import numpy as np

from headstart.data.arrow_column import ArrowColumn
from headstart.data.greyscale import GreyRange

T = TypeVar("T")


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one part, in a fixed order.

    items: what a preprocessor reads (paths of images, texts). labels: class indices, shape (n,),
    int64. names: as in `predictions.csv`. digests: SHA-256 of the contents. keys: the group or time
    of each example, if the data is split by one.
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
        rows = np.asarray(rows, dtype=np.int64)
        return Examples(
            _take(self.items, rows),
            self.labels[rows],
            _take(self.names, rows),
            _take(self.digests, rows),
            None if self.keys is None else _take(self.keys, rows),
        )

    def __add__(self, other: Examples) -> Examples:
        """These examples, then the others."""
        keys = None
        if self.keys is not None and other.keys is not None:
            keys = _concatenate(self.keys, other.keys)
        return Examples(
            _concatenate(self.items, other.items),
            np.concatenate([self.labels, other.labels]),
            _concatenate(self.names, other.names),
            _concatenate(self.digests, other.digests),
            keys,
        )

    def digest(self) -> str:
        """SHA-256 of contents and labels, in any order and whatever files they are in."""
        pairs = zip(self.digests, self.labels, strict=True)
        rows = np.fromiter((d + int(label).to_bytes(8) for d, label in pairs), "S40", len(self))
        return hashlib.sha256(np.sort(rows).tobytes()).hexdigest()

    def sequence(self) -> str:
        """SHA-256 of contents, labels and names in their order."""
        total = hashlib.sha256(self.labels.tobytes())
        for digest, name in zip(self.digests, self.names, strict=True):
            total.update(digest + name.encode("utf-8", "replace"))
        return total.hexdigest()


def _take(values: Sequence[T], rows: np.ndarray) -> Sequence[T]:
    if isinstance(values, ArrowColumn):
        return values.take(rows)
    return tuple(values[row] for row in rows)


def _concatenate(first: Sequence[T], second: Sequence[T]) -> Sequence[T]:
    if isinstance(first, ArrowColumn) and isinstance(second, ArrowColumn):
        return first + second
    return (*first, *second)


def concatenate(parts: Iterable[Examples]) -> Examples:
    """All examples of some parts, one part after the other."""
    return reduce(operator.add, parts)


@dataclass(frozen=True)
class Dataset:
    """The parts of a data set.

    labels: names of the classes. column: of a table that the examples came from. unused: training
    examples that are left out. grey_range: of high bit depth images, the values shown as black and
    as white. notes: sentences on what reading found; notes_of: those about a part, by its role.
    """

    labels: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples
    notes: tuple[str, ...] = ()
    column: str | None = None
    unused: Examples | None = None
    grey_range: GreyRange | None = None
    notes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parts(self) -> dict[str, Examples]:
        """The parts that there are, by role."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: examples for role, examples in parts.items() if examples is not None}

    def for_learning(self) -> dict[str, Examples]:
        """The parts from which a model may be learned or chosen, by role."""
        return {role: examples for role, examples in self.parts().items() if role != "test"}

    def everything(self) -> dict[str, Examples]:
        """The parts, and the unused examples as "unused"."""
        return self.parts() | ({"unused": self.unused} if self.unused is not None else {})

    def counts(self, role: str) -> dict[str, int]:
        """Examples of each class in a part."""
        counts = np.bincount(self.parts()[role].labels, minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def with_notes(self, *notes: str, parts: Iterable[str] = ()) -> Dataset:
        """The same data with further notes, which are about these parts."""
        notes_of = {role: (*self.notes_of.get(role, ()), *notes) for role in parts}
        return replace(self, notes=(*self.notes, *notes), notes_of={**self.notes_of, **notes_of})

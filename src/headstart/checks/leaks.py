"""Leaks between parts: held-out examples with a duplicate, or an example of the same group, in an
earlier part."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from headstart.checks.duplicates import COPY, GROUP, KIND_NAMES, Duplicates
from headstart.data.dataset import Dataset, concatenate
from headstart.data.split_file import UNUSED
from headstart.data.splits import group_numbers
from headstart.errors import DataError


@dataclass(frozen=True)
class Pair:
    """Two similar examples: part, name and label of each, and the kind of similarity."""

    part: str
    name: str
    label: str
    other_part: str
    other_name: str
    other_label: str
    kind: str


@dataclass(frozen=True)
class Leaks:
    """Leaks between the parts of a data set, which are in the order train, validation, test.

    `leaks` has a pair for each example with a match (a duplicate, or an example of the same group)
    in an earlier part, `conflicts` one for each copy with a different label. `leaked` are the rows
    of each part with a match in an earlier part, `given_away` those with a match in a later part.
    """

    leaks: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]
    leaked: dict[str, np.ndarray]
    given_away: dict[str, np.ndarray]


def find_leaks(dataset: Dataset, duplicates: Duplicates) -> Leaks:
    """The leaks, given the duplicates among the concatenated parts."""
    rows = _Rows(dataset, duplicates)
    match, kind = rows.matches(earlier=True)
    leaked = np.flatnonzero(match >= 0)
    leaks = tuple(rows.pair(row, int(match[row]), int(kind[row])) for row in leaked.tolist())
    given_away = np.flatnonzero(rows.matches(earlier=False)[0] >= 0)
    return Leaks(
        leaks, rows.copies(conflicts_only=True), rows.by_part(leaked), rows.by_part(given_away)
    )


def copies(dataset: Dataset, duplicates: Duplicates) -> tuple[Pair, ...]:
    """Each example that is a copy of an earlier one, in the same part or another."""
    return _Rows(dataset, duplicates).copies(conflicts_only=False)


def drop_leaks(dataset: Dataset, leaks: Leaks) -> tuple[Dataset, Leaks]:
    """The data without the examples of training and validation that have a match in a later part
    (they become the part `unused`), and the leaks after that."""
    rows = leaks.given_away
    dropped = [part.take(rows[role]) for role, part in dataset.parts().items()]
    kept = {
        role: part.take(np.setdiff1d(np.arange(len(part)), rows[role]))
        for role, part in dataset.parts().items()
    }
    unused = concatenate([*([dataset.unused] if dataset.unused else []), *dropped])
    dropped_names = {
        (role, name) for role, part in zip(kept, dropped, strict=True) for name in part.names
    }

    def mark(pair: Pair) -> Pair:
        part = UNUSED if (pair.part, pair.name) in dropped_names else pair.part
        is_dropped = (pair.other_part, pair.other_name) in dropped_names
        return replace(pair, part=part, other_part=UNUSED if is_dropped else pair.other_part)

    cleaned = replace(
        dataset,
        train=kept["train"],
        validation=kept.get("validation") or None,
        unused=unused or None,
    )
    return cleaned, Leaks(
        leaks=tuple(map(mark, leaks.leaks)),
        conflicts=tuple(map(mark, leaks.conflicts)),
        leaked={role: rows[:0] for role, rows in leaks.leaked.items()},
        given_away={role: rows[:0] for role, rows in leaks.given_away.items()},
    )


def apply_leak_policy(
    dataset: Dataset, duplicates: Duplicates, policy: str
) -> tuple[Dataset, Leaks]:
    """The data after applying the policy of data.leaks, with notes on the leaks, and the remaining
    leaks.

    Raises:
        HeadstartError: there are leaks and the policy is "error"; or dropping them would leave a
            class without training examples.
    """
    leaks = find_leaks(dataset, duplicates)
    notes = _notes(dataset, duplicates, leaks)
    if leaks.leaks and policy == "error":
        raise DataError(
            f'{notes[0]}. Fix the data, or set data.leaks = "drop" to leave them out of training, '
            'or "report" to report the score with and without them'
        )
    if leaks.leaks and policy == "drop":
        count = sum(map(len, leaks.given_away.values()))
        dataset, leaks = drop_leaks(dataset, leaks)
        empty = [name for name, count in dataset.counts("train").items() if not count]
        if empty:
            raise DataError(
                "data.leaks: without the leaked examples, no training example of "
                f'{empty[0]!r} is left; fix the data, or set data.leaks = "report"'
            )
        notes.append(
            f'data.leaks = "drop": {count} examples were left out of training and validation'
        )
    return dataset.with_notes(*notes), leaks


def _notes(dataset: Dataset, duplicates: Duplicates, leaks: Leaks) -> list[str]:
    notes = []
    for role, rows in leaks.leaked.items():
        pairs = [pair for pair in leaks.leaks if pair.part == role]
        if pairs:
            kinds = ", ".join(
                f"{count} {kind}"
                for kind, count in Counter(pair.kind for pair in pairs).most_common()
            )
            first = pairs[0]
            notes.append(
                f"{role} examples with a duplicate in an earlier part: {len(rows)} of "
                f"{len(dataset.parts()[role])} ({kinds}), such as {first.name} and "
                f"{first.other_name} of {first.other_part}"
            )
    if leaks.conflicts:
        first = leaks.conflicts[0]
        notes.append(
            f"copies with a different label: {len(leaks.conflicts)}, such as {first.name} "
            f"({first.label}) and {first.other_name} ({first.other_label})"
        )
    copies = len(duplicates.content) - (duplicates.content.max() + 1)
    if copies:
        notes.append(f"copies of other examples: {copies}")
    return notes


def table(pairs: Iterable[Pair]) -> str:
    """Pairs as CSV, each once."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(["part", "example", "label", "like", "of_part", "of_label", "how"])
    for pair in dict.fromkeys(pairs):
        first, second = (pair.part, pair.name, pair.label), (pair.other_name, pair.other_part)
        rows.writerow([*first, *second, pair.other_label, pair.kind])
    return written.getvalue()


class _Rows:
    """The concatenated parts, with the duplicates among their rows."""

    def __init__(self, dataset: Dataset, duplicates: Duplicates) -> None:
        parts = dataset.parts()
        self._roles, self._labels, self._duplicates = list(parts), dataset.labels, duplicates
        self._all = concatenate(parts.values())
        sizes = [len(part) for part in parts.values()]
        self._begins = np.cumsum([0, *sizes])
        self._part = np.repeat(np.arange(len(sizes)), sizes)
        self._groups = group_numbers(self._all) if self._all.keys else None

    def matches(self, earlier: bool) -> tuple[np.ndarray, np.ndarray]:
        """For each row a matching row in an earlier (or else a later) part, and the kind of match,
        both -1 if there is none. Copies are preferred to near duplicates, and those to examples of
        the same group."""
        part, content = self._part * (1 if earlier else -1), self._duplicates.content
        match, match_kind = np.full(len(part), -1), np.full(len(part), -1)

        def offer(rows: np.ndarray, kind: np.ndarray | int) -> None:
            new = (match < 0) & (part[rows] < part)
            match[new], match_kind[new] = rows[new], np.broadcast_to(kind, len(part))[new]

        first = _first_rows(content, part)
        offer(first[content], COPY)
        pairs = self._duplicates.pairs
        source, target = np.concatenate([pairs, pairs[:, ::-1]]).T
        order = np.argsort(part[first[target]], kind="stable")
        paired, position = np.unique(source[order], return_index=True)
        nearest, kind = first.copy(), np.zeros(len(first), np.uint8)
        nearest[paired] = first[target[order[position]]]
        kind[paired] = np.tile(self._duplicates.kinds, 2)[order[position]]
        offer(nearest[content], kind[content])
        if self._groups is not None:
            offer(_first_rows(self._groups, part)[self._groups], GROUP)
        return match, match_kind

    def copies(self, conflicts_only: bool) -> tuple[Pair, ...]:
        """Each example that is a copy of an earlier one; with `conflicts_only`, if their labels
        differ."""
        content = self._duplicates.content
        first = _first_rows(content, np.arange(len(content)))[content]
        chosen = (
            self._all.labels != self._all.labels[first]
            if conflicts_only
            else first != np.arange(len(first))
        )
        return tuple(
            self.pair(row, int(first[row]), COPY) for row in np.flatnonzero(chosen).tolist()
        )

    def pair(self, row: int, other: int, kind: int) -> Pair:
        part, other_part = (self._roles[self._part[r]] for r in (row, other))
        label, other_label = (self._labels[self._all.labels[r]] for r in (row, other))
        return Pair(
            part,
            self._all.names[row],
            label,
            other_part,
            self._all.names[other],
            other_label,
            KIND_NAMES[kind],
        )

    def by_part(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows as positions within their parts."""
        ends = zip(self._roles, self._begins, self._begins[1:], strict=False)
        return {name: rows[(rows >= begin) & (rows < end)] - begin for name, begin, end in ends}


def _first_rows(ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each id its row with the lowest `order`, shape (ids,)."""
    first = np.empty(ids.max() + 1, np.int64)
    rows = np.argsort(order, kind="stable")[::-1]
    first[ids[rows]] = rows
    return first

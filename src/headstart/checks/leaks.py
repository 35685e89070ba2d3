"""Examples of a held-out part that training has seen as well: copies, near copies, and others of
the same group."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from headstart.checks.duplicates import COPY, GROUP, HOW, Duplicates
from headstart.data.dataset import Dataset, joined
from headstart.data.split_file import UNUSED
from headstart.data.splits import group_numbers
from headstart.errors import HeadstartError


@dataclass(frozen=True)
class Pair:
    """Two examples that are alike: part, name and label of each, and how they are alike."""

    part: str
    name: str
    label: str
    other_part: str
    other_name: str
    other_label: str
    how: str


@dataclass(frozen=True)
class Leaks:
    """What the parts of a data set share.

    `leaks` has an entry for each example of a held-out part that has its like in an earlier one
    (the order is train, validation, test), `conflicts` one for each copy whose label differs.
    `leaked` are the rows of each part that have their like in an earlier part, `given_away` those
    that have it in a later one.
    """

    leaks: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]
    leaked: dict[str, np.ndarray]
    given_away: dict[str, np.ndarray]


def find_leaks(dataset: Dataset, like: Duplicates) -> Leaks:
    """What `like`, of the parts one after the other, says about them."""
    rows = _Rows(dataset, like)
    partner, how = rows.in_another_part(1)
    leaked = np.flatnonzero(partner >= 0)
    leaks = tuple(rows.pair(row, int(partner[row]), int(how[row])) for row in leaked.tolist())
    given_away = np.flatnonzero(rows.in_another_part(-1)[0] >= 0)
    return Leaks(leaks, rows.copies(labelled=True), rows.by_part(leaked), rows.by_part(given_away))


def copies(dataset: Dataset, like: Duplicates) -> tuple[Pair, ...]:
    """Each example that has the content of an earlier one, in its own part or another."""
    return _Rows(dataset, like).copies(labelled=False)


def without(dataset: Dataset, leaks: Leaks) -> tuple[Dataset, Leaks]:
    """The data less the examples of training and validation that a later part has as well, and what
    was found, where those are now `unused` and nothing is leaked any more."""
    rows = leaks.given_away
    dropped = [part.take(rows[role]) for role, part in dataset.parts().items()]
    kept = {
        role: part.take(np.setdiff1d(np.arange(len(part)), rows[role]))
        for role, part in dataset.parts().items()
    }
    unused = joined([*([dataset.unused] if dataset.unused else []), *dropped])
    gone = {(role, name) for role, part in zip(kept, dropped, strict=True) for name in part.names}

    def mark(pair: Pair) -> Pair:
        part = UNUSED if (pair.part, pair.name) in gone else pair.part
        return replace(
            pair,
            part=part,
            other_part=UNUSED if (pair.other_part, pair.other_name) in gone else pair.other_part,
        )

    less = replace(
        dataset,
        train=kept["train"],
        validation=kept.get("validation") or None,
        unused=unused or None,
    )
    return less, Leaks(
        leaks=tuple(map(mark, leaks.leaks)),
        conflicts=tuple(map(mark, leaks.conflicts)),
        leaked={role: found[:0] for role, found in leaks.leaked.items()},
        given_away={role: found[:0] for role, found in leaks.given_away.items()},
    )


def apply_leak_policy(dataset: Dataset, like: Duplicates, policy: str) -> tuple[Dataset, Leaks]:
    """The data as data.leaks wants it, with sentences on what was found, and what leaks remain.

    Raises:
        HeadstartError: there are leaks, and the policy is "error"; or without them a class would
            have no training example.
    """
    found = find_leaks(dataset, like)
    notes = _notes(dataset, like, found)
    if found.leaks and policy == "error":
        raise HeadstartError(
            f'{notes[0]}. Mend the data, or set data.leaks = "drop" to leave them out of '
            'training, or "report" to have '
            "the score with and without them"
        )
    if found.leaks and policy == "drop":
        count = sum(map(len, found.given_away.values()))
        dataset, found = without(dataset, found)
        empty = [name for name, count in dataset.counts("train").items() if not count]
        if empty:
            raise HeadstartError(
                "data.leaks: without the examples that held-out parts have as well, no training "
                f"example of {empty[0]!r} "
                'is left; mend the data, or set data.leaks = "report"'
            )
        notes.append(
            f'data.leaks = "drop": left out of training and validation for that are {count} '
            "examples"
        )
    return dataset.with_notes(*notes), found


def _notes(dataset: Dataset, like: Duplicates, found: Leaks) -> list[str]:
    notes = []
    for role, rows in found.leaked.items():
        own = [pair for pair in found.leaks if pair.part == role]
        if own:
            kinds = ", ".join(
                f"{count} {how}" for how, count in Counter(pair.how for pair in own).most_common()
            )
            first = own[0]
            notes.append(
                f"{role} examples with a duplicate in an earlier part: {len(rows)} of "
                f"{len(dataset.parts()[role])} ({kinds}), such as {first.name} and "
                f"{first.other_name} of {first.other_part}"
            )
    if found.conflicts:
        first = found.conflicts[0]
        notes.append(
            f"copies under another label: {len(found.conflicts)}, such as {first.name} "
            f"({first.label}) and {first.other_name} ({first.other_label})"
        )
    copies = len(like.content) - (like.content.max() + 1)
    if copies:
        notes.append(f"copies of other examples: {copies}")
    return notes


def table(pairs: Iterable[Pair]) -> str:
    """Pairs as CSV, for people and spreadsheets, each once."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(["part", "example", "label", "like", "of_part", "of_label", "how"])
    for pair in dict.fromkeys(pairs):
        rows.writerow(
            [
                pair.part,
                pair.name,
                pair.label,
                pair.other_name,
                pair.other_part,
                pair.other_label,
                pair.how,
            ]
        )
    return written.getvalue()


class _Rows:
    """All parts as one, with what is like what by row; `role` is the number of each row's part."""

    def __init__(self, dataset: Dataset, like: Duplicates) -> None:
        parts = dataset.parts()
        self._roles, self._labels, self._like = list(parts), dataset.labels, like
        self._all = joined(parts.values())
        sizes = [len(part) for part in parts.values()]
        self._begins = np.cumsum([0, *sizes])
        self._part = np.repeat(np.arange(len(sizes)), sizes)
        self._groups = group_numbers(self._all) if self._all.keys else None

    def in_another_part(self, way: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row one that it is like in an earlier part (`way` 1) or a later one (-1), and
        how: copies come first, then near copies, then others of its group. -1 where there is
        none."""
        part, content = self._part * way, self._like.content
        partner, how = np.full(len(part), -1), np.full(len(part), -1)

        def offer(rows: np.ndarray, kind: np.ndarray | int) -> None:
            new = (partner < 0) & (part[rows] < part)
            partner[new], how[new] = rows[new], np.broadcast_to(kind, len(part))[new]

        first = _first(content, part)
        offer(first[content], COPY)
        own, other = np.concatenate([self._like.pairs, self._like.pairs[:, ::-1]]).T
        order = np.argsort(part[first[other]], kind="stable")
        met, place = np.unique(own[order], return_index=True)
        nearest, kind = first.copy(), np.zeros(len(first), np.uint8)
        nearest[met] = first[other[order[place]]]
        kind[met] = np.tile(self._like.how, 2)[order[place]]
        offer(nearest[content], kind[content])
        if self._groups is not None:
            offer(_first(self._groups, part)[self._groups], GROUP)
        return partner, how

    def copies(self, labelled: bool) -> tuple[Pair, ...]:
        """Each example that has the content of an earlier one; with `labelled`, those whose labels
        differ."""
        content = self._like.content
        first = _first(content, np.arange(len(content)))[content]
        later = (
            self._all.labels != self._all.labels[first]
            if labelled
            else first != np.arange(len(first))
        )
        return tuple(
            self.pair(row, int(first[row]), COPY) for row in np.flatnonzero(later).tolist()
        )

    def pair(self, row: int, other: int, how: int) -> Pair:
        part, other_part = (self._roles[self._part[r]] for r in (row, other))
        label, other_label = (self._labels[self._all.labels[r]] for r in (row, other))
        return Pair(
            part,
            self._all.names[row],
            label,
            other_part,
            self._all.names[other],
            other_label,
            HOW[how],
        )

    def by_part(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows counted from the beginning of their parts."""
        ends = zip(self._roles, self._begins, self._begins[1:], strict=False)
        return {name: rows[(rows >= begin) & (rows < end)] - begin for name, begin, end in ends}


def _first(numbers: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each number the row of it that comes first in this order, shape (numbers,)."""
    found = np.empty(numbers.max() + 1, np.int64)
    rows = np.argsort(order, kind="stable")[::-1]
    found[numbers[rows]] = rows
    return found

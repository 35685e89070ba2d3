"""The split of a run as a Parquet file: which example was in which part, to split again the same
way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.dataset import Dataset, Examples, concatenate
from headstart.errors import DataError, HeadstartError, first_line
from headstart.recipe import Recipe

UNUSED = "unused"  # part of the examples left out by data.limit or data.leaks
PARTS = ("train", UNUSED, "validation", "test")  # a copy of a later part's example goes there
SCHEMA = pa.schema(
    {"example": pa.string(), "sha256": pa.binary(32), "label": pa.string(), "part": pa.string()}
)


class SavedExample(NamedTuple):
    """An example as a split file names it."""

    digest: bytes
    label: str
    name: str
    part: str


class CurrentExample(NamedTuple):
    """An example as the data has it now, at `row` of all examples."""

    digest: bytes
    label: str
    name: str
    row: int


class DataChangedError(HeadstartError):
    """The data is not what it was when its split was written; `difference` says how it differs."""

    def __init__(self, path: Path, difference: str) -> None:
        self.difference = difference
        super().__init__(
            f"data.split.file: this is not the data that {path} was written for: {difference}. "
            'Restore the data; or set data.split.new = "train" to keep the parts of the examples '
            "that are still there and train on the new ones; or split anew without data.split.file"
        )


@dataclass(frozen=True)
class Changes:
    """How data differs from that of an earlier run: in words ("" if it does not), names of examples
    of its test part that would now be learned from (`leaked`), and how many the part had
    (`tested`)."""

    difference: str
    leaked: tuple[str, ...]
    tested: int


def write_split(dataset: Dataset, path: Path) -> None:
    """Write which example is in which part, for data.split.file."""
    with pq.ParquetWriter(path, SCHEMA) as file:
        for part, examples in dataset.everything().items():
            labels = [dataset.labels[label] for label in examples.labels]
            parts = [part] * len(examples)
            columns = map(list, (examples.names, examples.digests, labels, parts))
            file.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), SCHEMA))


def read_split(path: Path) -> list[SavedExample]:
    """The examples that a split file names.

    Raises:
        HeadstartError: the file is not a split file.
    """
    try:
        table = pq.read_table(path)
        if not table.schema.equals(SCHEMA) or any(column.null_count for column in table.columns):
            raise ValueError(
                f"it has {', '.join(f'{field.name} ({field.type})' for field in table.schema)}"
            )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"data.split.file: {path} is not the split of a run ({first_line(error)}); expected "
            "its split.parquet"
        ) from None
    if unknown := set(table["part"].to_pylist()) - set(PARTS):
        raise DataError(
            f"data.split.file: {path} has the part {min(unknown)!r}; expected train, validation, "
            f"test or {UNUSED}"
        )
    columns = (table[name].to_pylist() for name in ("sha256", "label", "example", "part"))
    return [SavedExample(*values) for values in zip(*columns, strict=True)]


def sorted_by_content(examples: Examples, labels: tuple[str, ...]) -> list[CurrentExample]:
    """Examples sorted by content, label and name; `labels` are the names of the classes."""
    columns = (examples.digests, examples.labels.tolist(), examples.names)
    return sorted(
        CurrentExample(digest, labels[label], name, row)
        for row, (digest, label, name) in enumerate(zip(*columns, strict=True))
    )


def changes_since(dataset: Dataset, path: Path) -> Changes:
    """What has changed in the data since a split file was written."""
    saved = sorted(read_split(path))
    current = sorted_by_content(concatenate(dataset.everything().values()), dataset.labels)
    tested = {example.digest for example in saved if example.part == "test"}
    learned = {example.digest for example in saved if example.part in ("train", "validation")}
    leaked = [
        name
        for part in dataset.for_learning().values()
        for digest, name in zip(part.digests, part.names, strict=True)
        if digest in tested - learned
    ]
    return Changes(_difference(saved, current), tuple(leaked), len(tested))


def split_by_file(parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe) -> Dataset:
    """Split as data.split.file says; examples are matched by content and label, so files may have
    moved.

    Raises:
        HeadstartError: there is no such file, it has no training or test part, or the data has
            changed and the recipe does not allow that.
    """
    path = Path(str(recipe.data.split.file))
    if not path.is_file():
        raise DataError(
            f"data.split.file: {path}: no such file; expected the split.parquet of a run"
        )
    examples = concatenate(parts.values())
    current = sorted_by_content(examples, labels)
    saved = sorted(read_split(path))
    notes = [f"the parts are those of {path}"]
    if [example[:2] for example in current] == [example[:2] for example in saved]:
        roles = {now.row: then.part for now, then in zip(current, saved, strict=True)}
    elif recipe.data.split.new == "refuse":
        raise DataChangedError(path, _difference(saved, current))
    else:
        roles = _extended_roles(parts, current, saved, recipe.data.by)
        notes.append(
            f"the data has changed since: {_difference(saved, current)}. Examples named in {path} "
            "keep their part, even under another label; new examples are for training, unless the "
            "data or their group says otherwise"
        )
    part_of = np.array([roles[row] for row in range(len(examples))])
    for role, name in (("train", "training"), ("test", "test")):
        if role not in part_of:
            raise DataError(f"data.split.file: {path} names no {name} part")
    split = {role: examples.take(np.flatnonzero(part_of == role)) for role in set(roles.values())}
    return Dataset(
        labels, split["train"], split.get("validation"), split["test"], tuple(notes),
        unused=split.get(UNUSED),
    )  # fmt: skip


def _extended_roles(
    parts: dict[str, Examples],
    current: Sequence[CurrentExample],
    saved: Sequence[SavedExample],
    by: str,
) -> dict[int, str]:
    """The role of each row where the data has changed; HeadstartError for a split by time.

    A known example keeps its role. A copy of one, or a member of its group, gets the last role (in
    the order of PARTS) of its copies or group. Any other keeps the role in which the data has it.
    """
    if by == "time":
        raise DataError(
            'data.split.new: "train" would train on examples later than the test, since the split '
            "is by time; split anew without data.split.file"
        )
    unmatched: dict[tuple[bytes, str], list[str]] = {}
    by_content: dict[bytes, str] = {}
    for digest, label, _, part in saved:
        unmatched.setdefault((digest, label), []).append(part)
        by_content[digest] = _later_part(part, by_content.get(digest, ""))
    roles = {}
    for digest, label, _, row in current:
        same = unmatched.get((digest, label))
        roles[row] = same.pop(0) if same else by_content.get(digest, "")
    as_read = [role for role, part in parts.items() for _ in range(len(part))]
    keys = concatenate(parts.values()).keys if by == "group" else None
    if not keys:
        return {row: role or as_read[row] for row, role in roles.items()}
    by_group: dict[str, str] = {}
    for row, role in roles.items():
        if role:
            by_group[keys[row]] = _later_part(role, by_group.get(keys[row], ""))
    return {row: role or by_group.get(keys[row], as_read[row]) for row, role in roles.items()}


def _later_part(part: str, other: str) -> str:
    return max(part, other or part, key=PARTS.index)


def _difference(saved: Sequence[SavedExample], current: Sequence[CurrentExample]) -> str:
    """How saved and current examples differ, in words."""
    before, after = (Counter(e[:2] for e in examples) for examples in (saved, current))
    phrases = []
    for change, examples, difference in (
        ("gone", saved, before - after),
        ("new", current, after - before),
    ):
        for example in [example for example in examples if example[:2] in difference][:1]:
            phrases.append(
                f"{difference.total()} of {len(examples)} {change} "
                f"(such as {example.name}, {example.label})"
            )
    return ", ".join(phrases)

"""Which example plays which role: held-out parts set aside where the data brings none, or as an
earlier run had them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.dataset import Dataset, Examples, joined
from headstart.data.splits import WAYS, class_folds, group_folds, moments, subset
from headstart.errors import HeadstartError, first_line
from headstart.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

VALIDATION_SHARE, TEST_SHARE = 0.15, 0.2
UNUSED = "unused"  # in the file of a split: left out by data.limit or data.leaks
HELD_OUT = (
    "train",
    UNUSED,
    "validation",
    "test",
)  # from the part that is learned from to the one that is looked at once


def assign_roles(parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe) -> Dataset:
    """Set the test aside from the training part, take what data.limit leaves, and set the
    validation aside, each where wanted.

    A share of 0 means no validation part.

    Raises:
        HeadstartError: there are too few examples, groups or times to give some to each part.
    """
    data, seed = recipe.data, recipe.seed
    if data.split.file is not None:
        return _as_before(parts, labels, recipe)
    notes = []
    given = "test" in parts
    if given and (isinstance(data.test, float) or data.split.folds or data.split.test_from):
        asked = f"data.test: {data.test}" if isinstance(data.test, float) else "data.split"
        raise HeadstartError(
            f"{asked} asks for a share of the training part, but the data brings a test part of "
            f"{len(parts['test'])} examples; remove it, or name the training part alone with "
            "data.train"
        )
    train, unused = parts["train"], None
    if not given:
        train, parts["test"] = _apart(train, _test_of(train, recipe), "data.test")
    there = len(train)
    if data.limit is not None and data.limit < there:
        chosen = np.isin(np.arange(there), subset(train, data.limit, seed))
        unused, train = _apart(train, chosen, "data.limit")
        notes.append(
            f"data.limit: {len(train)} of {there} training examples, chosen at random by class"
        )
    share = None if isinstance(data.validation, str) else data.validation
    none = share == 0 or recipe.train.select_on == "test"
    if "validation" in parts and (share is not None or none):
        why = f"data.validation is {share:g}" if share is not None else 'train.select_on is "test"'
        notes.append(
            f"the given validation part, {len(parts.pop('validation'))} examples, is not used, "
            f"since {why}"
        )
    if "validation" not in parts and not none:
        carved = WAYS[data.by](train, VALIDATION_SHARE if share is None else share, seed + 1)
        train, parts["validation"] = _apart(train, carved, "data.validation")
    return Dataset(labels, train, parts.get("validation"), parts["test"], unused=unused).with_notes(
        *notes
    )


def _test_of(train: Examples, recipe: Recipe) -> np.ndarray:
    """Which examples are the test, as a mask."""
    split, seed = recipe.data.split, recipe.seed
    if split.test_from is not None:
        *times, first = moments(train, split.test_from)
        later = np.array(times) >= first
        if later.all() or not later.any():
            raise HeadstartError(
                f"data.split.test_from: all {len(train)} examples are from "
                f"{'then on' if later.all() else 'before then'}; found {split.test_from}, "
                "expected a time amid theirs"
            )
        return later
    if split.folds is None:
        share = recipe.data.test if isinstance(recipe.data.test, float) else TEST_SHARE
        return WAYS[recipe.data.by](train, share, seed)
    if recipe.data.by == "time":
        raise HeadstartError(
            "data.split.folds: folds in turn would test on what came before the training "
            "examples; remove it, or set by = "
            '"class"'
        )
    return (group_folds if recipe.data.by == "group" else class_folds)(
        train, split.folds, seed
    ) == split.fold


def _apart(train: Examples, chosen: np.ndarray, key: str) -> tuple[Examples, Examples]:
    """(what stays, what is set aside)."""
    if chosen.all() or not chosen.any():
        raise HeadstartError(
            f"{key}: "
            f"{'nothing would stay for training' if chosen.all() else 'nothing can be set aside'} "
            f"of {len(train)} examples (a class of one example keeps it); give more examples or "
            "other shares (data.test, data.validation)"
        )
    return train.take(np.flatnonzero(~chosen)), train.take(np.flatnonzero(chosen))


def write_split(dataset: Dataset, path: Path) -> None:
    """Which example is in which part, for data.split.file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(path, schema) as file:
        for part, examples in dataset.everything().items():
            labels = [dataset.labels[label] for label in examples.labels]
            columns = (examples.names, examples.digests, labels, [part] * len(examples))
            arrays = [
                pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)
            ]
            file.write_table(pa.table(arrays, schema=schema))


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {"example": pa.string(), "sha256": pa.binary(32), "label": pa.string(), "part": pa.string()}
    )


class DataChangedError(HeadstartError):
    """Data is not what it was when its split was written; `how` says what differs."""

    def __init__(self, path: Path, how: str) -> None:
        self.how = how
        super().__init__(
            f"data.split.file: this is not the data that {path} was written for: {how}. Bring "
            "the data back; or set "
            'data.split.new = "train" to keep the parts of what is still there and train on what '
            "is new; or split anew without "
            "data.split.file"
        )


def _as_before(parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe) -> Dataset:
    """The parts that a file of an earlier run names; examples are told by contents and labels, so
    files may have moved."""
    split = recipe.data.split
    path = Path(str(split.file))
    if not path.is_file():
        raise HeadstartError(
            f"data.split.file: {path}: no such file; expected the split.parquet of a run"
        )
    everything = joined(parts.values())
    now = in_order_of_contents(everything, labels)
    then = sorted(written_split(path))
    notes = [f"the parts are those of {path}"]
    if [example[:2] for example in now] == [example[:2] for example in then]:
        roles = {row: part for (*_, row), (*_, part) in zip(now, then, strict=True)}
    elif split.new == "refuse":
        raise DataChangedError(path, _difference(then, now))
    else:
        roles = _kept_roles(parts, now, then, recipe)
        notes.append(
            f"the data has changed since: {_difference(then, now)}. What {path} names has kept "
            "its part, also under another label; what is new is for training, unless the data or "
            "its group says otherwise"
        )
    rows: dict[str, list[int]] = {}
    for row, part in sorted(roles.items()):
        rows.setdefault(part, []).append(row)
    found = {part: everything.take(some) for part, some in rows.items()}
    if not {"train", "test"} <= set(found):
        raise HeadstartError(
            f"data.split.file: {path} names no {'test' if 'train' in found else 'training'} part"
        )
    made = Dataset(
        labels, found["train"], found.get("validation"), found["test"], unused=found.get(UNUSED)
    )
    return made.with_notes(*notes)


def _kept_roles(
    parts: dict[str, Examples],
    now: Sequence[tuple[bytes, str, str, int]],
    then: Sequence[tuple[bytes, str, str, str]],
    recipe: Recipe,
) -> dict[int, str]:
    """The part of each row where the data has grown: of what is known its old one, of a copy of
    that or a member of its group the most held-out one of theirs, of other new examples the one
    that the data brings them in.

    Raises:
        HeadstartError: the parts go by time, so that new examples would be later than the test.
    """
    if recipe.data.by == "time":
        raise HeadstartError(
            'data.split.new: "train" would train on what is later than the test, for these parts '
            "go by time; split anew "
            "without data.split.file"
        )
    brought = [role for role, part in parts.items() for _ in range(len(part))]
    left: dict[tuple[bytes, str], list[str]] = {}
    content: dict[bytes, str] = {}
    for digest, label, _, part in then:
        left.setdefault((digest, label), []).append(part)
        content[digest] = max(part, content.get(digest, part), key=HELD_OUT.index)
    roles = {}
    for digest, label, _, row in now:
        same = left.get((digest, label))
        roles[row] = same.pop(0) if same else content.get(digest, "")
    keys = joined(parts.values()).keys if recipe.data.by == "group" else None
    groups: dict[str, str] = {}
    for row, role in roles.items():
        if keys and role:
            groups[keys[row]] = max(role, groups.get(keys[row], role), key=HELD_OUT.index)
    return {
        row: role or (groups.get(keys[row], brought[row]) if keys else brought[row])
        for row, role in roles.items()
    }


@dataclass(frozen=True)
class Changes:
    """How data differs from that of an earlier run: in words (empty where it does not), and the
    names of examples that were its test and would now be learned from."""

    words: str
    learned: tuple[str, ...]
    tested: int  # test examples of the earlier run


def changes_since(dataset: Dataset, path: Path) -> Changes:
    """What has changed since a split was written."""
    then = sorted(written_split(path))
    now = in_order_of_contents(joined(dataset.everything().values()), dataset.labels)
    tested = {digest for digest, *_, part in then if part == "test"}
    known = {digest for digest, *_, part in then if part in ("train", "validation")}
    learned = [
        name
        for part in dataset.for_learning().values()
        for digest, name in zip(part.digests, part.names, strict=True)
        if digest in tested - known
    ]
    return Changes(_difference(then, now), tuple(learned), len(tested))


def in_order_of_contents(
    examples: Examples, labels: tuple[str, ...]
) -> list[tuple[bytes, str, str, int]]:
    """(contents, label, name, row) of each example, sorted."""
    rows = zip(
        examples.digests,
        examples.labels.tolist(),
        examples.names,
        range(len(examples)),
        strict=True,
    )
    return sorted((digest, labels[label], name, row) for digest, label, name, row in rows)


def written_split(path: Path) -> list[tuple[bytes, str, str, str]]:
    """(contents, label, name, part) of each example that the file of a split names.

    Raises:
        HeadstartError: it is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        if not table.schema.equals(_schema()) or any(column.null_count for column in table.columns):
            raise ValueError(
                f"it has {', '.join(f'{field.name} ({field.type})' for field in table.schema)}"
            )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise HeadstartError(
            f"data.split.file: {path} is no split of a run ({first_line(error)}); expected its "
            "split.parquet"
        ) from None
    strange = set(table["part"].to_pylist()) - {"train", "validation", "test", UNUSED}
    if strange:
        raise HeadstartError(
            f"data.split.file: {path} has the part {min(strange)!r}; expected train, validation, "
            f"test or {UNUSED}"
        )
    columns = (table[name].to_pylist() for name in ("sha256", "label", "example", "part"))
    return list(zip(*columns, strict=True))


def _difference(then: Sequence[tuple[Any, ...]], now: Sequence[tuple[Any, ...]]) -> str:
    """What differs between two lists of (contents, label, name, …), in words."""
    told = []
    for said, some, others in (("gone", then, now), ("new", now, then)):
        left = Counter(example[:2] for example in some) - Counter(example[:2] for example in others)
        if left:
            first = next(example for example in some if example[:2] in left)
            told.append(f"{left.total()} of {len(some)} {said} (such as {first[2]}, {first[1]})")
    return ", ".join(told)

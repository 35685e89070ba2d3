"""headstart init: a first recipe for a folder or a table, with the reason for each value."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from headstart.checks.leaks import Leaks
from headstart.data.class_folders import FileKind
from headstart.data.column_selection import (
    ITEM_NAMES,
    LABEL_NAMES,
    example_in_header,
    find_split_column,
    is_number,
)
from headstart.data.dataset import Dataset
from headstart.data.file_tree import walk
from headstart.data.image_formats import has_image_extension, is_image
from headstart.data.readers import IMAGE_FILES, TEXT_FILES
from headstart.data.sources import find_sources
from headstart.data.tables import Table, open_table
from headstart.errors import RunError
from headstart.modalities import Defaults, Modality, modalities
from headstart.models.packaged import PACKAGED
from headstart.recipe import Data, Recipe
from headstart.train.prepare import read_checked

STEPS = 600  # of training, about
SAMPLE = 200  # files or rows by which the kind of data is detected
FILES = FileKind(
    "image or text", lambda path: is_image(path) or TEXT_FILES.accepts(path), IMAGE_FILES.example
)


def init(source: str, output: Path | None = None) -> str:
    """A commented recipe for a folder, a table or whatever else data.source may be.

    Args:
        output: a file to write it to as well, which must not exist yet.

    Raises:
        HeadstartError: there is no data, nothing that a task reads, or the file exists.
    """
    if output is not None and output.exists():
        raise RunError(f"--output: {output} exists already; give another name")
    if not source.strip():
        raise RunError(
            "SOURCE: found no name; expected a folder, a table, or whatever else data.source may be"
        )
    guess = _guess(source)
    data = {"source": source, "columns": guess.columns, "header": guess.header}
    model = {"backbone": _backbone(guess.modality.defaults)[0]}
    recipe = {"task": guess.task, "output": "recipe", "data": data, "model": model}
    dataset, leaks = read_checked(Recipe.model_validate(recipe))
    content = "\n".join(_lines(source, guess, dataset, leaks)) + "\n"
    if output is not None:
        with output.open("x", encoding="utf-8") as file:
            file.write(content)
    return content


@dataclass(frozen=True)
class Guess:
    """What data is for: the modality and how it was detected, columns of a table by role, its
    other columns, and whether its first line names them."""

    modality: Modality
    why: str
    columns: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[str] = ()
    header: bool = True

    @property
    def task(self) -> str:
        return f"{self.modality.noun}_classification"


def _guess(source: str) -> Guess:
    path = find_sources(Data(source=source), FILES).paths["train"]
    if path.is_dir():
        files = list(map(Path, walk(path).files[:SAMPLE]))
        images, texts = sum(map(is_image, files)), sum(map(TEXT_FILES.accepts, files))
        if not images and not texts:
            raise RunError(
                f"{path}: found neither images nor .txt files; expected one folder of them a "
                "class, or a table"
            )
        modality = modalities.get("image" if images >= texts else "text")
        return Guess(modality, f"the files are {modality.noun}s")
    table = open_table(path)
    header = example_in_header(table) is None
    if not header:
        table = open_table(path, header=False)
    split, _ = find_split_column(table)
    names = tuple(name for name in table.columns if name != split)
    values = table.sample()
    label, why = _label_column(replace(table, columns=names), values)
    others = [name for name in names if name != label]
    item, kind, how = _item_column(others, values)
    columns = {kind: item, "label": label, **({"split": split} if split else {})}
    rest = [name for name in others if name != item]
    return Guess(modalities.get(kind), f"{why}, {how}", columns, rest, header)


def _label_column(table: Table, values: Mapping[str, Sequence[object]]) -> tuple[str, str]:
    """(column of the labels, how it was detected)."""
    rows = len(values[table.columns[0]]) if values else 0
    if not rows or len(table.columns) < 2:
        raise RunError(
            f"{table.path}: expected rows and at least two columns, one of examples and one of "
            f"labels; it has {table.list_columns()}"
        )
    for name in table.columns:
        if name.lower() in LABEL_NAMES:
            return name, "the labels by the name of their column"
    different = {name: len(set(map(str, values[name]))) for name in table.columns}
    repeating = [name for name in table.columns if 2 <= different[name] <= max(20, rows // 10)]
    if repeating:
        fewest = min(repeating, key=different.__getitem__)
        return fewest, "the labels as the column with the fewest values"
    numeric = [name for name in table.columns if all(is_number(str(v)) for v in values[name])]
    note = (
        f"{numeric[0]!r} holds numbers; to predict a number is not possible yet. "
        if numeric
        else ""
    )
    raise RunError(
        f"{table.path}: no column looks like labels: none of {table.list_columns()} repeats "
        f"itself. {note}Add a column of classes, called label"
    )


def _item_column(
    names: Sequence[str], values: Mapping[str, Sequence[object]]
) -> tuple[str, str, str]:
    """(column of the examples, "image" or "text", how it was detected)."""
    for name in names:
        paths = [Path(str(value)) for value in values[name] if value][:SAMPLE]
        if paths and all(map(has_image_extension, paths)):
            return name, "image", "the images as the column of their paths"
    for name in names:
        if name.lower() in ITEM_NAMES["text"]:
            return name, "text", "the texts by the name of theirs"
    longest = max(names, key=lambda name: float(np.mean([len(str(v)) for v in values[name]])))
    return longest, "text", "the texts as the column with the longest values"


def _backbone(defaults: Defaults) -> tuple[str, str]:
    """(name, reason)."""
    distribution = PACKAGED[defaults.packaged.removeprefix("packaged:")].distribution
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return (
            defaults.hub,
            f"small enough for a machine without a GPU; with one try {defaults.larger}",
        )
    return (
        defaults.packaged,
        f"its weights are installed; with a GPU and a hub try {defaults.larger}",
    )


def _lines(source: str, guess: Guess, dataset: Dataset, leaks: Leaks) -> Iterator[str]:
    """The recipe, line by line."""
    modality, counts = guess.modality, dataset.counts("train")
    backbone, because = _backbone(modality.defaults)
    n, most, least = len(dataset.train), max(counts.values()), min(counts.values())
    size = 16 if n < 1_000 else 32
    epochs = int(np.clip(round(STEPS * size / n), 2, 20))
    steps = -(-n // size)
    yield (
        f"# Made by `headstart init` from {source}: {n:,} training, "
        f"{len(dataset.validation or ()):,} validation and {len(dataset.test):,} test examples"
    )
    yield f"# of {len(counts)} classes ({least:,} to {most:,} training examples a class)."
    yield from (f"# {note}" for note in dataset.notes)
    yield f"\ntask = {_quoted(guess.task)}            # {guess.why}"
    yield f"\n[data]\nsource = {_quoted(source)}"
    if guess.columns:
        named = ", ".join(f"{role} = {_quoted(name)}" for role, name in guess.columns.items())
        yield f"columns = {{ {named} }}"
    if not guess.header:
        yield (
            "header = false            # the first line is an example too; columns are called by "
            "their places"
        )
    if guess.others:
        yield f"# There are also {', '.join(map(_quoted, guess.others[:10]))}. In columns,"
        yield '# `group = "NAME"` keeps all examples of one patient or author in one part,'
        yield '# `time = "NAME"` tests on the latest.'
    if leaks.leaks:
        yield (
            'leaks = "report"            # "drop" leaves out those training examples that a '
            "held-out part has as well"
        )
    yield f"\n[model]\nbackbone = {_quoted(backbone)}            # {because}"
    yield (
        '\n[transfer]\nstrategy = "auto"            # chosen at the start from how much data there '
        "is and how well frozen features tell it apart"
    )
    yield "\n[train]                 # where the strategy trains by gradient"
    yield (
        f"epochs = {epochs}            # {n:,} examples give {steps} steps an epoch, so about "
        f"{epochs * steps:,} steps"
    )
    few = "small, for as many steps as so few examples allow"
    yield f"batch_size = {size}            # {few if size == 16 else 'usual for fine-tuning'}"
    yield (
        f"lr = {modality.defaults.lr}            # usual for fine-tuning with AdamW; `headstart "
        "lr-find` measures it"
    )
    if most >= 4 * least:
        yield 'class_weights = "balanced"            # the classes are uneven'
        yield 'metric = "macro_f1"            # each class counts alike when the epoch is chosen'
    yield (
        f'\n[evaluate]\nbaselines = ["feature_extraction", "{modality.baselines[0]}"]         '
        "# what the rest has to beat"
    )


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)

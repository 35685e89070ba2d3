"""headstart init: a first recipe for data that nobody has described yet, with the reason for each
value."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from headstart.catalogue import read_recipe
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
from headstart.errors import HeadstartError
from headstart.modalities import Defaults, Modality, modalities
from headstart.models.packaged import PACKAGED
from headstart.recipe import Data
from headstart.train.prepare import read_checked

STEPS = 600  # of training, about
FEW = 20  # training examples a class
SEEN = 200  # files or rows to tell the kind of data by
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
        raise HeadstartError(f"--output: {output} exists already; give another name")
    if not source.strip():
        raise HeadstartError(
            "SOURCE: found no name; expected a folder, a table, or whatever else data.source may be"
        )
    found = _found(source)
    draft = _draft(source, found)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.toml"
        path.write_text(draft, encoding="utf-8")
        recipe = read_recipe(path)
    dataset, leaks = read_checked(recipe)
    content = _recipe(source, found, dataset, leaks)
    if output is not None:
        with output.open("x", encoding="utf-8") as file:
            file.write(content)
    return content


class Found(NamedTuple):
    """What data is for: the modality and how it was detected, columns of a table by role, its
    other columns, and whether its first line names them."""

    modality: Modality
    why: str
    columns: Mapping[str, str] = MappingProxyType({})
    others: Sequence[str] = ()
    header: bool = True


def _found(source: str) -> Found:
    place = find_sources(Data(source=source), FILES).paths["train"]
    if place.is_dir():
        files = list(map(Path, walk(place).files[:SEEN]))
        images, texts = sum(map(is_image, files)), sum(map(TEXT_FILES.accepts, files))
        if not images and not texts:
            raise HeadstartError(
                f"{place}: found neither images nor .txt files; expected one folder of them a "
                "class, or a table"
            )
        modality = modalities.get("image" if images >= texts else "text")
        return Found(modality, f"the files are {modality.noun}s")
    table = open_table(place)
    header = example_in_header(table) is None
    if not header:
        table = open_table(place, header=False)
    split, _ = find_split_column(table)
    rest = replace(table, columns=tuple(name for name in table.columns if name != split))
    label, item, kind, why = _columns_of(rest)
    columns = {kind: item, "label": label, **({"split": split} if split else {})}
    others = [name for name in rest.columns if name not in (item, label)]
    return Found(modalities.get(kind), why, columns, others, header)


def _columns_of(table: Table) -> tuple[str, str, str, str]:
    """(column of the labels, column of the examples, "image" or "text", how they were told)."""
    values = table.sample()
    rows = len(values[table.columns[0]]) if values else 0
    if not rows or len(table.columns) < 2:
        raise HeadstartError(
            f"{table.path}: expected rows and at least two columns, one of examples and one of "
            f"labels; it has {table.list_columns()}"
        )
    different = {name: len({str(value) for value in found}) for name, found in values.items()}
    named = [name for name in table.columns if name.lower() in LABEL_NAMES]
    if named:
        label, why = named[0], "the labels by the name of their column"
    else:
        repeating = [name for name in table.columns if 2 <= different[name] <= max(20, rows // 10)]
        if not repeating:
            numbers = [
                name
                for name, some in values.items()
                if all(is_number(str(value)) for value in some)
            ]
            raise HeadstartError(
                f"{table.path}: no column looks like labels: none of {table.list_columns()} "
                "repeats itself. "
                + "".join(
                    f"{name!r} holds numbers; to predict a number is not possible yet. "
                    for name in numbers[:1]
                )
                + "Add a column of classes, called label"
            )
        label, why = (
            min(repeating, key=lambda name: different[name]),
            "the labels as the column with the fewest values",
        )
    others = [name for name in table.columns if name != label]
    for name in others:
        given = [str(value) for value in values[name] if value]
        if given and all(has_image_extension(Path(value)) for value in given[:SEEN]):
            return label, name, "image", f"{why}, the images as the column of their paths"
    known = [name for name in others if name.lower() in ITEM_NAMES["text"]]
    if known:
        return label, known[0], "text", f"{why}, the texts by the name of theirs"
    length = {name: float(np.mean([len(str(value)) for value in values[name]])) for name in others}
    longest = max(others, key=lambda name: length[name])
    return label, longest, "text", f"{why}, the texts as the column with the longest values"


def _backbone(defaults: Defaults) -> tuple[str, str]:
    """(name, reason)."""
    if _is_installed(defaults.packaged.removeprefix("packaged:")):
        return (
            defaults.packaged,
            f"its weights are installed; with a GPU and a hub try {defaults.larger}",
        )
    return defaults.hub, f"small enough for a machine without a GPU; with one try {defaults.larger}"


def _task(found: Found) -> str:
    return f"{found.modality.noun}_classification"


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(PACKAGED[name].distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _draft(source: str, found: Found) -> str:
    named = [f"columns.{role} = {_quoted(name)}" for role, name in found.columns.items()]
    named += [] if found.header else ["header = false"]
    model = ["[model]", f"backbone = {_quoted(_backbone(found.modality.defaults)[0])}"]
    return "\n".join(
        [f"task = {_quoted(_task(found))}", "[data]", f"source = {_quoted(source)}", *named, *model]
    )


def _recipe(source: str, found: Found, dataset: Dataset, leaks: Leaks) -> str:
    modality, why, columns, others, header = found
    backbone, because = _backbone(modality.defaults)
    counts = dataset.counts("train")
    n, most, least = len(dataset.train), max(counts.values()), min(counts.values())
    size = 16 if n < 1_000 else 32
    epochs = int(np.clip(round(STEPS * size / n), 2, 20))
    lines = [
        f"# Made by `headstart init` from {source}: {n:,} training, "
        f"{len(dataset.validation or ()):,} validation and {len(dataset.test):,} test examples",
        f"# of {len(counts)} classes ({least:,} to {most:,} training examples a class).",
        *(f"# {note}" for note in dataset.notes),
        "",
        f"task = {_quoted(_task(found))}            # {why}",
        "",
        "[data]",
        f"source = {_quoted(source)}",
    ]
    if columns:
        named = ", ".join(f"{role} = {_quoted(name)}" for role, name in columns.items())
        lines.append(f"columns = {{ {named} }}")
    if not header:
        lines.append(
            "header = false            # the first line is an example too; columns are called by "
            "their places"
        )
    if others:
        lines += [
            f"# There are also {', '.join(map(_quoted, others[:10]))}. In columns, `group = "
            '"NAME"` keeps what is of one',
            '# patient or author in one part, `time = "NAME"` tests on the latest.',
        ]
    if leaks.leaks:
        lines.append(
            'leaks = "report"            # "drop" leaves out those training examples that a '
            "held-out part has as well"
        )
    lines += [
        "",
        "[model]",
        f"backbone = {_quoted(backbone)}            # {because}",
        "",
        "[transfer]",
        'strategy = "auto"            # chosen at the start from how much data there is and how '
        "well frozen features tell "
        "it apart",
        "",
        "[train]                 # where the strategy trains by gradient",
        f"epochs = {epochs}            # {n:,} examples give {-(-n // size)} steps an epoch, so "
        f"about {epochs * -(-n // size):,} steps",
        f"batch_size = {size}            # "
        + (
            "small, for as many steps as so few examples allow"
            if size == 16
            else "usual for fine-tuning"
        ),
        f"lr = {modality.defaults.lr}            # usual for fine-tuning with "
        "AdamW; `headstart lr-find` measures it",
    ]
    if most >= 4 * least:
        lines.append('class_weights = "balanced"            # the classes are uneven')
        lines.append(
            'metric = "macro_f1"            # so the epoch is chosen by what counts each class '
            "alike"
        )
    lines += [
        "",
        "[evaluate]",
        f'baselines = ["feature_extraction", "{modality.baselines[0]}"]         '
        "# what the rest has to beat",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)

"""headstart check: what is wrong with the data, before anything is trained."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstart.catalogue import read_recipe
from headstart.checks.duplicates import FEATURES, KIND_NAMES, Duplicates, cached_duplicates
from headstart.checks.leaks import Leaks, copies, find_leaks, table
from headstart.checks.sanity_checks import find_label_errors
from headstart.checks.similar_pairs import similar_vectors
from headstart.commands.init import init
from headstart.data.dataset import Dataset, concatenate
from headstart.errors import HeadstartError, RunError
from headstart.files import write_text
from headstart.recipe import Recipe
from headstart.report.check_page import CheckPage, write_check_page
from headstart.report.describe import describe_parts
from headstart.runtime.machine import start
from headstart.tasks import task_for
from headstart.train.prepare import prepare_frozen, read_checked

MIN_FEATURE_SIMILARITY = 0.95  # cosine of centred features from which two examples are reported
HEADER = ["part", "example", "label", "suspected", "p(label)", "p(suspected)"]  # of suspects.csv


@dataclass(frozen=True)
class Checked:
    """The result as lines, the folder of the tables, and whether the recipe forbids the leaks."""

    lines: tuple[str, ...]
    folder: Path
    fatal: bool


def check(target: str, overrides: Sequence[str] = (), page: bool = False) -> Checked:
    """Check the data of a recipe, or a folder or table: classes, files, duplicates between the
    parts, doubtful labels.

    Tables go into `<output>.check/`, with `page` also a page of examples. Only a classifier on
    frozen features is trained; labels that it would give otherwise are doubtful.

    Raises:
        HeadstartError: the data cannot be read.
    """
    is_recipe = target.endswith(".toml")
    given = read_recipe(target, overrides) if is_recipe else _proposed(target, overrides)
    recipe = given.with_changes(data={"leaks": "report"})
    modality = task_for(recipe.task, recipe.model.backbone).modality
    dataset, leaks = read_checked(recipe)
    fatal = bool(leaks.leaks) and given.data.leaks == "error"
    duplicates = cached_duplicates(modality.duplicates, concatenate(dataset.parts().values()))
    source = recipe.data.source or str(recipe.data.train)
    lines = [f"data       {source}: {describe_parts(dataset)}", *dataset.notes]
    if leaks.leaks and given.data.leaks == "drop":
        lines.append(
            f'data.leaks = "drop" leaves out {sum(map(len, leaks.given_away.values()))} examples '
            "of a run"
        )
    label_errors: list[list[str]] = []
    frozen = None
    try:
        frozen = prepare_frozen(recipe, start(), (dataset, leaks))
    except HeadstartError as error:
        lines.append(
            "look-alikes by features and doubtful labels need the backbone, which cannot be had: "
            f"{error}"
        )
    if frozen is not None:
        from headstart.train.features import extract_with_bar

        lines += [note for note in frozen.dataset.notes if note not in dataset.notes]
        parts = [extract_with_bar(frozen, role, part) for role, part in dataset.parts().items()]
        features = np.concatenate([part for part in parts if part is not None])
        leaks = _with_features(dataset, duplicates, features)
        similar = sum(pair.kind == KIND_NAMES[FEATURES] for pair in leaks.leaks)
        if similar:
            lines.append(
                "held-out examples that look to the backbone like some of an earlier part, "
                f"beside those: {similar}"
            )
        label_errors = _label_errors(dataset, features, recipe.seed)
        n = sum(map(len, dataset.for_learning().values()))
        lines.append(
            "labels outside the test that a classifier on frozen features, which has not seen "
            f"them, would give otherwise: {len(label_errors)} of {n}, the worst first; "
            f"{100 * len(label_errors) / n:.1f} % is its error rate, so many of them are its own "
            "errors, and the first ones are worth a look"
        )
    folder = _folder(recipe)
    pairs = [*leaks.leaks, *leaks.conflicts, *copies(dataset, duplicates)]
    write_text(folder / "alike.csv", table(pairs))
    write_text(folder / "suspects.csv", _csv([HEADER, *label_errors]))
    lines.append(f"tables     {folder}/alike.csv, {folder}/suspects.csv")
    if page and frozen is not None:
        plain, augmenting = frozen.preprocessor, frozen.augmenting_preprocessor
        content = CheckPage(
            source, tuple(lines), dataset, leaks, label_errors, recipe.seed,
            partial(modality.as_shown, plain), plain.show, augmenting.show,
        )  # fmt: skip
        write_check_page(content, folder / "check.html")
        lines.append(f"page       {folder}/check.html")
    elif page:
        lines.append(
            "page       not written: it shows what the backbone reads, which cannot be had"
        )
    return Checked(tuple(lines), folder, fatal)


def _folder(recipe: Recipe) -> Path:
    folder = Path(recipe.output).with_name(f"{Path(recipe.output).name}.check")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"output: {folder} cannot be made ({error.strerror}); give another place with "
            "output=NAME"
        ) from None
    return folder


def _proposed(source: str, overrides: Sequence[str]) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(init(source), encoding="utf-8")
        name = Path(source.partition(":")[2] or source).stem or "data"
        return read_recipe(path, [f'output="runs/{name}"', *overrides])


def _with_features(dataset: Dataset, duplicates: Duplicates, features: np.ndarray) -> Leaks:
    """Leaks, with those that only the features show.

    Args:
        features: of all parts, one after the other, shape (n, width).
    """
    _, first = np.unique(duplicates.content, return_index=True)
    centred = features[first] - features[first].mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    pairs = similar_vectors(
        (centred / np.maximum(lengths, 1e-9)).astype(np.float32), MIN_FEATURE_SIMILARITY
    )
    known, codes = (
        np.asarray(rows) @ np.array([len(first), 1]) for rows in (duplicates.pairs, pairs)
    )
    new = pairs[~np.isin(codes, known)]
    kinds = np.append(duplicates.kinds, np.full(len(new), FEATURES, np.uint8))
    both = np.concatenate([duplicates.pairs, new])
    return find_leaks(dataset, Duplicates(duplicates.content, both, kinds))


def _label_errors(dataset: Dataset, features: np.ndarray, seed: int) -> list[list[str]]:
    """Training and validation examples with a doubtful label, the worst first; see HEADER."""
    from headstart.train.cross_validation import out_of_fold

    parts, labels = dataset.for_learning(), dataset.labels
    roles = [role for role, part in parts.items() for _ in range(len(part))]
    known = concatenate(parts.values())
    probabilities = out_of_fold(features[: len(known)], known.labels, len(labels), seed)
    rows = []
    for row in find_label_errors(probabilities, known.labels).tolist():
        classes = int(known.labels[row]), int(probabilities[row].argmax())
        names = [labels[number] for number in classes]
        chances = [f"{probabilities[row, number]:.4f}" for number in classes]
        rows.append([roles[row], known.names[row], *names, *chances])
    return rows


def _csv(rows: list[list[str]]) -> str:
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    return content.getvalue()

"""The parts of a data set: a test and a validation part are split off where the data has none."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.split_file import split_by_file
from headstart.data.splits import MASKS, group_folds, stratified_folds, subset, times_of
from headstart.errors import DataError
from headstart.recipe import Recipe

VALIDATION_SHARE, TEST_SHARE = 0.15, 0.2


def train_test_split(
    parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe
) -> Dataset:
    """Split the test off the training part, take the subset of data.limit, split off the
    validation, each where needed.

    A validation share of 0 means no validation part. Examples that data.split.file names get the
    parts that they have there.

    Raises:
        HeadstartError: there are too few examples, groups or times to give some to each part.
    """
    data = recipe.data
    if data.groups is not None:
        parts = {
            role: replace(part, keys=_groups_of(part, data.groups)) for role, part in parts.items()
        }
    if data.split.file is not None:
        return split_by_file(parts, labels, recipe)
    notes = []
    train, unused = parts["train"], None
    if "test" not in parts:
        train, parts["test"] = _split_off(train, _test_mask(train, recipe), "data.test")
    elif isinstance(data.test, float) or data.split.folds or data.split.test_from:
        key = f"data.test: {data.test}" if isinstance(data.test, float) else "data.split"
        raise DataError(
            f"{key} asks for a share of the training part, but the data brings a test part of "
            f"{len(parts['test'])} examples; remove it, or name the training part alone with "
            "data.train"
        )
    total = len(train)
    if data.limit is not None and data.limit < total:
        chosen = np.isin(np.arange(total), subset(train, data.limit, recipe.seed))
        unused, train = _split_off(train, chosen, "data.limit")
        notes.append(
            f"data.limit: {len(train)} of {total} training examples, chosen at random by class"
        )
    share = None if isinstance(data.validation, str) else data.validation
    no_validation = share == 0 or recipe.train.selection == "test"
    if "validation" in parts and (share is not None or no_validation):
        reason = 'train.selection is "test"'
        if share is not None:
            reason = f"data.validation is {share:g}"
        count = len(parts.pop("validation"))
        notes.append(f"the given validation part, {count} examples, is not used, since {reason}")
    if "validation" not in parts and not no_validation:
        share = VALIDATION_SHARE if share is None else share
        mask = MASKS[data.by](train, share, recipe.seed + 1)
        train, parts["validation"] = _split_off(train, mask, "data.validation")
    validation = parts.get("validation")
    return Dataset(labels, train, validation, parts["test"], tuple(notes), unused=unused)


def _groups_of(part: Examples, pattern: str) -> tuple[str, ...]:
    """The group in each example's name: what the pattern's first group matches."""
    matches = [re.search(pattern, name) for name in part.names]
    without = [name for name, match in zip(part.names, matches, strict=True) if match is None]
    if without:
        raise DataError(
            f"data.groups: {pattern!r} finds nothing in {len(without)} of {len(part)} names, "
            f"such as {without[0]}; expected a pattern that finds the group in each"
        )
    return tuple(match[1] or "" for match in matches if match)


def _test_mask(train: Examples, recipe: Recipe) -> np.ndarray:
    """Which examples are the test, shape (n,), bool."""
    data, split, seed = recipe.data, recipe.data.split, recipe.seed
    if split.test_from is not None:
        *times, start = times_of(train, split.test_from)
        later = np.asarray(np.array(times) >= start)
        if later.all() or not later.any():
            raise DataError(
                f"data.split.test_from: all {len(train)} examples are "
                f"{'from that time on' if later.all() else 'before that time'}; found "
                f"{split.test_from}, expected a time within theirs"
            )
        return later
    if split.folds is None:
        share = data.test if isinstance(data.test, float) else TEST_SHARE
        return MASKS[data.by](train, share, seed)
    if data.by == "time":
        raise DataError(
            "data.split.folds: cross-validation would test on examples older than those for "
            'training; remove it, or set by = "class"'
        )
    folds = group_folds if data.by == "group" else stratified_folds
    return np.asarray(folds(train, split.folds, seed) == split.fold)


def _split_off(train: Examples, mask: np.ndarray, key: str) -> tuple[Examples, Examples]:
    """(the examples outside the mask, those in it)."""
    if mask.all() or not mask.any():
        problem = "nothing would stay for training" if mask.all() else "nothing can be set aside"
        raise DataError(
            f"{key}: {problem} of {len(train)} examples (a class of one example keeps it); give "
            "more examples or other shares (data.test, data.validation)"
        )
    return train.take(np.flatnonzero(~mask)), train.take(np.flatnonzero(mask))

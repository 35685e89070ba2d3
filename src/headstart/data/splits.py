"""Ways to choose held-out rows and subsets by class, group or time.

Random choices depend on (seed, contents) alone, so they are the same in every process and for every
order of the rows. Examples with equal content get the same random number, so a cut separates them
only where it must.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Examples
from headstart.errors import DataError

MAX_GROUP_FOLDS = 20  # groups are split in steps of a twentieth


def stratified_mask(examples: Examples, share: float, seed: int) -> np.ndarray:
    """A random share of each class, as a mask of shape (n,): at least one example and at most all
    but one of each class, so that none is taken of a class with one example."""
    ranks, counts = _ranks(examples, seed)
    sizes = np.minimum(np.maximum(np.rint(share * counts), 1), counts - 1)
    return np.asarray(ranks < sizes[examples.labels])


def stratified_folds(examples: Examples, folds: int, seed: int) -> np.ndarray:
    """The fold of each example, shape (n,); folds differ by at most one example of each class."""
    ranks, counts = _ranks(examples, seed)
    # so that small classes do not all start with fold 0
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray((ranks + starts[examples.labels]) % folds)


def group_mask(examples: Examples, share: float, seed: int) -> np.ndarray:
    """About a share of the examples in whole groups, stratified by class as far as groups allow, as
    a mask of shape (n,)."""
    groups = len(set(examples.keys or ()))
    fold = group_folds(examples, min(MAX_GROUP_FOLDS, groups, _largest_class(examples)), seed)
    count = int(fold.max()) + 1
    return fold < min(max(round(share * count), 1), count - 1)


def group_folds(examples: Examples, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each example, shape (n,), groups kept whole (scikit-learn's
    StratifiedGroupKFold).

    Raises:
        HeadstartError: there are fewer groups, or examples of the largest class, than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = group_numbers(examples)
    count = int(groups.max()) + 1
    largest = _largest_class(examples)
    if min(count, largest) < max(folds, 2):
        raise DataError(
            f"data.split: found {count} groups, and {largest} examples of the largest class; "
            f"expected at least {max(folds, 2)} of both to split the groups"
        )
    fold_of = np.zeros(len(examples), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer examples than folds
        for fold, (_, rows) in enumerate(splitter.split(groups, examples.labels, groups)):
            fold_of[rows] = fold
    return fold_of


def group_numbers(examples: Examples) -> np.ndarray:
    """The group of each example as a number, shape (n,), in the order of the groups' names."""
    _, numbers = np.unique(np.array(examples.keys or (), object), return_inverse=True)
    return numbers


def _largest_class(examples: Examples) -> int:
    return int(np.bincount(examples.labels).max())


def time_mask(examples: Examples, share: float, seed: int) -> np.ndarray:
    """The latest share of the examples, as a mask of shape (n,); examples of one time stay
    together.

    Raises:
        HeadstartError: all are of one time.
    """
    times = times_of(examples)
    if times.min() == times.max():
        raise DataError(
            f"data.columns.time: all {len(examples)} examples are of one time "
            f"({(examples.keys or ('',))[0][:40]}), so none are the latest; expected several "
            "times. Name another column, or none"
        )
    return np.asarray(times >= np.sort(times)[-max(round(share * len(times)), 1)])


def times_of(examples: Examples, *more: str) -> NDArray[np.float64]:
    """The times of examples, and `more` times, as numbers, shape (n + len(more),): all keys are
    numbers, or all are dates or dates and times (ISO 8601).

    Raises:
        HeadstartError: some are neither, or both kinds are mixed.
    """
    keys = [*(examples.keys or ()), *more]
    dates, numbers = list(map(_date, keys)), list(map(_number, keys))
    for times in (dates, numbers):
        if None not in times:
            return np.array(times, np.float64)
    neither = (row for row in range(len(keys)) if dates[row] is None and numbers[row] is None)
    row = next(neither, dates.index(None))
    where = f"of {examples.names[row]}" if row < len(examples) else "as data.split.test_from"
    raise DataError(
        f"data.columns.time: found {keys[row][:40]!r} {where}; expected dates such as 2024-05-31 "
        "or 2024-05-31T18:00 throughout, or numbers throughout"
    )


def _date(key: str) -> float | None:
    try:
        date = datetime.fromisoformat(key)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(key: str) -> float | None:
    try:
        return float(key) if math.isfinite(float(key)) else None
    except ValueError:
        return None


def subset(examples: Examples, size: int, seed: int) -> np.ndarray:
    """Rows of a random, stratified subset of `size` examples with at least one of each class, in
    ascending order.

    A smaller subset of the same seed is contained in a larger one, as learning curves need it.
    """
    ranks, counts = _ranks(examples, seed)
    quantile = np.where(ranks == 0, -1.0, (ranks + 0.5) / counts[examples.labels])
    order = np.lexsort((ranks, examples.labels, quantile))
    return np.sort(order[: max(size, int((counts > 0).sum()))])


def _ranks(examples: Examples, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the rank of each example in a random order of its class; the sizes of the classes)."""
    order = np.lexsort((_random_numbers(examples.digests, seed), examples.labels))
    counts = np.bincount(examples.labels)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    ranks = np.empty(len(examples), np.int64)
    ranks[order] = np.arange(len(examples)) - starts[examples.labels[order]]
    return ranks, counts


def _random_numbers(digests: Sequence[bytes], seed: int) -> np.ndarray:
    """A uint64 for each content, shape (n,): the finaliser of SplitMix64 over digest and seed."""
    contents = np.fromiter(digests, "S32", len(digests)).view(np.uint64).reshape(-1, 4)
    random = np.random.default_rng(seed).integers(2**64, dtype=np.uint64)
    mixed = contents[:, 0] ^ contents[:, 1] ^ random
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


MASKS: dict[str, Callable[[Examples, float, int], np.ndarray]] = {
    "class": stratified_mask,
    "group": group_mask,
    "time": time_mask,
}

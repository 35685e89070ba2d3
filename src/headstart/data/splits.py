"""Held-out parts and subsets, from (seed, contents) alone: the same in every process and for every
order of the rows.

Examples with equal content get the same random number, so that a cut goes between two of them only
where it must.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from headstart.data.dataset import Examples
from headstart.errors import HeadstartError

TWENTIETHS = 20  # how finely groups are dealt out


def by_class(examples: Examples, share: float, seed: int) -> np.ndarray:
    """Rows of a share of each class, at random, as a mask of shape (n,).

    A class gives up the nearest whole number of its examples, at least one and at most all but one;
    a class of one example keeps it.
    """
    places, counts = _places(examples, seed)
    carved = np.minimum(np.maximum(np.rint(share * counts), 1), counts - 1)
    return places < carved[examples.labels]


def class_folds(examples: Examples, folds: int, seed: int) -> np.ndarray:
    """The fold of each example, shape (n,): folds differ by at most one example of each class."""
    places, counts = _places(examples, seed)
    # so that small classes do not all begin with fold 0
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return (places + begins[examples.labels]) % folds


def by_group(examples: Examples, share: float, seed: int) -> np.ndarray:
    """Rows of about a share of the examples in whole groups, the classes as evenly as groups allow,
    as a mask."""
    pieces = group_folds(
        examples, min(TWENTIETHS, len(set(examples.keys or ())), _largest(examples)), seed
    )
    count = pieces.max() + 1
    return pieces < min(max(round(share * count), 1), count - 1)


def group_folds(examples: Examples, folds: int, seed: int) -> np.ndarray:
    """The fold of each example, shape (n,), groups kept whole (scikit-learn's
    StratifiedGroupKFold)."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = group_numbers(examples)
    count = int(groups.max()) + 1
    if min(count, _largest(examples)) < max(folds, 2):
        raise HeadstartError(
            f"data.split: found {count} groups, and {_largest(examples)} examples of the largest "
            f"class; expected at least {max(folds, 2)} of both to deal the groups out"
        )
    found = np.zeros(len(examples), np.int64)
    dealt = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer examples than folds
        for fold, (_, rows) in enumerate(dealt.split(groups, examples.labels, groups)):
            found[rows] = fold
    return found


def group_numbers(examples: Examples) -> np.ndarray:
    """A number for the group of each example, shape (n,), in the order of their names."""
    keys = tuple(examples.keys or ())
    number = {name: place for place, name in enumerate(sorted(set(keys)))}
    return np.fromiter((number[key] for key in keys), np.int64, len(keys))


def _largest(examples: Examples) -> int:
    """Examples of the largest class."""
    return int(np.bincount(examples.labels).max())


def by_time(examples: Examples, share: float, seed: int) -> np.ndarray:
    """Rows of the latest share of the examples, as a mask; examples of one time stay together.

    Raises:
        HeadstartError: all are of one time.
    """
    times = times_of(examples)
    if times.min() == times.max():
        raise HeadstartError(
            f"data.columns.time: all {len(examples)} examples are of one time "
            f"({(examples.keys or ('',))[0][:40]}), so none are the latest; expected several "
            "times. Name another column, or none"
        )
    first = np.sort(times)[-max(round(share * len(times)), 1)]
    return times >= first


def times_of(examples: Examples, *more: str) -> np.ndarray:
    """When examples, and `more` times, are from, as numbers that grow with time: all are numbers,
    or all are dates or dates and times (ISO 8601).

    Raises:
        HeadstartError: some are neither.
    """
    keys = [*(examples.keys or ()), *more]
    dates, numbers = list(map(_date, keys)), list(map(_number, keys))
    for found in (dates, numbers):
        if None not in found:
            return np.array(found)
    neither = (row for row in range(len(keys)) if dates[row] is None and numbers[row] is None)
    row = next(neither, dates.index(None))
    where = f"of {examples.names[row]}" if row < len(examples) else "as data.split.test_from"
    raise HeadstartError(
        f"data.columns.time: found {keys[row][:40]!r} {where}; expected dates such as 2024-05-31 "
        "or 2024-05-31T18:00 throughout, or numbers throughout"
    )


def _date(key: str) -> float | None:
    try:
        found = datetime.fromisoformat(key)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(key: str) -> float | None:
    try:
        return float(key) if math.isfinite(float(key)) else None
    except ValueError:
        return None


def subset(examples: Examples, size: int, seed: int) -> np.ndarray:
    """Rows of `size` examples, chosen at random so that each class keeps its share (and at least
    one), in the input's order.

    Subsets of one seed lie in each other, the smaller in the larger, as a learning curve wants
    them.
    """
    places, counts = _places(examples, seed)
    when = np.where(places == 0, -1.0, (places + 0.5) / counts[examples.labels])
    order = np.lexsort((places, examples.labels, when))
    return np.sort(order[: max(size, int((counts > 0).sum()))])


def _places(examples: Examples, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The place of each example in a random order of its class, shape (n,), and the classes'
    sizes."""
    lots = _lots(examples.digests, seed)
    order = np.lexsort((lots, examples.labels))
    counts = np.bincount(examples.labels)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places = np.empty(len(examples), np.int64)
    places[order] = np.arange(len(examples)) - begins[examples.labels[order]]
    return places, counts


def _lots(digests: Sequence[bytes], seed: int) -> np.ndarray:
    """A random number for each content, shape (n,), uint64 (the finaliser of SplitMix64 over digest
    and seed)."""
    contents = np.fromiter(digests, "S32", len(digests)).view(np.uint64).reshape(-1, 4)
    mixed = (
        contents[:, 0]
        ^ contents[:, 1]
        ^ np.random.default_rng(seed).integers(2**64, dtype=np.uint64)
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


MASKS: dict[str, Callable[[Examples, float, int], np.ndarray]] = {
    "class": by_class,
    "group": by_group,
    "time": by_time,
}

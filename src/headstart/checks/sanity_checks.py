"""Notes on oddities of a data set: class balance and names, sizes of images, lengths of texts; and
labels that are probably wrong."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headstart.data.arrow_column import ArrowColumn
from headstart.data.dataset import Dataset, Examples
from headstart.data.pictures import SIDE, pictures
from headstart.data.unicode import quoted, similar_names

MIN_PER_CLASS = 20  # training examples
MAX_IMBALANCE = 10.0  # largest class / smallest class
# of a shift between parts: total variation of the class shares, p-value, expected count per class
MIN_SHIFT, ALPHA, MIN_EXPECTED = 0.05, 0.01, 5
MIN_SIDE, MAX_ASPECT = 32, 4.0  # of images: shorter side in pixels, longer side / shorter side
MIN_BYTES, MAX_RATIO, MAX_BYTES = 2, 50.0, 10_000  # of texts; the ratio is to the median
MAX_NAMES = 5  # in a note
MISSING = {"nan", "none", "null", "n/a", "<na>"}  # what programs write for a missing value


def check_classes(dataset: Dataset) -> list[str]:
    """Notes on the classes."""
    counts = dataset.counts("train")
    notes = []
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] >= MAX_IMBALANCE * max(counts[smallest], 1):
        notes.append(
            f"the classes are imbalanced: {counts[largest]:,} training examples of "
            f"{quoted(largest)}, {counts[smallest]:,} of {quoted(smallest)}. "
            'Look at macro-F1; train.class_weights = "balanced" or train.sampling = "balanced" '
            "may help"
        )
    few = [f"{quoted(name)} ({count})" for name, count in counts.items() if count < MIN_PER_CLASS]
    if few:
        notes.append(f"fewer than {MIN_PER_CLASS} training examples of {_list(few)}")
    for role, part in dataset.parts().items():
        absent = np.setdiff1d(np.arange(len(dataset.labels)), part.labels)
        if role != "train" and len(absent):
            listed = _list([quoted(dataset.labels[i]) for i in absent])
            notes.append(f"the {role} part has no example of {listed}")
    notes += filter(None, (_shift(dataset, role) for role in dataset.parts() if role != "train"))
    for names in similar_names(dataset.labels):
        notes.append(
            f"classes {' and '.join(map(quoted, names))} differ only in case, spaces, hyphens or "
            "invisible characters: one class under two names?"
        )
    missing = [quoted(name) for name in dataset.labels if name.casefold() in MISSING]
    if missing:
        notes.append(f"a class is called {_list(missing)}: are these examples without a label?")
    missing = sorted({key for key in dataset.train.keys or () if key.casefold() in MISSING})
    if missing:
        notes.append(
            f"a group is called {_list(list(map(quoted, missing)))}: are these examples without a "
            "group?"
        )
    return notes


def _shift(dataset: Dataset, role: str) -> str | None:
    """A note if the class shares of a held-out part differ from training by more than chance.

    It is a chi-square test of homogeneity (Pearson 1900); classes with an expected count below five
    are pooled.
    """
    counts = np.array(
        [list(dataset.counts(part).values()) for part in ("train", role)], dtype=float
    )
    shares = counts / counts.sum(1, keepdims=True)
    differences = np.abs(shares[0] - shares[1])
    if differences.sum() / 2 < MIN_SHIFT:
        return None
    from scipy.stats import chi2_contingency
    from scipy.stats.contingency import expected_freq

    tested = expected_freq(counts).min(axis=0) >= MIN_EXPECTED
    pooled = np.column_stack([counts[:, tested], counts[:, ~tested].sum(1)])
    pooled = pooled[:, pooled.any(axis=0)]
    if not tested.any() or chi2_contingency(pooled, correction=False).pvalue >= ALPHA:
        return None
    k = int(np.where(tested, differences, 0.0).argmax())
    return (
        f"the class shares of the {role} part differ from training by more than chance: "
        f"{quoted(dataset.labels[k])} is {100 * shares[1, k]:.1f} % of it and "
        f"{100 * shares[0, k]:.1f} % of training"
    )


def check_images(examples: Examples) -> list[str]:
    """Notes on the sizes and modes of images."""
    images = pictures(examples.items, examples.digests)
    sizes = np.array([(image.width, image.height) for image in images])
    greys = [image.thumbnail[: SIDE * SIDE] for image in images]
    small = np.flatnonzero(sizes.min(axis=1) < MIN_SIDE)
    elongated = np.flatnonzero(sizes.max(axis=1) > MAX_ASPECT * sizes.min(axis=1))
    uniform = np.array([row for row, grey in enumerate(greys) if max(grey) - min(grey) <= 2], int)
    notes = []
    for rows, description in (
        (small, f"with a side of less than {MIN_SIDE} pixels"),
        (elongated, f"with one side more than {MAX_ASPECT:g} times the other"),
        (uniform, "of one colour only"),
    ):
        if len(rows):
            names = _list([examples.names[row] for row in rows[:MAX_NAMES]], len(rows))
            notes.append(f"images {description}: {len(rows)} ({names})")
    modes = Counter(image.mode for image in images)
    if len(modes) > 1:
        listed = ", ".join(f"{count} {mode}" for mode, count in modes.most_common())
        notes.append(f"the images have several modes, all of which are read as RGB: {listed}")
    return notes


def check_texts(examples: Examples) -> list[str]:
    """Notes on the lengths of texts."""
    sizes = (
        examples.items.sizes()
        if isinstance(examples.items, ArrowColumn)
        else np.array([len(text.encode()) for text in examples.items])
    )
    short, median = np.flatnonzero(sizes < MIN_BYTES), float(np.median(sizes))
    long = np.flatnonzero(sizes > max(MAX_RATIO * median, MAX_BYTES))
    notes = []
    if len(short):
        names = _list([examples.names[row] for row in short[:MAX_NAMES]], len(short))
        notes.append(f"texts of one character only: {len(short)} ({names})")
    if len(long):
        names = _list(
            [f"{examples.names[row]} ({sizes[row]:,} bytes)" for row in long[:MAX_NAMES]], len(long)
        )
        notes.append(
            f"texts more than {MAX_RATIO:g} times as long as the median of {median:,.0f} bytes: "
            f"{len(long)} ({names})"
        )
    return notes


def _list(names: list[str], count: int | None = None) -> str:
    more = (count or len(names)) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows where another class is more likely than the label, the largest margin first, shape (m,):
    confident learning in its simplest form (Northcutt et al. 2021).

    Args:
        probabilities: out of fold, shape (n, classes). labels: as given, shape (n,).
    """
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -1.0
    margin = others.max(axis=1) - probabilities[rows, labels]
    order = np.argsort(-margin, kind="stable")
    return np.asarray(order[margin[order] > 0])

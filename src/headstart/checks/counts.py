"""What counting alone tells: classes out of balance, names that look like one, odd sizes, empty and
over-long texts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headstart.data.arrow_column import Column
from headstart.data.dataset import Dataset, Examples
from headstart.data.pictures import SIDE, pictures
from headstart.data.unicode import quoted, similar_names

# examples of a training class; the largest class as a multiple of the smallest
FEW, UNEVEN = 20, 10.0
SHIFT, CHANCE, EXPECTED = (
    0.05,
    0.01,
    5,
)  # share of examples in other classes; p-value; examples that chi-square needs a class
# pixels of the shorter side; the longer side as a multiple of the shorter
TINY, LONG_DRAWN = 32, 4.0
SHORT, HUGE, HUGE_BYTES = 2, 50.0, 10_000
GREYS = SIDE * SIDE  # bytes of a thumbnail that are grey values
SHOWN = 5
MISSING = {"nan", "none", "null", "n/a", "<na>"}  # what programs write where there is no value


def class_notes(dataset: Dataset) -> list[str]:
    """Sentences on the classes."""
    counts = dataset.counts("train")
    notes = []
    most, least = (
        max(counts, key=lambda name: counts[name]),
        min(counts, key=lambda name: counts[name]),
    )
    if counts[most] >= UNEVEN * max(counts[least], 1):
        notes.append(
            f"the classes are uneven: {counts[most]:,} training examples of {quoted(most)}, "
            f"{counts[least]:,} of {quoted(least)}. "
            'Look at macro-F1; train.class_weights = "balanced" or train.sampling = "balanced" '
            "may help"
        )
    few = [f"{quoted(name)} ({count})" for name, count in counts.items() if count < FEW]
    if few:
        notes.append(f"fewer than {FEW} training examples of {_some(few)}")
    for role, part in dataset.parts().items():
        missing = np.setdiff1d(np.arange(len(dataset.labels)), part.labels)
        if role != "train" and len(missing):
            notes.append(
                f"the {role} part has no example of "
                f"{_some([quoted(dataset.labels[i]) for i in missing])}"
            )
    notes += filter(None, (_shift(dataset, role) for role in dataset.parts() if role != "train"))
    for alike in similar_names(dataset.labels):
        notes.append(
            f"classes {' and '.join(map(quoted, alike))} differ in case, spaces, hyphens or "
            "invisible signs only: one class under two names?"
        )
    missing_names = [quoted(name) for name in dataset.labels if name.casefold() in MISSING]
    if missing_names:
        notes.append(
            f"a class is called {_some(missing_names)}: are those examples without a label?"
        )
    unknown = sorted({key for key in dataset.train.keys or () if key.casefold() in MISSING})
    if unknown:
        notes.append(
            f"a group is called {_some(list(map(quoted, unknown)))}: are those examples without "
            "a group?"
        )
    return notes


def _shift(dataset: Dataset, role: str) -> str | None:
    """A sentence on a held-out part whose classes have other shares than in training, by more than
    chance.

    The test is chi-square's of homogeneity (Pearson 1900); classes of which it expects fewer than
    five count as one.
    """
    from scipy.special import chdtrc

    counts = np.array(
        [list(dataset.counts(part).values()) for part in ("train", role)], dtype=float
    )
    shares = counts / counts.sum(1, keepdims=True)
    apart = np.abs(shares[0] - shares[1])
    if apart.sum() / 2 < SHIFT:
        return None
    tested = _expected(counts).min(axis=0) >= EXPECTED
    pooled = np.column_stack([counts[:, tested], counts[:, ~tested].sum(1)])
    pooled = pooled[:, pooled.any(axis=0)]
    squares = ((pooled - _expected(pooled)) ** 2 / _expected(pooled)).sum()
    if not tested.any() or chdtrc(pooled.shape[1] - 1, squares) >= CHANCE:
        return None
    most = int(np.where(tested, apart, 0.0).argmax())
    return (
        f"the classes have other shares in the {role} part than in training, by more than "
        f"chance: {quoted(dataset.labels[most])} is {100 * shares[1, most]:.1f} % of it and "
        f"{100 * shares[0, most]:.1f} % of training"
    )


def _expected(counts: np.ndarray) -> np.ndarray:
    """What each part would have of each class if the classes had the same shares in all, shape
    (parts, classes)."""
    return np.asarray(counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum())


def image_notes(examples: Examples) -> list[str]:
    """Sentences on the sizes of images."""
    seen = pictures(examples.items, examples.digests)
    sizes = np.array([(picture.width, picture.height) for picture in seen])
    tiny = np.flatnonzero(sizes.min(axis=1) < TINY)
    drawn = np.flatnonzero(sizes.max(axis=1) > LONG_DRAWN * sizes.min(axis=1))
    greys = [picture.thumbnail[:GREYS] for picture in seen]
    blank = [row for row, grey in enumerate(greys) if max(grey) - min(grey) <= 2]
    notes = []
    for rows, said in (
        (tiny, f"with a side of less than {TINY} pixels"),
        (drawn, f"more than {LONG_DRAWN:g} times as long as wide"),
        (blank, "of one colour only"),
    ):
        if len(rows):
            named = _some([examples.names[row] for row in rows[:SHOWN]], len(rows))
            notes.append(f"images {said}: {len(rows)} ({named})")
    modes = Counter(picture.mode for picture in seen)
    if len(modes) > 1:
        told = ", ".join(f"{count} {mode}" for mode, count in modes.most_common())
        notes.append(f"the images are of several kinds, all of which are read as RGB: {told}")
    return notes


def text_notes(examples: Examples) -> list[str]:
    """Sentences on the lengths of texts."""
    sizes = (
        examples.items.sizes()
        if isinstance(examples.items, Column)
        else np.array([len(t.encode()) for t in examples.items])
    )
    short, middle = np.flatnonzero(sizes < SHORT), float(np.median(sizes))
    huge = np.flatnonzero(sizes > max(HUGE * middle, HUGE_BYTES))
    notes = []
    if len(short):
        named = _some([examples.names[row] for row in short[:SHOWN]], len(short))
        notes.append(f"texts of one character only: {len(short)} ({named})")
    if len(huge):
        named = _some(
            [f"{examples.names[row]} ({sizes[row]:,} bytes)" for row in huge[:SHOWN]], len(huge)
        )
        notes.append(
            f"texts more than {HUGE:g} times as long as the middle one of {middle:,.0f} bytes: "
            f"{len(huge)} ({named})"
        )
    return notes


def _some(names: list[str], count: int | None = None) -> str:
    more = (count or len(names)) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

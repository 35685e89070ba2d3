"""What looking for copies and near copies costs: seconds and memory for many images and texts, and
for twice as many.

    python -m benchmarks.duplicates [--images 100000] [--texts 1000000]

Images are synthetic (random pictures with the spectrum of photographs, a tenth of them copied at
another size), given as thumbnails, as reading a file leaves them; texts are sentences of random
words, a tenth with one word changed. Each size runs in a process of its own. Prints a line of JSON
for each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from headstart.checks.duplicate_images import near_duplicates
from headstart.checks.duplicate_texts import ROWS, MinHashIndex, normalise
from headstart.data.pictures import COLOUR_SIDE, SIDE


def thumbnails(count: int) -> np.ndarray:
    """Shape (count, bytes), uint8; the last tenth are near copies of the first."""
    random = np.random.default_rng(0)
    new = count - count // 10
    made = []
    for start in range(0, new, 10_000):
        size = min(10_000, new - start)
        grey = sum(
            gaussian_filter(random.normal(size=(size, SIDE, SIDE)).astype(np.float32), (0, s, s))
            * s**1.5
            for s in (1, 2, 4, 8)
        )
        colour = gaussian_filter(
            random.normal(size=(size, 2 * COLOUR_SIDE**2)).astype(np.float32), (0, 3)
        )
        values = [(grey.reshape(size, -1) * 25 + 128), colour * 40 + 128]
        made.append(np.concatenate(values, axis=1).clip(0, 255).astype(np.uint8))
    base = np.concatenate(made)
    noise = random.normal(0, 3, (count // 10, base.shape[1]))
    return np.concatenate([base, (base[: count // 10] + noise).clip(0, 255).astype(np.uint8)])


def sentences(count: int) -> list[str]:
    """Sentences of 12 to 24 words of a vocabulary of 20,000; the last tenth differ in one word from
    the first."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(random.choice(letters, random.integers(2, 10))) for _ in range(20_000)]
    new = count - count // 10
    made = [
        [words[number] for number in random.integers(20_000, size=random.integers(12, 25))]
        for _ in range(new)
    ]
    changed = [list(words_of) for words_of in made[: count // 10]]
    for words_of in changed:
        words_of[int(random.integers(len(words_of)))] = words[int(random.integers(20_000))]
    return [" ".join(words_of) for words_of in (*made, *changed)]


def _images(count: int) -> tuple[float, int]:
    given = thumbnails(count)
    started = time.perf_counter()
    pairs, _ = near_duplicates(given)
    return time.perf_counter() - started, len(pairs)


def _texts(count: int) -> tuple[float, int]:
    given = sentences(count)
    started = time.perf_counter()
    index = MinHashIndex(count)
    for start in range(0, count, ROWS):
        index.add(start, normalise(given[start : start + ROWS]))
    pairs = index.near_duplicates(np.arange(count))
    return time.perf_counter() - started, len(pairs)


def _measure(measure: Callable[[int], tuple[float, int]], count: int) -> dict[str, float]:
    seconds, pairs = measure(count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "n": count,
        "planted": count // 10,
        "pairs": pairs,
        "seconds": round(seconds, 1),
        "peak_gb": round(peak, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    args = parser.parse_args()
    for kind, measure, count in (("images", _images, args.images), ("texts", _texts, args.texts)):
        for number in (count // 2, count):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(
                    json.dumps({"kind": kind, **pool.apply(_measure, (measure, number))}),
                    flush=True,
                )


if __name__ == "__main__":
    main()

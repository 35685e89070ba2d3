"""Which texts say the same in nearly the same words: MinHash over runs of characters (Broder
1997)."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from headstart.checks.duplicates import WORDS, Duplicates, numbered
from headstart.checks.nearest_pairs import like_pairs
from headstart.data.dataset import Examples

RUN = 4  # characters
HASHES, BAND = 96, 4
SAME = 0.6  # share of the runs of two texts that both have, from which on they are near copies
ROWS = 8_192
MOST = 4  # near copies of a text, about
SHORT = 7  # words of a text too short for near copies
LETTERS = 8  # characters a word has at most, where no spaces part them
LONGEST = 20_000  # characters of a text by which it is a near copy or not


def like_texts(examples: Examples) -> Duplicates:
    """Which texts are the same but for case, spaces and punctuation, or nearly the same.

    A text of fewer than seven words has no near copies: with one word changed it says something
    else.
    """
    keys, long = np.empty(len(examples), "S16"), np.empty(len(examples), bool)
    sketches = Sketches(len(examples))
    for start in range(0, len(examples), ROWS):
        texts = plain(examples.items[start : start + ROWS])
        digests = (
            hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
            for text in texts
        )
        keys[start : start + ROWS] = np.fromiter(digests, "S16", len(texts))
        long[start : start + ROWS] = [
            max(text.count(" ") + 1, len(text) // LETTERS) >= SHORT for text in texts
        ]
        sketches.put(start, [text[:LONGEST] for text in texts])
    content, first = numbered(keys)
    contents = np.flatnonzero(long[first])
    pairs = contents[sketches.near_copies(first[contents])]
    return Duplicates(content, pairs, np.full(len(pairs), WORDS, np.uint8))


def plain(texts: Sequence[str]) -> list[str]:
    """Texts in lower case, without punctuation, and with single spaces: copies have the same. One
    of punctuation alone stays."""
    joined = "\n".join(text.replace("\n", " ") for text in texts)
    folded = unicodedata.normalize("NFKC", joined).casefold().translate(_SEPARATORS)
    lines = (" ".join(line.split()) for line in folded.split("\n"))
    return [line or text for line, text in zip(lines, texts, strict=True)]


class _Separators(dict[int, int]):
    """Punctuation and control characters by their codes, as spaces; what else there is stays,
    filled in as it is met."""

    def __missing__(self, code: int) -> int:
        found = (
            code
            if code == ord("\n") or unicodedata.category(chr(code))[0] not in "PZC"
            else ord(" ")
        )
        self[code] = found
        return found


_SEPARATORS = _Separators()


class Sketches:
    """What is kept of each text: of every hash function's least value 8 bits (Li and König 2010),
    and keys of bands of them.

    Args:
        count: of the texts.
    """

    def __init__(self, count: int) -> None:
        self._signs = np.empty((count, HASHES), np.uint8)
        self._bands = np.empty((HASHES // BAND, count), np.uint32)

    def put(self, start: int, texts: Sequence[str]) -> None:
        """Keep those of some plain texts, from this row on."""
        signatures = _signatures(texts)
        self._signs[start : start + len(texts)] = signatures
        for number, band in enumerate(self._bands):
            keys = np.zeros(len(texts), np.uint64)
            for column in signatures[:, number * BAND : (number + 1) * BAND].T:
                keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
            band[start : start + len(texts)] = keys >> np.uint64(32)

    def near_copies(self, rows: np.ndarray) -> np.ndarray:
        """Pairs of these rows, shape (m, 2), whose texts share most of their runs of characters,
        counted in `rows`."""

        def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            return (self._signs[rows[first]] == self._signs[rows[second]]).mean(1) >= SAME

        return like_pairs((band[rows] for band in self._bands), alike, MOST)


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """Shape (n, HASHES), uint32: the least value that each hash function has among the runs of a
    text."""
    padded = [text.ljust(RUN, "\0") for text in texts]
    signs = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(
        np.uint64
    )
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    runs = np.zeros(len(signs) - RUN + 1, np.uint64)
    for place in range(RUN):
        runs = (runs + signs[place : len(runs) + place]) * np.uint64(0x9E3779B97F4A7C15)
        runs ^= runs >> np.uint64(29)
    ends = np.cumsum(lengths)
    inside = np.ones(len(runs) + RUN - 1, bool)
    for back in range(1, RUN):
        inside[ends - back] = False  # runs that would reach into the next text
    hashes = (runs[inside[: len(runs)]] >> np.uint64(32)).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(lengths - RUN + 1)[:-1]])
    random = np.random.default_rng(0)
    factors = random.integers(1, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = random.integers(0, 2**32, HASHES, dtype=np.uint32)
    found = np.empty((len(texts), HASHES), np.uint32)
    for number, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        mixed = hashes * factor + offset
        mixed ^= mixed >> np.uint32(15)
        found[:, number] = np.minimum.reduceat(mixed * np.uint32(0x85EBCA6B), starts)
    return found

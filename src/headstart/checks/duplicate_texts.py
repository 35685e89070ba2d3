"""Duplicate texts: equal but for case, spacing and punctuation, or nearly the same words, by
MinHash over character n-grams (Broder 1997)."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from headstart.checks.duplicates import WORDS, Duplicates, factorize
from headstart.checks.similar_pairs import similar_pairs
from headstart.data.dataset import Examples

NGRAM = 4  # characters
HASHES, BAND = 96, 4
MIN_SIMILARITY = 0.6  # share of n-grams in common (Jaccard), for near duplicates
ROWS = 8_192
MAX_PAIRS = 4  # approximate limit of the pairs a text is in
MIN_WORDS = 7  # of a text that can have near duplicates
CHARACTERS_PER_WORD = 8  # at most, for scripts without spaces
MAX_CHARACTERS = 20_000  # of a text that are compared for near duplicates


def find_duplicate_texts(examples: Examples) -> Duplicates:
    """Texts that are equal but for case, spaces and punctuation, or nearly equal.

    Texts of fewer than seven words have no near duplicates: one changed word changes their meaning.
    """
    keys, long = np.empty(len(examples), "S16"), np.empty(len(examples), bool)
    index = MinHashIndex(len(examples))
    for start in range(0, len(examples), ROWS):
        texts = normalise(examples.items[start : start + ROWS])
        digests = (
            hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
            for text in texts
        )
        keys[start : start + ROWS] = np.fromiter(digests, "S16", len(texts))
        long[start : start + ROWS] = [
            max(text.count(" ") + 1, len(text) // CHARACTERS_PER_WORD) >= MIN_WORDS
            for text in texts
        ]
        index.add(start, [text[:MAX_CHARACTERS] for text in texts])
    content, first = factorize(keys)
    long_contents = np.flatnonzero(long[first])
    pairs = long_contents[index.near_duplicates(first[long_contents])]
    return Duplicates(content, pairs, np.full(len(pairs), WORDS, np.uint8))


def normalise(texts: Sequence[str]) -> list[str]:
    """Texts in lower case, with punctuation replaced by spaces and single spaces between words. A
    text of punctuation alone is unchanged."""
    joined = "\n".join(text.replace("\n", " ") for text in texts)
    folded = unicodedata.normalize("NFKC", joined).casefold().translate(_SEPARATORS)
    lines = (" ".join(line.split()) for line in folded.split("\n"))
    return [line or text for line, text in zip(lines, texts, strict=True)]


class _Separators(dict[int, int]):
    """A translation table, filled on demand: punctuation and control characters become spaces."""

    def __missing__(self, code: int) -> int:
        is_separator = code != ord("\n") and unicodedata.category(chr(code))[0] in "PZC"
        self[code] = ord(" ") if is_separator else code
        return self[code]


_SEPARATORS = _Separators()


class MinHashIndex:
    """MinHash signatures of texts, 8 bits per hash function (Li & König 2010), and the hash keys of
    their bands.

    Args:
        count: of the texts.
    """

    def __init__(self, count: int) -> None:
        self._signatures = np.empty((count, HASHES), np.uint8)
        self._bands = np.empty((HASHES // BAND, count), np.uint32)

    def add(self, start: int, texts: Sequence[str]) -> None:
        """Store the signatures of normalised texts, from row `start` on."""
        signatures = _signatures(texts)
        self._signatures[start : start + len(texts)] = signatures
        for number, band in enumerate(self._bands):
            keys = np.zeros(len(texts), np.uint64)
            for column in signatures[:, number * BAND : (number + 1) * BAND].T:
                keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
            band[start : start + len(texts)] = keys >> np.uint64(32)

    def near_duplicates(self, rows: np.ndarray) -> np.ndarray:
        """Pairs of positions in `rows`, shape (m, 2), whose texts have most n-grams in common."""

        def is_similar(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            equal = self._signatures[rows[first]] == self._signatures[rows[second]]
            return np.asarray(equal.mean(1) >= MIN_SIMILARITY)

        return similar_pairs((band[rows] for band in self._bands), is_similar, MAX_PAIRS)


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """Shape (n, HASHES), uint32: the minimum of each hash function over a text's n-grams."""
    padded = [text.ljust(NGRAM, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(
        np.uint64
    )
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    ngrams = np.zeros(len(codes) - NGRAM + 1, np.uint64)
    for offset in range(NGRAM):
        ngrams = (ngrams + codes[offset : len(ngrams) + offset]) * np.uint64(0x9E3779B97F4A7C15)
        ngrams ^= ngrams >> np.uint64(29)
    ends = np.cumsum(lengths)
    in_one_text = np.ones(len(ngrams) + NGRAM - 1, bool)
    for back in range(1, NGRAM):
        in_one_text[ends - back] = False
    hashes = (ngrams[in_one_text[: len(ngrams)]] >> np.uint64(32)).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(lengths - NGRAM + 1)[:-1]])
    random = np.random.default_rng(0)
    factors = random.integers(1, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = random.integers(0, 2**32, HASHES, dtype=np.uint32)
    minima = np.empty((len(texts), HASHES), np.uint32)
    for number, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        mixed = hashes * factor + offset
        mixed ^= mixed >> np.uint32(15)
        minima[:, number] = np.minimum.reduceat(mixed * np.uint32(0x85EBCA6B), starts)
    return minima

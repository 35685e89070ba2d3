"""Duplicates and near duplicates among examples, and their cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from headstart.data.cache import cache_folder
from headstart.data.dataset import Examples
from headstart.files import atomic

FORMAT = 4  # of the cache: raise it when the definition of a duplicate changes

COPY, PIXELS, MIRRORED, PICTURE, WORDS, FEATURES, GROUP = range(7)
KIND_NAMES = (
    "a copy", "the same pixels", "mirrored", "almost the same picture", "almost the same words",
    "similar to the backbone",
    "the same group",
)  # fmt: skip


@dataclass(frozen=True)
class Duplicates:
    """Duplicates among n examples.

    `content` is the content id of each example, shape (n,): copies have the same id. `pairs` are
    pairs of content ids that are near duplicates, shape (m, 2), and `kinds` the kind of each pair,
    an index into `KIND_NAMES`, shape (m,).
    """

    content: np.ndarray
    pairs: np.ndarray
    kinds: np.ndarray


def factorize(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(id of each key, shape (n,); first row of each id). Ids are in the order of first occurrence,
    as in pandas.factorize."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return rank[inverse], first[order]


def cached_duplicates(find: Callable[[Examples], Duplicates], examples: Examples) -> Duplicates:
    """The duplicates that `find` finds, from the cache if it has seen the same contents in the same
    order."""
    contents = hashlib.sha256(f"{FORMAT} {find.__name__}".encode())
    for digest in examples.digests:
        contents.update(digest)
    path = cache_folder() / "likes" / f"{contents.hexdigest()[:32]}.npz"
    with (
        suppress(OSError, ValueError, KeyError, EOFError, BadZipFile),
        np.load(path, allow_pickle=False) as arrays,
    ):
        cached = Duplicates(arrays["content"], arrays["pairs"], arrays["how"])
        if len(cached.content) == len(examples) and len(cached.pairs) == len(cached.kinds):
            return cached
    duplicates = find(examples)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as draft:
            np.savez(
                draft,
                content=duplicates.content,
                pairs=duplicates.pairs,
                how=duplicates.kinds,
            )
    return duplicates

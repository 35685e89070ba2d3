"""The files that word vectors come in: word2vec's binary and text format, GloVe's, fastText's .vec,
and gensim's .kv."""

from __future__ import annotations

import codecs
import gzip
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from headstart.data.unicode import quoted
from headstart.errors import needs_extra

SAMPLE = 1_000  # lines that tell how many numbers a vector has
LONGEST = 100_000  # bytes of a line
REPLACED = "\ufffd"  # what bytes that are no UTF-8 become

# words, their vectors as rows, and notes on what a file lacks
Vectors = tuple[Sequence[Any], np.ndarray, list[str]]


def read_file(path: Path) -> Vectors:
    """The words and vectors in a file, shape (words, numbers), with notes on what was left out.

    Raises:
        Exception: of many types, where the file is damaged.
    """
    if path.suffix.lower() == ".kv":
        return _of_pickle(path)
    with _opened(path) as file:
        first, second = (file.readline(LONGEST) for _ in range(2))
    header = _header(first)
    if header and _numbers(second) < min(header[1], 2):
        return _of_binary(path, header[0])
    return _of_text(path, header)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _header(line: bytes) -> tuple[int, int] | None:
    """How many words and numbers there are, if the first line of a file says so."""
    fields = line.removeprefix(codecs.BOM_UTF8).split()
    return (
        (int(fields[0]), int(fields[1]))
        if len(fields) == 2 and all(map(bytes.isdigit, fields))
        else None
    )


def _numbers(line: bytes) -> int:
    """How many numbers stand at the end of a line, after its first field."""
    fields = line.split()[1:]
    for count, field in enumerate(reversed(fields)):
        try:
            float(field)
        except ValueError:
            return count
    return len(fields)


def _of_binary(path: Path, stated: int) -> Vectors:
    with needs_extra("words", "model.backbone: binary word vectors"):
        from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(str(path), binary=True, unicode_errors="replace")
    twice = stated - len(vectors.index_to_key)
    notes = (
        [f"words that stand twice, and of which the first vector counts: {twice:,}"]
        if twice > 0
        else []
    )
    notes += _damaged([word for word in vectors.index_to_key if REPLACED in word])
    return vectors.index_to_key, vectors.vectors, notes


def _of_text(path: Path, header: tuple[int, int] | None) -> Vectors:
    """A word and its numbers a line. The numbers come last, and what stands before them is the
    word, spaces included."""
    size = _vector_size(path, header)
    with _opened(path) as file:
        # what is not written to takes no memory
        values = np.empty((sum(1 for _ in file), size), np.float32)
    words: dict[str, None] = {}
    twice, nameless, damaged = [], [], []
    for number, line in _lines(path, header):
        fields = line.rsplit(None, size)
        if not fields:
            continue
        if len(fields) == size and line[:1].isspace():
            nameless.append(number)
            continue
        word = fields[0].decode("utf-8", "replace")
        if REPLACED in word and REPLACED.encode() not in fields[0]:
            damaged.append(word)
        if word in words:
            twice.append(word)
            continue
        try:
            if len(fields) <= size:
                raise ValueError
            values[len(words)] = fields[1:]
        except ValueError:
            start = line[:40].decode("utf-8", "replace").strip()
            raise ValueError(
                f"line {number} is no word with {size} numbers, as most lines are: {start!r}"
            ) from None
        words[word] = None
    notes = [*_notes(header, len(words), twice, nameless), *_damaged(damaged)]
    return list(words), values[: len(words)], notes


def _damaged(words: list[str]) -> list[str]:
    """A sentence on words that hold what is no UTF-8, if there are any."""
    return (
        [f"words with bytes that are no UTF-8: {len(words):,} (such as {quoted(words[0])})"]
        if words
        else []
    )


def _notes(
    header: tuple[int, int] | None, words: int, twice: list[str], nameless: list[int]
) -> list[str]:
    """What a file of text holds besides words with vectors of their own."""
    notes = []
    if twice:
        count = f"{len(twice):,} (such as {twice[0]!r})"
        notes.append(f"words that stand twice, and of which the first vector counts: {count}")
    if nameless:
        notes.append(
            f"lines without a word, which are left out: {len(nameless):,} (such as line "
            f"{nameless[0]})"
        )
    rows = words + len(twice) + len(nameless)
    if header and header[0] != rows:
        notes.append(
            f"its first line says {header[0]:,} words, and {rows:,} are there (is the file whole?)"
        )
    return notes


def _lines(path: Path, header: object) -> Iterator[tuple[int, bytes]]:
    """The lines of words with their numbers in the file."""
    with _opened(path) as file:
        first = file.readline()
        if not header:
            yield 1, first.removeprefix(codecs.BOM_UTF8)
        yield from enumerate(file, 2)


def _vector_size(path: Path, header: tuple[int, int] | None) -> int:
    """How many numbers most lines end in.

    Raises:
        ValueError: none, or another number than the first line of the file says.
    """
    counts = Counter(
        _numbers(line) for _, line in islice(_lines(path, header), SAMPLE) if line.strip()
    )
    size = min(counts, key=lambda count: (-counts[count], count), default=0)
    if not size:
        raise ValueError("its lines do not end in numbers")
    if header and header[1] != size:
        raise ValueError(
            f"its first line says that a vector has {header[1]} numbers, and its lines have {size}"
        )
    return size


class _VectorsOnly(pickle.Unpickler):
    """Reads gensim's own files and nothing else: any other type in them is refused before it is
    made."""

    _allowed = frozenset({
        ("gensim.models.keyedvectors", "KeyedVectors"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        *((f"numpy.{core}.multiarray", name) for core in ("core",
        "_core") for name in ("_reconstruct", "scalar")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(
                f"it holds {module}.{name}, which word vectors do not need"
            )
        return super().find_class(module, name)


def _of_pickle(path: Path) -> Vectors:
    with path.open("rb") as file:
        held = _VectorsOnly(file).load()
    beside = Path(f"{path}.vectors.npy")
    values = (
        np.load(beside, mmap_mode="r", allow_pickle=False) if beside.is_file() else held.vectors
    )
    return list(held.index_to_key), values, []

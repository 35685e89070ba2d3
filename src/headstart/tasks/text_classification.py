"""Text classification: a table of texts, a transformers encoder, a new head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.checks.counts import text_notes
from headstart.checks.duplicate_texts import like_texts
from headstart.data.inputs import texts_at
from headstart.data.readers import read_texts
from headstart.tasks import Task, tasks

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset
    from headstart.models.network import Network
    from headstart.recipe import Model


def _network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[Network, list[str]]:
    from headstart.models.text import text_network

    return text_network(model, dataset, pretrained)


def _load(folder: Path, spec: dict[str, Any]) -> Network:
    from headstart.models.text import load_text_network

    return load_text_network(folder, spec)


TEXTS = Task(
    read=read_texts,
    network=_network,
    load=_load,
    gather=texts_at,
    like=like_texts,
    notes=text_notes,
    baselines=("tfidf_logistic_regression", "glove_forest"),
    policies=("none",),
)
tasks.register("text_classification")({"text": lambda: TEXTS})

"""Text classification: a table of texts, a transformers encoder, a new head."""

from __future__ import annotations

from headstart.checks.counts import text_notes
from headstart.checks.wordings import like_texts
from headstart.data.gather import texts_at
from headstart.data.read import read_texts
from headstart.models.text import load_text_network, text_network
from headstart.tasks import Task, tasks

TEXTS = Task(
    read=read_texts,
    network=text_network,
    load=load_text_network,
    gather=texts_at,
    like=like_texts,
    notes=text_notes,
    baselines=("tfidf_logistic_regression", "glove_forest"),
    policies=("none",),
)
tasks.register("text_classification")({"text": lambda: TEXTS})

"""Embedding classification: a classifier on whatever a frozen embedder, of images, texts or words, makes of the examples."""

from __future__ import annotations

from dataclasses import replace

from headstart.models.word_network import load_word_vector_network, word_vector_network
from headstart.tasks import tasks
from headstart.tasks.image_classification import IMAGES
from headstart.tasks.text_classification import TEXTS

WORDS = replace(
    TEXTS,
    network=lambda model, dataset, _: word_vector_network(model, dataset),
    load=load_word_vector_network,
)
tasks.register("embedding_classification")({"vision": IMAGES, "text": TEXTS, "word_vectors": WORDS})

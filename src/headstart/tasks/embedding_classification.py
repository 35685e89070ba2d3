"""Embedding classification: a classifier on whatever a frozen embedder, of images, texts or words,
makes of the examples."""

from __future__ import annotations

from dataclasses import replace

from headstart.tasks import Task, tasks


def _images() -> Task:
    from headstart.tasks.image_classification import IMAGES

    return IMAGES


def _texts() -> Task:
    from headstart.tasks.text_classification import TEXTS

    return TEXTS


def _words() -> Task:
    from headstart.models.word_network import load_word_vector_network, word_vector_network

    return replace(
        _texts(),
        network=lambda model, dataset, _: word_vector_network(model, dataset),
        load=load_word_vector_network,
    )


tasks.register("embedding_classification")(
    {"vision": _images, "text": _texts, "word_vectors": _words}
)

"""Texts as their words: pooled word vectors, which stay as they are, under a head."""

from __future__ import annotations

from dataclasses import replace

from headstart.data.dataset import Dataset
from headstart.modalities import modalities
from headstart.modalities.text import TEXT
from headstart.models.network import Network
from headstart.models.word_vector_network import load_word_vector_network, word_vector_network
from headstart.recipe import Model


def _network(model: Model, dataset: Dataset, _: bool) -> tuple[Network, list[str]]:
    return word_vector_network(model, dataset)


modalities.register("words")(
    replace(
        TEXT,
        name="words",
        network=_network,
        load=load_word_vector_network,
        library="",
        pipeline="",
        tunable=False,
    )
)

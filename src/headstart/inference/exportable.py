"""A network as exporters want it: inputs by their places, probabilities out, and sizes that may
vary."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import HeadstartError
from headstart.inference.loaded_model import NetworkModel
from headstart.models.adapters import merge
from headstart.models.network import Network


class Probabilities(nn.Module):
    """Probabilities of shape (n, classes), float32, from a network's inputs in the order of
    `names`."""

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(**dict(zip(self.names, inputs, strict=True))).float().softmax(-1)


def exportable(member: NetworkModel) -> Network:
    """The network of a run on the processor, its adapters merged.

    Raises:
        HeadstartError: it has parts that no exporter knows.
    """
    network = member.network.cpu().requires_grad_(False)
    network.to(memory_format=torch.contiguous_format)
    if network.estimator is not None:
        raise HeadstartError(
            f"{member.source}: its head is a scikit-learn classifier, which cannot be exported; "
            "export a run with another "
            'model.head, such as classifier = "logistic_regression"'
        )
    if not member.task.modality.library:
        raise HeadstartError(
            f"{member.source}: word vectors cannot be exported; serve the run itself"
        )
    if network.spec.adapters:
        merge(network)
    return network


def inputs_of(member: NetworkModel, items: Sequence[Any]) -> dict[str, Tensor]:
    """A batch of examples."""
    return member.preprocessor.collate([member.preprocessor(item) for item in items])


def varying(inputs: dict[str, Tensor]) -> tuple[tuple[dict[int, Any], ...]]:
    """Which sizes of the inputs may vary, as torch.export wants it: that of the batch, and of texts
    the tokens."""
    dynamic = torch.export.Dim.DYNAMIC
    axes = (
        {0: dynamic, 1: dynamic} if value.ndim == 2 else {0: dynamic} for value in inputs.values()
    )
    return (tuple(axes),)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters print, warn and log to themselves."""
    before = logging.root.manager.disable
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)

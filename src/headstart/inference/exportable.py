"""A run's network as a program of torch, which all exported files are made from."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from headstart.errors import RunError, first_line
from headstart.inference.loaded_model import NetworkModel
from headstart.models.adapters import merge
from headstart.models.network import Network
from headstart.models.preprocessor import Item


class Probabilities(nn.Module):
    """Probabilities of shape (n, classes), float32, from a network's inputs in the order of
    `names`."""

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(**dict(zip(self.names, inputs, strict=True)))
        return logits.float().softmax(-1)


def exportable(model: NetworkModel) -> Network:
    """The network of a run on the CPU, its adapters merged; RunError if it has parts that cannot be
    exported."""
    network = model.network.cpu().requires_grad_(False)
    network.to(memory_format=torch.contiguous_format)
    if network.estimator is not None:
        raise RunError(
            f"{model.source}: its head is a scikit-learn classifier, which cannot be exported; "
            'export a run with another model.head, such as classifier = "logistic_regression"'
        )
    if not model.task.modality.library:
        raise RunError(f"{model.source}: word vectors cannot be exported; serve the run itself")
    if network.spec.adapters:
        merge(network)
    return network


def inputs_of(model: NetworkModel, items: Sequence[Item]) -> dict[str, Tensor]:
    """A batch of examples."""
    return model.preprocessor.collate([model.preprocessor(item) for item in items])


def traced(model: NetworkModel, items: Sequence[Item]) -> tuple[ExportedProgram, list[str]]:
    """The program from inputs to probabilities, in float32, for batches and texts of any size, and
    the names of its inputs. It is traced with the items, two examples."""
    inputs = inputs_of(model, items)
    network = Probabilities(exportable(model), list(inputs)).eval()
    # images vary in number only, texts also in length
    axes = tuple(
        {axis: Dim.DYNAMIC for axis in ((0, 1) if value.ndim == 2 else (0,))}
        for value in inputs.values()
    )
    program = torch.export.export(
        network, tuple(inputs.values()), dynamic_shapes=(axes,), strict=False
    )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    return program, list(inputs)


@contextmanager
def exporting(model: NetworkModel, form: str, alternative: str) -> Iterator[None]:
    """Silences exporters, and makes a RunError of their errors.

    Args:
        form: the name of what is written. alternative: another value of --to.
    """
    try:
        with quiet():
            yield
    except RunError:
        raise
    except Exception as error:  # exporters raise many types
        raise RunError(
            f"{model.source}: torch cannot export {model.spec.backbone} to {form}: "
            f"{first_line(error)}. Try --to {alternative}, or serve the run itself"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses what exporters print, warn and log."""
    before = logging.root.manager.disable
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)

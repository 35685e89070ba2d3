"""A network over examples, each exactly once, whatever the number of processes: no gradients, no
training."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import torch
from torch import Tensor

from headstart.data.dataset import Examples
from headstart.errors import RecipeError, first_line
from headstart.evaluate.metrics import softmax
from headstart.models.network import Network
from headstart.models.preprocessor import Preprocessor, Sample
from headstart.runtime.processes import from_all, rank_and_world
from headstart.runtime.threads import readers
from headstart.train.context import Context
from headstart.train.integrity import reading
from headstart.train.precision import autocast

BATCH = 32


def logits(context: Context, examples: Examples) -> np.ndarray:
    """What the head makes of all examples in their order, shape (n, classes), float32, the same in
    every process.

    Where a scikit-learn classifier takes the head's place these are the features, shape (n, width).
    """
    items, network = examples.items, context.network
    order = in_order(range(len(items)), items, context.preprocessor)
    mine = [order[place] for place in share_of(len(items))]
    made = list(features(context, [items[row] for row in mine]))
    outputs = head_outputs(
        network, np.concatenate(made or [np.zeros((0, network.spec.width), np.float32)])
    )
    return assemble(from_all((mine, outputs)))


def classify(network: Network, outputs: np.ndarray) -> np.ndarray:
    """Probabilities, shape (n, classes), from what the head made of examples.

    Raises:
        HeadstartError: they are no numbers, or the classifier cannot give them.
    """
    try:
        probabilities: np.ndarray = (
            softmax(outputs)
            if network.estimator is None
            else network.estimator.predict_proba(outputs)
        )
    # such as fewer training examples than neighbours to look for
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"model.head: its classifier cannot predict: {first_line(error)}"
        ) from None
    if not np.isfinite(probabilities).all() and network.estimator is not None:
        raise RecipeError(
            f"model.head.classifier: the probabilities of {network.spec.head.classifier} "
            "are no numbers, as where features are the same in all examples of a class. Choose "
            "another one, such as logistic_regression"
        )
    if not np.isfinite(probabilities).all():
        raise RecipeError(
            "model: its probabilities are no numbers: training has diverged (lower train.lr), or "
            "its weights are damaged"
        )
    return probabilities


@torch.inference_mode()
def head_outputs(network: Network, features: np.ndarray) -> np.ndarray:
    """The head on features of shape (n, width), in full precision."""
    was_training = network.head.training
    network.head.eval()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    outputs: np.ndarray = network.head(torch.from_numpy(features).to(device)).cpu().numpy()
    network.head.train(was_training)
    return outputs


@torch.inference_mode()
def features(context: Context, items: Sequence[str]) -> Iterator[np.ndarray]:
    """The input of the head for these items, an array of shape (BATCH, width) and float32 at a
    time.

    Threads decode ahead while the network computes.
    """
    network = context.network
    was_training = network.training
    evaluated = network.eval().for_inference()
    for batch in batches(items, context.preprocessor):
        yield features_of(evaluated, batch, context.device, context.precision)
    network.train(was_training)


@torch.inference_mode()
def features_of(
    network: Network, batch: dict[str, Tensor], device: torch.device, precision: str
) -> np.ndarray:
    """The input of the head for a batch, shape (n, width), float32, of a network made by
    `for_inference`."""
    inputs = {key: value.to(device) for key, value in batch.items()}
    with autocast(device, precision):
        return network.features(**inputs).float().cpu().numpy()


def in_order(rows: Sequence[int], items: Sequence[str], preprocessor: Preprocessor) -> list[int]:
    """The rows of `items` in the order in which they pass through a network: by size where sizes
    differ, so that a batch needs little padding; else as they stand."""
    sizes = preprocessor.sizes(items)
    return sorted(rows, key=(lambda row: (sizes[row], row)) if sizes is not None else None)


def share_of(count: int) -> list[int]:
    """The rows that this process works on: whole batches, so that a batch holds the same rows
    whoever computes it."""
    rank, world = rank_and_world()
    starts = range(rank * BATCH, count, world * BATCH)
    return [row for start in starts for row in range(start, min(start + BATCH, count))]


def assemble(parts: list[tuple[list[int], np.ndarray]]) -> np.ndarray:
    """Put what the processes made of their rows into one array in the order of the rows."""
    filled = [(rows, values) for rows, values in parts if rows]
    if not filled:
        return parts[0][1]
    whole = np.empty((sum(len(rows) for rows, _ in filled), *filled[0][1].shape[1:]), np.float32)
    for rows, values in filled:
        whole[rows] = values
    return whole


def batches(items: Sequence[str], preprocessor: Preprocessor) -> Iterator[dict[str, Tensor]]:
    """The examples as the network reads them, BATCH at a time; threads decode ahead."""
    with readers() as pool:
        waiting: deque[list[Future[Sample]]] = deque()
        for start in range(0, len(items), BATCH):
            waiting.append(
                [pool.submit(_read, preprocessor, item) for item in items[start : start + BATCH]]
            )
            if len(waiting) > 2:
                yield preprocessor.collate([future.result() for future in waiting.popleft()])
        while waiting:
            yield preprocessor.collate([future.result() for future in waiting.popleft()])


def _read(preprocessor: Preprocessor, item: str) -> Sample:
    with reading(str(item)[:200]):
        return preprocessor(item)

"""The two ways to learn, by gradients or on frozen features, and what the network then says."""

from __future__ import annotations

import numpy as np

from headstart.data.dataset import Examples
from headstart.models.adapters import merge
from headstart.models.network import Network
from headstart.runtime.processes import from_main
from headstart.train.checkpoints import Checkpoints
from headstart.train.context import Context
from headstart.train.epochs import History
from headstart.train.features import extract
from headstart.train.forward import classify, head_outputs, logits
from headstart.transfer.strategies import strategies


def learn(context: Context, checkpoints: Checkpoints | None = None) -> History:
    """Train the network by its plan, in place."""
    if not context.plan.tuned:
        from headstart.train.probe import probe

        return probe(context, context.plan.phases[0])
    from headstart.train.engine import tune

    history = tune(context, checkpoints)
    merge_adapters(context)
    return history


def merge_adapters(context: Context) -> None:
    """Merge adapters into the backbone's weights, where the recipe says so."""
    transfer = context.recipe.transfer
    if transfer.adapters.merge and strategies.get(transfer.strategy).adapted:
        merge(context.network)


def probabilities(context: Context, role: str, part: Examples) -> np.ndarray:
    """Of a part, shape (n, classes), in the way the network has learned; the same in every
    process."""
    if context.plan.tuned:
        return classify(context.network, logits(context, part))
    features, _ = extract(context, role, part)
    return _classify_features(context.network, features)


@from_main
def _classify_features(network: Network, features: np.ndarray | None) -> np.ndarray:
    assert features is not None
    return classify(network, head_outputs(network, features))

"""Every way to carry pretrained knowledge over: each is one function (recipe, block names) → Plan.

Block names come in forward order and end with "head". A new strategy is a function here and a row in its test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from headstart.errors import HeadstartError
from headstart.recipe import Recipe
from headstart.registry import Registry
from headstart.transfer.plan import Phase, Plan

Strategy = Callable[[Recipe, Sequence[str]], Plan]
strategies: Registry[Strategy] = Registry("strategy")


def plan(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The plan of the recipe's strategy for a network with these blocks.

    Raises:
        HeadstartError: the strategy is unknown or would train nothing.
    """
    return strategies.get(recipe.transfer.strategy)(recipe, blocks).check(blocks)


@strategies.register("scratch")
def scratch(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Random weights, everything trains at one rate: what transfer is measured against."""
    rates = dict.fromkeys(blocks, recipe.train.lr)
    return Plan("scratch", (Phase("everything from random weights", rates, recipe.train.epochs),))


@strategies.register("fine_tune")
def fine_tune(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Everything trains; the new head learns `head_lr_ratio` times as fast as the pretrained blocks."""
    return Plan("fine_tune", (Phase("everything", _with_faster_head(recipe, blocks), recipe.train.epochs),))


@strategies.register("feature_extraction")
def feature_extraction(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The backbone stays as it is; the head is fitted on its features, by gradient or as a whole."""
    fitting = recipe.head().classifier
    if fitting == "gradient":
        phase = Phase("head on frozen features", _with_faster_head(recipe, ["head"]), recipe.train.epochs, probe=True)
    else:
        phase = Phase(f"{fitting} on frozen features", {"head": 0.0}, 0, probe=True)
    return Plan("feature_extraction", (phase,))


@strategies.register("partial")
def partial(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Only some blocks train: the last `last_blocks` below the head, or those that name patterns choose; and the head."""
    chosen = [name for name in blocks if name == "head" or _wanted(name, recipe, blocks)]
    return Plan("partial", (Phase("some blocks", _with_faster_head(recipe, chosen), recipe.train.epochs),))


def _with_faster_head(recipe: Recipe, blocks: Sequence[str]) -> dict[str, float]:
    lr = recipe.train.lr
    return {name: lr * recipe.transfer.head_lr_ratio if name == "head" else lr for name in blocks}


def _wanted(name: str, recipe: Recipe, blocks: Sequence[str]) -> bool:
    transfer = recipe.transfer
    body = [block for block in blocks if block != "head"]
    if transfer.last_blocks is not None:
        if transfer.last_blocks > len(body):
            raise HeadstartError(
                f"transfer.last_blocks: found {transfer.last_blocks}; the network has {len(body)} blocks below its head "
                f"({', '.join(body)})"
            )
        return name in body[len(body) - transfer.last_blocks :]
    for pattern in (*transfer.train, *transfer.freeze):
        if not any(fnmatchcase(block, pattern) for block in blocks):
            raise HeadstartError(f"transfer: no block matches {pattern!r}; the network has {', '.join(blocks)}")
    if transfer.train:
        return any(fnmatchcase(name, pattern) for pattern in transfer.train)
    return not any(fnmatchcase(name, pattern) for pattern in transfer.freeze)

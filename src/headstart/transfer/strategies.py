"""Every way to carry pretrained knowledge over: each is one function (recipe, block names) → Plan.

Block names come in forward order and end with "head". A new strategy is a function here and a row
in its test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

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
    """Everything trains; the new head learns `head_lr_ratio` times as fast as the pretrained
    blocks."""
    return Plan(
        "fine_tune", (Phase("everything", _with_faster_head(recipe, blocks), recipe.train.epochs),)
    )


@strategies.register("feature_extraction")
def feature_extraction(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The backbone stays as it is; the head is fitted on its features, by gradient or as a
    whole."""
    fitting = recipe.head().classifier
    if fitting == "gradient":
        phase = Phase(
            "head on frozen features",
            _with_faster_head(recipe, ["head"]),
            recipe.train.epochs,
            probe=True,
        )
    else:
        phase = Phase(f"{fitting} on frozen features", {"head": 0.0}, 0, probe=True)
    return Plan("feature_extraction", (phase,))


@strategies.register("discriminative")
def discriminative(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Everything trains, each block `layer_decay` times as fast as the one above it (Howard & Ruder
    2018)."""
    phase = Phase(
        "everything, slower towards the input", _decayed(recipe, blocks), recipe.train.epochs
    )
    return Plan("discriminative", (phase,))


@strategies.register("gradual_unfreezing")
def gradual_unfreezing(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The head first, then every `unfreeze_every` epochs one more group of blocks from the head
    down, rates as in discriminative; blocks that train already keep their optimizer moments (Howard
    & Ruder 2018).

    The last phase trains everything, for the epochs that are left. Where there are fewer phases
    than blocks, several blocks make a group.
    """
    every, epochs = recipe.transfer.unfreeze_every, recipe.train.epochs
    if every >= epochs:
        raise HeadstartError(
            f"transfer.unfreeze_every: found {every} with {epochs} epochs, so the head alone "
            "would train to the end; expected less than "
            f"train.epochs{' (at least 2)' if epochs == 1 else ''}"
        )
    rates, below = _decayed(recipe, blocks), len(blocks) - 1
    count = min(-(-epochs // every), len(blocks))
    phases = []
    for number in range(count):
        group = blocks[below - round(number * below / (count - 1)) :]
        name = (
            "the head"
            if number == 0
            else f"{group[0]} and above"
            if len(group) < len(blocks)
            else "everything"
        )
        length = every if number < count - 1 else epochs - every * number
        phases.append(
            Phase(name, {block: rates[block] for block in group}, length, carries=number > 0)
        )
    return Plan("gradual_unfreezing", tuple(phases))


@strategies.register("chain_thaw")
def chain_thaw(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The head alone, then block after block alone from the input up, then everything (Felbo et al.
    2017).

    The epochs are shared evenly, the last phase takes the rest; with fewer epochs than phases
    several blocks make a group.
    """
    epochs, body = recipe.train.epochs, len(blocks) - 1
    if epochs < 3:
        raise HeadstartError(
            f"train.epochs: found {epochs}; chain_thaw needs at least 3, one for each kind of phase"
        )
    groups = min(epochs - 2, body)
    edges = [round(number * body / groups) for number in range(groups + 1)]
    links = [blocks[body:], *(blocks[low:high] for low, high in pairwise(edges)), blocks]
    each, rates = epochs // len(links), _with_faster_head(recipe, blocks)
    phases = []
    for number, link in enumerate(links, 1):
        name = (
            "everything"
            if link is blocks
            else " to ".join(dict.fromkeys((link[0], link[-1]))) + " alone"
        )
        length = each if number < len(links) else epochs - each * (len(links) - 1)
        phases.append(Phase(name, {block: rates[block] for block in link}, length))
    return Plan("chain_thaw", tuple(phases))


@strategies.register("lp_ft")
def lp_ft(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """A head on frozen features first, then everything from there at one rate (Kumar et al.
    2022)."""
    (head,) = feature_extraction(recipe, blocks).phases
    rest = Phase(
        "everything, from that head", dict.fromkeys(blocks, recipe.train.lr), recipe.train.epochs
    )
    return Plan("lp_ft", (head, rest))


@strategies.register("lora")
def lora(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Low-rank adapters beside the frozen layers of the backbone train, and the head (Hu et al.
    2022)."""
    rates = _with_faster_head(recipe, ["adapters", "head"])
    return Plan("lora", (Phase("adapters and head", rates, recipe.train.epochs),))


@strategies.register("partial")
def partial(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Only some blocks train: the last `last_blocks` below the head, or those that name patterns
    choose; and the head."""
    chosen = [name for name in blocks if name == "head" or _wanted(name, recipe, blocks)]
    upper = list(blocks[len(blocks) - len(chosen) :])
    name = f"{chosen[0]} and above" if chosen == upper else ", ".join(chosen)
    return Plan("partial", (Phase(name, _with_faster_head(recipe, chosen), recipe.train.epochs),))


def _with_faster_head(recipe: Recipe, blocks: Sequence[str]) -> dict[str, float]:
    lr = recipe.train.lr
    return {name: lr * recipe.transfer.head_lr_ratio if name == "head" else lr for name in blocks}


def _decayed(recipe: Recipe, blocks: Sequence[str]) -> dict[str, float]:
    """The rates of `_with_faster_head`, below the head shrinking from block to block."""
    rates = _with_faster_head(recipe, blocks)
    for distance, name in enumerate(reversed(blocks[:-1])):
        rates[name] *= recipe.transfer.layer_decay**distance
    return rates


def _wanted(name: str, recipe: Recipe, blocks: Sequence[str]) -> bool:
    transfer = recipe.transfer
    body = [block for block in blocks if block != "head"]
    if transfer.last_blocks is not None:
        if transfer.last_blocks > len(body):
            raise HeadstartError(
                f"transfer.last_blocks: found {transfer.last_blocks}; the network has "
                f"{len(body)} blocks below its head ({', '.join(body)})"
            )
        return name in body[len(body) - transfer.last_blocks :]
    for pattern in (*transfer.train, *transfer.freeze):
        if not any(fnmatchcase(block, pattern) for block in blocks):
            raise HeadstartError(
                f"transfer: no block matches {pattern!r}; the network has {', '.join(blocks)}"
            )
    if transfer.train:
        return any(fnmatchcase(name, pattern) for pattern in transfer.train)
    return not any(fnmatchcase(name, pattern) for pattern in transfer.freeze)

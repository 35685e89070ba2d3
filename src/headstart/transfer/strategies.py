"""Every way to carry pretrained knowledge over: each is one function (recipe, block names) → Plan.

Block names come in forward order and end with "head". A new strategy is a function here, or in
another package that has an entry point of its name in the group `headstart.strategies`, and a row
in the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from headstart.errors import RecipeError
from headstart.recipe import Head, Recipe
from headstart.recipe.strategy import Traits
from headstart.registry import Registry
from headstart.transfer.plan import Phase, Plan

MakePlan = Callable[[Recipe, Sequence[str]], Plan]


@dataclass(frozen=True, kw_only=True)
class Strategy(Traits):
    """A function from a recipe and block names to a plan, and what is stated of it."""

    plan: MakePlan


strategies: Registry[Strategy] = Registry("strategy", group="headstart.strategies")


def strategy(
    name: str,
    *,
    reads: tuple[str, ...] = (),
    one_of: tuple[str, ...] = (),
    probes: bool = False,
    frozen: bool = False,
    pretrained: bool = True,
) -> Callable[[MakePlan], MakePlan]:
    """A decorator that registers a strategy; the arguments are those of `Traits`."""

    def add(function: MakePlan) -> MakePlan:
        strategies.register(name)(
            Strategy(
                plan=function,
                reads=(*reads, *one_of),
                one_of=one_of,
                probes=probes or frozen,
                frozen=frozen,
                pretrained=pretrained,
            )
        )
        return function

    return add


def plan(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The plan of the recipe's strategy for a network with these blocks.

    Raises:
        HeadstartError: the strategy is unknown or would train nothing.
    """
    return strategies.get(recipe.transfer.strategy).plan(recipe, blocks).check(blocks)


def head_of(recipe: Recipe) -> Head:
    """The head as the recipe's strategy fits it: `classifier` says how on frozen features, and is
    None where gradients do."""
    chosen, head = strategies.get(recipe.transfer.strategy), recipe.model.head
    if not chosen.frozen:
        # a scikit-learn classifier then is for a baseline
        classifier = None if head.is_estimator else head.classifier
        head = head.model_copy(update={"classifier": classifier, "options": {}})
    fitting = head.fitting if chosen.probes else None
    return head.model_copy(update={"classifier": fitting})


@strategy("scratch", pretrained=False)
def scratch(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Random weights, everything trains at one rate: what transfer is measured against."""
    rates = dict.fromkeys(blocks, recipe.train.lr)
    return Plan("scratch", (Phase("everything from random weights", rates, recipe.train.epochs),))


@strategy("fine_tune")
def fine_tune(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Everything trains; the new head learns `head_lr_ratio` times as fast as the pretrained
    blocks."""
    return Plan(
        "fine_tune", (Phase("everything", _with_faster_head(recipe, blocks), recipe.train.epochs),)
    )


@strategy("feature_extraction", frozen=True)
def feature_extraction(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The backbone stays as it is; the head is fitted on its features, by gradient or as a
    whole."""
    fitting = head_of(recipe).classifier
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


@strategy("discriminative", reads=("layer_decay",))
def discriminative(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Everything trains, each block `layer_decay` times as fast as the one above it (Howard & Ruder
    2018)."""
    phase = Phase(
        "everything, slower towards the input", _decayed(recipe, blocks), recipe.train.epochs
    )
    return Plan("discriminative", (phase,))


@strategy("gradual_unfreezing", reads=("layer_decay", "unfreeze_every"))
def gradual_unfreezing(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The head first, then every `unfreeze_every` epochs one more group of blocks from the head
    down, rates as in discriminative; blocks that train already keep their optimizer moments (Howard
    & Ruder 2018).

    The last phase trains everything, for the epochs that are left. Where there are fewer phases
    than blocks, several blocks make a group.
    """
    every, epochs = recipe.transfer.unfreeze_every, recipe.train.epochs
    if every >= epochs:
        raise RecipeError(
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


@strategy("chain_thaw")
def chain_thaw(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """The head alone, then block after block alone from the input up, then everything (Felbo et al.
    2017).

    The epochs are shared evenly, the last phase takes the rest; with fewer epochs than phases
    several blocks make a group.
    """
    epochs, body = recipe.train.epochs, len(blocks) - 1
    if epochs < 3:
        raise RecipeError(
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


@strategy("lp_ft", probes=True)
def lp_ft(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """A head on frozen features first, then everything from there at one rate (Kumar et al.
    2022)."""
    (head,) = feature_extraction(recipe, blocks).phases
    rest = Phase(
        "everything, from that head", dict.fromkeys(blocks, recipe.train.lr), recipe.train.epochs
    )
    return Plan("lp_ft", (head, rest))


@strategy("lora", reads=("adapters",))
def lora(recipe: Recipe, blocks: Sequence[str]) -> Plan:
    """Low-rank adapters beside the frozen layers of the backbone train, and the head (Hu et al.
    2022)."""
    rates = _with_faster_head(recipe, ["adapters", "head"])
    return Plan("lora", (Phase("adapters and head", rates, recipe.train.epochs),))


@strategy("partial", one_of=("last_blocks", "train", "freeze"))
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
            raise RecipeError(
                f"transfer.last_blocks: found {transfer.last_blocks}; the network has "
                f"{len(body)} blocks below its head ({', '.join(body)})"
            )
        return name in body[len(body) - transfer.last_blocks :]
    for pattern in (*transfer.train, *transfer.freeze):
        if not any(fnmatchcase(block, pattern) for block in blocks):
            raise RecipeError(
                f"transfer: no block matches {pattern!r}; the network has {', '.join(blocks)}"
            )
    if transfer.train:
        return any(fnmatchcase(name, pattern) for pattern in transfer.train)
    return not any(fnmatchcase(name, pattern) for pattern in transfer.freeze)

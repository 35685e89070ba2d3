"""What a recipe has to know of strategies, and whether its keys fit those that it names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headstart.recipe.model import Head
from headstart.recipe.training import Augment, Train
from headstart.recipe.transfer import AUTO, Transfer
from headstart.registry import Registry

FROZEN = "feature_extraction"
NEED_STEPS = ("loss", "label_smoothing", "max_grad_norm", "early_stopping")  # keys of [train]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is stated of a strategy where it is registered.

    reads: keys of [transfer] that not all strategies read.
    one_of: those of them of which exactly one has to be given.
    probes: it begins with a head on frozen features.
    frozen: the backbone stays as it is, so that its features are computed once.
    pretrained: it starts from pretrained weights.
    """

    reads: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    probes: bool = False
    frozen: bool = False
    pretrained: bool = True

    @property
    def adapted(self) -> bool:
        """Whether adapters are put into the backbone, whose own weights stay frozen."""
        return "adapters" in self.reads

    @property
    def tunes_pretrained(self) -> bool:
        """Whether pretrained weights themselves train."""
        return self.pretrained and not self.frozen and not self.adapted


def check_strategies(
    names: Collection[str],
    transfer: Transfer,
    head: Head,
    train: Train,
    augment: Augment,
    registry: Registry[Traits],
) -> None:
    """Refuse keys that no strategy of a recipe reads, and those that do not go with its main one.

    Args:
        names: all strategies of the recipe; names of baselines are ignored.

    Raises:
        ValueError: there is such a key.
    """
    named = {name: registry.get(name) for name in names if name in registry}
    if AUTO not in names:
        _check_reads(transfer, named, registry.loaded())
        _check_classifier(head, named)
    for name, strategy in named.items():
        given = [f"transfer.{key}" for key in strategy.one_of if transfer.given(key)]
        if strategy.one_of and len(given) != 1:
            keys = ", ".join(f"transfer.{key}" for key in strategy.one_of)
            raise ValueError(
                f"strategy {name!r} needs exactly one of {keys}; found "
                + (" and ".join(given) or "none of them")
            )
    if transfer.strategy != AUTO:
        _check_pretrained(transfer, registry)
        if named[transfer.strategy].frozen:
            _check_frozen(transfer.strategy, head, train, augment)


def _check_reads(
    transfer: Transfer, named: Mapping[str, Traits], known: Mapping[str, Traits]
) -> None:
    for key in type(transfer).model_fields:
        readers = sorted(name for name, strategy in known.items() if key in strategy.reads)
        if readers and transfer.given(key) and named.keys().isdisjoint(readers):
            raise ValueError(
                f"transfer.{key} belongs to strategy {' or '.join(map(repr, readers))}; found "
                f"strategy {transfer.strategy!r}: remove the key, or set "
                f'transfer.strategy = "{readers[0]}"'
            )


def _check_classifier(head: Head, named: Mapping[str, Traits]) -> None:
    if head.classifier and not any(
        strategy.frozen if head.is_estimator else strategy.probes for strategy in named.values()
    ):
        raise ValueError(
            f"model.head.classifier: {head.classifier!r} is fitted on frozen features; set "
            f"transfer.strategy = {FROZEN!r}, or remove it"
        )


def _check_pretrained(transfer: Transfer, registry: Registry[Traits]) -> None:
    name, strategy = transfer.strategy, registry.get(transfer.strategy)
    if transfer.freeze_statistics and not strategy.pretrained:
        raise ValueError(
            f"strategy {name!r} starts from random weights, so there are no statistics to "
            "keep; found transfer.freeze_statistics: remove it"
        )
    for key in ("l2_sp", "wise_ft"):
        if transfer.given(key) and not strategy.tunes_pretrained:
            known = registry.loaded().items()
            others = [repr(other) for other, traits in known if traits.tunes_pretrained]
            raise ValueError(
                f"transfer.{key} keeps pretrained weights that train near their start; with "
                f"strategy {name!r} there are none: remove it, or choose {', '.join(others[:-1])} "
                f"or {others[-1]}"
            )


def _check_frozen(name: str, head: Head, train: Train, augment: Augment) -> None:
    default = Train()
    varied = [key for key in ("policy", "mixup", "cutmix") if getattr(augment, key)]
    if augment.policy == "none":
        varied.remove("policy")
    if varied:
        raise ValueError(
            f"augment.{varied[0]}: found {getattr(augment, varied[0])!r}; strategy {name!r} passes "
            "each example through the frozen backbone once and keeps its features, so an example "
            f"cannot look different each epoch. Remove augment.{varied[0]}, or choose a strategy "
            "that trains the backbone, such as 'fine_tune'"
        )
    unread = [key for key in NEED_STEPS if getattr(train, key) != getattr(default, key)]
    if unread and head.fitting != "gradient":
        raise ValueError(
            f"train.{unread[0]}: strategy {name!r} fits this head as a whole, without epochs; "
            "remove it, or set model.head.classifier = 'gradient'"
        )
    if train.ema is not None:
        raise ValueError(
            f"train.ema: averages a backbone that trains; strategy {name!r} trains a head only"
        )
    if train.compile is True:
        raise ValueError(
            f"train.compile: compiles steps of a backbone that trains; strategy {name!r} trains a "
            "head only"
        )

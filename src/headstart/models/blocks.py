"""A network as an ordered partition of its parameters into the blocks that plans name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import nn

from headstart.transfer.plan import Phase


class Partitioned(Protocol):
    """What Blocks needs of a network."""

    @property
    def net(self) -> nn.Module: ...

    @property
    def partition(self) -> Mapping[str, tuple[str, ...]]: ...

    def set_trainable(self, names: Iterable[str], freeze_statistics: bool = False) -> None: ...


class Blocks:
    """The blocks of a network, in forward order: stem, block 1 … N, neck, head.

    Raises:
        ValueError: it is no partition of the parameters.
    """

    def __init__(self, network: Partitioned) -> None:
        self._network = network
        self._parameters = dict(network.net.named_parameters())
        self._names_of = dict(network.partition)
        listed = Counter(name for names in self._names_of.values() for name in names)
        wrong = sorted(self._parameters.keys() ^ listed) or [n for n in listed if listed[n] > 1]
        if wrong:
            raise ValueError(f"not a partition of the parameters: {wrong[:5]}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names_of)

    def size(self, name: str) -> int:
        """Parameters in a block."""
        return sum(self._parameters[parameter].numel() for parameter in self._names_of[name])

    def trainable(self, phase: Phase) -> int:
        """Parameters that train in a phase."""
        return sum(self.size(name) for name in phase.rates)

    def open(self, phase: Phase, freeze_statistics: bool = False) -> None:
        """Make the blocks of a phase trainable and freeze all others with their BatchNorm
        statistics; `freeze_statistics` freezes those of the trainable blocks too."""
        names = (parameter for block in phase.rates for parameter in self._names_of[block])
        self._network.set_trainable(names, freeze_statistics)

    def pretrained(self, phase: Phase) -> dict[str, nn.Parameter]:
        """The parameters below the head that train in a phase, by name."""
        below = [block for block in phase.rates if block not in ("head", "adapters")]
        return {name: self._parameters[name] for block in below for name in self._names_of[block]}

    def groups(
        self, phase: Phase, weight_decay: float, head_only: bool = False
    ) -> list[dict[str, Any]]:
        """Optimizer groups of a phase: each block at its rate, without weight decay on vectors
        (biases and norms); with `head_only` on matrices of the head alone."""
        groups: list[dict[str, Any]] = []
        for block, rate in phase.rates.items():
            parameters = [self._parameters[name] for name in self._names_of[block]]
            matrices = [parameter for parameter in parameters if parameter.ndim > 1]
            vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
            decay = 0.0 if head_only and block != "head" else weight_decay
            groups += [
                {"params": params, "lr": rate, "weight_decay": decay, "block": block}
                for params, decay in ((matrices, decay), (vectors, 0.0))
                if params
            ]
        return groups

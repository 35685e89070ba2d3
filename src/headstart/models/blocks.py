"""A network seen as an ordered partition of its parameters: the level at which plans speak."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from headstart.transfer.plan import Phase


class Partitioned(Protocol):
    """What Blocks needs of a network."""

    net: nn.Module
    partition: Any

    def set_trainable(self, names: Any, freeze_statistics: bool = False) -> None: ...


class Blocks:
    """The blocks of a network, in forward order: stem, block 1 … N, neck, head.

    Raises:
        ValueError: the partition leaves a parameter out, names one twice, or names one that is not
            there.
    """

    def __init__(self, network: Partitioned) -> None:
        self._network = network
        self._parameters = dict(network.net.named_parameters())
        self._names_of: dict[str, tuple[str, ...]] = dict(network.partition)
        listed = [name for names in self._names_of.values() for name in names]
        if sorted(listed) != sorted(self._parameters):
            odd = sorted(set(listed) ^ set(self._parameters)) or sorted(
                n for n in set(listed) if listed.count(n) > 1
            )
            raise ValueError(f"not a partition of the parameters: {odd[:5]}")

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
        """Let gradients into the blocks of a phase and freeze all others, BatchNorm statistics
        included; on request those of the blocks that train too."""
        names = (parameter for name in phase.rates for parameter in self._names_of[name])
        self._network.set_trainable(names, freeze_statistics)

    def pretrained(self, phase: Phase) -> dict[str, nn.Parameter]:
        """The parameters below the head that train in a phase, by name."""
        below = [name for name in phase.rates if name not in ("head", "adapters")]
        return {name: self._parameters[name] for block in below for name in self._names_of[block]}

    def groups(
        self, phase: Phase, weight_decay: float, head_only: bool = False
    ) -> list[dict[str, Any]]:
        """Optimizer groups of a phase: each block at its rate, without weight decay on vectors
        (biases and norms).

        With `head_only` weight decay acts on the head alone.
        """
        groups = []
        for block, rate in phase.rates.items():
            parameters = [self._parameters[name] for name in self._names_of[block]]
            matrices = [parameter for parameter in parameters if parameter.ndim > 1]
            vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
            groups += [
                {"params": some, "lr": rate, "weight_decay": decay, "block": block}
                for some, decay in (
                    (matrices, 0.0 if head_only and block != "head" else weight_decay),
                    (vectors, 0.0),
                )
                if some
            ]
        return groups

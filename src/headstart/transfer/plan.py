"""A plan: what trains, how fast and for how long, as plain values. Imports nothing of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.errors import RecipeError


@dataclass(frozen=True)
class Phase:
    """A stretch of training. `rates` holds the peak learning rate of each block that trains; the
    others are frozen.

    In a probe only the head learns, on features of the frozen rest that are computed once; a head
    that is fitted as a whole has rate 0 and no epochs. With `carries` the blocks that trained in
    the phase before go on with its optimizer moments.
    """

    name: str
    rates: Mapping[str, float]
    epochs: int
    probe: bool = False
    carries: bool = False


@dataclass(frozen=True)
class Plan:
    """Phases in order."""

    strategy: str
    phases: tuple[Phase, ...]

    @property
    def tuned(self) -> tuple[Phase, ...]:
        """The phases that let gradients into the network."""
        return tuple(phase for phase in self.phases if not phase.probe)

    def check(self, blocks: Sequence[str]) -> Plan:
        """The plan itself, if each phase trains something and names only blocks there are.

        Raises:
            RecipeError: a phase would train nothing or names a block the network lacks.
        """
        for phase in self.phases:
            unknown = [name for name in phase.rates if name not in blocks]
            if unknown:
                raise RecipeError(
                    f"transfer: the network has no block {unknown[0]!r}; it has {', '.join(blocks)}"
                )
            if not phase.rates:
                raise RecipeError(
                    f"transfer: phase {phase.name!r} would train nothing; let at least the head "
                    f"train (blocks: {', '.join(blocks)})"
                )
        return self

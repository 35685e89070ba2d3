"""Where a training stands: what its phases share, and all that a checkpoint holds of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from headstart.models.network import Network
from headstart.runtime.processes import from_all
from headstart.train.average import MovingAverage
from headstart.train.best import BestEpoch
from headstart.train.checkpoints import Checkpoint, Tensors
from headstart.train.context import History
from headstart.train.meter import Meter
from headstart.train.moments import Moments


@dataclass
class TrainState:
    """A training under way. `step` counts optimizer steps of the phase; a phase is `over` when its
    last epoch was scored."""

    best: BestEpoch
    average: MovingAverage | None = None
    history: History = field(default_factory=History)
    meter: Meter = field(default_factory=Meter)
    phase: int = 0
    step: int = 0
    over: bool = False
    loss: float = 0.0  # this process's part of the epoch's sum so far
    # what that schedule has seen of the phase
    plateau: dict[str, float] = field(default_factory=dict)
    moments: Moments = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16 gradients
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the training began, without the time between a kill and the new start."""
        return time.perf_counter() - self.began

    def enter(self, phase: int) -> None:
        """Begin a phase, unless it was begun before."""
        if phase != self.phase:
            self.phase, self.step, self.loss, self.plateau = phase, 0, 0.0, {}
        self.over = False

    def packed(self, network: Network) -> tuple[dict[str, Any], Mapping[str, Mapping[str, Tensor]]]:
        """(plain values, tensors in groups) for a checkpoint; to be called by every process."""
        best = self.best
        state = {
            "phase": self.phase,
            "step": self.step,
            "over": self.over,
            "losses": from_all(self.loss),
            "plateau": self.plateau,
            "scaler": self.scaler,
            "history": asdict(self.history),
            "best": {"epoch": best.epoch, "score": best.score, "minus_loss": best.minus_loss},
            "averaged_steps": self.average.steps if self.average else 0,
            "seconds": self.seconds,
        }
        moments = {
            f"{name}/{key}": value
            for name, values in self.moments.items()
            for key, value in values.items()
        }
        groups: dict[str, Mapping[str, Tensor]] = {
            "network": network.net.state_dict(),
            "moments": moments,
        }
        if best.weights is not None:
            groups["best"] = best.weights
        if self.average is not None:
            groups["average"] = self.average.values
        return state, groups

    def unpack(self, checkpoint: Checkpoint, network: Network, rank: int) -> None:
        """Go on from a checkpoint: the weights go into the network, all else into this course."""
        state, tensors = checkpoint.state, checkpoint.tensors
        network.net.load_state_dict(tensors["network"])
        self.phase, self.step, self.over = state["phase"], state["step"], state["over"]
        losses = state["losses"]
        self.loss = losses[rank] if rank < len(losses) else 0.0
        self.plateau, self.scaler, self.history = (
            state["plateau"],
            state["scaler"],
            History(**state["history"]),
        )
        self.best.epoch, self.best.score, self.best.minus_loss = (
            state["best"][key] for key in ("epoch", "score", "minus_loss")
        )
        self.best.weights = tensors.get("best")
        self.moments = _by_name(tensors)
        if self.average is not None:
            self.average.steps = state["averaged_steps"]
            for name, value in tensors["average"].items():
                self.average.values[name].copy_(value)
        self.began = time.perf_counter() - state["seconds"]


def _by_name(tensors: Tensors) -> Moments:
    found: Moments = {}
    for path, value in tensors["moments"].items():
        name, _, key = path.rpartition("/")
        found.setdefault(name, {})[key] = value
    return found

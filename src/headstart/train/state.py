"""Where a training stands: what its phases share, and all that a checkpoint holds of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel
from torch import Tensor

from headstart.evaluate.results import Epoch
from headstart.models.network import Network
from headstart.runtime.processes import from_all
from headstart.train.average import MovingAverage
from headstart.train.checkpoints import Checkpoint, Checkpoints, Tensors
from headstart.train.epochs import BestEpoch, History
from headstart.train.optimizer import Moments

WARMUP_STEPS = 2  # allocation, kernel choice and loader start-up fall into these


class Meter:
    """Counts the examples of an epoch between `start` and `stop`; time outside (validation, for
    one) does not count."""

    def __init__(self) -> None:
        self._steps = 0
        self._examples = self._seconds = 0.0
        self._since: float | None = None
        self._before: float | None = None

    def start(self) -> None:
        """An epoch begins."""
        self._before = self.examples_per_second
        self._examples = self._seconds = 0.0
        self._since = time.perf_counter()

    def step(self, examples: float) -> None:
        """A step over this many examples (of all processes, on average) has ended."""
        now = time.perf_counter()
        assert self._since is not None
        self._steps += 1
        if self._steps > WARMUP_STEPS:
            self._seconds += now - self._since
            self._examples += examples
        self._since = now

    def stop(self) -> None:
        """What the steps left to do on a device has been done."""
        assert self._since is not None
        if self._steps > WARMUP_STEPS:
            self._seconds += time.perf_counter() - self._since

    @property
    def examples_per_second(self) -> float | None:
        """Of this epoch, or where it has no step yet of the one before; None until a step after the
        warm-up has ended."""
        return self._examples / self._seconds if self._seconds else self._before


class SavedState(BaseModel):
    """The plain values of a training in a checkpoint; `losses` has one for each process."""

    phase: int
    step: int
    over: bool
    losses: list[float]
    plateau: dict[str, float]
    scaler: dict[str, int | float]
    history: History
    best: Epoch | None
    score: float
    minus_loss: float
    averaged_steps: int
    seconds: float


@dataclass
class TrainState:
    """A training under way.

    Args:
        phase: from 0.
        step: optimizer steps of the phase so far.
        over: whether the last epoch of the phase was scored.
        loss: this process's part of the epoch's sum so far.
        plateau: what that schedule has seen of the phase.
        scaler: of fp16 gradients.
    """

    best: BestEpoch
    average: MovingAverage | None = None
    history: History = field(default_factory=History)
    meter: Meter = field(default_factory=Meter)
    phase: int = 0
    step: int = 0
    over: bool = False
    loss: float = 0.0
    plateau: dict[str, float] = field(default_factory=dict)
    moments: Moments = field(default_factory=dict)
    scaler: dict[str, int | float] = field(default_factory=dict)
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

    def save(self, checkpoints: Checkpoints, network: Network) -> None:
        """Write a checkpoint; to be called by every process."""
        best = self.best
        saved = SavedState(
            phase=self.phase,
            step=self.step,
            over=self.over,
            losses=from_all(self.loss),
            plateau=self.plateau,
            scaler=self.scaler,
            history=self.history,
            best=best.epoch,
            score=best.score,
            minus_loss=best.minus_loss,
            averaged_steps=self.average.steps if self.average else 0,
            seconds=self.seconds,
        )
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
        checkpoints.save(f"{self.phase:03}-{self.step:09}", saved.model_dump(), groups)

    def restore(self, checkpoint: Checkpoint, network: Network, rank: int) -> None:
        """Go on from a checkpoint: the weights go into the network, all else in here."""
        saved, tensors = SavedState.model_validate(checkpoint.state), checkpoint.tensors
        network.net.load_state_dict(tensors["network"])
        self.phase, self.step, self.over = saved.phase, saved.step, saved.over
        self.loss = saved.losses[rank] if rank < len(saved.losses) else 0.0
        self.plateau, self.scaler, self.history = saved.plateau, saved.scaler, saved.history
        self.best.epoch, self.best.score = saved.best, saved.score
        self.best.minus_loss, self.best.weights = saved.minus_loss, tensors.get("best")
        self.moments = _by_name(tensors)
        if self.average is not None:
            self.average.steps = saved.averaged_steps
            for name, value in tensors["average"].items():
                self.average.values[name].copy_(value)
        self.began = time.perf_counter() - saved.seconds


def _by_name(tensors: Tensors) -> Moments:
    moments: Moments = {}
    for path, value in tensors["moments"].items():
        name, _, key = path.rpartition("/")
        moments.setdefault(name, {})[key] = value
    return moments

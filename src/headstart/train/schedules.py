"""How the learning rate moves during a phase: a factor on each block's peak rate, step by step.
Knows no torch."""

from __future__ import annotations

import math

from headstart.recipe import Train


class LearningRate:
    """The factor at each optimizer step of one phase; called with the number of steps already
    taken.

    constant: 1. step: `factor` after every `every` epochs. exponential: `factor` each epoch.
    linear: to 0 at the end.
    cosine: half a cosine to 0 (Loshchilov & Hutter 2017, without restarts). plateau: `factor`
    whenever the loss has not been better for more than `patience` epochs. With warm-up the factor
    first rises from near 0 over a share of the steps; the shapes that end at 0 then run over the
    rest.
    """

    def __init__(self, settings: Train, steps_per_epoch: int, epochs: int) -> None:
        self._schedule = settings.schedule
        self._steps_per_epoch = steps_per_epoch
        self._steps = steps_per_epoch * epochs
        self._warmup = round(settings.warmup * self._steps)
        self.plateau = {"drops": 0, "waited": 0, "best": math.inf}

    def __call__(self, step: int) -> float:
        if step < self._warmup:
            return (step + 1) / (self._warmup + 1)
        return self._shape(step, (step - self._warmup) / max(self._steps - self._warmup, 1))

    def observe(self, loss: float) -> None:
        """Tell the schedule an epoch's loss; only `plateau` listens."""
        seen = self.plateau
        if loss < seen["best"]:
            seen |= {"best": loss, "waited": 0}
            return
        seen["waited"] += 1
        if seen["waited"] > self._schedule.patience:
            seen |= {"drops": seen["drops"] + 1, "waited": 0}

    def _shape(self, step: int, progress: float) -> float:
        schedule = self._schedule
        match schedule.name:
            case "step":
                every = max(round(schedule.every * self._steps_per_epoch), 1)
                return float(schedule.factor ** (step // every))
            case "exponential":
                return float(schedule.factor ** (step / self._steps_per_epoch))
            case "linear":
                return max(1 - progress, 0.0)
            case "cosine":
                return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
            case "plateau":
                return float(schedule.factor ** self.plateau["drops"])
        return 1.0

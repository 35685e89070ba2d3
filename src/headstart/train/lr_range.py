"""The learning rate range test (Smith 2017): how the loss goes while the rate grows, step by
step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.errors import RecipeError
from headstart.train.context import Context
from headstart.train.engine import dry_run
from headstart.train.phase import DryRun

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.9
WORSE = 4.0  # times the lowest smoothed loss ends the test
SKIPPED = 5  # of the first steps, whose smoothed loss says little


@dataclass(frozen=True)
class Sweep:
    """Rates (values of train.lr), the smoothed loss at each, and the rate at which it falls
    fastest."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def lr_range(context: Context) -> Sweep:
    """Try rates from 1e-7 to 10 in the plan's last phase, each block at its own multiple, on a copy
    of the network whose head is new: after a phase that fitted it there is little left to fall.

    Raises:
        HeadstartError: no phase of the plan trains by gradient, or the loss never falls.
    """
    if not context.plan.tuned:
        raise RecipeError(
            f"transfer.strategy: {context.plan.strategy!r} lets no gradients into the network, so "
            "there is no rate to find; choose a strategy that trains it, such as 'fine_tune'"
        )
    growth = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))
    smooth: list[float] = []
    running = 0.0

    def on_loss(loss: float) -> bool:
        nonlocal running
        running = SMOOTHING * running + (1 - SMOOTHING) * loss
        smooth.append(running / (1 - SMOOTHING ** (len(smooth) + 1)))
        return not math.isfinite(loss) or smooth[-1] > WORSE * min(smooth)

    def factor(step: int) -> float:
        return float(LOWEST * growth**step / context.recipe.train.lr)

    dry_run(context, context.plan.tuned[-1], DryRun(STEPS, factor, on_loss))
    losses = [loss for loss in smooth if math.isfinite(loss)]
    rates = [LOWEST * growth**step for step in range(len(losses))]
    return Sweep(rates, losses, _steepest(rates, losses))


def _steepest(rates: list[float], losses: list[float]) -> float:
    """The rate before the lowest loss at which the loss falls fastest per order of magnitude."""
    lowest = int(np.argmin(losses))
    if lowest <= SKIPPED:
        raise RecipeError(
            "train.lr: the loss does not fall at any rate; look at the data (are the labels "
            "right?) and at the backbone"
        )
    slopes = np.gradient(np.asarray(losses), np.log10(rates))
    return float(f"{rates[SKIPPED + int(np.argmin(slopes[SKIPPED : lowest + 1]))]:.1e}")

"""headstart lr-find: which learning rate to begin with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.catalogue import read_recipe
from headstart.report.progress import Progress
from headstart.runtime.machine import start
from headstart.train.prepare import prepare


@dataclass(frozen=True)
class FoundRate:
    """A rate for train.lr, the recipe's own, and the plot of the loss over the rates."""

    suggestion: float
    current: float
    plot: Path


def lr_find(
    recipe: str | Path, overrides: Sequence[str] = (), progress: Progress | None = None
) -> FoundRate | None:
    """Try learning rates from 1e-7 to 10, plot the loss, and suggest one for train.lr; nothing is
    trained for good. None in all but the main process.

    Args:
        progress: where to tell what happens; standard error without one.

    Raises:
        HeadstartError: the plan trains nothing by gradient, or the loss never falls.
    """
    context = prepare(read_recipe(recipe, overrides), start())

    from headstart.report.plots import plot_lr_range_test
    from headstart.train.lr_range import STEPS, lr_range

    progress = progress or Progress(sys.stderr)
    progress.text(f"trying {STEPS} rates, each on a batch of {context.batch_size}")
    sweep, current = lr_range(context), context.recipe.train.lr
    if context.machine.rank > 0:
        return None
    output = Path(context.recipe.output)
    plot = output.with_name(f"{output.name}.lr-find.png")
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot_lr_range_test(sweep.rates, sweep.losses, sweep.suggestion, current, plot)
    return FoundRate(sweep.suggestion, current, plot)

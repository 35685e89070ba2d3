"""How long a training will take, from a few real batches."""

from __future__ import annotations

import math
import time

from headstart.data.dataset import Examples
from headstart.runtime.processes import rank_and_world
from headstart.train.context import Context
from headstart.train.features import FeatureCache
from headstart.train.forward import BATCH, features
from headstart.train.state import WARMUP_STEPS
from headstart.transfer.plan import Phase


def training_seconds(context: Context) -> float:
    """Seconds that all phases will take; validation is not in it."""
    seconds = 0.0
    if len(context.plan.tuned) < len(context.plan.phases):
        seconds += seconds_to_extract(context, context.train + context.dataset.test)
    return seconds + sum(
        phase.epochs * seconds_per_epoch(context, phase) for phase in context.plan.tuned
    )


def seconds_to_extract(context: Context, examples: Examples) -> float:
    """Seconds that the features will take that the cache lacks."""
    digests = list(examples.digests)
    known = FeatureCache(context.network, context.precision).read(set(digests))
    missing = [row for row, digest in enumerate(digests) if digest not in known]
    items = [examples.items[row] for row in missing[: 3 * BATCH]]
    context.network.to(context.device)
    done, seconds = 0, 0.0
    started = time.perf_counter()
    for batch in features(context, items):
        done, seconds = done + len(batch), time.perf_counter() - started
    return len(missing) * seconds / max(done, 1) / rank_and_world()[1]


def seconds_per_epoch(context: Context, phase: Phase) -> float:
    """Seconds of an epoch of a phase, from a few steps on a copy of the network."""
    from headstart.train.engine import dry_run
    from headstart.train.phase import DryRun

    state = dry_run(context, phase, DryRun(WARMUP_STEPS + 2))
    return len(context.train) / (state.meter.examples_per_second or math.inf)

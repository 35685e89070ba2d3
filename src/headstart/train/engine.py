"""The one engine for gradients: a plan's phases, each in a fresh transformers.Trainer.

The Trainer hands precision and data parallelism to Accelerate; what is fixed here is which blocks
train at which rate, the data order, the loss, and the choice of the best epoch. A Trainer is never
trained twice: its old optimizer would go on stepping the parameters of the phase before.
"""

from __future__ import annotations

import copy
import gc
import logging
import os
from dataclasses import replace

from torch import Tensor

from headstart.errors import RunError
from headstart.evaluate.events import Note, ProbeScored
from headstart.evaluate.results import Epoch
from headstart.runtime.processes import share_buffers
from headstart.train.average import MovingAverage, towards_start
from headstart.train.checkpoints import Checkpoints
from headstart.train.context import Context
from headstart.train.epochs import BestEpoch, History, overfitting
from headstart.train.forward import logits
from headstart.train.loss import L2SP
from headstart.train.phase import DryRun, PhaseRun
from headstart.train.probe import probe
from headstart.train.state import TrainState
from headstart.transfer.plan import Phase


def tune(context: Context, checkpoints: Checkpoints | None = None) -> History:
    """Train the network as the plan says, in place, and leave it with the weights of the best
    epoch.

    The best epoch is the one with the highest metric on the selection part over all phases (of
    equals, the one with the lower loss); without a selection part the last epoch is kept. A phase
    starts from the last weights of the one before. With checkpoints an interrupted training goes on
    where the last one was written.

    Raises:
        HeadstartError: the loss is no longer finite, or the launcher asks for sharded training.
    """
    _refuse_sharding()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    network, transfer = context.network.to(context.device), context.recipe.transfer
    state = TrainState(BestEpoch(context.recipe.train.metric))
    for number, phase in enumerate(context.plan.phases):
        if phase.probe:  # after an interruption again: its features are cached
            state.enter(number)
            _probe(context, phase, state)
    start = _start_weights(context)
    if context.recipe.train.ema is not None:
        state.average = MovingAverage(network.net, context.recipe.train.ema)
    if checkpoints is not None:
        _resume(context, state, checkpoints)
    l2_sp = L2SP(start, transfer.l2_sp) if transfer.l2_sp else None
    # a Trainer collects garbage before its first step: 0.3 s over all that was imported
    gc.freeze()
    try:
        for number, phase in enumerate(context.plan.phases):
            if phase.probe or number < state.phase or (number == state.phase and state.over):
                continue
            state.enter(number)
            PhaseRun(context, phase, state, l2_sp, checkpoints).run()
    finally:
        gc.unfreeze()
    _finish(context, state, start)
    return state.history


def dry_run(context: Context, phase: Phase, how: DryRun) -> TrainState:
    """Some steps of a phase on a copy of the network."""
    twin = replace(context, network=copy.deepcopy(context.network))
    state = TrainState(BestEpoch(context.recipe.train.metric))
    PhaseRun(twin, phase, state, dry_run=how).run()
    return state


def _probe(context: Context, phase: Phase, state: TrainState) -> None:
    """Fit the head on frozen features first, a candidate for the best epoch."""
    result = probe(context, phase)
    state.history.epochs += result.epochs
    state.history.fitted, state.history.cached = result.fitted, result.cached
    state.history.notes += result.notes
    if context.selection is not None:
        epoch = result.kept or Epoch(phase=state.phase + 1, epoch=0)
        scores = state.best.offer(
            logits(context, context.selection),
            context.selection.labels,
            epoch,
            context.network.net.state_dict(),
        )
        context.on_event(ProbeScored(state.phase + 1, scores))
    state.over = True


def _start_weights(context: Context) -> dict[str, Tensor]:
    """The pretrained weights at the start, if training shall stay near them; no random head."""
    network, transfer = context.network, context.recipe.transfer
    if not (transfer.l2_sp or transfer.wise_ft) or network.spec.pretrained is None:
        return {}
    new = () if context.plan.phases[0].probe else tuple(network.partition["head"])
    weights = network.net.state_dict()
    return {name: value.detach().clone() for name, value in weights.items() if name not in new}


def _resume(context: Context, state: TrainState, checkpoints: Checkpoints) -> None:
    checkpoint = checkpoints.latest()
    if checkpoint is None:
        return
    state.restore(checkpoint, context.network, context.machine.rank)
    context.on_event(Note(f"going on from phase {state.phase + 1}, step {state.step}"))


def _finish(context: Context, state: TrainState, start: dict[str, Tensor]) -> None:
    """Load the final weights: the best epoch's or the last, averaged where the recipe says so."""
    network, history, best = context.network, state.history, state.best
    if state.average is not None:
        network.net.load_state_dict(state.average.values)
    share_buffers(network)
    if best.weights is not None:
        network.net.load_state_dict(best.weights)
        history.kept = best.epoch
        if best.epoch and not best.epoch.epoch:
            history.notes.append(
                "no epoch was better than the head on frozen features alone, so that is what was "
                "kept"
            )
    elif history.epochs:
        history.kept = Epoch(phase=history.epochs[-1].phase, epoch=history.epochs[-1].epoch)
    if start and context.recipe.transfer.wise_ft is not None:
        history.notes.append(_average_with_start(context, best, start))
    history.notes += filter(None, [overfitting(history.epochs)])
    history.examples_per_second = state.meter.examples_per_second
    history.seconds = state.seconds


def _average_with_start(context: Context, best: BestEpoch, start: dict[str, Tensor]) -> str:
    """Average the weights with those of the start (WiSE-FT), and say what that did."""
    share = context.recipe.transfer.wise_ft
    assert share is not None
    towards_start(context.network.net, start, share)
    note = (
        f"{share:g} of the fine-tuned weights averaged with {1 - share:g} of the pretrained "
        "ones (WiSE-FT)"
    )
    if context.selection is None:
        return note
    after = BestEpoch(best.metric)
    after.offer(
        logits(context, context.selection), context.selection.labels, Epoch(phase=1, epoch=0), {}
    )
    note += (
        f": {best.metric} on the part that chose the epoch {abs(best.score):.3f} before, "
        f"{abs(after.score):.3f} after"
    )
    if after.score < best.score:
        note += ", so the average is worse there; it is what was kept all the same"
    return note


def _refuse_sharding() -> None:
    for name in ("FSDP", "DeepSpeed"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "").lower() in ("1", "true", "yes"):
            raise RunError(
                f"accelerate: the launcher asks for {name}; headstart trains data-parallel only. "
                f"Choose multi-GPU without {name} in `accelerate config`"
            )
